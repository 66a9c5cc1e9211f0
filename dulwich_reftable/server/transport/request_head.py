# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The head of an HTTP request: its lines, limited and strict.

Several requests may come over one connection. A proxy before this server and this server must then
agree where each request ends. The parser of the standard library forgives much, so this module
refuses the lines that servers are known to read differently.
"""

from __future__ import annotations

import io
import re
from http.client import LineTooLong

__all__ = ["Head", "MalformedHeadError"]

_LARGEST = 1 << 16
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r?\n")
"""A line of the head (RFC 9112, section 5): no continuation, no space before the colon."""


_ENDS = (b"\r\n", b"\n")


class MalformedHeadError(Exception):
    """A line of the head can be read in two ways, or in none."""


class Head:
    """The lines of a request's head, all together not too long.

    Args:
      stream: where they are
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self._left = _LARGEST
        self._has_begun = False

    def readline(self, limit: int = -1) -> bytes:
        """Read a line.

        Raises:
          LineTooLong: if the lines are too long, all together
          MalformedHeadError: if a line after the first one is no field, and does not end the head
        """
        line = self._read()
        if not self._has_begun:
            self._has_begun = True
            # An empty line before a request is ignored, once (RFC 9112, section 2.2).
            return self._read() if line in _ENDS else line
        if line and line not in _ENDS and not _FIELD.fullmatch(line):
            raise MalformedHeadError
        return line

    def _read(self) -> bytes:
        line = self._stream.readline(self._left + 1)
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("head of the request")
        return line
