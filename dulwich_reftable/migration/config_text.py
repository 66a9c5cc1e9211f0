# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Sets and unsets a variable in the text of a configuration file.

All other bytes stay: comments, order, indentation. dulwich's ``ConfigFile`` writes only what it has
parsed, and loses comments. A new variable goes where git puts it, and a section goes with its last
variable, as in git (``config.c``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..engine.errors import ConfigurationError

__all__ = ["set_variable", "unset_variable"]

_BLANK = re.compile(rb"[ \t\r\n]*")
_COMMENT = re.compile(rb"[#;][^\n]*\n?")
_SECTION = re.compile(rb'\[([-.A-Za-z0-9]+)(?:[ \t]+("(?:[^"\\\n]|\\[^\n])*"))?\]')
_KEY = re.compile(rb"([A-Za-z][-A-Za-z0-9]*)[ \t]*")
_VALUE = re.compile(
    rb'(?:=(?:[^"\\#;\n]|\\\r?\n|\\[^\n]|"(?:[^"\\\n]|\\\r?\n|\\[^\n])*")*)?'
    rb"(?:[#;][^\n]*)?(?:\n|\Z)"
)
_REST_OF_LINE = re.compile(rb"[ \t\r]*\n")


class _Item(NamedTuple):
    """A section header (``key`` is empty), a variable, or a comment (``key`` is ``b"#"``).

    ``start`` is where its line begins, or where the item begins if others stand before it on the
    line; ``end`` is behind the newline.
    """

    section: bytes
    key: bytes
    start: int
    end: int


def set_variable(text: bytes, section: bytes, key: bytes, value: bytes) -> bytes:
    """Set a variable; replace its last value if it has one.

    Args:
      text: the file's contents
      section: the section, which has no subsections
      key: the variable's name
      value: a value that needs no quotes
    Returns: the new text
    Raises:
      ConfigurationError: if the text is not a configuration
    """
    items = _parse(text)
    line = b"\t" + key + b" = " + value + b"\n"
    found = [item for item in items if (item.section, item.key) == (section, key.lower())]
    if found:
        _, _, start, end = found[-1]
        return _joined(text[:start], line, text[end:])
    found = [item for item in items if item.section == section and item.key != b"#"]
    if found:
        end = found[-1].end
        return _joined(text[:end], line, text[end:])
    return _joined(text, b"[" + section + b"]\n" + line, b"")


def unset_variable(text: bytes, section: bytes, key: bytes) -> bytes:
    """Remove all values of a variable, and the sections that become empty.

    Args:
      text: the file's contents
      section: the section, which has no subsections
      key: the variable's name
    Returns: the new text
    Raises:
      ConfigurationError: if the text is not a configuration
    """
    items = _parse(text)
    removed: list[_Item] = []
    for at, item in enumerate(items):
        if item.section != section or item.key != key.lower():
            continue
        removed.append(item)
        is_alone = not items[at - 1].key and (at + 1 == len(items) or not items[at + 1].key)
        if is_alone:
            removed.append(items[at - 1])
    for _, _, start, end in sorted(removed, key=lambda item: item.start, reverse=True):
        text = text[:start] + text[end:]
    return text


def _joined(before: bytes, line: bytes, after: bytes) -> bytes:
    if before and not before.endswith(b"\n"):
        before += b"\n"
    return before + line + after


def _parse(text: bytes) -> list[_Item]:
    items: list[_Item] = []
    section = b""
    at = len(b"\xef\xbb\xbf") if text.startswith(b"\xef\xbb\xbf") else 0
    while True:
        blank = _BLANK.match(text, at)
        at = blank.end() if blank else at
        if at == len(text):
            return items
        line = text.rfind(b"\n", 0, at) + 1
        start = line if not text[line:at].strip(b" \t\r") else at
        if found := _COMMENT.match(text, at):
            items.append(_Item(section, b"#", start, found.end()))
        elif found := _SECTION.match(text, at):
            subsection = found[2] or b""
            section = found[1].lower() + subsection
            rest = _REST_OF_LINE.match(text, found.end())
            items.append(_Item(section, b"", start, rest.end() if rest else found.end()))
        elif (found := _KEY.match(text, at)) and (value := _VALUE.match(text, found.end())):
            items.append(_Item(section, found[1].lower(), start, value.end()))
        else:
            number = text.count(b"\n", 0, at) + 1
            raise ConfigurationError(f"line {number} of the configuration makes no sense")
        at = items[-1].end
