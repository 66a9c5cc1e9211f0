# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What a pack will be made of: for each object, where it lies.

To select objects takes memory, and to send them takes time: the client may be slow, and there may
be many clients. So a plan keeps little, some thirty bytes for an object. Whatever the selection
needed can be dropped before sending begins.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection

from ...objects.pack_file import BROKEN, PackFile
from ...objects.reader import ObjectReader

__all__ = ["PackPart", "PackPlan"]


class PackPart:
    """The entries that are copied from one pack.

    Args:
      pack: the pack
      entries: offsets of the entries, with their binary object ids
      bases: binary ids of objects that the client has

    Attributes:
      pack: the pack
      is_whole: whether these are all entries of the pack
      offsets: of the entries, in their order
    """

    def __init__(self, pack: PackFile, entries: dict[int, bytes], bases: Collection[bytes]) -> None:
        self.pack = pack
        self.offsets = array("Q", sorted(entries))
        # What lies between the header and the first entry, if anything does, is no entry.
        self.is_whole = len(entries) == len(pack) and self.offsets[0] == pack.body.start
        self._ids = b"".join(map(entries.__getitem__, self.offsets))
        self._id_size = len(self._ids) // len(entries)
        self._bases: dict[int, bytes] = {}
        for oid in () if self.is_whole else bases:
            try:
                self._bases[pack.find(oid)] = oid
            except BROKEN:
                continue

    def has(self, offset: int) -> bool:
        """Tell whether the entry at an offset is one of these."""
        place = bisect_left(self.offsets, offset)
        return place < len(self.offsets) and self.offsets[place] == offset

    def oid(self, offset: int) -> bytes:
        """Give the binary id of one of the entries, by its offset."""
        start = bisect_left(self.offsets, offset) * self._id_size
        return self._ids[start : start + self._id_size]

    def base(self, offset: int) -> bytes | None:
        """Give the binary id of the client's object at an offset; None if there is none."""
        return self._bases.get(offset)


class PackPlan:
    """The parts of a pack.

    Args:
      objects: reads the objects
      oids: binary ids of the objects to send
      bases: binary ids of objects that the client has; deltas of them may be sent

    Attributes:
      count: how many objects the pack will have
      parts: what is copied from packs
      others: binary ids of objects that are in no pack
    """

    def __init__(
        self, objects: ObjectReader, oids: Collection[bytes], bases: Collection[bytes] = ()
    ) -> None:
        self.count = len(oids)
        packs, self.others = objects.find_all(oids)
        self.parts = [PackPart(pack, entries, bases) for pack, entries in packs.items()]
