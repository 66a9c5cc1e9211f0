# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The types of many objects, without reading the objects.

To list refs is to ask of each whether its object is there, and whether that is a tag. dulwich
answers the second question by inflating the object. But the type of a packed object stands in the
first byte of its entry; for a delta, in that of the object that its chain of bases ends with. So
packs are looked into here. Whatever is not found that way is asked of the object store: loose
objects, those of alternates, and those of stores without packs on disk.
"""

from __future__ import annotations

from binascii import a2b_hex
from mmap import ACCESS_READ, mmap

from dulwich.object_store import BaseObjectStore, DiskObjectStore
from dulwich.objects import ObjectID, RawObjectID
from dulwich.pack import OFS_DELTA, REF_DELTA, FilePackIndex, Pack, PackFileDisappeared

__all__ = ["ObjectTypes"]

_LONGEST_CHAIN = 4096
"""How many bases are followed; git makes chains of 50, and at most of 4095."""
_MAX_PACKS = 256
"""How many packs are looked into; more of them are rather asked of the store."""


class ObjectTypes:
    """Tells which objects are there, and of which type they are.

    Args:
      store: the objects
    """

    def __init__(self, store: BaseObjectStore) -> None:
        self._store = store
        packs = store.packs if isinstance(store, DiskObjectStore) else []
        self._packs = [_PackTypes(pack) for pack in packs[:_MAX_PACKS]]

    def exists(self, oid: bytes) -> bool:
        """Tell whether an object is there.

        Args:
          oid: hex object id
        """
        return self._packed_type(oid) is not None or ObjectID(oid) in self._store

    def type_of(self, oid: bytes) -> int | None:
        """Give the type of an object.

        Args:
          oid: hex object id
        Returns: the number of the type; None if there is no such object
        """
        kind = self._packed_type(oid)
        if kind is None:
            try:
                kind = self._store.get_raw(ObjectID(oid))[0]
            except KeyError:
                return None
        return kind

    def _packed_type(self, oid: bytes) -> int | None:
        object_id = RawObjectID(a2b_hex(oid))
        for place, pack in enumerate(self._packs):
            try:
                kind = pack.type_of(object_id)
            except (KeyError, IndexError, ValueError, OSError, PackFileDisappeared):
                continue  # not in it; or it is broken, or gone
            if place:
                # Refs that stand together are often of objects that came together.
                self._packs.insert(0, self._packs.pop(place))
            return kind
        return None


class _PackTypes:
    """The types of the objects in one pack.

    Args:
      pack: a pack on disk
    """

    def __init__(self, pack: Pack) -> None:
        # Not the pack itself: it opens its files again after they were closed.
        self._index = _index_of(pack)
        self._bytes: mmap | None = None

    def type_of(self, object_id: RawObjectID) -> int:
        """Give the type of an object.

        Raises:
          KeyError: if it is not in the pack
          IndexError, ValueError, OSError, PackFileDisappeared: if the pack is broken, closed or
            gone
        """
        index = self._index
        if index is None:
            raise KeyError(object_id)
        offset = index.object_offset(object_id)
        if self._bytes is None:
            with open(index.path.removesuffix(".idx") + ".pack", "rb") as file:
                self._bytes = mmap(file.fileno(), 0, access=ACCESS_READ)
        data = self._bytes
        for _ in range(_LONGEST_CHAIN):
            kind = data[offset] >> 4 & 7
            if kind not in (OFS_DELTA, REF_DELTA):
                return kind
            at = offset
            while data[at] & 0x80:
                at += 1
            at += 1
            if kind == OFS_DELTA:
                distance = data[at] & 0x7F
                while data[at] & 0x80:
                    at += 1
                    distance = (distance + 1) << 7 | data[at] & 0x7F
                if not 0 < distance < offset:
                    break
                offset -= distance
            else:
                base = data[at : at + len(object_id)]
                offset = index.object_offset(RawObjectID(base))
        raise ValueError("no base that is no delta")


def _index_of(pack: Pack) -> FilePackIndex | None:
    """Give the index of a pack, if it is a file that is still there."""
    try:
        index = pack.index
    except (OSError, PackFileDisappeared):
        return None
    return index if isinstance(index, FilePackIndex) else None
