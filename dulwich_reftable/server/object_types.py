# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Find the types of many objects without reading the objects.

A list of refs needs to know of each object whether it exists and whether it is a tag. dulwich
inflates the object to learn its type. But a packed object has its type in the first byte of its
entry; the type of a delta is that of the last base of its chain. So this module reads packs
directly. It asks the object store for all other objects: loose ones, those of alternates, and those
of stores without packs on disk.
"""

from __future__ import annotations

from binascii import a2b_hex
from mmap import ACCESS_READ, mmap

from dulwich.object_store import BaseObjectStore, DiskObjectStore
from dulwich.objects import ObjectID, RawObjectID
from dulwich.pack import OFS_DELTA, REF_DELTA, FilePackIndex, Pack, PackFileDisappeared

__all__ = ["ObjectTypes"]

_LONGEST_CHAIN = 4096
"""How many bases are followed; git makes chains of 50 by default, and of at most 4095."""
_MAX_PACKS = 256
"""How many packs are read directly; the store answers for further ones."""


class ObjectTypes:
    """Tells which objects exist, and their types.

    Args:
      store: the objects
    """

    def __init__(self, store: BaseObjectStore) -> None:
        self._store = store
        packs = store.packs if isinstance(store, DiskObjectStore) else []
        self._packs = [_PackTypes(pack) for pack in packs[:_MAX_PACKS]]

    def exists(self, oid: bytes) -> bool:
        """Tell whether an object exists.

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
                continue  # the pack does not have the object, is broken, or has gone
            if place:
                # Neighbouring refs often point to objects of the same pack.
                self._packs.insert(0, self._packs.pop(place))
            return kind
        return None


class _PackTypes:
    """The types of the objects in one pack.

    Args:
      pack: a pack on disk
    """

    def __init__(self, pack: Pack) -> None:
        # Do not keep the pack: it would open its files again after they were closed.
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
