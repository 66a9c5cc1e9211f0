# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Pkt-lines: reading them one by one, and writing them in large pieces (``gitprotocol-common``).

dulwich reads a delimiter as a flush. Protocol version 2 needs to tell them apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum

from dulwich.errors import GitProtocolError, HangupException
from dulwich.protocol import Protocol

__all__ = [
    "DELIMITER",
    "FLUSH",
    "SIGN_OF_LIFE",
    "Mark",
    "WriteBuffer",
    "read_line",
    "read_packet",
]

FLUSH = b"0000"
DELIMITER = b"0001"
SIGN_OF_LIFE = b"0005\x01"
"""An empty packet of the side band for data."""

_SIZE = re.compile(rb"[0-9a-fA-F]{4}")
_PIECE = 1 << 16


class Mark(Enum):
    """A packet without a payload: a flush or a delimiter."""

    FLUSH = FLUSH
    DELIMITER = DELIMITER


def read_packet(proto: Protocol) -> bytes | Mark:
    """Read a packet.

    Returns: the payload of a line, or a mark
    Raises:
      HangupException: if the client has gone
      GitProtocolError: if the packet is malformed
    """
    digits = proto.read(4)
    if not digits:
        raise HangupException
    if digits in (FLUSH, DELIMITER):
        return Mark(digits)
    size = int(digits, 16) if _SIZE.fullmatch(digits) else 0
    if size < 4:
        raise GitProtocolError(f"invalid packet length {digits!r}")
    line = proto.read(size - 4) if size > 4 else b""
    if len(line) != size - 4:
        raise HangupException
    return line


def read_line(proto: Protocol) -> bytes | None:
    """Read a line without its newline; None if a mark comes instead."""
    line = read_packet(proto)
    return None if isinstance(line, Mark) else line.removesuffix(b"\n")


class WriteBuffer:
    """Collects bytes and writes them in pieces of at least 64 KiB.

    Args:
      write: takes the pieces
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> None:
        """Collect bytes; write all when there are enough."""
        self._parts.append(data)
        self._size += len(data)
        if self._size >= _PIECE:
            self.flush()

    def flush(self) -> None:
        """Write the rest."""
        if self._parts:
            self._write(b"".join(self._parts))
            self._parts = []
            self._size = 0
