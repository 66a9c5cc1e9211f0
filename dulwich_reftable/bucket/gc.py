# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Merge packs, and remove what nothing needs: safe beside readers, pushers and other runs.

There is no lock. Nothing is removed before a *grace period* has passed, which has to be longer than
the longest fetch or push by at least the minutes for which a listing is used
(:data:`.pack_list.TRUSTED_FOR`). All times are the store's own.

1. The refs and reflogs are read, then the packs are listed. What they reach is *needed*.
2. A pack that holds anything else stays as it is while it is younger than the grace period: the
   push it belongs to may not have written its refs yet.
3. Of the other packs, a few large ones stay, as in git's geometric repacking. All that is needed
   and not in a pack that stays is copied to a new pack, and uploaded.
4. The packs that are not needed any more are *retired*: each gets a mark. Requests that know them
   go on reading. New objects are uploaded again even if a retired pack has them.
5. Packs whose mark is older than the grace period are removed: the index, the pack, the mark. Since
   step 3 also copies what only a retired pack has, an object that a late ref has made needed again
   is saved in time. The refs are read once more before, for the last ones.

A run that dies leaves at worst a pack without an index, packs that hold the same objects, or a mark
without its pack. The next run sees to them.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from dulwich.gc import DEFAULT_GC_PRUNE_EXPIRE
from dulwich.objects import (
    S_ISGITLINK,
    Blob,
    Commit,
    ObjectID,
    RawObjectID,
    ShaFile,
    Tag,
    Tree,
    hex_to_sha,
    sha_to_hex,
)
from dulwich.pack import generate_unpacked_objects
from dulwich.refs import RefsContainer

from ..engine.errors import ReftableError
from ..refs.container import ReftableRefsContainer
from ..refs.reader import RefsReader
from .client import Bucket
from .object_store import BucketObjectStore
from .pack_name import PackName
from .packs import StoredPack

__all__ = ["GRACE", "IncompleteRepositoryError", "Report", "collect_garbage", "read_clock"]

GRACE = float(DEFAULT_GC_PRUNE_EXPIRE)
"""Seconds for which nothing is removed by default: two weeks, as in git."""

_CLOCK = "objects/clock"
_ORDER = (Commit.type_num, Tag.type_num, Tree.type_num, Blob.type_num)
"""The order of objects in a pack, by their types."""
_FACTOR = 2
"""A pack stays if it holds at least so many times the objects of all smaller ones together."""


class IncompleteRepositoryError(ReftableError):
    """An object that a ref reaches is missing; nothing was removed.

    Attributes:
      oid: its hex id
    """

    def __init__(self, location: str, oid: ObjectID) -> None:
        super().__init__(f"{location}: object {oid.decode()} is missing; gc removes nothing")
        self.oid = oid


@dataclass
class Report:
    """What a run did.

    Attributes:
      kept: objects that are needed
      copied: how many of them are in the new pack
      packs: names of the packs in use afterwards
      retired: names of packs that were retired
      removed: names of packs that were removed
    """

    kept: int = 0
    copied: int = 0
    packs: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def collect_garbage(
    store: BucketObjectStore,
    refs: RefsContainer,
    *,
    grace: float = GRACE,
    full: bool = False,
    shallow: Collection[ObjectID] = (),
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Merge packs, and remove what was not needed for some time.

    Args:
      store: the objects
      refs: refs and reflogs that need them
      grace: seconds for which nothing is removed; longer than any fetch or push takes, and 0 only
        if nobody else uses the repository
      full: whether to merge into one pack, even if a large one could stay
      shallow: hex ids of commits whose parents may be missing
      progress: is told what is going on
    Raises:
      IncompleteRepositoryError: if an object that a ref reaches is missing
      ChecksumMismatch: if an object is damaged
      StorageError: one of :mod:`.errors`; run it again
    """
    run = _Run(store, refs, grace, shallow, progress or (lambda text: None))
    return run.run(full)


class _Run:
    def __init__(
        self,
        store: BucketObjectStore,
        refs: RefsContainer,
        grace: float,
        shallow: Collection[ObjectID],
        say: Callable[[str], None],
    ) -> None:
        self._store = store
        self._refs = refs
        self._grace = grace
        self._say = say
        self._reach = _Reach(store, shallow)
        self._now = read_clock(store.bucket)
        self.report = Report()

    def run(self, full: bool) -> Report:
        store, report = self._store, self.report
        self._say("finding what is needed")
        roots = _Roots(self._refs)
        store.pack_list.refresh()
        packs = store.pack_list.known()
        self._reach.walk(roots)
        report.kept = len(self._reach.needed)
        in_use = [pack for pack in packs if pack.retired is None]
        stays, retires, copies = self._plan(in_use, full)
        if copies:
            self._say(f"copying {len(copies)} objects to a new pack")
            stays.append(self._copy(copies))
        bucket = store.bucket
        for pack in retires:
            bucket.put(pack.name.mark_key, b"gc removes this pack.\n")
            report.retired.append(str(pack.name))
        self._remove([pack for pack in packs if pack.retired is not None], stays + retires)
        self._tidy()
        report.packs = sorted(str(pack.name) for pack in stays)
        store.pack_list.refresh()
        return report

    def _is_old(self, time: float) -> bool:
        return self._now - math.floor(time) >= self._grace

    # Merging

    def _plan(
        self, packs: list[StoredPack], full: bool
    ) -> tuple[list[StoredPack], list[StoredPack], set[RawObjectID]]:
        """Decide which packs stay, which are retired, and what is copied to a new one."""
        needed = self._reach.needed
        stays: list[StoredPack] = []
        retires: list[StoredPack] = []
        clean: list[StoredPack] = []
        covered: set[RawObjectID] = set()
        for pack in packs:
            if all(oid in needed for oid in pack.index.oids()):
                clean.append(pack)
            elif self._is_old(pack.modified):
                retires.append(pack)
            else:
                stays.append(pack)
                covered.update(pack.index.oids())
        # What a pack adds to larger ones; one that adds nothing is not needed.
        adds: list[tuple[StoredPack, set[RawObjectID]]] = []
        for pack in sorted(clean, key=len, reverse=True):
            own = {*pack.index.oids()} - covered
            covered |= own
            if own:
                adds.append((pack, own))
            else:
                retires.append(pack)
        copies = needed.keys() - covered
        left = len(copies) + sum(len(own) for _, own in adds)
        while adds and not full:
            pack, own = adds[0]
            left -= len(own)
            if len(own) < _FACTOR * left:
                break
            stays.append(pack)
            del adds[0]
        if len(adds) == 1 and not copies:
            stays.append(adds.pop()[0])  # to copy a single pack gains nothing
        for pack, own in adds:
            retires.append(pack)
            copies |= own
        return stays, retires, copies

    def _copy(self, oids: set[RawObjectID]) -> StoredPack:
        """Upload a new pack of some objects; each of them is verified on the way."""
        store, needed = self._store, self._reach.needed
        # As in git's packs, objects of a kind are near each other, the newest commits first.
        order = sorted(
            (oid for oid in needed if oid in oids), key=lambda oid: _ORDER.index(needed[oid])
        )
        hints = [(sha_to_hex(oid), None) for oid in order]
        pack = store.write_pack(len(hints), generate_unpacked_objects(store, hints))
        for oid in order:
            if pack.offset_of(oid) is None:
                raise IncompleteRepositoryError(store.bucket.location, sha_to_hex(oid))
        self.report.copied = len(hints)
        return pack

    # Removing

    def _remove(self, retired: list[StoredPack], others: list[StoredPack]) -> None:
        """Remove packs that were retired long ago, unless a late ref needs one of their objects."""
        expired = [pack for pack in retired if self._is_old(pack.retired or self._now)]
        if not expired:
            return
        late = self._reach.walk(_Roots(self._refs))
        names = []
        for pack in expired:
            at_risk = [oid for oid in late if pack.offset_of(oid) is not None]
            if all(any(o.offset_of(oid) is not None for o in others) for oid in at_risk):
                names.append(pack.name)
        self._delete(names)

    def _tidy(self) -> None:
        """Remove what dead uploads and dead runs left."""
        remains = self._store.pack_list.remains.items()
        self._delete(
            [
                name
                for name, parts in remains
                if all(self._is_old(info.modified) for info in parts.values())
            ]
        )

    def _delete(self, names: list[PackName]) -> None:
        # Without its index a pack is not read any more; without its mark it would be again.
        self._store.bucket.delete([name.index_key for name in names])
        self._store.bucket.delete([name.pack_key for name in names])
        self._store.bucket.delete([name.mark_key for name in names])
        self.report.removed += map(str, names)


def read_clock(bucket: Bucket) -> float:
    """Ask the store for its time, in seconds since the epoch.

    Many stores give whole seconds here, though their listings are more exact.
    """
    bucket.put(_CLOCK, b"What time is it?\n")
    return bucket.head(_CLOCK).modified


class _Roots:
    """What refs and reflogs name at one moment.

    Attributes:
      oids: hex ids that refs name
      logged: hex ids that only reflogs name; such an object may be gone
    """

    def __init__(self, refs: RefsContainer) -> None:
        seen = refs.snapshot() if isinstance(refs, ReftableRefsContainer) else refs
        self.oids = {*seen.as_dict().values()}
        logged: set[bytes] = set()
        if isinstance(seen, RefsReader):
            for name in seen.reflogs():
                for entry in seen.read_reflog(name):
                    logged.update((entry.old_sha, entry.new_sha))
        self.logged = {ObjectID(oid) for oid in logged if oid.strip(b"0")} - self.oids


class _Reach:
    """Finds all that roots reach.

    Attributes:
      needed: binary ids of what was reached so far, with the numbers of their types, in the order
        of the walk
    """

    def __init__(self, store: BucketObjectStore, shallow: Collection[ObjectID]) -> None:
        self._store = store
        self._shallow = {*shallow}
        self.needed: dict[RawObjectID, int] = {}

    def walk(self, roots: _Roots) -> set[RawObjectID]:
        """Walk from roots; gives what was not reached before.

        Raises:
          IncompleteRepositoryError: if something below a ref is missing
        """
        before = {*self.needed}
        missing = self._walk(roots.oids)
        if missing is not None:
            raise IncompleteRepositoryError(self._store.bucket.location, missing)
        self._walk(roots.logged)
        return self.needed.keys() - before

    def _walk(self, roots: Iterable[ObjectID]) -> ObjectID | None:
        """Walk from some objects; gives one that is missing, if any is."""
        missing = None
        pending: list[tuple[ObjectID, int | None]] = [(oid, None) for oid in roots]
        while pending:
            oid, kind = pending.pop()
            raw = hex_to_sha(oid)
            if raw in self.needed:
                continue
            try:
                if kind == Blob.type_num:
                    if oid not in self._store:
                        raise KeyError(oid)
                else:
                    found = self._store[oid]
                    kind = found.type_num
                    pending += self._below(oid, found)
            except KeyError:
                missing = oid
                continue
            self.needed[raw] = kind
        return missing

    def _below(self, oid: ObjectID, found: ShaFile) -> Iterator[tuple[ObjectID, int | None]]:
        if isinstance(found, Commit):
            yield found.tree, None
            if oid not in self._shallow:
                yield from ((parent, None) for parent in reversed(found.parents))
        elif isinstance(found, Tag):
            yield found.object[1], None
        elif isinstance(found, Tree):
            for entry in found.iteritems():
                mode, below = entry.mode or 0, entry.sha
                if below is not None and not S_ISGITLINK(mode):
                    yield below, None if stat.S_ISDIR(mode) else Blob.type_num
