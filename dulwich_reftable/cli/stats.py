# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable stats``: sizes of tables, refs by namespace, and the gain of a compaction.

Nothing is estimated. To know the gain, the tables are merged, and the result is thrown away.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from ..engine.errors import CorruptTableError
from ..engine.format.block import Block
from ..engine.format.layout import INDEX, LOG, OBJ, REF
from ..engine.stack.compaction import merge
from ..engine.stack.stack import Stack
from ..inspection import Inspection
from ..naming.symrefs import is_symref
from .columns import aligned
from .repository import add_repository, opened, printable
from .stores import store_options

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_repository(parser)


def run(parsed: argparse.Namespace) -> int:
    with opened(parsed.repository, options=store_options(parsed)) as (_, refs):
        found = [_stack_stats(worktree, stack) for worktree, stack in refs.store.all_stacks()]
    if parsed.json:
        print(json.dumps({"stacks": [asdict(stats) for stats in found]}, indent=1))
        return 0
    for number, stats in enumerate(found):
        if number:
            print()
        for line in _lines(stats):
            print(line)
    return 0


@dataclass
class _TableStats:
    """The contents of one table.

    Attributes:
      name: of the file
      size: in bytes
      min_update_index, max_update_index: as in the header
      refs, ref_tombstones: number of ref records, and of deletions among them
      entries, entry_tombstones: number of log records, and of deletions among them
      ref_bytes, obj_bytes, log_bytes: sizes of the sections, with indexes and padding
    """

    name: str
    size: int
    min_update_index: int
    max_update_index: int
    refs: int = 0
    ref_tombstones: int = 0
    entries: int = 0
    entry_tombstones: int = 0
    ref_bytes: int = 0
    obj_bytes: int = 0
    log_bytes: int = 0


@dataclass
class _StackStats:
    """The contents of a stack.

    Attributes:
      location: the directory
      worktree: the id of its worktree; None for the shared stack
      tables: oldest first
      namespaces: number of refs by namespace
      symrefs: number of symrefs
      compacted_size: bytes of the table that a compaction would leave; 0 without tables
    """

    location: str
    worktree: str | None
    tables: list[_TableStats]
    namespaces: dict[str, int] = field(default_factory=dict)
    symrefs: int = 0
    compacted_size: int = 0

    @property
    def size(self) -> int:
        """Bytes of all tables."""
        return sum(table.size for table in self.tables)


def _stack_stats(worktree: bytes | None, stack: Stack) -> _StackStats:
    snapshot = stack.snapshot()
    stats = _StackStats(
        stack.storage.location,
        None if worktree is None else os.fsdecode(worktree),
        [
            _table_stats(Inspection(table.filename, table.layout.buffer))
            for table in snapshot.tables
        ],
    )
    namespaces: Counter[bytes] = Counter()
    for names, values in snapshot.ref_values():
        namespaces.update(map(_namespace, names))
        stats.symrefs += sum(map(is_symref, values))
    stats.namespaces = {os.fsdecode(name): namespaces[name] for name in sorted(namespaces)}
    if snapshot.tables:
        size = 0

        def count(data: bytes) -> None:
            nonlocal size
            size += len(data)

        if merge(snapshot.tables, count, stack.options, with_oldest=True):
            stats.compacted_size = size
    return stats


def _namespace(name: bytes) -> bytes:
    """Give the namespace of a ref, such as ``refs/heads/``; a root ref is its own."""
    first = name.find(b"/")
    second = name.find(b"/", first + 1) if first >= 0 else -1
    return name[: second + 1] or name


def _table_stats(inspection: Inspection) -> _TableStats:
    table = inspection.table
    if table is None:
        raise inspection.damage or CorruptTableError(inspection.filename, None, "cannot be read")
    stats = _TableStats(
        os.path.basename(table.filename),
        table.size,
        table.min_update_index,
        table.max_update_index,
    )
    section = 0
    for block in inspection.blocks():
        if not isinstance(block, Block):
            raise block.error
        if block.kind != INDEX:
            section = block.kind
        size = min(block.next_position, table.layout.end) - block.position
        if section == REF:
            stats.ref_bytes += size
        elif section == OBJ:
            stats.obj_bytes += size
        else:
            stats.log_bytes += size
        if block.kind == REF:
            _, values = block.ref_values()
            stats.refs += len(values)
            stats.ref_tombstones += values.count(None)
        elif block.kind == LOG:
            _, logs = block.log_records()
            stats.entries += len(logs)
            stats.entry_tombstones += sum(log.update is None for log in logs)
    return stats


def _lines(stats: _StackStats) -> Iterator[str]:
    """Format the numbers of a stack for people."""
    whose = "" if stats.worktree is None else f" of the worktree {printable(stats.worktree)}"
    yield f"stack{whose}: {printable(stats.location)}"
    rows: list[tuple[str, ...]] = [("table", "bytes", "refs", "deleted", "log entries", "deleted")]
    for table in stats.tables:
        rows.append((table.name, *_numbers(table)))
    total = _TableStats("", stats.size, 0, 0)
    for table in stats.tables:
        for key in ("refs", "ref_tombstones", "entries", "entry_tombstones"):
            setattr(total, key, getattr(total, key) + getattr(table, key))
    rows.append((f"{len(stats.tables)} in all", *_numbers(total)))
    yield from aligned(rows)
    yield ""
    counts = [("namespace", "refs")]
    counts += [(printable(name), str(count)) for name, count in stats.namespaces.items()]
    counts.append(("in all", str(sum(stats.namespaces.values()))))
    yield from aligned(counts)
    yield ""
    yield f"symrefs: {stats.symrefs}"
    yield _ratio("bytes a ref", sum(table.ref_bytes for table in stats.tables), total.refs)
    yield _ratio(
        "bytes a ref for lookups by object",
        sum(table.obj_bytes for table in stats.tables),
        total.refs,
    )
    yield _ratio("bytes a log entry", sum(table.log_bytes for table in stats.tables), total.entries)
    gain = stats.size - stats.compacted_size
    # Tables of other writers may be smaller than ours, for example without obj blocks.
    share = f" ({gain / stats.size:.1%})" if stats.size else ""
    gained = f"{gain}{share}" if gain >= 0 else "nothing"
    yield f"compaction would leave {stats.compacted_size} bytes and gain {gained}"


def _numbers(table: _TableStats) -> tuple[str, ...]:
    counted = (table.size, table.refs, table.ref_tombstones, table.entries, table.entry_tombstones)
    return tuple(map(str, counted))


def _ratio(name: str, size: int, count: int) -> str:
    return f"{name}: {size / count:.1f}" if count else f"{name}: -"
