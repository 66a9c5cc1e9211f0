# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Adding to a stack: one table, within one change of the list.

A writer takes the latest snapshot, checks its expectations, writes its table and the new list, and
swaps the list. A lock keeps other writers out meanwhile, or the swap fails because they were
faster. An update of several stacks makes an addition to each, and calls :func:`commit_all`.

Half of all small additions need a compaction. If the tables to be merged are small, the addition
writes their merger instead of the new table: one swap of the list instead of two, and the same
stack. Mostly it knows that before the new table is encoded (:mod:`.draft`).
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable
from itertools import chain, islice
from types import TracebackType

from ..errors import ReftableError, StaleListError, StorageError
from ..format.coding import MAX_UINT64
from ..format.records import LogRecord, RefRecord
from ..table.merged import Merged
from ..table.table import Table
from ..table.writer import TableWriter, WriteOptions
from .compaction import claim_newest, merge, weight
from .draft import Draft, NewRecords
from .snapshot import Snapshot
from .storage import Change, Claim, Listing, NewTable, Storage

__all__ = ["Addition", "commit_all", "next_update_indexes"]

_log = logging.getLogger(__name__)

_SMALL = 1 << 17
"""Maximum bytes of tables that are merged under the list's lock: some thousand refs, which takes
about as long as to sync a file."""

_SMALL_IF_OPTIMISTIC = 1 << 16
"""The same where the swap may fail, so that all has to be merged again. A compaction afterwards
takes two more swaps, which may fail, too."""

_LEAST_RECORD = 24
"""Minimum bytes of most records."""


class Addition:
    """The right to add one table, within a change of the list.

    Args:
      storage: where the stack lives
      options: for the table
      change: the right to change the list
      snapshot: the stack within that change
      geometric_factor: of the sequence that the new table has to fit into; None for any place
      lock_timeout: seconds to wait for the lock again, if the addition has to be taken back
      settle: is called after a commit, with the list that is in place and the names of the tables
        that were merged

    Attributes:
      snapshot: the stack; it does not change while the addition is open
    """

    def __init__(
        self,
        storage: Storage,
        options: WriteOptions,
        change: Change,
        snapshot: Snapshot,
        *,
        geometric_factor: int | None,
        lock_timeout: float | None,
        settle: Callable[[Listing | None, list[str]], None],
    ) -> None:
        self._storage = storage
        self._options = options
        self._geometric_factor = geometric_factor
        self._lock_timeout = lock_timeout
        self._settle = settle
        self._change: Change | None = change
        self._table: NewTable | None = None
        self._claim: Claim | None = None  # on the tables that are merged with the new one
        self._merged = 0  # how many these are
        self._after: tuple[str, ...] | None = None  # the list as it is to be
        self._listing: Listing | None = None
        self.snapshot = snapshot

    def __enter__(self) -> Addition:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abort()

    @property
    def has_written(self) -> bool:
        """Whether there is a list to be installed: else a commit changes nothing."""
        return self._after is not None

    @property
    def next_update_index(self) -> int:
        """The update index of the transaction.

        Raises:
          StorageError: if the newest table has the largest possible one
        """
        return self.next_update_indexes(1)[0]

    def next_update_indexes(self, count: int) -> range:
        """Give the update indexes of a transaction that takes several.

        Raises:
          StorageError: if not so many are left
        """
        return next_update_indexes(self.snapshot, count, self._storage.location)

    def write(
        self,
        refs: Iterable[RefRecord],
        logs: Iterable[LogRecord],
        max_update_index: int | None = None,
    ) -> None:
        """Write the table and the list that names it, durably; do not install the list yet.

        All that needs space on the disk is done here, so that little can fail later.

        Args:
          refs: in the order of their names
          logs: in the order of their keys
          max_update_index: of the table, if it is not a single transaction's
        Raises:
          RecordError: if a record cannot be written
          StorageError: if the table cannot, or no update index is left for it
        """
        if self._change is None or self._table is not None:
            raise ReftableError("an addition takes one table, while it is open")
        index = self.next_update_index
        last = index if max_update_index is None else max_update_index
        few = self._most_merged // _LEAST_RECORD
        refs, logs = iter(refs), iter(logs)
        some_refs = list(islice(refs, few))
        some_logs = list(islice(logs, few)) if len(some_refs) < few else []
        is_something = None
        if len(some_refs) < few and len(some_logs) < few:
            records = NewRecords(some_refs, some_logs, index, last)
            if records.are_in_order:
                is_something = self._merge(records, records.weights(self._options))
        if is_something is None:
            is_something = self._write(chain(some_refs, refs), chain(some_logs, logs), index, last)
        if is_something is not None:
            self._list(is_something)

    def _write(
        self, refs: Iterable[RefRecord], logs: Iterable[LogRecord], first: int, last: int
    ) -> bool | None:
        """Write the new table, or its merger with older ones.

        Returns: False if nothing is left in the merger; None if there are no records
        """
        draft = Draft(lambda: self._begin(first, last), self._most_merged)
        writer = TableWriter(draft.write, first, last, self._options)
        writer.add_refs(refs)
        writer.add_logs(logs)
        writer.finish()
        if writer.is_empty:
            if self._table is not None:
                self._table.discard()
            return None
        data = draft.data
        if data:
            new = Table(f"{self._storage.location}/(new table)", data)
            is_something = self._merge(new, (weight(new), weight(new)))
            if is_something is not None:
                return is_something
        draft.save()
        return True

    @property
    def _most_merged(self) -> int:
        """Maximum bytes of tables that are merged; 0 if there is nothing to merge, or no reason."""
        if self._geometric_factor is None or not self.snapshot.tables:
            return 0
        return min(_SMALL, _SMALL_IF_OPTIMISTIC) if self._storage.is_optimistic else _SMALL

    def _begin(self, first: int, last: int) -> NewTable:
        self._table = self._storage.new_table(first, last)
        return self._table

    def _merge(self, new: Table | NewRecords, weights: tuple[int, int]) -> bool | None:
        """Write the merger of the new table with older ones, if a compaction would do so next.

        With small tables this takes little longer, and saves a table and a swap of the list.

        Args:
          new: the table, or the records that it is to have
          weights: bounds of its weight
        Returns: False if nothing is left in the merger; None if nothing was merged
        """
        factor, most, tables = self._geometric_factor, self._most_merged, self.snapshot.tables
        if factor is None or self._change is None:
            return None
        try:
            found = claim_newest(self._change, self.snapshot, weights, factor, most)
            if found is None:
                return None
            self._claim, self._merged = found
            run = (*tables[len(tables) - self._merged :], new)
            table = self._begin(run[0].min_update_index, new.max_update_index)
            return merge(run, table.write, self._options, with_oldest=len(run) > len(tables))
        except ReftableError as error:
            # A fault in older tables is no reason to refuse a new one; one in the new records is
            # found again when these are written.
            if isinstance(new, Table):
                _log.warning("%s was not compacted: %s", self._storage.location, error)
            self._release_claim()
            if self._table is not None:
                self._table.discard()
            return None

    def _list(self, is_something: bool) -> None:
        """Finish the table that was written, and prepare the list that names it."""
        listing, table = self.snapshot.listing, self._table
        if table is None or self._change is None:
            return
        names = listing.names[: len(listing.names) - self._merged]
        if is_something:
            table.seal()
            names = (*names, table.commit())
        else:
            table.discard()
        self._change.prepare(names, listing)
        self._after = names

    def commit(self) -> None:
        """Install the list that names the table; then compact the stack.

        Raises:
          StorageError: if the list could not be put in place, and the old one stands; or if it was,
            but is not sure to survive a power cut
          StaleListError: if somebody else has written meanwhile, which a lock prevents unless
            somebody breaks it; nothing was written
          OutcomeUnknownError: if nobody can tell whether the list is in place
        """
        commit_all((self,))

    def abort(self) -> None:
        """Remove what was written, and let others write; harmless after :meth:`commit`."""
        change, table = self._change, self._table
        # An interrupted commit may have swapped the list; then the table has to stay.
        if table is not None and change is not None and not change.may_be_swapped:
            table.discard()
        self._release_claim()
        if change is not None:
            change.release()
        self._change = self._table = None

    def _release_claim(self) -> None:
        claim, self._claim, self._merged = self._claim, None, 0
        if claim is not None:
            claim.release()

    def _may_be_swapped(self) -> bool:
        return self._change is not None and self._change.may_be_swapped

    def _check(self) -> None:
        if self._change is not None:
            self._change.check()

    def _swap(self) -> None:
        if self._change is not None:
            self._listing = self._change.swap()

    def _sync(self) -> None:
        if self._change is not None:
            self._change.sync()

    def _replaced(self) -> list[str]:
        """Give the tables that the new list leaves out."""
        return [name for name in self.snapshot.listing.names if name not in (self._after or ())]

    def _take_back(self) -> None:
        """Install the old list again, if nobody has built on the new one.

        Raises:
          ReftableError: if that cannot be done
        """
        if self._change is not None:
            self._change.release()  # an interrupt may have come before that
        storage = self._storage
        change = storage.begin(self._lock_timeout)
        try:
            listing = storage.refresh(None)
            before = self.snapshot.listing.names
            if listing.names != self._after:
                raise StaleListError(f"{storage.location}: somebody has built on it")
            change.prepare(before, listing)
            change.check()
            change.swap()
        except BaseException:
            change.release()
            raise
        change.sync()
        if self._table is not None:
            self._table.discard()


def next_update_indexes(refs: Merged, count: int, location: str) -> range:
    """Give the update indexes of a transaction.

    Args:
      refs: the stack before it
      count: how many it takes
      location: of the stack, for the message
    Raises:
      StorageError: if not so many are left
    """
    index = refs.max_update_index + 1
    if index + count - 1 > MAX_UINT64:
        raise StorageError(errno.EOVERFLOW, "no update index is left for an update", location)
    return range(index, index + count)


def commit_all(additions: Iterable[Addition]) -> None:
    """Commit several additions: all of them or none, unless the machine dies between two renames.

    Args:
      additions: to different stacks; all tables are written
    Raises:
      StorageError: if a list could not be put in place, and the old ones stand; or if they were put
        in place, but are not sure to survive a power cut
      StaleListError: if somebody else has written meanwhile, or broke a lock; nothing was written
      OutcomeUnknownError: if nobody can tell whether the list is in place
    """
    additions = list(additions)
    for addition in additions:
        if addition._change is None:
            raise ReftableError("the addition is over")
    written = [addition for addition in additions if addition._after is not None]
    try:
        for addition in written:
            addition._check()
        for addition in written:
            addition._swap()
    except BaseException as error:
        _take_back(written, error)
        raise
    unsynced: StorageError | None = None
    for addition in written:
        try:
            addition._sync()
        except StorageError as error:
            unsynced = error
    for addition in additions:
        addition.abort()
    if unsynced is not None:
        raise unsynced
    for addition in written:
        addition._settle(addition._listing, addition._replaced())


def _take_back(additions: list[Addition], cause: BaseException) -> None:
    """Undo the swaps that have happened, unless all have."""
    swapped = [addition for addition in additions if addition._may_be_swapped()]
    if len(swapped) == len(additions):
        return  # only interrupted, and too late
    for addition in swapped:
        try:
            addition._take_back()
        except ReftableError as error:
            location = addition._storage.location
            raise StorageError(
                None, f"an update stands although one that belongs to it failed: {error}", location
            ) from cause
