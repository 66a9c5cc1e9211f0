# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Questions about commits and their ancestors that a server has to answer.

All walks visit each commit once, and where a client decides how far they go, they are bounded.
Commits whose parents are not there, as in a shallow repository, are taken for roots.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator

from dulwich.object_store import BaseObjectStore
from dulwich.objects import Commit, ObjectID, Tag

__all__ = ["all_lead_to", "boundary", "is_reachable"]

_BUDGET = 200_000
"""How many commits are looked at for the sake of an object that no ref points to."""


class _History:
    """Commits, read once."""

    def __init__(self, store: BaseObjectStore, roots: Collection[bytes] = ()) -> None:
        self._store = store
        self._roots = roots
        self._known: dict[bytes, tuple[int, tuple[bytes, ...]] | None] = {}

    def commit(self, oid: bytes) -> tuple[int, tuple[bytes, ...]] | None:
        """Give a commit's time and parents; None if there is no such commit."""
        if oid not in self._known:
            try:
                found = self._store[ObjectID(oid)]
            except KeyError:
                found = None
            self._known[oid] = None
            if isinstance(found, Commit):
                parents = () if oid in self._roots else tuple(found.parents)
                self._known[oid] = (found.commit_time, parents)
        return self._known[oid]

    def peel(self, oid: bytes) -> bytes:
        """Give what a tag finally points to; itself for all else."""
        while True:
            try:
                found = self._store[ObjectID(oid)]
            except KeyError:
                return oid
            if not isinstance(found, Tag):
                return oid
            oid = found.object[1]

    def newest_first(self, tips: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
        """Walk from commits to their ancestors by their times.

        Yields: object id, and time in seconds since the epoch
        """
        seen: set[bytes] = set()
        heap: list[tuple[int, bytes]] = []

        def push(oid: bytes) -> None:
            if oid not in seen:
                seen.add(oid)
                commit = self.commit(oid)
                if commit is not None:
                    heapq.heappush(heap, (-commit[0], oid))

        for tip in tips:
            push(self.peel(tip))
        while heap:
            time, oid = heapq.heappop(heap)
            yield oid, -time
            commit = self.commit(oid)
            for parent in commit[1] if commit is not None else ():
                push(parent)


def all_lead_to(
    store: BaseObjectStore,
    starts: Iterable[bytes],
    goals: Iterable[bytes],
    roots: Collection[bytes] = (),
    *,
    exact: bool = False,
) -> bool:
    """Tell whether each of some commits has one of some others among its ancestors, or is one.

    A negotiation can do with an answer that is sometimes no where it should be yes: it does not
    look behind commits that are older than all that is looked for.

    Args:
      store: where they are
      starts: hex object ids of commits, or of tags of commits
      goals: hex object ids of commits
      roots: commits whose parents do not count
      exact: whether to look everywhere, since times may be wrong
    """
    history = _History(store, roots)
    leads = set(goals)
    times = [commit[0] for commit in map(history.commit, leads) if commit is not None]
    if not times:
        return False
    earliest = float("-inf") if exact else min(times)
    visited: set[bytes] = set()
    for start in starts:
        path: list[tuple[bytes, Iterator[bytes]]] = []
        oid = history.peel(start)
        while True:
            if oid in leads:
                leads.update(before for before, _ in path)
                leads.add(oid)
                break
            if oid not in visited:
                visited.add(oid)
                commit = history.commit(oid)
                if commit is not None and commit[0] >= earliest:
                    path.append((oid, iter(commit[1])))
            while path:
                following = next(path[-1][1], None)
                if following is not None:
                    break
                path.pop()
            else:
                return False
            oid = following
    return True


def is_reachable(store: BaseObjectStore, oids: Iterable[bytes], tips: Iterable[bytes]) -> bool:
    """Tell whether commits are all among the ancestors of some others.

    It gives up, saying no, after very many commits.

    Args:
      store: where they are
      oids: hex object ids that are asked for
      tips: hex object ids to begin with
    """
    missing = set(oids)
    history = _History(store)
    if any(history.commit(oid) is None for oid in missing):
        return False

    def some() -> Iterator[bytes]:
        for count, tip in enumerate(tips):
            if count > _BUDGET:
                return
            yield tip

    for count, (oid, _) in enumerate(history.newest_first(some())):
        missing.discard(oid)
        if not missing or count > _BUDGET:
            break
    return not missing


def boundary(
    store: BaseObjectStore, tips: Iterable[bytes], since: int | None, without: Iterable[bytes]
) -> tuple[set[bytes], set[bytes]]:
    """Cut history by time, or at what others have.

    Args:
      store: where it is
      tips: commits to begin with
      since: seconds since the epoch; older commits are cut off
      without: commits that are cut off, with their ancestors
    Returns: commits some of whose parents are cut off, and those that are kept
    """
    history = _History(store)
    cut = {oid for oid, _ in history.newest_first(without)}
    kept: set[bytes] = set()
    pending = [history.peel(tip) for tip in tips]
    edge: set[bytes] = set()
    while pending:
        oid = pending.pop()
        if oid in kept or not _is_kept(history, oid, since, cut):
            continue
        kept.add(oid)
        commit = history.commit(oid)
        for parent in commit[1] if commit is not None else ():
            if _is_kept(history, parent, since, cut):
                pending.append(parent)
            else:
                edge.add(oid)
    return edge, kept - edge


def _is_kept(history: _History, oid: bytes, since: int | None, cut: set[bytes]) -> bool:
    commit = history.commit(oid)
    return commit is not None and oid not in cut and (since is None or commit[0] >= since)
