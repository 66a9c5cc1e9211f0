# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Refs in each other's way: no name may be both a ref and a directory of refs.

The format would allow ``refs/heads/a`` beside ``refs/heads/a/b``, but peers with files could not
store it; git refuses it (``refs_verify_refname_available``), and so do we. A ref that the same
transaction deletes is in nobody's way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from .engine.errors import RefConflictError
from .engine.records import RefRecord
from .engine.snapshot import Snapshot

__all__ = ["ConflictFinder", "directories_of", "living_refs_below", "refuse_conflicts"]

_ABOVE_ALL = len(b"refs")
"""No ref can have this name."""


def directories_of(name: bytes) -> Iterator[bytes]:
    """Give the names that would have to be directories for a ref in files, the longest first."""
    end = name.rfind(b"/")
    while end > _ABOVE_ALL:
        yield name[:end]
        end = name.rfind(b"/", 0, end)


def living_refs_below(
    snapshot: Snapshot, names: Sequence[bytes], deleted: Collection[bytes]
) -> Iterator[tuple[bytes, bytes]]:
    """Find refs in a directory where a ref is wanted.

    Args:
      snapshot: the refs as they are
      names: of refs that are wanted, sorted
      deleted: refs that do not count
    Yields: each of the names that has refs below it, and the first of those
    """
    for name, first in snapshot.first_refs_below(names):
        if first not in deleted:
            yield name, first
            continue
        for below, _ in snapshot.ref_values(name + b"/", name + b"0"):
            living = next((other for other in below if other not in deleted), None)
            if living is not None:
                yield name, living
                break


def refuse_conflicts(
    snapshot: Snapshot, records: Mapping[bytes, RefRecord], before: Mapping[bytes, bytes | None]
) -> None:
    """Check the refs that are to be created.

    Args:
      snapshot: the refs as they are
      records: what is to be written, by name
      before: the values of those refs before
    Raises:
      RefConflictError: if one is in the way of another
    """
    deleted = {name for name, record in records.items() if record.is_deletion}
    created = sorted(
        name for name in records.keys() - deleted if before.get(name) is None and b"/" in name
    )
    if not created:
        return
    parents: dict[bytes, bytes] = {}
    for name in created:
        for parent in directories_of(name):
            if parent in parents:
                break
            parents[parent] = name
    # Above: a ref where a directory is needed.
    existing = snapshot.values_of(parents).keys() - deleted
    for parent, name in parents.items():
        if parent in existing or (parent in records and parent not in deleted):
            raise RefConflictError(name, parent)
    # What is created below was seen above.
    for name, below in living_refs_below(snapshot, created, deleted):
        raise RefConflictError(name, below)


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
