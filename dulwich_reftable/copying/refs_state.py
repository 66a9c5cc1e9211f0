# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The refs and reflogs of a stack: a digest of them, and the records that make another stack equal.

Update indexes are no part of that state. A stack that is empty gets the records as they are, with
their update indexes. Another one gets new records where it differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from typing import NamedTuple

from ..engine.format.records import LogRecord, LogUpdate, RefRecord
from ..engine.stack.addition import Addition
from ..engine.table.merged import Merged
from .report import Copy

__all__ = ["digest_of", "object_ids", "write_difference"]


class _Reflog(NamedTuple):
    """A reflog.

    Attributes:
      name: of the ref
      records: newest first; an existence marker may be among them
    """

    name: bytes
    records: list[LogRecord]

    @property
    def entries(self) -> list[LogUpdate]:
        """The entries, oldest first."""
        updates = [record.update for record in reversed(self.records) if record.update is not None]
        return [update for update in updates if not update.is_existence_marker]


def _refs(stack: Merged) -> Iterator[RefRecord]:
    """Give the refs in the order of their names, without tombstones."""
    records = chain.from_iterable(found for _, found in stack.ref_records())
    return (record for record in records if not record.is_deletion)


def _log_records(stack: Merged) -> Iterator[LogRecord]:
    """Give the log records in the order of their keys, without tombstones."""
    records = chain.from_iterable(found for _, found in stack.log_records())
    return (record for record in records if record.update is not None)


def _reflogs(stack: Merged) -> Iterator[_Reflog]:
    for name, records in groupby(_log_records(stack), key=lambda record: record.name):
        yield _Reflog(name, list(records))


def digest_of(stack: Merged, done: Copy | None = None) -> str:
    """Digest the names and values of all refs, and all reflog entries.

    Args:
      stack: which has them
      done: where to count them
    Returns: hex digits
    """
    digest = hashlib.sha256()
    refs = reflogs = entries = 0
    for record in _refs(stack):
        digest.update(repr((record.name, record.value, record.target)).encode())
        refs += 1
    for log in _reflogs(stack):
        found = log.entries
        digest.update(repr((log.name, [tuple(entry) for entry in found])).encode())
        reflogs += 1
        entries += len(found)
    if done is not None:
        done.refs, done.reflogs, done.entries = refs, reflogs, entries
    return digest.hexdigest()


def object_ids(stack: Merged) -> Iterator[tuple[bytes, bytes]]:
    """Give the name and the binary object id of each ref that is no symref."""
    for record in _refs(stack):
        if record.value is not None:
            yield record.name, record.value


def write_difference(addition: Addition, wanted: Merged) -> None:
    """Write what makes a stack equal to another one.

    Args:
      addition: to the stack
      wanted: the other one
    """
    before = addition.snapshot
    if not before.tables:
        last = max(wanted.max_update_index, addition.next_update_index)
        addition.write(_refs(wanted), _log_records(wanted), last)
        return
    index = addition.next_update_index
    refs = list(_changed_refs(before, wanted, index))
    logs = list(_changed_logs(before, wanted, index))
    if refs or logs:
        last = max((log.update_index for log in logs), default=index)
        addition.write(refs, logs, max(last, index))


def _side_by_side(
    one: Iterable[RefRecord | _Reflog], other: Iterable[RefRecord | _Reflog]
) -> Iterator[tuple[bytes, RefRecord | _Reflog | None, RefRecord | _Reflog | None]]:
    """Merge two sequences by names: the name, and what each has of it."""
    ones, others = iter(one), iter(other)
    left, right = next(ones, None), next(others, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left.name < right.name):
            assert left is not None
            yield left.name, left, None
            left = next(ones, None)
        elif left is None or right.name < left.name:
            yield right.name, None, right
            right = next(others, None)
        else:
            yield left.name, left, right
            left, right = next(ones, None), next(others, None)


def _changed_refs(before: Merged, wanted: Merged, index: int) -> Iterator[RefRecord]:
    for name, old, new in _side_by_side(_refs(before), _refs(wanted)):
        if not isinstance(new, RefRecord):
            yield RefRecord(name, index)
        elif not isinstance(old, RefRecord) or old[2:] != new[2:]:
            yield new._replace(update_index=index)


def _changed_logs(before: Merged, wanted: Merged, index: int) -> Iterator[LogRecord]:
    for name, old, new in _side_by_side(_reflogs(before), _reflogs(wanted)):
        has = old if isinstance(old, _Reflog) else _Reflog(name, [])
        if not isinstance(new, _Reflog):
            yield from (LogRecord(name, record.update_index) for record in has.records)
            continue
        entries, known = new.entries, has.entries
        grows = entries[: len(known)] == known
        added = entries[len(known) :] if grows else entries
        for at in reversed(range(len(added))):
            yield LogRecord(name, index + at, added[at])
        if not grows:
            yield from (LogRecord(name, record.update_index) for record in has.records)
        if not entries and (not grows or not has.records):
            # An empty reflog is a marker, at the index that no entry has.
            marker = new.records[0].update
            yield LogRecord(name, index, marker)
