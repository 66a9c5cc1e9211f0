# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Conflicts of names: no name may be both a ref and a directory of refs.

The format would allow ``refs/heads/a`` beside ``refs/heads/a/b``, but repositories with refs in
files could not store both. git refuses it (``refs_verify_refname_available``), and so do we. A ref
that the same transaction deletes conflicts with nothing.

There is one check for pushes, transactions and renames. It does not look up every directory of a
name: it seeks the first ref from the name's first directory on. Either that ref conflicts, or it
shows which of the deeper directories do not exist either. So a name costs about two seeks, however
deep it is. Names come sorted, and the results for one name are used for the next.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from ..engine.errors import RefConflictError
from ..engine.format.coding import shared_prefix
from ..engine.stack.stack import Stack
from ..engine.table.merged import Merged
from .names import PER_WORKTREE
from .store import RefStore

__all__ = [
    "ConflictFinder",
    "ListedRefs",
    "StandingRefs",
    "find_conflicts",
    "in_the_way",
    "refuse_conflicts",
    "worktree_views",
]

_FIRST_DIRECTORY = len(b"refs/")
"""The length from which on a prefix of a name can be a ref: none is called ``refs``."""

_SEEKS = 8
"""After so many deleted refs, scanning costs less than seeking."""


class StandingRefs(Protocol):
    """The refs that exist and are not deleted by the same transaction."""

    def first_in(self, start: bytes, stop: bytes) -> bytes | None:
        """Find the first name from ``start`` until before ``stop``."""


class _RefsOfStack:
    """The refs of one stack.

    Args:
      refs: of the stack
      deleted: names of refs to ignore
    """

    def __init__(self, refs: Merged, deleted: Collection[bytes]) -> None:
        self._refs = refs
        self._deleted = deleted
        self._seek = refs.seeker().first_from

    def first_in(self, start: bytes, stop: bytes) -> bytes | None:
        at = start
        for _ in range(_SEEKS):
            first = self._seek(at)
            if first is None or first.name >= stop:
                return None
            if not first.is_deletion and first.name not in self._deleted:
                return first.name
            at = first.name + b"\0"
        for names, _ in self._refs.ref_values(at, stop):
            for name in names:
                if name not in self._deleted:
                    return name
        return None


class _RefsOfWorktree:
    """The refs that a linked worktree sees: the shared ones, and its own in place of the main's.

    Args:
      shared: the shared stack
      own: the worktree's stack
    """

    def __init__(self, shared: StandingRefs, own: StandingRefs) -> None:
        self._parts: list[tuple[bytes, bytes, StandingRefs]] = []
        start = b""
        for prefix in sorted(PER_WORKTREE):
            stop = prefix[:-1] + b"0"
            self._parts += [(start, prefix, shared), (prefix, stop, own)]
            start = stop
        self._parts.append((start, b"\xff", shared))

    def first_in(self, start: bytes, stop: bytes) -> bytes | None:
        for low, high, refs in self._parts:
            if low < stop and start < high:
                found = refs.first_in(max(low, start), min(high, stop))
                if found is not None:
                    return found
        return None


class ListedRefs:
    """A list of refs.

    Args:
      names: sorted
    """

    def __init__(self, names: Sequence[bytes]) -> None:
        self._names = names

    def first_in(self, start: bytes, stop: bytes) -> bytes | None:
        """Find the first name from ``start`` until before ``stop``."""
        i = bisect_left(self._names, start)
        return self._names[i] if i < len(self._names) and self._names[i] < stop else None


def worktree_views(
    store: RefStore,
    created: Mapping[Stack, Collection[bytes]],
    deleted: Mapping[Stack, Collection[bytes]],
    refs_of: Callable[[Stack], Merged],
) -> Iterator[tuple[list[bytes], StandingRefs]]:
    """Divide refs that are to be created by who sees them.

    Args:
      store: the repository's refs
      created: their names in each stack
      deleted: names in each stack that do not count
      refs_of: gives the refs of a stack, as they are
    Yields: names, sorted, and the refs that are seen beside them
    """

    def standing(stack: Stack) -> _RefsOfStack:
        return _RefsOfStack(refs_of(stack), deleted.get(stack, ()))

    left = dict(created)
    shared, current = store.shared, store.current
    if store.is_linked:
        names = left.pop(shared, ())
        mains = [name for name in names if name.startswith(PER_WORKTREE)]
        if mains:
            left[shared] = mains
        seen = [name for name in names if not name.startswith(PER_WORKTREE)]
        seen += left.pop(current, ())
        if seen:
            yield sorted(seen), _RefsOfWorktree(standing(shared), standing(current))
    for stack, names in left.items():
        if names:
            yield sorted(names), standing(stack)


def in_the_way(names: Iterable[bytes], standing: StandingRefs) -> Iterator[tuple[bytes, bytes]]:
    """Find the refs that stand in the way of refs that are to be created.

    Args:
      names: of the refs to be created, sorted
      standing: the refs that are there and stay
    Yields: each name that collides, and the first ref that it collides with
    """
    last = b""
    other: bytes | None = None
    for name in names:
        if other is None or not name.startswith(other + b"/"):
            # The last name has shown that the directories of both are no refs.
            other = _first_in_the_way(name, shared_prefix(last, name), standing)
        last = name
        if other is not None:
            yield name, other


def _first_in_the_way(name: bytes, known: int, standing: StandingRefs) -> bytes | None:
    """Find a ref that is a directory of a name, or below it.

    Args:
      name: of the ref to be created
      known: no ref is a directory of the name with fewer bytes
      standing: the refs that are there and stay
    """
    below, stop = name + b"/", name + b"0"
    known = max(known, _FIRST_DIRECTORY)
    while True:
        end = name.find(b"/", known)
        found = standing.first_in(name[:end] if end >= 0 else below, stop)
        if found is None:
            return None
        if found.startswith(below) or below.startswith(found + b"/"):
            return found
        # The directories up to where they part sort before the one found, and were not found.
        known = shared_prefix(found, name) + 1


def refuse_conflicts(names: Sequence[bytes], standing: StandingRefs) -> None:
    """Check the refs that are to be created.

    Args:
      names: of these refs, sorted
      standing: the refs that are there and stay
    Raises:
      RefConflictError: if one is in the way of another
    """
    find = ConflictFinder().find
    for name in names:
        for other in find(name):
            raise RefConflictError(name, other)
    for name, other in in_the_way(names, standing):
        raise RefConflictError(name, other)


def find_conflicts(names: Sequence[bytes], standing: StandingRefs) -> dict[bytes, bytes]:
    """Find the refs that cannot be created.

    Args:
      names: of the refs to be created; of two that collide, the first one can be created
      standing: the refs that are there and stay
    Returns: each name that cannot be created, with the ref in its way
    """
    ordered = sorted(names)
    found = dict(in_the_way(ordered, standing))
    rivals: dict[bytes, list[bytes]] = {}
    find = ConflictFinder().find
    for name in ordered:
        for other in find(name):
            rivals.setdefault(name, []).append(other)
            rivals.setdefault(other, []).append(name)
    if rivals:
        for name in names:
            if name not in found:
                for rival in rivals.get(name, ()):
                    found.setdefault(rival, name)
    return found


class ConflictFinder:
    """Finds refs in each other's way among names that come in order, without keeping them all.

    All names that begin with a given one follow it without a gap. So it is enough to remember those
    names that the last one begins with.
    """

    def __init__(self) -> None:
        self._beginnings: list[bytes] = []

    def find(self, name: bytes) -> list[bytes]:
        """Take the next name.

        Returns: the refs that are where this name needs directories, the shortest first
        """
        beginnings = self._beginnings
        while beginnings and not name.startswith(beginnings[-1]):
            beginnings.pop()
        found = [other for other in beginnings if name[len(other) : len(other) + 1] == b"/"]
        beginnings.append(name)
        return found
