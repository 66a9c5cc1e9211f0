# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Ancestry for reflog expiry: which commits a ref reaches, and which are complete.

History is walked only as far as an answer needs, and the results are kept for the next reflog.
Grafts and the border of a shallow repository count, as in git.
"""

from __future__ import annotations

import stat
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from dulwich.errors import ChecksumMismatch, FileFormatException
from dulwich.objects import S_ISGITLINK, Commit, ObjectID, Tag, Tree
from dulwich.repo import BaseRepo, ParentsProvider

__all__ = ["Ancestors", "Commits"]

_UNREADABLE = (KeyError, AssertionError, FileFormatException, ChecksumMismatch, zlib.error)
"""The errors of dulwich for an object that is missing or damaged."""


class Commits:
    """The commits of a repository.

    Args:
      repo: the repository
    """

    def __init__(self, repo: BaseRepo) -> None:
        self._store = repo.object_store
        self._repo = repo
        self._known: dict[bytes, bytes | None] = {}
        self._parents: dict[bytes, tuple[bytes, ...]] = {}
        self._complete: set[bytes] = set()
        self._incomplete: set[bytes] = set()

    @cached_property
    def _provider(self) -> ParentsProvider:
        """What knows parents; dulwich reads the commit graph for it, which takes time."""
        return self._repo.parents_provider()

    def find(self, oid: bytes) -> bytes | None:
        """Find the commit that an object is, or that a tag finally points to.

        Args:
          oid: hex object id
        Returns: hex object id; None if there is no commit, or the object cannot be read
        """
        if oid not in self._known:
            self._known[oid] = self._find(oid)
        return self._known[oid]

    def _find(self, oid: bytes) -> bytes | None:
        while True:
            try:
                kind, data = self._store.get_raw(ObjectID(oid))
                if kind != Tag.type_num:
                    return oid if kind == Commit.type_num else None
                tag = Tag.from_raw_string(kind, data)
                assert isinstance(tag, Tag)
                oid = tag.object[1]
            except _UNREADABLE:
                return None

    def parents(self, commit: bytes) -> tuple[bytes, ...]:
        """Give the parents of a commit; an empty tuple if it cannot be read."""
        if commit not in self._parents:
            try:
                found = tuple(self._provider.get_parents(ObjectID(commit)))
            except (*_UNREADABLE, ValueError):
                found = ()
            self._parents[commit] = found
        return self._parents[commit]

    # Completeness

    def is_complete(self, oid: bytes) -> bool:
        """Tell whether a commit and all objects that it refers to are there.

        Args:
          oid: hex object id
        """
        start = self.find(oid)
        if start is None or start in self._incomplete:
            return False
        pending, seen = [start], {start}
        while pending:
            commit = pending.pop()
            if commit in self._complete:
                continue
            if commit in self._incomplete or not self._has_tree(commit):
                self._incomplete.update((commit, start))
                return False
            for parent in self.parents(commit):
                if parent not in seen:
                    seen.add(parent)
                    pending.append(parent)
        self._complete |= seen
        return True

    def _has_tree(self, commit: bytes) -> bool:
        """Tell whether a commit is there, and all objects of its tree."""
        found = self._read(commit)
        if not isinstance(found, Commit):
            return False
        pending, seen = [found.tree], set[bytes]()
        while pending:
            oid = pending.pop()
            if oid in self._complete or oid in seen:
                continue
            seen.add(oid)
            tree = self._read(oid)
            if not isinstance(tree, Tree):
                return False
            for entry in tree.iteritems():
                if stat.S_ISDIR(entry.mode or 0):
                    pending.append(ObjectID(entry.sha or b""))
                elif not S_ISGITLINK(entry.mode or 0) and entry.sha not in self._store:
                    return False
        self._complete |= seen
        return True

    def _read(self, oid: bytes) -> Any:
        try:
            return self._store[ObjectID(oid)]
        except _UNREADABLE:
            return None


class Ancestors:
    """The commits that some ids reach, themselves included; history is walked on demand.

    Args:
      commits: of the repository
      tips: hex object ids; those without a commit are left out
    """

    def __init__(self, commits: Commits, tips: Iterable[bytes]) -> None:
        self._commits = commits
        self._seen: set[bytes] = set()
        self._walk = self._reach(tips)

    def __contains__(self, commit: bytes) -> bool:
        return commit in self._seen or any(found == commit for found in self._walk)

    def _reach(self, tips: Iterable[bytes]) -> Iterator[bytes]:
        for oid in tips:
            tip = self._commits.find(oid)
            pending = deque([] if tip is None or tip in self._seen else [tip])
            self._seen.update(pending)
            yield from pending
            while pending:
                for parent in self._commits.parents(pending.popleft()):
                    if parent not in self._seen:
                        self._seen.add(parent)
                        pending.append(parent)
                        yield parent
