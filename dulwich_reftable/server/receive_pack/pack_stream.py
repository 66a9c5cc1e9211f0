# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Read a pack from a connection, object by object, while it is written to a file.

Nothing is kept in memory but a buffer of what was received. An object is inflated in pieces, and no
further than to the size that its header announces; it is for the caller to keep the pieces or to
drop them. The format is git's (``Documentation/gitformat-pack``).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

from ..errors import PackError

__all__ = ["ObjectHeader", "PackStream", "entry_header", "inflate_at"]

_OFS_DELTA, _REF_DELTA = 6, 7
"""Types of pack entries that are deltas: by the offset and by the id of their base."""

_PIECE = 1 << 16
_TYPES = frozenset((1, 2, 3, 4, _OFS_DELTA, _REF_DELTA))
_MAX_HEADER = 12
_OVERHEAD = 64
"""How many bytes deflate may add, or a little more."""


class ObjectHeader(NamedTuple):
    """How an object of a pack begins.

    Attributes:
      offset: where, in bytes
      type_num: 1 to 4 as in dulwich, or a kind of delta
      size: of what follows, inflated; of the instructions if it is a delta
      base: of a delta: the offset or the binary id of what it is made from
    """

    offset: int
    type_num: int
    size: int
    base: int | bytes | None


class PackStream:
    """A pack that is being received.

    Args:
      read_some: gives up to so many bytes; nothing at the end
      file: takes the pack
      hash_func: of the repository's object format
      id_length: bytes of an object id
      limit: how many bytes are read at most; None for any number

    Attributes:
      is_kept: whether it is written to the file
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
        """Read how the next object begins; :meth:`inflate` has to follow."""
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
        """Give the data of an object in pieces.

        Args:
          size: how many bytes the header announced
        Raises:
          PackError: if it is another number
        """
        inflater = zlib.decompressobj()
        left = size
        is_full = False
        while not inflater.eof:
            if self._at == len(self._buffer) and not is_full:
                self._fill()
            # Hardly anything needs more than its own size.
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
        """How many bytes of the pack were parsed."""
        return self._start + self._at

    @property
    def crc32(self) -> int:
        """The checksum of the bytes of the last object, as it stands in an index."""
        self._settle()
        return self._crc

    def trailer(self) -> bytes:
        """Read the pack's checksum, which is the last of it, and compare it."""
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
        """Hash and write what was parsed since the last time."""
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
    """Give again the data of an object of a pack that was received.

    Args:
      read_at: reads so many bytes, at an offset
      offset: where the data begins, behind the object's header
      size: how many bytes it has
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
    """Give how an object that is no delta begins in a pack.

    Args:
      type_num: its type
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
