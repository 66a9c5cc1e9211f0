# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The index of a pack in a bucket, which also knows the order of objects in the pack.

An object is read by one range, so its end has to be known before it is read. The end is where the
next object begins. dulwich's index does not have that order. It also owns the file that it reads,
and closes the mapping with it; a mapping of the cache belongs to nobody.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from struct import unpack_from

from dulwich.objects import RawObjectID

from ..engine.format.layout import Buffer
from ..objects.pack_index import PackIndex

__all__ = ["OrderedPackIndex"]

_PACK_HEADER = 12
"""Bytes of a pack before its first object."""


class OrderedPackIndex(PackIndex):
    """Where the objects of a pack begin and end.

    Args:
      buffer: the index; its checksum has been verified
      pack_size: bytes of the pack
      hash_size: bytes of an object id, and of the checksums
    Raises:
      ValueError: if it is no index in version 2
    """

    def __init__(self, buffer: Buffer, pack_size: int, hash_size: int) -> None:
        super().__init__(buffer, hash_size)
        self._end = pack_size - hash_size
        if (len(buffer) - 2 * hash_size - self._large_offsets) % 8:
            raise ValueError("its size does not fit what it says it holds")
        self.pack_checksum = buffer[-2 * hash_size : -hash_size]

    def oids(self, prefix: bytes = b"") -> Iterator[RawObjectID]:
        """Give the binary ids of objects, sorted.

        Args:
          prefix: their first bytes
        """
        place = self._first(prefix) if prefix else 0
        while place < len(self) and (oid := self._name(place)).startswith(prefix):
            yield RawObjectID(oid)
            place += 1

    # In the order of the pack

    @cached_property
    def _order(self) -> tuple[array[int], array[int]]:
        """The offsets of all objects in order, and the place of each in the index."""
        offsets = array("Q", map(self._offset, range(len(self))))
        places = array("Q", sorted(range(len(self)), key=offsets.__getitem__))
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
        return RawObjectID(self._name(self._order[1][self._rank(offset)]))

    def crc32_at(self, offset: int) -> int:
        """Give the CRC-32 of the bytes of the object at an offset.

        Raises:
          ValueError: if none begins there, or if the offsets are not sound
        """
        at = self._crcs + 4 * self._order[1][self._rank(offset)]
        (crc32,) = unpack_from(">L", self._data[at : at + 4])
        return int(crc32)
