# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Read many objects of a repository: which there are, their types, sizes and contents.

Packs on disk are read directly (:mod:`.pack_file`), those of alternates included, and so are the
types of loose objects. Everything else is asked of the object store: stores that are not on disk,
and whatever a broken pack does not give.

A type is told without reading the object, and for an object that does not exist, the directories of
packs are not listed again unless they have changed. :meth:`ObjectReader.tags_among` finds the few
tags among very many objects.
"""

from __future__ import annotations

import os
import time
from binascii import a2b_hex, b2a_hex
from collections.abc import Collection, Hashable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from dulwich.object_store import BaseObjectStore, DiskObjectStore
from dulwich.objects import ObjectID, Tag

from .loose import loose_objects, loose_type
from .pack_bitmap import PackBitmap
from .pack_file import BROKEN, PackFile
from .pack_index import by_first_byte

__all__ = ["ObjectReader", "RawObjects"]

_MAX_PACKS = 256
"""How many packs are read directly; the store answers for further ones."""
_MAX_NESTING = 5
"""How deep alternates of alternates are looked for, as in git."""
_JUST_NOW = 2_000_000_000
"""Nanoseconds within which two changes of a directory may leave it with the same time."""
_MANY_PAGES = 1 << 14
"""Objects looked at, each on a page of its own, after which the pages are dropped: 64 MiB."""
_LOOKS = 3
"""How often an object is looked for, because packs and files may change meanwhile."""
_WORTH_A_LIST = 8
"""Objects whose files cost as much to look for as to list their directory."""


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
        self._open()

    def _open(self) -> None:
        """Open the packs that there are."""
        self._disks = list(_disk_stores(self.store, _MAX_NESTING))
        self._seen = _PackNames(self._disks)
        # Whether an object that is not found here cannot be anywhere else.
        self._has_all = bool(self._disks) and all(
            type(disk).get_raw is DiskObjectStore.get_raw for disk in self._disks
        )
        for disk in self._disks:
            for pack in disk.packs:
                if len(self._packs) == _MAX_PACKS:
                    self._has_all = False
                    return
                try:
                    self._packs.append(PackFile(pack))
                except BROKEN:
                    self._has_all = False  # it has gone, or is broken

    @property
    def identity(self) -> Hashable | None:
        """Equal as long as there are the same packs; None if objects may be elsewhere."""
        return self._seen.identity if self._has_all else None

    def refresh(self) -> bool:
        """Open the packs anew if there are others by now; tell whether that was so."""
        if not self._disks or not self._seen.have_changed():
            return False
        self.close()
        self._open()
        return True

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
        self._disks, self._has_all = [], False
        for pack in packs:
            pack.close()

    def drop_caches(self) -> None:
        """Forget contents of objects and bitmaps; they are read again when somebody asks."""
        for pack in self._packs:
            pack.drop_caches()

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

    def find_all(
        self, oids: Iterable[bytes]
    ) -> tuple[dict[PackFile, dict[int, bytes]], list[bytes]]:
        """Find many objects in packs.

        Args:
          oids: binary object ids
        Returns: for each pack, ids by their offsets there; and the objects that no pack has
        """
        packs: dict[PackFile, dict[int, bytes]] = {}
        left = list(oids)
        for pack in self._packs:
            if not left:
                break
            try:
                found = pack.find_all(left)
            except BROKEN:
                continue
            if found:
                packs[pack] = {offset: oid for oid, offset in found.items()}
                left = [oid for oid in left if oid not in found]
        return packs, left

    def bitmap(self, most: int | None = None) -> tuple[PackFile, PackBitmap] | None:
        """Give a pack that has bitmaps, and these; None if there is none.

        Args:
          most: how many objects the pack may have; None for any number
        """
        for pack in self._packs:
            if (most is None or len(pack) <= most) and pack.bitmap is not None:
                return pack, pack.bitmap
        return None

    def in_order(self, oids: Iterable[bytes]) -> list[bytes]:
        """Put objects into the order of their places in packs, so that bases are read once.

        Args:
          oids: binary object ids
        """
        packs, others = self.find_all(oids)
        return [*others, *(found[at] for found in packs.values() for at in sorted(found))]

    def exists(self, oid: bytes) -> bool:
        """Tell whether an object exists.

        Args:
          oid: hex object id
        """
        if not self._disks:
            return ObjectID(oid) in self.store  # which need not read it
        return self.find(a2b_hex(oid)) is not None or self.type_of(oid) is not None

    def type_of(self, oid: bytes) -> int | None:
        """Give the type of an object.

        Args:
          oid: hex object id
        Returns: the number of the type; None if there is no such object
        """
        kind = self._kind(oid)
        if kind is None and self.refresh():
            kind = self._kind(oid)
        if kind or (kind is None and self._has_all):
            return kind
        try:
            return self.store.get_raw(ObjectID(oid))[0]
        except KeyError:
            return None

    def _kind(self, oid: bytes) -> int | None:
        """Look for an object in the packs and files that are known.

        Returns: the number of its type; 0 if only the store can tell; None if it is not there
        """
        found = self.find(a2b_hex(oid))
        if found is not None:
            try:
                return found[0].type_at(found[1])
            except BROKEN:
                return 0
        for disk in self._disks:
            kind = loose_type(disk, oid)
            if kind is not None:
                return kind
        return None

    def packed_among(self, oids: Collection[bytes]) -> dict[bytes, int]:
        """Find the objects that are in packs, among many.

        Args:
          oids: binary object ids, in any order
        Returns: by their binary ids, the numbers of the types of those that are in packs, or 0 if
          the type cannot be told; an object that is not there may exist outside of packs
        """
        types: dict[bytes, int] = {}
        left = oids
        for pack in self._packs:
            if not left:
                break
            try:
                found = pack.types_of(left)
            except BROKEN:
                continue
            types = {**types, **found} if types else found
            left = [oid for oid in left if oid not in found] if len(found) < len(left) else []
        return types

    def tags_among(self, oids: Iterable[bytes]) -> set[bytes]:
        """Find the annotated tags among many objects.

        Args:
          oids: hex object ids; one that does not exist is no tag
        Returns: hex object ids
        """
        return self.tags_and_missing(oids)[0]

    def tags_and_missing(self, oids: Iterable[bytes]) -> tuple[set[bytes], set[bytes]]:
        """Find, among many objects, the annotated tags and those that do not exist.

        Args:
          oids: hex object ids
        Returns: the hex ids of the former, and of the latter
        """
        self.refresh()
        tags: set[bytes] = set()
        missing: set[bytes] = set()
        looked_up = 0  # since pages were dropped
        is_large = False
        wanted = [*map(a2b_hex, oids)]
        # Many by the first byte, as indexes of packs are divided.
        groups = by_first_byte(wanted) if len(wanted) > _MANY_PAGES else iter(([*{*wanted}],))
        for some in groups:
            looked_up += len(some)
            types = self.packed_among(some)
            tags.update(b2a_hex(oid) for oid, kind in types.items() if kind == Tag.type_num)
            unknown = [oid for oid in some if not types.get(oid)]
            # Directories of loose objects are divided so, too.
            for oids_outside in by_first_byte(unknown) if unknown else ():
                self._look_outside(oids_outside, types, tags, missing)
            if looked_up >= _MANY_PAGES:
                self._drop_pages()
                looked_up, is_large = 0, True
        if is_large:
            self._drop_pages()
        return tags, missing

    def _look_outside(
        self, oids: list[bytes], types: dict[bytes, int], tags: set[bytes], missing: set[bytes]
    ) -> None:
        """Look for objects whose types packs do not tell; all ids begin with the same byte.

        Args:
          oids: binary object ids
          types: of objects in packs; 0 for one that cannot be told
          tags: hex ids of annotated tags; those found are added
          missing: hex ids of objects that do not exist; so are these
        """
        unknown = {b2a_hex(oid) for oid in oids}
        if len(unknown) >= _WORTH_A_LIST and self._has_all:
            prefix = b2a_hex(oids[0][:1])
            there = frozenset().union(*(loose_objects(disk, prefix) for disk in self._disks))
            nowhere = {oid for oid in unknown if not (oid in there or a2b_hex(oid) in types)}
            missing |= nowhere
            unknown -= nowhere
        for oid in unknown:
            kind = self.type_of(oid)
            if kind is None:
                missing.add(oid)
            elif kind == Tag.type_num:
                tags.add(oid)

    def _drop_pages(self) -> None:
        for pack in self._packs:
            with suppress(*BROKEN):
                pack.drop_pages()

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
        return len(self._read_from_store(oid)[1])

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
        return self._read_from_store(oid)

    def _read_from_store(self, oid: bytes) -> tuple[int, bytes]:
        for _ in range(_LOOKS - 1 if self._disks else 0):
            try:
                return self.store.get_raw(ObjectID(oid))
            except KeyError:
                # dulwich looks into packs first, then for a file. Meanwhile git may have put the
                # object from its file into a pack.
                continue
        return self.store.get_raw(ObjectID(oid))


class _PackNames:
    """The packs of some stores, to find out later whether there are others.

    The times of the directories tell, unless a directory had just changed: then a further change
    may not show in its time, and only a list of its files tells.

    Args:
      disks: the stores
    """

    def __init__(self, disks: Iterable[DiskObjectStore]) -> None:
        self._directories = [os.fspath(disk.pack_dir) for disk in disks]
        self._times = self._read_times()
        self._names = self._read_names()

    @property
    def identity(self) -> Hashable:
        """The directories, and the names that there were in each."""
        return tuple(self._directories), tuple(map(tuple, self._names))

    def have_changed(self) -> bool:
        """Tell whether there are other packs than before."""
        times = self._read_times()
        if times is not None and times == self._times:
            return False
        names = self._read_names()
        if names != self._names:
            return True
        self._times = times
        return False

    def _read_times(self) -> list[int] | None:
        """Give the times of all directories; None if one of them has just changed."""
        times = []
        for directory in self._directories:
            try:
                times.append(os.stat(directory).st_mtime_ns)
            except OSError:
                times.append(0)
        return None if max(times, default=0) > time.time_ns() - _JUST_NOW else times

    def _read_names(self) -> list[list[str]]:
        names = []
        for directory in self._directories:
            try:
                listed = os.listdir(directory)
            except OSError:
                listed = []
            names.append(sorted(name for name in listed if name.endswith(".idx")))
        return names


def _disk_stores(store: BaseObjectStore, nesting: int) -> Iterator[DiskObjectStore]:
    if isinstance(store, DiskObjectStore):
        yield store
        if nesting:
            for alternate in store.alternates:
                yield from _disk_stores(alternate, nesting - 1)
