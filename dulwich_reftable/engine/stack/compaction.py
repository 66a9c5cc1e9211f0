# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Compaction: which tables to merge, merging them, and replacing them in the list.

Tables shall form a geometric sequence, each at least ``factor`` times as large as the next newer
one; then a stack of n updates has O(log n) tables and each record is rewritten O(log n) times. The
rule that picks the run of tables to merge is git's, so that both keep the same shape when they
share a repository.

The list is locked to claim the tables and to replace them, not while they are merged and synced. A
compaction of the oldest tables, which takes long, keeps nobody from compacting what is added
meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import LockError, StaleListError
from ..format.records import LogRecord, RefRecord
from ..table.merged import Chunk, merge_chunks
from ..table.table import Table
from ..table.writer import TableWriter, WriteOptions
from .locks import attempts
from .snapshot import Snapshot
from .storage import Change, Claim, ClaimedError, Listing, Storage

__all__ = ["compact", "is_geometric", "merge", "run_to_compact"]


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
    # The merger of the tables so far has their total size; the next older table must outweigh it.
    first = last
    merged = sizes[last]
    for i in range(last - 1, -1, -1):
        before = merged
        merged += sizes[i]
        if sizes[i] < before * factor:
            first = i
    return first, last


def weight(table: Table) -> int:
    """Give the size without header and footer, never zero; the sequence is made of these."""
    return table.layout.end - table.layout.header_size + 1


def _weights(tables: Sequence[Table]) -> list[int]:
    return [weight(table) for table in tables]


def is_geometric(tables: Sequence[Table], factor: int) -> bool:
    """Tell whether tables, oldest first, need no compaction."""
    return run_to_compact(_weights(tables), factor) is None


def compact(
    storage: Storage,
    latest: Callable[[], Snapshot],
    adopt: Callable[[Listing], None],
    options: WriteOptions,
    *,
    factor: int | None,
    timeout: float | None,
) -> bool:
    """Merge tables of a stack.

    Args:
      storage: where the stack lives
      latest: gives it as it is; within a change, or one that the swap finds to be old
      adopt: takes the list that is in place afterwards
      options: for the new table
      factor: of the sequence to be restored, as far as tables are not locked; None to merge all
        tables
      timeout: seconds to wait for a lock; 0 to try once, None for ever
    Returns: whether tables were merged
    Raises:
      LockError: if the list, or with all tables one of them, stayed locked
      StorageError: if writing failed
    """
    claimed = _claim(storage, latest, factor, timeout)
    if claimed is None:
        return False
    try:
        names = claimed.names
        listing = _replace(storage, claimed, options, timeout)
        # Let go of the merged tables: Windows does not remove a mapped file.
        claimed.tables = ()
        adopt(listing)
        storage.retire(names)
    finally:
        claimed.claim.release()
    return True


@dataclass(slots=True)
class _Claimed:
    """The run of tables that a compaction merges.

    Attributes:
      listing: the list when they were claimed
      names, tables: of the run
      claim: on them
    """

    listing: Listing
    names: tuple[str, ...]
    tables: tuple[Table, ...]
    claim: Claim

    @property
    def with_oldest(self) -> bool:
        """Whether the oldest table of the stack is among them."""
        return self.names[0] == self.listing.names[0]


def _claim(
    storage: Storage,
    latest: Callable[[], Snapshot],
    factor: int | None,
    timeout: float | None,
) -> _Claimed | None:
    """Claim the tables to be merged, within a change; arguments are those of :func:`compact`.

    Returns: the tables; None if there is nothing to merge
    """
    refused = LockError(storage.location, None, 0.0)
    for _ in attempts(timeout):
        change = storage.begin(timeout)
        try:
            return _claim_run(storage, latest(), factor)
        except LockError as error:
            refused = error
        finally:
            change.release()
    raise refused


def _claim_run(storage: Storage, snapshot: Snapshot, factor: int | None) -> _Claimed | None:
    names, weights = snapshot.listing.names, _weights(snapshot.tables)
    # If a table is claimed, look at the tables on both sides of it by themselves, newer ones first.
    # Otherwise many writers at the newest tables would keep the older ones from being compacted.
    stretches = [(0, len(names))]
    while stretches:
        start, stop = stretches.pop()
        run = (0, len(names) - 1)
        if factor is not None:
            found = run_to_compact(weights[start:stop], factor)
            if found is None:
                continue
            run = found
        first, end = start + run[0], start + run[1] + 1
        if end - first < 2:
            return None
        try:
            claim = storage.claim(names[first:end])
        except ClaimedError as error:
            if factor is None:
                raise
            taken = names.index(error.table)
            stretches += [(start, taken), (taken + 1, stop)]
        else:
            tables = snapshot.tables[first:end]
            return _Claimed(snapshot.listing, names[first:end], tables, claim)
    return None


def claim_newest(
    change: Change, snapshot: Snapshot, weights: tuple[int, int], factor: int, most: int
) -> tuple[Claim, int] | None:
    """Claim the tables that are to be merged with one that is about to be added.

    Args:
      change: the change of the list that replaces them
      snapshot: the stack
      weights: bounds of the weight of that one
      factor: of the sequence
      most: how many bytes all of these tables may have
    Returns: the claim, and how many tables it covers, the newest ones; None if nothing is to be
      merged, if the bounds leave open what is, if it is too much, or if somebody has claimed one of
      them
    """
    names, tables = snapshot.listing.names, snapshot.tables
    others, (least, greatest) = _weights(tables), weights
    run = run_to_compact((*others, least), factor)
    if run is None or run[1] < len(names):
        return None
    # A heavier table never leaves one out that a lighter one is merged with.
    if run[0] and least < greatest and run_to_compact((*others, greatest), factor) != run:
        return None
    if sum(table.size for table in tables[run[0] :]) + least > most:
        return None
    try:
        return change.claim(names[run[0] :]), len(names) - run[0]
    except LockError:
        return None


def _replace(
    storage: Storage, claimed: _Claimed, options: WriteOptions, timeout: float | None
) -> Listing:
    """Put the merger of claimed tables in their place; give the list that is in place."""
    tables = claimed.tables
    new = storage.new_table(tables[0].min_update_index, tables[-1].max_update_index)
    change: Change | None = None
    try:
        something = merge(tables, new.write, options, with_oldest=claimed.with_oldest)
        new.seal()
        committed: tuple[str, ...] = ()
        listing = claimed.listing
        since = float("-inf") if storage.is_optimistic else time.monotonic()
        for _ in attempts(timeout if storage.is_optimistic else 0):
            change = storage.begin(timeout)
            listing = storage.refresh(listing, time.monotonic() - since)
            at = _position(storage, listing.names, claimed.names)
            if something and not committed:
                committed = (new.commit(),)
            after = at + len(claimed.names)
            change.prepare((*listing.names[:at], *committed, *listing.names[after:]), listing)
            since = time.monotonic()
            try:
                change.check()
                installed = change.swap()
                break
            except StaleListError as error:
                change.release()
                stale = error
        else:
            raise stale
    except BaseException:
        # If the swap has happened nevertheless, the list names the new table.
        if change is None or not change.may_be_swapped:
            new.discard()
        if change is not None:
            change.release()
        raise
    if not something:
        new.discard()
    # If this fails, a power cut may restore the old list: its tables have to stay.
    change.sync()
    return installed


def _position(storage: Storage, listed: tuple[str, ...], names: tuple[str, ...]) -> int:
    """Find claimed tables in the list.

    Raises:
      StaleListError: if they do not stand there one after another any more
    """
    at = listed.index(names[0]) if names[0] in listed else 0
    if listed[at : at + len(names)] != names:
        raise StaleListError(f"{storage.location}: tables were replaced in spite of their locks")
    return at


class Mergeable(Protocol):
    """A table, as far as merging goes."""

    @property
    def min_update_index(self) -> int: ...

    @property
    def max_update_index(self) -> int: ...

    def ref_records(self) -> Iterator[Chunk[RefRecord]]: ...

    def log_records(self) -> Iterator[Chunk[LogRecord]]: ...


def merge(
    tables: Sequence[Mergeable],
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
    writer = TableWriter(
        write,
        min(table.min_update_index for table in tables),
        max(table.max_update_index for table in tables),
        options,
    )
    for _, refs in merge_chunks([table.ref_records() for table in tables]):
        writer.add_refs([ref for ref in refs if not ref.is_deletion] if with_oldest else refs)
    for _, logs in merge_chunks([table.log_records() for table in tables]):
        kept = (log for log in logs if log.update is not None) if with_oldest else logs
        writer.add_logs(map(_with_newline, kept))
    writer.finish()
    return not writer.is_empty


def _with_newline(record: LogRecord) -> LogRecord:
    """End a log message in a newline, as git does in a compaction."""
    update = record.update
    if update is None or update.message.endswith(b"\n"):
        return record
    return record._replace(update=update._replace(message=update.message + b"\n"))
