# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Compaction: which tables to merge, and merging them.

Tables shall form a geometric sequence, each at least ``factor`` times as large as the next newer
one; then a stack of n updates has O(log n) tables and each record is rewritten O(log n) times. The
rule that picks the run of tables to merge is git's, so that both keep the same shape when they
share a repository.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .merged import Merged
from .records import LogRecord
from .table import Table
from .writer import TableWriter, WriteOptions

__all__ = ["compacted", "run_to_compact"]


def run_to_compact(sizes: Sequence[int], factor: int = 2) -> tuple[int, int] | None:
    """Find the run of tables whose merger restores the geometric sequence.

    Args:
      sizes: of the tables' contents in bytes, oldest first
      factor: how many times larger than the next newer table each one should be
    Returns: ``(first, last)``, both included; None if the sequence is geometric
    """
    last = next((i for i in range(len(sizes) - 1, 0, -1) if sizes[i - 1] < sizes[i] * factor), None)
    if last is None:
        return None
    # Merging makes one table of what was added up so far, which the next older one must outweigh.
    first = last
    merged = sizes[last]
    for i in range(last - 1, -1, -1):
        before = merged
        merged += sizes[i]
        if sizes[i] < before * factor:
            first = i
    return first, last


def table_weights(tables: Sequence[Table]) -> list[int]:
    """Give the sizes that count for the sequence: without the header, but never zero."""
    return [table.size - (23 if table.version == 1 else 27) for table in tables]


def compacted(
    tables: tuple[Table, ...],
    write: Callable[[bytes], object],
    options: WriteOptions,
    *,
    with_oldest: bool,
) -> bool:
    """Write the merger of neighbouring tables.

    Args:
      tables: oldest first
      write: takes the bytes
      options: for the new table
      with_oldest: whether the oldest table of the stack is among them, so that no tombstone
        has anything left to hide
    Returns: False if nothing is left: the table that was written is empty
    """
    merged = Merged(tables)
    writer = TableWriter(
        write,
        min(table.min_update_index for table in tables),
        max(table.max_update_index for table in tables),
        options,
    )
    for _, refs in merged.ref_records():
        for ref in refs:
            if not (with_oldest and ref.is_deletion):
                writer.add_ref(ref)
    for _, logs in merged.log_records():
        for log in logs:
            if not (with_oldest and log.update is None):
                writer.add_log(_with_newline(log))
    writer.finish()
    return not writer.is_empty


def _with_newline(record: LogRecord) -> LogRecord:
    """End a log message in a newline, which git sees to when it compacts."""
    update = record.update
    if update is None or update.message.endswith(b"\n"):
        return record
    return record._replace(update=update._replace(message=update.message + b"\n"))
