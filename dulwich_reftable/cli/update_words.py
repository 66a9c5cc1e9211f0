# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The words of ``git update-ref --stdin``: how commands and their arguments are told apart.

A command is a line; with ``-z``, a string that ends in a NUL, and its further arguments are strings
of their own. In lines, arguments stand one space apart, and may be quoted as in C. An argument that
is not there and one that is empty mean different things, so :class:`Words` tells them apart.
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
    """A command makes no sense, or not here."""


def read_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Read lines as they come, each with its newline if it has one."""
    return iter(stream.readline, b"")


def read_strings(stream: BinaryIO) -> Iterator[bytes]:
    """Read strings as they come, each with the NUL at its end if it has one."""
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
      command: its name, for messages
      text: the line behind the name and a space, with its newline
      strings: with ``-z`` instead, the arguments; fewer than there should be, if the input ends
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
        """Take an argument; None if there is none."""
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
        """See that nothing is left.

        Raises:
          CommandError: if something is
        """
        if self._strings is None and self._text[self._at :] != b"\n":
            raise self.error(f"extra input '{printable(self._rest)}', or no newline at the end")

    @property
    def are_strings(self) -> bool:
        """Whether the arguments are strings that end in a NUL."""
        return self._strings is not None
