# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Questions about commits and their ancestors that a server has to answer.

All walks visit each commit once, and where a client decides how far they go, they are bounded.
Commits whose parents are not there, as in a shallow repository, are taken for roots.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from dulwich.object_store import BaseObjectStore
from dulwich.objects import Commit, ObjectID, ShaFile, Tag

__all__ = ["CommitQueue", "History", "is_ancestor", "is_reachable"]

_BUDGET = 200_000
"""How many commits are looked at for the sake of an object that no ref points to."""
_SLACK = 5
"""How many commits are looked at that seem to be of no use, since times may be wrong."""


class _Commit(NamedTuple):
    """What is kept of a commit: its time in seconds since the epoch, its parents, its tree."""

    time: int
    parents: tuple[bytes, ...]
    tree: bytes


class CommitQueue:
    """Commits to look at, the newest first, each once.

    Attributes:
      pushed: all that have been in it
    """

    def __init__(self) -> None:
        self.pushed: set[bytes] = set()
        self._heap: list[tuple[int, int, bytes]] = []
        self._open: set[bytes] = set()

    def __bool__(self) -> bool:
        return bool(self._heap)

    @property
    def is_open(self) -> bool:
        """Whether a commit is in it that is not left out."""
        return bool(self._open)

    @property
    def newest(self) -> int:
        """The time of the commit that comes next."""
        return -self._heap[0][0]

    def push(self, time: int, oid: bytes, *, is_left_out: bool = False) -> None:
        """Put a commit in, if it has not been in before."""
        if oid in self.pushed:
            return
        self.pushed.add(oid)
        heapq.heappush(self._heap, (-time, len(self.pushed), oid))
        if not is_left_out:
            self._open.add(oid)

    def leave_out(self, oid: bytes) -> None:
        """Count a commit no longer."""
        self._open.discard(oid)

    def pop(self) -> tuple[int, bytes]:
        """Take the newest commit and its time."""
        time, _, oid = heapq.heappop(self._heap)
        self._open.discard(oid)
        return -time, oid


class History:
    """Commits, read once.

    Args:
      store: where they are
      roots: commits whose parents do not count
    """

    def __init__(self, store: BaseObjectStore, roots: Collection[bytes] = ()) -> None:
        self._store = store
        self._roots = roots
        self._known: dict[bytes, _Commit | None] = {}
        self._peeled: dict[bytes, bytes] = {}

    def commit(self, oid: bytes) -> _Commit | None:
        """Give a commit's time, parents and tree; None if there is no such commit."""
        if oid not in self._known:
            try:
                self._read(oid)
            except KeyError:
                self._known[oid] = None
        return self._known[oid]

    def _read(self, oid: bytes) -> ShaFile:
        """Read an object, and note it if it is a commit.

        Raises:
          KeyError: if it is missing
        """
        found = self._store[ObjectID(oid)]
        self._known[oid] = None
        if isinstance(found, Commit):
            parents = () if oid in self._roots else tuple(found.parents)
            self._known[oid] = _Commit(found.commit_time, parents, found.tree)
        return found

    def tree(self, oid: bytes) -> bytes:
        """Give the tree of a commit.

        Raises:
          KeyError: if there is no such commit
        """
        commit = self.commit(oid)
        if commit is None:
            raise KeyError(oid)
        return commit.tree

    def chain(self, oid: bytes) -> Iterator[tuple[bytes, int]]:
        """Follow a tag to the object that it finally points to, which may be none.

        Yields: each object on the way with the number of its type, the last one included
        Raises:
          KeyError: if an object is missing
        """
        while self._known.get(oid) is None:
            found = self._read(oid)
            yield oid, found.type_num
            if not isinstance(found, Tag):
                return
            oid = found.object[1]
        yield oid, Commit.type_num

    def peel(self, oid: bytes) -> bytes:
        """Give what a tag finally points to, or leads to as far as objects are there."""
        links: list[bytes] = []
        try:
            for link, _ in self.chain(oid):
                oid = self._peeled.get(link, link)
                if oid != link:
                    break
                links.append(link)
        except KeyError:
            pass
        # Each link of a long chain may be asked for; each is read once.
        self._peeled.update((link, oid) for link in links if link != oid)
        return oid

    def newer(
        self, wants: Iterable[bytes], haves: Iterable[bytes], since: int | None = None
    ) -> tuple[list[bytes], set[bytes]]:
        """List the ancestors of some commits that are no ancestors of some others.

        As git does, it walks by time until only the others are left, and then a little further.
        Where times are in no order, it may list too much.

        Args:
          wants: hex ids of commits to list, with their ancestors
          haves: hex ids of commits not to list, with their ancestors
          since: seconds since the epoch; an older commit counts as one not to list
        Returns: the commits; those parents of theirs that are not listed
        Raises:
          KeyError: if a commit is missing
        """
        left_out: set[bytes] = set()
        queue = CommitQueue()

        def leave_out(start: bytes) -> None:
            pending = [start]
            while pending:
                oid = pending.pop()
                if oid not in left_out:
                    left_out.add(oid)
                    queue.leave_out(oid)
                    known = self._known.get(oid)
                    pending += known.parents if known is not None else ()

        for oid in haves:
            queue.push(self._time(oid), oid)
            leave_out(oid)
        for oid in wants:
            queue.push(self._time(oid), oid, is_left_out=oid in left_out)
        listed: list[bytes] = []
        latest: float = float("inf")
        slack = _SLACK
        while queue:
            time, oid = queue.pop()
            if since is not None and time < since:
                leave_out(oid)
            commit = self.commit(oid)
            assert commit is not None  # its time was asked for
            for parent in commit.parents:
                if oid in left_out:
                    leave_out(parent)
                    if self.commit(parent) is None:
                        continue  # what the client has need not be complete here
                queue.push(self._time(parent), parent, is_left_out=parent in left_out)
            if oid not in left_out:
                listed.append(oid)
                latest = time
            elif queue.is_open or (queue and latest <= queue.newest):
                slack = _SLACK
            else:
                slack -= 1
                if slack == 0:
                    break
        listed = [oid for oid in listed if oid not in left_out]
        return listed, {
            parent for oid in listed for parent in self.parents(oid) if parent in left_out
        }

    def parents(self, oid: bytes) -> tuple[bytes, ...]:
        """Give the parents of a commit; none if there is no such commit."""
        commit = self.commit(oid)
        return () if commit is None else commit.parents

    def _time(self, oid: bytes) -> int:
        commit = self.commit(oid)
        if commit is None:
            raise KeyError(oid)
        return commit.time

    def newest_first(self, tips: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
        """Walk from commits, or tags of commits, to their ancestors by their times.

        Yields: object id, and time in seconds since the epoch
        """
        queue = CommitQueue()
        for tip in tips:
            oid = self.peel(tip)
            commit = self.commit(oid)
            if commit is not None:
                queue.push(commit.time, oid)
        while queue:
            time, oid = queue.pop()
            yield oid, time
            for parent in self.parents(oid):
                commit = self.commit(parent)
                if commit is not None:
                    queue.push(commit.time, parent)


def is_ancestor(store: BaseObjectStore, old: bytes, new: bytes) -> bool:
    """Tell whether a commit is another one, or among its ancestors.

    It looks everywhere, since the times of commits may be wrong.

    Args:
      store: where they are
      old: hex object id of the commit that may be the ancestor
      new: hex object id of the other one
    """
    return any(oid == old for oid, _ in History(store).newest_first([new]))


def is_reachable(store: BaseObjectStore, oids: Iterable[bytes], tips: Iterable[bytes]) -> bool:
    """Tell whether commits, or tags of commits, are all among the ancestors of some others.

    As in git, a tag counts as what it is of. It gives up, saying no, after very many commits.

    Args:
      store: where they are
      oids: hex object ids that are asked for
      tips: hex object ids to begin with
    """
    history = History(store)
    missing = {history.peel(oid) for oid in oids}
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
