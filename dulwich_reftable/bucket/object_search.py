# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Find objects in the packs of a bucket.

Packs are asked one after another, the one that was of use last first: neighbouring objects are
often in the same one. A look at an index takes some microseconds, and no request once the index is
in the cache, so there is no common index of all packs. Indexes that are not there yet are fetched
side by side. What is in no pack is looked for once more if the packs were listed too long ago, or
if others have changed refs since.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

from dulwich.errors import ChecksumMismatch
from dulwich.objects import RawObjectID, sha_to_hex

from .errors import MissingObjectError
from .pack_list import PackList
from .packs import StoredPack

__all__ = ["ObjectSearch"]

_LOOKS = 4
"""How often an object is looked for, if packs vanish meanwhile."""

_T = TypeVar("_T")


class ObjectSearch:
    """Finds objects by their binary ids. Threads may share it.

    Args:
      pack_list: knows the packs
    """

    def __init__(self, pack_list: PackList) -> None:
        self._packs = pack_list

    def find(self, oid: RawObjectID, use: Callable[[StoredPack, int], _T]) -> _T:
        """Call a function with the pack that has an object, and with its offset there.

        If it finds the pack damaged or gone, the next pack that has the object is tried.

        Raises:
          KeyError: if there is no such object
          ChecksumMismatch: if what is there is damaged
        """
        problem: ChecksumMismatch | MissingObjectError | None = None
        for _ in range(_LOOKS):
            is_gone = False
            packs = self._packs.trusted()
            for at, pack in enumerate(packs):
                try:
                    if at and not pack.has_index:
                        self._packs.read_indexes(packs)
                    offset = pack.offset_of(oid)
                    if offset is None:
                        continue
                    found = use(pack, offset)
                except MissingObjectError as error:
                    is_gone = True
                    problem = problem or error
                    continue
                except ChecksumMismatch as error:
                    problem = error
                    continue
                self._packs.prefer(pack)
                return found
            if not is_gone and not self._packs.is_outdated():
                break
            if not self._packs.refresh():
                break
            if isinstance(problem, MissingObjectError):
                problem = None
        if problem is not None:
            raise problem
        raise KeyError(sha_to_hex(oid))

    def is_in_use(self, oid: RawObjectID) -> bool:
        """Tell whether an object is in a pack that is not retired."""
        packs = [pack for pack in self._packs.trusted() if pack.retired is None]
        return any(pack.offset_of(oid) is not None for pack in packs)

    def oids(self) -> Iterator[RawObjectID]:
        """Iterate over the ids of all objects; an object of several packs comes several times."""
        self._packs.refresh()
        for pack in self._packs.known():
            yield from pack.index.oids()

    def oids_with_prefix(self, prefix: bytes) -> Iterator[RawObjectID]:
        """Iterate over the ids that begin with some bytes; one may come several times."""
        if self._packs.is_outdated():
            self._packs.refresh()
        for pack in self._packs.known():
            yield from pack.index.oids(prefix)

    def locate(
        self, oids: Collection[RawObjectID]
    ) -> tuple[list[tuple[StoredPack, dict[int, RawObjectID]]], list[RawObjectID]]:
        """Find the packs of many objects; gives them with offsets, and what was not found.

        One order of packs is kept throughout: as each pack has the bases of its deltas, no delta
        can come from one pack and that of its base, which may build on it, from another.
        """
        todo = {*oids}
        found: dict[StoredPack, dict[int, RawObjectID]] = {}
        for is_last in (False, True):
            packs = self._packs.trusted()
            self._packs.read_indexes(packs)
            for pack in packs:
                try:
                    here = {oid: offset for oid in todo if (offset := pack.offset_of(oid))}
                except (ChecksumMismatch, MissingObjectError):
                    continue  # whoever reads the objects is told
                found.setdefault(pack, {}).update((at, oid) for oid, at in here.items())
                todo -= here.keys()
            if is_last or not todo or not self._packs.is_outdated():
                break
            self._packs.refresh()
        return list(found.items()), sorted(todo)
