# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Refs in each other's way: no name may be both a ref and a directory of refs.

The format would allow ``refs/heads/a`` beside ``refs/heads/a/b``, but peers with files could not
store it; git refuses it (``refs_verify_refname_available``), and so do we. A ref that the same
transaction deletes is in nobody's way.
"""

from __future__ import annotations

from collections.abc import Mapping

from .engine.errors import RefConflictError
from .engine.records import RefRecord
from .engine.snapshot import Snapshot

__all__ = ["refuse_conflicts"]

_ABOVE_ALL = len(b"refs")
"""No ref can have this name."""


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
    created = sorted(
        name
        for name, record in records.items()
        if not record.is_deletion and before.get(name) is None and b"/" in name
    )
    if not created:
        return
    parents: dict[bytes, bytes] = {}
    for name in created:
        end = name.rfind(b"/")
        while end > _ABOVE_ALL and name[:end] not in parents:
            parents[name[:end]] = name
            end = name.rfind(b"/", 0, end)
    # Above: a ref where a directory is needed.
    existing = snapshot.values_of(parents)
    for parent, name in parents.items():
        record = records.get(parent)
        if parent in existing if record is None else not record.is_deletion:
            raise RefConflictError(name, parent)
    # Below: refs in a directory where a ref is wanted. What is created below was seen above.
    for name, below in snapshot.first_refs_below(created):
        blocking: bytes | None = below
        if _is_deleted(records, below):
            blocking = _living_below(snapshot, records, name)
        if blocking is not None:
            raise RefConflictError(name, blocking)


def _is_deleted(records: Mapping[bytes, RefRecord], name: bytes) -> bool:
    record = records.get(name)
    return record is not None and record.is_deletion


def _living_below(
    snapshot: Snapshot, records: Mapping[bytes, RefRecord], name: bytes
) -> bytes | None:
    """Find a ref below a name that the transaction does not delete."""
    for names, _ in snapshot.ref_values(name + b"/", name + b"0"):
        for below in names:
            if not _is_deleted(records, below):
                return below
    return None
