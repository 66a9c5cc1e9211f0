# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The types of git's configuration values (git: ``parse.c``, ``config.c``, ``setup.c``).

Each function takes the text of a value and returns the value. Where git fails to read it, so does
the function, by a :class:`ValueError` whose text completes "key = value: ...".
:mod:`dulwich_reftable.config.values` adds the key and the file.
"""

from __future__ import annotations

import os
import re

__all__ = [
    "INT64_MAX",
    "integer",
    "is_true",
    "pathname",
    "reflog_policy",
    "shared_repository",
    "unsigned",
]

INT64_MAX = (1 << 63) - 1
_INT_MAX = (1 << 31) - 1
_ULONG_MAX = (1 << 64) - 1

_TRUE = (b"true", b"yes", b"on")
_FALSE = (b"false", b"no", b"off", b"")
_NUMBER = re.compile(
    rb"[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))([kKmMgG]?)"
)
_UNITS = {b"": 1, b"k": 1 << 10, b"m": 1 << 20, b"g": 1 << 30}
_MODE = re.compile(rb"[ \t\n\v\f\r]*([+-]?[0-7]+)|")

_READ_WRITE = 0o666
_OWNER = 0o600


def integer(text: bytes, most: int = _INT_MAX) -> int:
    """Read a signed number: decimal, hexadecimal (``0x``) or octal (``0``), with a unit k, m or g.

    Args:
      text: of the value
      most: the largest number of the type; the smallest is ``-most - 1``
    """
    value = _number(text)
    if not -most - 1 <= value <= most:
        raise ValueError("the number is out of range")
    return value


def unsigned(text: bytes, most: int = _ULONG_MAX) -> int:
    """Read a number that cannot be negative, otherwise as :func:`integer` does."""
    if b"-" in text:
        raise ValueError("not a number, or a negative one")
    value = _number(text)
    if value > most:
        raise ValueError(f"the number is larger than {most}")
    return value


def _number(text: bytes) -> int:
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError("not a number, with or without one of the units k, m and g")
    sign, hexadecimal, octal, decimal, unit = found.groups()
    # git's numbers have 64 bits; longer ones need not be converted.
    digits, base = next((d, b) for d, b in ((hexadecimal, 16), (octal, 8), (decimal, 10)) if d)
    if len(digits.lstrip(b"0")) > 22:
        raise ValueError("the number is out of range")
    value = int(digits, base) * _UNITS[unit.lower()]
    return -value if sign == b"-" else value


def is_true(text: bytes) -> bool:
    """Read a boolean: true, yes, on, false, no, off, an empty text, or a number."""
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    try:
        return integer(text) != 0
    except ValueError:
        raise ValueError("not a boolean") from None


def pathname(text: bytes) -> str | None:
    """Read a path; ``~`` at its beginning stands for a home directory.

    Returns: the path; None for one that is optional (``:(optional)``) and does not exist
    """
    path = os.fsdecode(text)
    stripped = path.removeprefix(":(optional)")
    is_optional, path = stripped != path, stripped
    if path.startswith("~"):
        path = os.path.expanduser(path)
        if path.startswith("~"):
            raise ValueError("the home directory is not known")
    elif path.startswith("%(prefix)/"):
        raise ValueError("where git is installed is not known")
    return None if is_optional and not os.path.lexists(path) else path


def shared_repository(text: bytes) -> bytes:
    """Read ``core.sharedRepository``.

    Returns: ``b"umask"``, ``b"group"``, ``b"everybody"``, or the mode of a file in octal digits,
      the first of which is 0; execute bits are cleared
    """
    if text in (b"umask", b"group"):
        return text
    if text in (b"all", b"world", b"everybody"):
        return b"everybody"
    found = _MODE.fullmatch(text)
    if found is None:
        return b"group" if is_true(text) else b"umask"
    mode = int(found[1] or b"0", 8)
    if mode in (0, 1, 2):
        return (b"umask", b"group", b"everybody")[mode]
    if mode & _OWNER != _OWNER:
        raise ValueError("the owner of files must be able to read and to write them")
    return b"0%o" % (mode & _READ_WRITE)


def reflog_policy(text: bytes) -> str:
    """Read ``core.logAllRefUpdates``: which refs start a reflog.

    Returns: ``"always"`` for all, ``"normal"`` for those that git logs by default, or ``"none"``
    """
    if text.lower() == b"always":
        return "always"
    return "normal" if is_true(text) else "none"
