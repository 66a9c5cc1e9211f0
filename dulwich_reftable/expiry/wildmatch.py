# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Patterns of ref names, as in ``gc.<pattern>.reflogExpire`` (git: ``wildmatch`` without flags).

``*`` and ``?`` match slashes, too. A pattern becomes a regular expression; one that is malformed
matches nothing, as in git.
"""

from __future__ import annotations

import re

__all__ = ["compile_pattern"]

_NOTHING = re.compile(rb"(?!)")

_GRAPH = bytes(range(0x21, 0x7F))
_DIGIT = b"0123456789"
_UPPER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOWER = _UPPER.lower()
_CLASSES = {
    b"alnum": _DIGIT + _UPPER + _LOWER,
    b"alpha": _UPPER + _LOWER,
    b"blank": b" \t",
    b"cntrl": bytes([*range(0x20), 0x7F]),
    b"digit": _DIGIT,
    b"graph": _GRAPH,
    b"lower": _LOWER,
    b"print": b" " + _GRAPH,
    b"punct": bytes(byte for byte in _GRAPH if not bytes((byte,)).isalnum()),
    b"space": b" \t\n\v\f\r",
    b"upper": _UPPER,
    b"xdigit": _DIGIT + b"abcdefABCDEF",
}
_CLASS = re.compile(rb"\[:([^\]]*):\]")


class _MalformedError(Exception):
    """The pattern matches nothing."""


def compile_pattern(pattern: bytes) -> re.Pattern[bytes]:
    """Make a regular expression of a pattern, to be used by ``fullmatch``."""
    parts: list[bytes] = []
    at = 0
    try:
        while at < len(pattern):
            char = pattern[at : at + 1]
            at += 1
            if char == b"*":
                if parts[-1:] != [b".*"]:
                    parts.append(b".*")
            elif char == b"?":
                parts.append(b".")
            elif char == b"[":
                part, at = _bracket(pattern, at)
                parts.append(part)
            else:
                if char == b"\\":
                    char, at = _escaped(pattern, at)
                parts.append(re.escape(char))
    except _MalformedError:
        return _NOTHING
    return re.compile(b"".join(parts), re.S)


def _escaped(pattern: bytes, at: int) -> tuple[bytes, int]:
    """Take a character after a backslash; gives it, and the position after it."""
    if at >= len(pattern):
        raise _MalformedError
    return pattern[at : at + 1], at + 1


def _bracket(pattern: bytes, at: int) -> tuple[bytes, int]:
    """Translate a bracket expression; gives the translation, and the position after it."""
    is_negated = pattern[at : at + 1] in (b"!", b"^")
    at += is_negated
    members: set[int] = set()
    low: int | None = None  # the byte that a range may begin with
    is_first = True
    while is_first or pattern[at : at + 1] != b"]":
        is_first = False
        named = _CLASS.match(pattern, at)
        if named is not None:
            if named[1] not in _CLASSES:
                raise _MalformedError
            members.update(_CLASSES[named[1]])
            low, at = None, named.end()
            continue
        char, at = _escaped(pattern, at)
        if char == b"-" and low is not None and pattern[at : at + 1] not in (b"", b"]"):
            char, at = _escaped(pattern, at)
            if char == b"\\":
                char, at = _escaped(pattern, at)
            members.update(range(low, char[0] + 1))
            low = None
            continue
        if char == b"\\":
            char, at = _escaped(pattern, at)
        members.add(char[0])
        low = char[0]
    if is_negated:
        members = set(range(256)) - members
    if not members:
        raise _MalformedError
    return b"[" + b"".join(rb"\x%02x" % byte for byte in sorted(members)) + b"]", at + 1
