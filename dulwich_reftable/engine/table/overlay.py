# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A stack with updates that are not written yet.

Lookups of refs and reflogs are answered from dictionaries. For scans, the updates become a table in
memory, which is kept until there are more updates.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..format.records import LogRecord, RefRecord, log_key
from ..format.ref_scan import ref_text
from .merged import Merged, Seeker
from .table import Table
from .writer import MAX_BLOCK_SIZE, TableWriter, WriteOptions

__all__ = ["Overlay"]


class Overlay(Merged):
    """A stack, and updates on top of it.

    Args:
      base: the stack; it is not changed
      options: how its tables are written
    """

    def __init__(self, base: Merged, options: WriteOptions) -> None:
        super().__init__(base.tables)
        self._base = base
        self._options = replace(options, block_size=MAX_BLOCK_SIZE, aligned=False)
        self._max_update_index = base.max_update_index
        self._refs: dict[bytes, RefRecord] = {}
        self._sorted: list[bytes] = []  # names of these
        self._logs: dict[bytes, dict[bytes, LogRecord]] = {}  # by name, then by key
        self._all: tuple[Table, ...] | None = None

    def add(self, refs: Iterable[RefRecord], logs: Iterable[LogRecord]) -> None:
        """Put the records of one update on top, under the next update index."""
        self._max_update_index += 1
        self._all = None
        for ref in refs:
            if ref.name not in self._refs:
                insort(self._sorted, ref.name)
            self._refs[ref.name] = ref
        for log in logs:
            records = self._logs.setdefault(log.name, {})
            key = log_key(log.name, log.update_index)
            if log.update is None and log.update_index > self._base.max_update_index:
                records.pop(key, None)  # it was never written
            else:
                records[key] = log

    @property
    def max_update_index(self) -> int:
        """The update index of the newest update."""
        return self._max_update_index

    @property
    def tables(self) -> tuple[Table, ...]:
        """The stack's tables, and one of the updates."""
        if self._all is None:
            parts: list[bytes] = []
            first = self._base.max_update_index + 1
            last = max(first, self._max_update_index)
            writer = TableWriter(parts.append, first, last, self._options)
            writer.add_refs(self.updated_refs())
            writer.add_logs(self.updated_logs())
            writer.finish()
            self._all = (*self._base.tables, Table("updates in memory", b"".join(parts)))
        return self._all

    # Records to write

    def updated_refs(self) -> Iterator[RefRecord]:
        """Give the newest records of refs, in order; none that delete an unwritten ref."""
        for name in self._sorted:
            record = self._refs[name]
            if not record.is_deletion or self._base.lookup_ref(name) is not None:
                yield record

    def updated_logs(self) -> Iterator[LogRecord]:
        """Give the records of reflogs, in the order of their keys."""
        for name in sorted(self._logs):
            records = self._logs[name]
            yield from (records[key] for key in sorted(records))

    # Single refs and reflogs

    def lookup_ref(self, name: bytes) -> RefRecord | None:
        """Find a ref that exists."""
        record = self._refs.get(name)
        if record is None:
            return self._base.lookup_ref(name)
        return None if record.is_deletion else record

    def seeker(self) -> Seeker:
        """Give a seeker, which is valid until there are more updates."""
        return _OverlaySeeker(self._base.seeker(), self._sorted, self._refs)

    def values_of(self, names: Iterable[bytes]) -> dict[bytes, bytes]:
        """Find many refs, as text."""
        wanted = set(names)
        found = self._base.values_of(wanted - self._refs.keys())
        for name in wanted & self._refs.keys():
            text = ref_text(self._refs[name])
            if text is not None:
                found[name] = text
        return found

    def logs_of(self, name: bytes) -> Iterator[LogRecord]:
        """Give a ref's log records, newest first, without tombstones."""
        records = dict(self._logs.get(name, {}))
        for key in sorted(records):
            if records[key].update is not None:
                yield records[key]
        for record in self._base.logs_of(name):
            if log_key(name, record.update_index) not in records:
                yield record


class _OverlaySeeker:
    def __init__(self, below: Seeker, names: list[bytes], refs: dict[bytes, RefRecord]) -> None:
        self._below = below
        self._names = names
        self._refs = refs

    def first_from(self, start: bytes) -> RefRecord | None:
        below = self._below.first_from(start)
        i = bisect_left(self._names, start)
        if i == len(self._names) or (below is not None and below.name < self._names[i]):
            return below
        return self._refs[self._names[i]]
