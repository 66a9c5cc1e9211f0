# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Check a ``.gitmodules`` for values that can attack clients that clone with submodules.

The rules are git's (``fsck.c``: ``fsck_gitmodules_fn``, ``submodule-config.c``). This module parses
the file itself, exactly as git parses configuration. A parser with other rules could overlook an
attack, and dulwich's follows includes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

__all__ = ["check_gitmodules"]

_SECTION = re.compile(rb'\[([A-Za-z0-9.-]+)(?:[ \t]+"((?:[^"\\\n]|\\[^\n])*)")?\]')
_KEY = re.compile(rb"([A-Za-z][A-Za-z0-9-]*)[ \t]*(=[ \t]*|(?=\n)|\Z)")
_BLANK = re.compile(rb"\s+|[#;][^\n]*")
_ESCAPES = {b"t": b"\t", b"b": b"\b", b"n": b"\n", b"\\": b"\\", b'"': b'"', b"\n": b""}
_CURL = re.compile(rb"(?:https?|ftps?)(?:::|(?=://))")
_URL = re.compile(
    rb"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?"
    rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d*))?((?:[/?#].*)?)",
    re.DOTALL,
)
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def check_gitmodules(data: bytes) -> Iterator[tuple[str, str]]:
    """Check the content of a ``.gitmodules``.

    Yields: each message, by its name, and its text
    """
    try:
        for section, name, key, value in _settings(data.replace(b"\r\n", b"\n")):
            if section == b"submodule" and name is not None:
                yield from _check(name, key, value)
    except ValueError:
        yield "gitmodulesParse", "could not parse gitmodules blob"


def _check(name: bytes, key: bytes, value: bytes | None) -> Iterator[tuple[str, str]]:
    if not name or b".." in re.split(rb"[/\\]", name):
        yield "gitmodulesName", "disallowed submodule name"
    if value is None:
        return
    if key == b"url" and not _is_url_allowed(value):
        yield "gitmodulesUrl", "disallowed submodule url"
    if key == b"path" and value.startswith(b"-"):
        yield "gitmodulesPath", "disallowed submodule path"
    if key == b"update" and value.startswith(b"!"):
        yield "gitmodulesUpdate", "disallowed submodule update setting"


def _is_url_allowed(url: bytes) -> bool:
    if url.startswith(b"-"):
        return False
    if url.startswith((b"./", b"../", b"git://")):
        if b"\n" in unquote_to_bytes(url):
            return False
        rest = re.sub(rb"^(?:\.\.?/)+", b"", url)
        steps = url[: len(url) - len(rest)].split(b"/")
        return not (b".." in steps and rest.startswith((b":", b"/")))
    curl = _CURL.match(url)
    if curl is None:
        return True
    rest = url if not curl[0].endswith(b"::") else url[curl.end() :]
    found = _URL.fullmatch(rest)
    if found is None or _BAD_ESCAPE.search(rest) or b"\n" in unquote_to_bytes(rest):
        return False
    if found[1] and not 0 < int(found[1][:10]) < 65536:
        return False
    return not _leaves_root(unquote_to_bytes(re.split(rb"[?#]", found[2])[0]))


def _leaves_root(path: bytes) -> bool:
    depth = 0
    for part in path.split(b"/")[1:]:
        if part == b"..":
            depth -= 1
            if depth < 0:
                return True
        elif part not in (b"", b"."):
            depth += 1
    return False


def _settings(data: bytes) -> Iterator[tuple[bytes, bytes | None, bytes, bytes | None]]:
    """Parse a configuration.

    Yields: section, subsection, key and value; section and key are in lower case; a missing
      subsection or value is None
    Raises:
      ValueError: where it is not well-formed; what stands before has been given
    """
    at, section, name = 0, b"", None
    while at < len(data):
        blank = _BLANK.match(data, at)
        if blank is not None:
            at = blank.end()
            continue
        header = _SECTION.match(data, at)
        if header is not None:
            section, name = header[1].lower(), header[2]
            if name is not None:
                name = re.sub(rb"\\(.)", rb"\1", name, flags=re.DOTALL)
            elif b"." in section:
                section, _, name = section.partition(b".")
            at = header.end()
            continue
        key = _KEY.match(data, at)
        if key is None:
            raise ValueError(at)
        value, at = _value(data, key.end()) if key[2].startswith(b"=") else (None, key.end())
        yield section, name, key[1].lower(), value


def _value(data: bytes, at: int) -> tuple[bytes, int]:
    """Parse a value; gives it, and where its line ends."""
    value = bytearray()
    kept = 0  # how long it is without blanks at the end
    quoted = commented = False
    while at < len(data) and data[at : at + 1] != b"\n":
        char = data[at : at + 1]
        at += 1
        if commented:
            continue
        if not quoted and char in b"#;":
            commented = True
        elif not quoted and char.isspace():
            if value:
                value += char
        elif char == b"\\":
            if data[at : at + 1] not in _ESCAPES:
                raise ValueError(at)
            value += _ESCAPES[data[at : at + 1]]
            at += 1
            kept = len(value)
        elif char == b'"':
            quoted = not quoted
        else:
            value += char
            kept = len(value)
            continue
        if quoted:
            kept = len(value)
    if quoted:
        raise ValueError(at)
    return bytes(value[:kept]), at
