# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Read a pack from a connection, object by object, and write it to a file at the same time.

Memory holds only a buffer of received bytes. An object is inflated in pieces, up to the size that
its header announces. The caller keeps or drops the pieces. The format is git's
(``Documentation/gitformat-pack``).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

from ..errors import PackError

__all__ = ["ObjectHeader", "PackStream", "entry_header", "inflate_at"]

_OFS_DELTA, _REF_DELTA = 6, 7
"""Types of deltas: with the offset and with the id of the base."""

_PIECE = 1 << 16
_TYPES = frozenset((1, 2, 3, 4, _OFS_DELTA, _REF_DELTA))
_MAX_HEADER = 12
_OVERHEAD = 64
"""An upper bound of the bytes that deflate adds to a small object."""


class ObjectHeader(NamedTuple):
    """The header of an object in a pack.

    Attributes:
      offset: of the header in the pack, in bytes
      type_num: 1 to 4 as in dulwich, or a type of delta
      size: inflated size of the data that follows: the object, or the instructions of a delta
      base: offset or binary id of the base of a delta; None if it is no delta
    """

    offset: int
    type_num: int
    size: int
    base: int | bytes | None


class PackStream:
    """Reads a pack from its sender.

    Args:
      read_some: takes a number of bytes, and reads at most as many; nothing at the end
      file: the pack is written to it
      hash_func: of the repository's object format
      id_length: bytes of an object id
      limit: the most bytes that are read; None for no limit

    Attributes:
      is_kept: whether the pack is written to the file
    """

    def __init__(
        self,
        read_some: Callable[[int], bytes],
        file: IO[bytes],
        hash_func: Callable[[], Any],
        id_length: int,
        limit: int | None,
    ) -> None:
        self._read_some = read_some
        self._file = file
        self._hash = hash_func()
        self._id_length = id_length
        self._limit = limit
        self._received = 0
        self._buffer = b""
        self._start = self._at = self._settled = 0
        self._crc = 0
        self.is_kept = True

    def header(self) -> int:
        """Read the pack's header; gives the number of objects."""
        raw = self._read(12)
        if raw[:4] != b"PACK":
            raise PackError("this is not a pack")
        if raw[4:8] not in (b"\0\0\0\2", b"\0\0\0\3"):
            raise PackError("the pack has an unknown version")
        return int.from_bytes(raw[8:], "big")

    def object_header(self) -> ObjectHeader:
        """Read the header of the next object; :meth:`inflate` has to follow."""
        self._settle()
        self._crc = 0
        offset = self.offset
        byte = self._byte()
        type_num, size, shift = (byte >> 4) & 7, byte & 15, 4
        while byte & 0x80:
            if shift > 7 * _MAX_HEADER:
                raise PackError(f"the object at {offset} announces an impossible size")
            byte = self._byte()
            size |= (byte & 0x7F) << shift
            shift += 7
        if type_num not in _TYPES:
            raise PackError(f"the object at {offset} has an unknown type")
        base: int | bytes | None = None
        if type_num == _REF_DELTA:
            base = self._read(self._id_length)
        elif type_num == _OFS_DELTA:
            byte = self._byte()
            back = byte & 0x7F
            while byte & 0x80:
                if back >= 1 << 57:
                    raise PackError(f"the delta at {offset} has an impossible base")
                byte = self._byte()
                back = ((back + 1) << 7) | (byte & 0x7F)
            base = offset - back
        return ObjectHeader(offset, type_num, size, base)

    def inflate(self, size: int) -> Iterator[bytes]:
        """Read the data of an object in pieces.

        Args:
          size: as the header announces it, in bytes
        Raises:
          PackError: if the data has another size
        """
        inflater = zlib.decompressobj()
        left = size
        is_full = False
        while not inflater.eof:
            if self._at == len(self._buffer) and not is_full:
                self._fill()
            # Compressed data is hardly ever larger than the data itself.
            fed = self._buffer[self._at : self._at + left + _OVERHEAD]
            try:
                piece = inflater.decompress(fed, _PIECE)
            except zlib.error as error:
                raise PackError(f"the pack is broken near {self.offset}: {error}") from None
            rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            self._at += len(fed) - len(rest)
            is_full = len(piece) == _PIECE
            left -= len(piece)
            if left < 0:
                break
            if piece:
                yield piece
        if left:
            raise PackError(
                f"the object that ends near {self.offset} has not the size it announces"
            )

    @property
    def offset(self) -> int:
        """Bytes of the pack that were parsed."""
        return self._start + self._at

    @property
    def crc32(self) -> int:
        """The CRC-32 of the last object's bytes, for the index."""
        self._settle()
        return self._crc

    def trailer(self) -> bytes:
        """Read and verify the checksum at the end of the pack."""
        self._settle()
        expected = self._hash.digest()
        found = self._read(len(expected))
        if found != expected:
            raise PackError("the pack's checksum is wrong")
        self._settle()
        return found

    def _fill(self) -> None:
        self._settle()
        data = self._read_some(_PIECE)
        if not data:
            raise PackError("the pack ends early")
        self._received += len(data)
        if self._limit is not None and self._received > self._limit:
            raise PackError(f"the pack exceeds the maximum input size of {self._limit} bytes")
        self._start += self._at
        self._buffer = self._buffer[self._at :] + data
        self._at = self._settled = 0

    def _settle(self) -> None:
        """Hash and write the bytes that were parsed since the last call."""
        taken = self._buffer[self._settled : self._at]
        self._settled = self._at
        self._crc = zlib.crc32(taken, self._crc)
        self._hash.update(taken)
        if self.is_kept:
            self._file.write(taken)

    def _byte(self) -> int:
        if self._at == len(self._buffer):
            self._fill()
        byte = self._buffer[self._at]
        self._at += 1
        return byte

    def _read(self, size: int) -> bytes:
        while len(self._buffer) - self._at < size:
            self._fill()
        data = self._buffer[self._at : self._at + size]
        self._at += size
        return data


def inflate_at(read_at: Callable[[int, int], bytes], offset: int, size: int) -> Iterator[bytes]:
    """Inflate an object of a pack that was received.

    Args:
      read_at: takes a number of bytes and an offset, and reads there
      offset: of the data, after the object's header
      size: of the inflated data, in bytes
    """
    inflater = zlib.decompressobj()
    while size > 0:
        fed = inflater.unconsumed_tail
        if not fed:
            fed = read_at(min(_PIECE, size + 64), offset)
            offset += len(fed)
        piece = inflater.decompress(fed, _PIECE)
        if not piece and not fed:
            raise PackError("a pack ends early that was complete")
        size -= len(piece)
        if piece:
            yield piece


def entry_header(type_num: int, size: int) -> bytes:
    """Encode the header of an object in a pack that is no delta.

    Args:
      type_num: type of the object
      size: of its content, in bytes
    """
    head = bytearray()
    byte = (type_num << 4) | (size & 15)
    size >>= 4
    while size:
        head.append(byte | 0x80)
        byte = size & 0x7F
        size >>= 7
    head.append(byte)
    return bytes(head)
