# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Splits the input of ``git update-ref --stdin`` into commands and arguments.

A command is a line. Its arguments are separated by one space, and may be quoted as in C. With
``-z``, a command is a string that ends in a NUL byte, and further arguments are strings of their
own. A missing argument and an empty one have different meanings, so :class:`Words` distinguishes
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from ..engine.errors import ReftableError
from .repository import printable

__all__ = ["CommandError", "Words", "read_lines", "read_strings"]

_READ_AT_ONCE = 1 << 16

_ESCAPES = {
    b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v",
    b'"': b'"', b"\\": b"\\",
}  # fmt: skip
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2}|.)", re.S)
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.S)
_PLAIN = re.compile(rb"[^ \t\n\v\f\r]+")


class CommandError(ReftableError):
    """A command is wrong, or not allowed in this state."""


def read_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Read lines, each with its newline if it has one, as soon as each is complete."""
    return iter(stream.readline, b"")


def read_strings(stream: BinaryIO) -> Iterator[bytes]:
    """Read strings, each with its NUL byte if it has one, as soon as each is complete."""
    read = getattr(stream, "read1", stream.read)
    rest = b""
    while more := read(_READ_AT_ONCE):
        *whole, rest = (rest + more).split(b"\0")
        for string in whole:
            yield string + b"\0"
    if rest:
        yield rest


class Words:
    """The arguments of one command.

    Args:
      command: the name of the command, for messages
      text: the rest of the line after the name and a space, with its newline
      strings: with ``-z``, the arguments instead; too few if the input has ended
    """

    def __init__(self, command: bytes, text: bytes, strings: list[bytes] | None = None) -> None:
        self._name = command.decode()
        self._text = text
        self._at = 0
        self._strings = None if strings is None else iter(strings)

    def error(self, message: str) -> CommandError:
        """Make an error that names the command."""
        return CommandError(f"{self._name}: {message}")

    def take(self) -> bytes | None:
        """Take the next argument; None if there is none."""
        if self._strings is not None:
            return next(self._strings, None)
        if self._at:
            if self._text[self._at : self._at + 1] in (b"", b"\n"):
                return None
            if self._text[self._at : self._at + 1] != b" ":
                raise self.error(f"expected a space before '{printable(self._rest)}'")
            self._at += 1
        return self._word()

    def _word(self) -> bytes:
        text, begin = self._text, self._at
        if text[begin : begin + 1] == b'"':
            quoted = _QUOTED.match(text, begin)
            if quoted is None:
                raise self.error(f"badly quoted argument: {printable(self._rest)}")
            self._at = quoted.end()
            if self._rest[:1].strip():
                raise self.error(f"more behind a quoted argument: {printable(self._rest)}")
            return _ESCAPE.sub(self._unescaped, quoted[1])
        plain = _PLAIN.match(text, begin)
        self._at = plain.end() if plain else begin
        return text[begin : self._at]

    def _unescaped(self, escape: re.Match[bytes]) -> bytes:
        code = escape[1]
        if len(code) == 3:
            return bytes((int(code, 8),))
        if code not in _ESCAPES:
            raise self.error(f"badly quoted argument: unknown escape '{printable(escape[0])}'")
        return _ESCAPES[code]

    @property
    def _rest(self) -> bytes:
        return self._text[self._at :].removesuffix(b"\n")

    def end(self) -> None:
        """Check that no argument is left.

        Raises:
          CommandError: if one is
        """
        if self._strings is None and self._text[self._at :] != b"\n":
            raise self.error(f"extra input '{printable(self._rest)}', or no newline at the end")

    @property
    def are_strings(self) -> bool:
        """Whether the arguments are strings that end in a NUL."""
        return self._strings is not None
