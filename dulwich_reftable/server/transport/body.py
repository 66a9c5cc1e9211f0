# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The body of an HTTP request, read piece by piece.

A WSGI server passes a body without the framing of HTTP, but its stream may not end with the body:
the application may have to stop after ``CONTENT_LENGTH``. Our own HTTP server decodes chunks with
:class:`Chunked`. This module decodes gzip for all servers. None of this holds more than a piece in
memory, so that neither a long body nor one that inflates to much more than itself costs any.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from dulwich.errors import HangupException

from ..errors import RefusedError

__all__ = ["Chunked", "Limited", "Read", "bounded", "decoded", "plain_reader"]

Read = Callable[[int], bytes]
"""Takes a number of bytes, and reads at most as many; nothing at the end."""

_PIECE = 1 << 16
# Proxies disagree where a line ends that a lone LF ends, so that is refused.
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(;[^\r\n]*)?\r\n")
_LONGEST_LINE = 4096
_MOST_TRAILERS = 100


class Limited(io.RawIOBase):
    """A stream that ends after a number of bytes.

    Args:
      stream: the stream below
      size: the number of bytes
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read.

        Raises:
          HangupException: if the stream ends too early
        """
        wanted = min(len(buffer), self._left)
        data = self._stream.read(wanted) if wanted else b""
        if wanted and not data:
            raise HangupException
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)


class Chunked(io.RawIOBase):
    """Decodes ``Transfer-Encoding: chunked`` (RFC 9112, section 7.1).

    Args:
      stream: the encoded body
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self._left = 0
        self._has_begun = self._has_ended = False

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read.

        Raises:
          RefusedError: if a chunk is malformed
          HangupException: if the stream ends too early
        """
        if not self._left and not self._has_ended:
            self._next_chunk()
        if self._has_ended:
            return 0
        data = self._stream.read1(min(len(buffer), self._left))
        if not data:
            raise HangupException
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)

    def _next_chunk(self) -> None:
        if self._has_begun and self._line() != b"\r\n":
            raise RefusedError("malformed chunk in the request")
        self._has_begun = True
        found = _CHUNK_SIZE.fullmatch(self._line())
        if found is None:
            raise RefusedError("malformed chunk in the request")
        self._left = int(found[1], 16)
        if self._left:
            return
        for _ in range(_MOST_TRAILERS):
            if self._line() == b"\r\n":
                self._has_ended = True
                return
        raise RefusedError("malformed chunk in the request")

    def _line(self) -> bytes:
        line = self._stream.readline(_LONGEST_LINE)
        if not line:
            raise HangupException
        if not line.endswith(b"\r\n"):
            raise RefusedError("malformed chunk in the request")
        return line


def plain_reader(environ: Mapping[str, Any]) -> Read:
    """Give a function that reads the body of a request to its end, still encoded.

    Args:
      environ: of WSGI
    """
    stream = environ["wsgi.input"]
    # A server that decodes chunks passes a stream that ends; not all of them say so.
    is_chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
    if environ.get("wsgi.input_terminated") or is_chunked:
        read: Read = stream.read
        return read
    length = environ.get("CONTENT_LENGTH", "")
    body = Limited(stream, int(length) if length.isdigit() else 0)
    return lambda size: body.read(size) or b""


def decoded(read: Read, encoding: str) -> Read:
    """Give a function that reads a body and decodes its content encoding.

    Args:
      read: reads the encoded body
      encoding: such as ``"gzip"``; empty for none
    Raises:
      ValueError: if the encoding is not gzip
    """
    encoding = encoding.strip().lower()
    if encoding in ("gzip", "x-gzip"):
        return _Gunzip(read).read
    if encoding not in ("", "identity"):
        raise ValueError(f"unknown content encoding {encoding[:40]!a}")
    return read


class _Gunzip:
    """Decompresses gzip.

    Args:
      read: reads the compressed data
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._inflater = zlib.decompressobj(wbits=31)

    def read(self, size: int) -> bytes:
        """Read at most a number of bytes.

        Raises:
          RefusedError: if the data is damaged, or ends too early
        """
        inflater = self._inflater
        while not inflater.eof:
            packed = inflater.unconsumed_tail or self._read(_PIECE)
            if not packed:
                raise RefusedError("the gzip data of the request ends too early")
            try:
                data = inflater.decompress(packed, size)
            except zlib.error as error:
                raise RefusedError("the gzip data of the request is damaged") from error
            if data:
                return data
        return b""


def bounded(read: Read, limit: int) -> Read:
    """Give a function that reads a request, and refuses one that is longer than a limit.

    Args:
      read: reads the request
      limit: in bytes
    """
    left = limit

    def read_some(size: int) -> bytes:
        nonlocal left
        data = read(size)
        left -= len(data)
        if left < 0:
            raise RefusedError(f"the request is larger than http.maxRequestBuffer, {limit} bytes")
        return data

    return read_some
