# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Read many objects of a repository: which there are, their types, sizes and contents.

Packs on disk are read directly (:mod:`.pack_file`), those of alternates included. Everything else
is asked of the object store: loose objects, packs that came later, stores without packs on disk,
and whatever a broken pack does not give.
"""

from __future__ import annotations

from binascii import a2b_hex
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Protocol

from dulwich.object_store import BaseObjectStore, DiskObjectStore
from dulwich.objects import ObjectID

from .pack_file import BROKEN, PackFile

__all__ = ["ObjectReader", "RawObjects"]

_MAX_PACKS = 256
"""How many packs are read directly; the store answers for further ones."""
_MAX_NESTING = 5
"""How deep alternates of alternates are looked for, as in git."""


class RawObjects(Protocol):
    """What gives contents of objects: a store of dulwich, or an :class:`ObjectReader`."""

    def get_raw(self, oid: ObjectID, /) -> tuple[int, bytes]:
        """Read an object; gives the number of its type, and its content."""


class ObjectReader:
    """Reads objects; use it as a context manager, or close it.

    Args:
      store: the objects
    """

    def __init__(self, store: BaseObjectStore) -> None:
        self.store = store
        self._packs: list[PackFile] = []
        for stored in _disk_stores(store, _MAX_NESTING):
            for pack in stored.packs:
                if len(self._packs) == _MAX_PACKS:
                    return
                try:
                    self._packs.append(PackFile(pack))
                except BROKEN:
                    continue  # it has gone

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the packs; the store stays open, and is asked from now on."""
        packs, self._packs = self._packs, []
        for pack in packs:
            pack.close()

    def find(self, oid: bytes) -> tuple[PackFile, int] | None:
        """Find an object in a pack.

        Args:
          oid: binary object id
        Returns: the pack, and the offset there; None if no pack that is read directly has it
        """
        for place, pack in enumerate(self._packs):
            try:
                offset = pack.find(oid)
            except BROKEN:
                continue
            if place:
                # Objects that belong together are often in one pack.
                self._packs.insert(0, self._packs.pop(place))
            return pack, offset
        return None

    def in_order(self, oids: Iterable[bytes]) -> list[bytes]:
        """Put objects into the order of their places in packs, so that bases are read once.

        Args:
          oids: binary object ids
        """
        packs: dict[PackFile, int] = {}

        def place(oid: bytes) -> tuple[int, int]:
            found = self.find(oid)
            return (-1, 0) if found is None else (packs.setdefault(found[0], len(packs)), found[1])

        return sorted(oids, key=place)

    def exists(self, oid: bytes) -> bool:
        """Tell whether an object exists.

        Args:
          oid: hex object id
        """
        return self.find(a2b_hex(oid)) is not None or ObjectID(oid) in self.store

    def type_of(self, oid: bytes) -> int | None:
        """Give the type of an object.

        Args:
          oid: hex object id
        Returns: the number of the type; None if there is no such object
        """
        found = self.find(a2b_hex(oid))
        if found is not None:
            try:
                return found[0].type_at(found[1])
            except BROKEN:
                pass
        try:
            return self.store.get_raw(ObjectID(oid))[0]
        except KeyError:
            return None

    def size_of(self, oid: bytes) -> int:
        """Give the size of an object in bytes.

        Args:
          oid: hex object id
        Raises:
          KeyError: if there is no such object
        """
        found = self.find(a2b_hex(oid))
        if found is not None:
            try:
                return found[0].size_at(found[1])
            except BROKEN:
                pass
        return len(self.store.get_raw(ObjectID(oid))[1])

    def get_raw(self, oid: bytes) -> tuple[int, bytes]:
        """Read an object.

        Args:
          oid: hex object id
        Returns: number of its type, and its content
        Raises:
          KeyError: if there is no such object
        """
        found = self.find(a2b_hex(oid))
        if found is not None:
            try:
                return found[0].read(found[1])
            except BROKEN:
                pass
        return self.store.get_raw(ObjectID(oid))


def _disk_stores(store: BaseObjectStore, nesting: int) -> Iterator[DiskObjectStore]:
    if isinstance(store, DiskObjectStore):
        yield store
        if nesting:
            for alternate in store.alternates:
                yield from _disk_stores(alternate, nesting - 1)
