# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Read the index of a pack, version 2, in a buffer.

dulwich's indexes own the file that they read, and close the mapping with it. A mapping of the cache
belongs to nobody. The order of objects in the pack, which is needed to read an object by one range,
is not in dulwich's either. The format is git's (``Documentation/gitformat-pack``).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from struct import Struct, unpack_from

from dulwich.objects import RawObjectID

from ..engine.format.layout import Buffer

__all__ = ["PackIndex"]

_MAGIC = b"\xfftOc\0\0\0\2"
_FANOUT = Struct(">256L")
_NAMES = len(_MAGIC) + _FANOUT.size
_LARGE = 1 << 31
_PACK_HEADER = 12
"""Bytes of a pack before its first object."""


class PackIndex:
    """Where the objects of a pack are.

    Args:
      buffer: the index; its checksum has been verified
      pack_size: bytes of the pack
      id_length: bytes of an object id, and of the checksums
    Raises:
      ValueError: if it is no index in version 2
    """

    def __init__(self, buffer: Buffer, pack_size: int, id_length: int) -> None:
        if buffer[: len(_MAGIC)] != _MAGIC or len(buffer) < _NAMES:
            raise ValueError("not an index of a pack in version 2")
        self._buffer = buffer
        self._id_length = id_length
        self._fanout: tuple[int, ...] = _FANOUT.unpack(buffer[len(_MAGIC) : _NAMES])
        self._count = count = self._fanout[-1]
        self._crcs = _NAMES + id_length * count
        self._offsets = self._crcs + 4 * count
        self._large = self._offsets + 4 * count
        self._end = pack_size - id_length
        large, rest = divmod(len(buffer) - 2 * id_length - self._large, 8)
        if large < 0 or rest or any(a > b for a, b in pairwise(self._fanout)):
            raise ValueError("its size does not fit what it says it holds")
        self.pack_checksum = buffer[-2 * id_length : -id_length]

    def __len__(self) -> int:
        return self._count

    def _oid(self, place: int) -> bytes:
        at = _NAMES + place * self._id_length
        return self._buffer[at : at + self._id_length]

    def _offset(self, place: int) -> int:
        at = self._offsets + 4 * place
        offset = int.from_bytes(self._buffer[at : at + 4], "big")
        if offset & _LARGE:
            at = self._large + 8 * (offset - _LARGE)
            offset = int.from_bytes(self._buffer[at : at + 8], "big")
        return offset

    def _first(self, oid: bytes) -> int:
        """Find the place of the first object that is not before an id."""
        low = self._fanout[oid[0] - 1] if oid[0] else 0
        high = self._fanout[oid[0]]
        while low < high:
            middle = (low + high) // 2
            if self._oid(middle) < oid:
                low = middle + 1
            else:
                high = middle
        return low

    def offset_of(self, oid: bytes) -> int | None:
        """Find an object.

        Args:
          oid: its binary id
        Returns: its offset in the pack; None if it is not there
        """
        place = self._first(oid)
        if place < self._count and self._oid(place) == oid:
            return self._offset(place)
        return None

    def oids(self, prefix: bytes = b"") -> Iterator[RawObjectID]:
        """Give the binary ids of objects, sorted.

        Args:
          prefix: their first bytes
        """
        place = self._first(prefix) if prefix else 0
        while place < self._count and (oid := self._oid(place)).startswith(prefix):
            yield RawObjectID(oid)
            place += 1

    # In the order of the pack

    @cached_property
    def _order(self) -> tuple[array[int], array[int]]:
        """The offsets of all objects in order, and the place of each in the index."""
        offsets = array("Q", map(self._offset, range(self._count)))
        places = array("Q", sorted(range(self._count), key=offsets.__getitem__))
        ordered = array("Q", (offsets[place] for place in places))
        bounds = [_PACK_HEADER - 1, *ordered, self._end]
        if any(before >= after for before, after in pairwise(bounds)):
            raise ValueError("its offsets are not in the pack, or twice the same")
        return ordered, places

    def _rank(self, offset: int) -> int:
        ordered = self._order[0]
        rank = bisect_left(ordered, offset)
        if rank == len(ordered) or ordered[rank] != offset:
            raise ValueError(f"no object begins at {offset}")
        return rank

    def end_of(self, offset: int) -> int:
        """Give the offset where an object ends.

        Args:
          offset: where it begins
        Raises:
          ValueError: if none begins there, or if the offsets are not sound
        """
        rank = self._rank(offset) + 1
        ordered = self._order[0]
        return ordered[rank] if rank < len(ordered) else self._end

    def oid_at(self, offset: int) -> RawObjectID:
        """Give the binary id of the object at an offset.

        Raises:
          ValueError: if none begins there, or if the offsets are not sound
        """
        return RawObjectID(self._oid(self._order[1][self._rank(offset)]))

    def crc32_at(self, offset: int) -> int:
        """Give the CRC-32 of the bytes of the object at an offset.

        Raises:
          ValueError: if none begins there, or if the offsets are not sound
        """
        at = self._crcs + 4 * self._order[1][self._rank(offset)]
        (crc32,) = unpack_from(">L", self._buffer[at : at + 4])
        return int(crc32)
