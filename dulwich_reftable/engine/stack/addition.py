# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Adding to a stack: one table, under the list's lock.

A writer takes the latest snapshot, checks its expectations, writes its table and the new list, and
swaps the list. An update of several stacks makes an addition to each, and calls :func:`commit_all`.

Half of all small additions need a compaction. If the tables to be merged are small, the addition
writes their merger instead of the new table: one swap of the list instead of two, and the same
stack.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable
from types import TracebackType

from ..errors import ReftableError, StaleListError, StorageError
from ..format.coding import MAX_UINT64
from ..format.records import LogRecord, RefRecord
from ..table.merged import Merged
from ..table.table import Table
from ..table.writer import TableWriter, WriteOptions
from .compaction import lock_newest, merge
from .snapshot import Snapshot
from .storage import Listing, ListLock, NewTable, Storage, TableLock

__all__ = ["Addition", "commit_all", "next_update_indexes"]

_log = logging.getLogger(__name__)

_SMALL = 1 << 14
"""Maximum bytes of tables that are merged under the list's lock: that takes few milliseconds."""


class _Draft:
    """A table that is being written; it stays in memory while it is small.

    Args:
      begin: makes the file
    """

    def __init__(self, begin: Callable[[], NewTable]) -> None:
        self._begin = begin
        self._file: NewTable | None = None
        self._chunks: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        if self._file is not None:
            self._file.write(data)
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > _SMALL:
            self.save()

    @property
    def data(self) -> bytes:
        """All bytes; none if they are in a file."""
        return b"".join(self._chunks)

    def save(self) -> None:
        """Move it into a file."""
        if self._file is None:
            self._file = self._begin()
            for chunk in self._chunks:
                self._file.write(chunk)
            self._chunks.clear()


class Addition:
    """The right to add one table, under the list's lock.

    Args:
      storage: where the stack lives
      options: for the table
      lock: the list's
      snapshot: the stack under that lock
      geometric_factor: of the sequence that the new table has to fit into; None for any place
      lock_timeout: seconds to wait for the lock again, if the addition has to be taken back
      settle: is called after a commit, with the list before and the list after it

    Attributes:
      snapshot: the stack; it does not change while the addition is open
    """

    def __init__(
        self,
        storage: Storage,
        options: WriteOptions,
        lock: ListLock,
        snapshot: Snapshot,
        *,
        geometric_factor: int | None,
        lock_timeout: float | None,
        settle: Callable[[Listing, Listing | None], None],
    ) -> None:
        self._storage = storage
        self._options = options
        self._geometric_factor = geometric_factor
        self._lock_timeout = lock_timeout
        self._settle = settle
        self._lock: ListLock | None = lock
        self._table: NewTable | None = None
        self._locks: list[TableLock] = []  # of the tables that are merged with the new one
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
        if self._lock is None or self._table is not None:
            raise ReftableError("an addition takes one table, while it is open")
        index = self.next_update_index
        last = index if max_update_index is None else max_update_index
        draft = _Draft(lambda: self._begin(index, last))
        writer = TableWriter(draft.write, index, last, self._options)
        writer.add_refs(refs)
        for log in logs:
            writer.add_log(log)
        writer.finish()
        if not writer.is_empty:
            data = draft.data
            is_something = self._merge(data) if data else None
            if is_something is None:
                draft.save()
            self._list(is_something is not False)
        elif self._table is not None:
            self._table.discard()

    def _begin(self, first: int, last: int) -> NewTable:
        self._table = self._storage.new_table(first, last)
        return self._table

    def _merge(self, data: bytes) -> bool | None:
        """Write the merger of the new table with older ones, if a compaction would do so next.

        With small tables this takes little longer, and saves a table and a swap of the list.

        Returns: False if nothing is left in the merger; None if nothing was merged
        """
        if self._geometric_factor is None:
            return None
        storage, tables = self._storage, self.snapshot.tables
        new = Table(f"{storage.location}/(new table)", data)
        try:
            self._locks = lock_newest(storage, self.snapshot, new, self._geometric_factor, _SMALL)
            if not self._locks:
                return None
            run = (*tables[len(tables) - len(self._locks) :], new)
            table = self._begin(run[0].min_update_index, new.max_update_index)
            return merge(run, table.write, self._options, with_oldest=len(run) > len(tables))
        except ReftableError as error:
            # A fault in older tables is no reason to refuse a new one.
            _log.warning("%s was not compacted: %s", storage.location, error)
            self._release_tables()
            if self._table is not None:
                self._table.discard()
            return None

    def _list(self, is_something: bool) -> None:
        """Finish the table that was written, and prepare the list that names it."""
        listing, table = self.snapshot.listing, self._table
        if table is None or self._lock is None:
            return
        names = listing.names[: len(listing.names) - len(self._locks)]
        if is_something:
            table.seal()
            names = (*names, table.commit())
        else:
            table.discard()
        self._lock.prepare(names, listing)
        self._after = names

    def commit(self) -> None:
        """Install the list that names the table; then compact the stack.

        Raises:
          StorageError: if the list could not be put in place, and the old one stands; or if it was,
            but is not sure to survive a power cut
          StaleListError: if somebody broke the lock
        """
        commit_all((self,))

    def abort(self) -> None:
        """Remove what was written and release the lock; harmless after :meth:`commit`."""
        lock, table = self._lock, self._table
        # An interrupted commit may have swapped the list; then the table has to stay.
        if table is not None and lock is not None and not lock.is_swapped:
            table.discard()
        self._release_tables()
        if lock is not None:
            lock.release()
        self._lock = self._table = None

    def _release_tables(self) -> None:
        while self._locks:
            self._locks.pop().release()

    def _is_swapped(self) -> bool:
        return self._lock is not None and self._lock.is_swapped

    def _check(self) -> None:
        if self._lock is not None:
            self._lock.check()

    def _swap(self) -> None:
        if self._lock is not None:
            self._listing = self._lock.swap()

    def _sync(self) -> None:
        if self._lock is not None:
            self._lock.sync()

    def _take_back(self) -> None:
        """Install the old list again, if nobody has built on the new one.

        Raises:
          ReftableError: if that cannot be done
        """
        if self._lock is not None:
            self._lock.release()  # an interrupt may have come before that
        storage = self._storage
        lock = storage.lock_list(self._lock_timeout)
        try:
            listing = storage.read_list()
            before = self.snapshot.listing.names
            if listing.names != self._after:
                raise StaleListError(f"{storage.location}: somebody has built on it")
            lock.prepare(before, listing)
            lock.check()
            lock.swap()
        except BaseException:
            lock.release()
            raise
        lock.sync()
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
      StaleListError: if somebody broke a lock
    """
    additions = list(additions)
    for addition in additions:
        if addition._lock is None:
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
        addition._settle(addition.snapshot.listing, addition._listing)


def _take_back(additions: list[Addition], cause: BaseException) -> None:
    """Undo the swaps that have happened, unless all have."""
    swapped = [addition for addition in additions if addition._is_swapped()]
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
