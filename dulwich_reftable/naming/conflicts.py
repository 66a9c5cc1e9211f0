# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Conflicts of names: no name may be both a ref and a directory of refs.

The format would allow ``refs/heads/a`` beside ``refs/heads/a/b``, but repositories with refs in
files could not store both. git refuses it (``refs_verify_refname_available``), and so do we. A ref
that the same transaction deletes conflicts with nothing.

There is one check for pushes, transactions and renames. It does not look up every directory of a
name: it seeks the first ref from the name's first directory on. That ref conflicts, or it shows
which of the deeper directories are no refs. So a name costs about two seeks, however
deep it is. Names come sorted, and the results for one name are used for the next. The same seeks
show whether the name itself is a ref already.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Protocol

from ..engine.errors import RefConflictError
from ..engine.format.coding import shared_prefix
from ..engine.table.merged import Merged

__all__ = [
    "ConflictFinder",
    "ExistingRefs",
    "ListedRefs",
    "RefsOfStack",
    "existing_conflicts",
    "find_conflicts",
    "refuse_conflicts",
]

_FIRST_DIRECTORY = len(b"refs/")
"""A shorter prefix of a name cannot be a ref, since no ref is called ``refs``."""

_SEEKS = 8
"""After so many deleted refs, scanning costs less than seeking."""


class ExistingRefs(Protocol):
    """The refs that exist and are not deleted by the same transaction."""

    def first_in(self, start: bytes, stop: bytes) -> bytes | None:
        """Find the first name from ``start`` until before ``stop``."""


class RefsOfStack:
    """The refs of one stack.

    Args:
      refs: of the stack
      deleted: names of refs to ignore
    """

    def __init__(self, refs: Merged, deleted: Collection[bytes] = ()) -> None:
        self._refs = refs
        self._deleted = deleted
        self._seek = refs.seeker().first_from

    def first_in(self, start: bytes, stop: bytes) -> bytes | None:
        """Find the first name from ``start`` until before ``stop``."""
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


def existing_conflicts(
    names: Iterable[bytes], existing: ExistingRefs
) -> Iterator[tuple[bytes, bytes]]:
    """Find the existing refs that new refs conflict with.

    Args:
      names: of the new refs, sorted
      existing: the refs that exist and stay
    Yields: each name with a conflict, and the first ref that it conflicts with; a name that exists
      itself, twice
    """
    last = b""
    other: bytes | None = None
    for name in names:
        if other is None or not name.startswith(other + b"/"):
            # The search for the last name has shown that no common directory is a ref.
            other = _first_conflict(name, shared_prefix(last, name), existing)
        last = name
        if other is not None:
            yield name, other


def _first_conflict(name: bytes, known: int, existing: ExistingRefs) -> bytes | None:
    """Find a ref that is a directory of a name, the name itself, or below it.

    Args:
      name: of the new ref
      known: no directory of the name with fewer bytes is a ref
      existing: the refs that exist and stay
    """
    below, stop = name + b"/", name + b"0"
    known = max(known, _FIRST_DIRECTORY)
    while True:
        end = name.find(b"/", known)
        # The ref that was found last sorts behind the name if all of the name is in it.
        last = name if known <= len(name) else below
        found = existing.first_in(name[:end] if end >= 0 else last, stop)
        if found is None:
            return None
        if found.startswith(below) or below.startswith(found + b"/"):
            return found
        # Directories up to the first difference sort before the ref found, so they are no refs.
        known = shared_prefix(found, name) + 1


def refuse_conflicts(names: Sequence[bytes], beside: Iterable[tuple[bytes, bytes]]) -> None:
    """Check that new refs conflict neither with each other nor with existing refs.

    Args:
      names: of the new refs, sorted
      beside: their conflicts with existing refs, as :func:`existing_conflicts` yields them
    Raises:
      RefConflictError: if there is a conflict
    """
    find = ConflictFinder().find
    for name in names:
        for other in find(name):
            raise RefConflictError(name, other)
    for name, other in beside:
        raise RefConflictError(name, other)


def find_conflicts(
    names: Sequence[bytes], beside: Iterable[tuple[bytes, bytes]]
) -> dict[bytes, bytes]:
    """Find the new refs that cannot be created.

    Args:
      names: of the new refs; of two that conflict, the first one can be created
      beside: their conflicts with existing refs, as :func:`existing_conflicts` yields them
    Returns: each name that cannot be created, with the ref that it conflicts with
    """
    found = dict(beside)
    rivals: dict[bytes, list[bytes]] = {}
    find = ConflictFinder().find
    for name in sorted(names):
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
    """Finds conflicts among names that come in order, without keeping all names.

    All names with a given beginning come one after another. So it is enough to keep those
    names that are prefixes of the last one.
    """

    def __init__(self) -> None:
        self._prefixes: list[bytes] = []

    def find(self, name: bytes) -> list[bytes]:
        """Take the next name.

        Returns: the earlier names that are directories of this one, the shortest first
        """
        prefixes = self._prefixes
        while prefixes and not name.startswith(prefixes[-1]):
            prefixes.pop()
        found = [other for other in prefixes if name[len(other) : len(other) + 1] == b"/"]
        prefixes.append(name)
        return found
