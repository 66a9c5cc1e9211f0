# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Walk the history of commits, to answer questions of fetches and pushes.

A walk visits each commit once. If a client decides how far a walk goes, the walk is bounded. A
commit whose parents are missing counts as a root, as in a shallow repository.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator

from dulwich.errors import ObjectFormatException
from dulwich.objects import Commit, ObjectID, Tag

from ..objects.commits import CommitHeader, parse_commit
from ..objects.reader import RawObjects
from ..repo.tags import TAG_HEADER

__all__ = ["CommitQueue", "FarWalkError", "History", "is_ancestor", "is_reachable"]

_BUDGET = 200_000
"""How many commits a walk visits to reach an object that no ref points to."""
_SLACK = 5
"""How many commits are visited beyond the apparent end, because times may be wrong."""


class FarWalkError(Exception):
    """A walk would have to visit more commits than it may."""


class CommitQueue:
    """A queue of commits, the newest first; each commit enters it once.

    Attributes:
      pushed: all commits that have entered the queue
    """

    def __init__(self) -> None:
        self.pushed: set[bytes] = set()
        self._heap: list[tuple[int, int, bytes]] = []
        self._open: set[bytes] = set()

    def __bool__(self) -> bool:
        return bool(self._heap)

    @property
    def is_open(self) -> bool:
        """Whether the queue has a commit that is not left out."""
        return bool(self._open)

    @property
    def newest(self) -> int:
        """The time of the next commit."""
        return -self._heap[0][0]

    def push(self, time: int, oid: bytes, *, is_left_out: bool = False) -> None:
        """Add a commit, unless it has been in the queue before."""
        if oid in self.pushed:
            return
        self.pushed.add(oid)
        heapq.heappush(self._heap, (-time, len(self.pushed), oid))
        if not is_left_out:
            self._open.add(oid)

    def leave_out(self, oid: bytes) -> None:
        """Mark a commit as left out."""
        self._open.discard(oid)

    def pop(self) -> tuple[int, bytes]:
        """Remove the newest commit; gives its time and its id."""
        time, _, oid = heapq.heappop(self._heap)
        self._open.discard(oid)
        return -time, oid


class History:
    """Reads commits, each once.

    Args:
      objects: those of the repository
      roots: commits whose parents are ignored
    """

    def __init__(self, objects: RawObjects, roots: Collection[bytes] = ()) -> None:
        self._objects = objects
        self._roots = roots
        self._known: dict[bytes, CommitHeader | None] = {}
        self._peeled: dict[bytes, bytes] = {}

    @property
    def is_whole(self) -> bool:
        """Whether no parents are ignored."""
        return not self._roots

    def commit(self, oid: bytes) -> CommitHeader | None:
        """Read a commit; None if there is no such commit.

        Raises:
          ObjectFormatException: if it is malformed
        """
        if oid not in self._known:
            try:
                self._read(oid)
            except KeyError:
                self._known[oid] = None
        return self._known[oid]

    def _read(self, oid: bytes) -> tuple[int, bytes]:
        """Read an object, and remember it if it is a commit.

        Returns: number of its type, and its content
        Raises:
          KeyError: if it is missing
          ObjectFormatException: if it is a malformed commit
        """
        kind, data = self._objects.get_raw(ObjectID(oid))
        self._known[oid] = None
        if kind == Commit.type_num:
            header = parse_commit(data, len(oid))
            if header is None:
                raise ObjectFormatException(f"commit {oid.decode()} is not well-formed")
            self._known[oid] = header._replace(parents=()) if oid in self._roots else header
        return kind, data

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
        """Follow a tag to the object that it finally points to.

        Yields: each object on the way, the last one included, with the number of its type
        Raises:
          KeyError: if an object is missing
          ObjectFormatException: if one is malformed
        """
        while self._known.get(oid) is None:
            kind, data = self._read(oid)
            yield oid, kind
            if kind != Tag.type_num:
                return
            header = TAG_HEADER.match(data)
            if header is None:
                raise ObjectFormatException(f"tag {oid.decode()} is not well-formed")
            oid = header[1]
        yield oid, Commit.type_num

    def peel(self, oid: bytes) -> bytes:
        """Give what a tag finally points to, or the last object on the way that exists."""
        links: list[bytes] = []
        try:
            for link, _ in self.chain(oid):
                oid = self._peeled.get(link, link)
                if oid != link:
                    break
                links.append(link)
        except KeyError:
            pass
        # A client may ask for each tag of a long chain; each is read once.
        self._peeled.update((link, oid) for link in links if link != oid)
        return oid

    def newer(
        self,
        wants: Iterable[bytes],
        haves: Iterable[bytes],
        since: int | None = None,
        most: int | None = None,
    ) -> tuple[list[bytes], set[bytes]]:
        """List the ancestors of some commits, without those of some others.

        As in git, the walk goes by time until only the others are left, and then a little further.
        If the times of commits are wrong, it may list too many.

        Args:
          wants: hex ids of commits to list, with their ancestors
          haves: hex ids of commits to leave out, with their ancestors
          since: seconds since the epoch; older commits are left out, with their ancestors
          most: how many commits may be visited; None for any number
        Returns: the listed commits; those of their parents that are not listed
        Raises:
          FarWalkError: if more commits would have to be visited
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
            queue.push(self.time(oid), oid)
            leave_out(oid)
        for oid in wants:
            queue.push(self.time(oid), oid, is_left_out=oid in left_out)
        listed: list[bytes] = []
        latest: float = float("inf")
        slack = _SLACK
        while queue:
            if most is not None:
                if not most:
                    raise FarWalkError
                most -= 1
            time, oid = queue.pop()
            if since is not None and time < since:
                leave_out(oid)
            commit = self.commit(oid)
            assert commit is not None  # its time was asked for
            for parent in commit.parents:
                if oid in left_out:
                    leave_out(parent)
                    if self.commit(parent) is None:
                        continue  # the history of the client may be incomplete here
                queue.push(self.time(parent), parent, is_left_out=parent in left_out)
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

    def time(self, oid: bytes) -> int:
        """Give the time of a commit in seconds since the epoch.

        Raises:
          KeyError: if there is no such commit
        """
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


def is_ancestor(objects: RawObjects, old: bytes, new: bytes) -> bool:
    """Tell whether a commit is an ancestor of another one, or the same.

    The walk does not stop at older commits, because the times of commits may be wrong.

    Args:
      objects: those of the repository
      old: hex object id of the possible ancestor
      new: hex object id of the other commit
    """
    return any(oid == old for oid, _ in History(objects).newest_first([new]))


def is_reachable(objects: RawObjects, oids: Iterable[bytes], tips: Iterable[bytes]) -> bool:
    """Tell whether commits, or tags of commits, can all be reached from some others.

    As in git, a tag stands for its commit. After very many commits the answer is no.

    Args:
      objects: those of the repository
      oids: hex object ids to reach
      tips: hex object ids to start from
    """
    history = History(objects)
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
