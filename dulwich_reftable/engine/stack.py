# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The live stack: snapshots, additions under the lock, compaction, cleaning.

A reader takes a :class:`Snapshot`, an immutable view of the open tables; one look at the list tells
whether it is still the latest. A writer takes an :class:`Addition`: under the list's lock it sees
the latest snapshot, checks what it expects, writes one table, and swaps the list. Compaction holds
the list's lock only to claim tables and to swap, and gives way to everybody.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

from .compaction import compacted, run_to_compact, table_weights
from .errors import CorruptTableError, LockError, ReftableError, StaleListError
from .merged import Merged
from .records import LogRecord, RefRecord
from .storage import Listing, ListLock, MissingTableError, NewTable, Storage, TableLock
from .table import Table
from .writer import TableWriter, WriteOptions

__all__ = ["Addition", "Snapshot", "Stack"]

_RELOAD_SECONDS = 3.0
"""For how long a reader chases a list that changes under it, as in git."""


class Snapshot(Merged):
    """The stack at one moment.

    Attributes:
      listing: the list that named its tables
    """

    def __init__(self, tables: tuple[Table, ...], listing: Listing) -> None:
        super().__init__(tables)
        self.listing = listing


class Stack:
    """A stack of tables.

    Args:
      storage: where it lives
      options: for tables to be written; their hash is that of all tables
      geometric_factor: see :mod:`.compaction`
      lock_timeout: seconds to wait for the list's lock; 0 to try once, None for ever
    """

    def __init__(
        self,
        storage: Storage,
        options: WriteOptions | None = None,
        *,
        geometric_factor: int = 2,
        lock_timeout: float | None = 0.1,
    ) -> None:
        self.storage = storage
        self.options = options or WriteOptions()
        self.geometric_factor = geometric_factor
        self.lock_timeout = lock_timeout
        self._snapshot: Snapshot | None = None

    def close(self) -> None:
        """Let go of the open tables; whoever still has a snapshot can go on reading it."""
        self._snapshot = None

    # Reading

    def snapshot(self) -> Snapshot:
        """Give the latest snapshot.

        Raises:
          CorruptTableError: if the list or a table is damaged
          StorageError: if the list or a table cannot be read
        """
        snapshot = self._snapshot
        if snapshot is not None and self.storage.is_current(snapshot.listing.token):
            return snapshot
        return self._reload()

    def _reload(self) -> Snapshot:
        """Read the list until all of its tables are there: compaction may remove some meanwhile."""
        deadline = time.monotonic() + _RELOAD_SECONDS
        listing = self.storage.read_list()
        while True:
            try:
                snapshot = self._open(listing)
            except MissingTableError:
                before, listing = listing, self.storage.read_list()
                if listing.names == before.names or time.monotonic() > deadline:
                    raise
            else:
                self._snapshot = snapshot
                return snapshot

    def _open(self, listing: Listing) -> Snapshot:
        known: dict[str, Table] = {}
        if self._snapshot is not None:
            known = dict(zip(self._snapshot.listing.names, self._snapshot.tables, strict=True))
        tables = tuple(known.get(name) or self._open_table(name) for name in listing.names)
        return Snapshot(tables, listing)

    def _open_table(self, name: str) -> Table:
        table = Table(f"{self.storage.location}/{name}", self.storage.open_table(name))
        if table.hash_size != self.options.hash_size:
            raise CorruptTableError(
                table.filename,
                0,
                f"object ids of {table.hash_size} bytes in a stack of {self.options.hash_size}",
            )
        return table

    # Writing

    def addition(self) -> Addition:
        """Lock the list in order to add tables.

        Returns: a context manager; what was not committed when it ends is undone
        Raises:
          LockError: if the lock stayed taken
        """
        lock = self.storage.lock_list(self.lock_timeout)
        try:
            return Addition(self, lock, self.snapshot())
        except BaseException:
            lock.release()
            raise

    def auto_compact(self) -> bool:
        """Restore the geometric sequence, if that needs anything and nobody else is at it.

        Returns: whether tables were merged
        """
        snapshot = self.snapshot()
        run = run_to_compact(table_weights(snapshot.tables), self.geometric_factor)
        if run is None:
            return False
        try:
            return self._compact(snapshot, *run, best_effort=True)
        except (LockError, StaleListError):
            return False  # somebody else writes or compacts: the next one will see to it

    def compact(self) -> None:
        """Merge all tables into one.

        Raises:
          LockError: if the list or one of the tables is locked
          StaleListError: if the list changed in between
        """
        snapshot = self.snapshot()
        if len(snapshot.tables) > 1:
            self._compact(snapshot, 0, len(snapshot.tables) - 1, best_effort=False)

    def _compact(self, snapshot: Snapshot, first: int, last: int, *, best_effort: bool) -> bool:
        """Merge the tables from ``first`` to ``last`` by the document's locking."""
        storage = self.storage
        with self._claimed(snapshot, first, last, best_effort=best_effort) as (first, locks):
            tables = snapshot.tables[first : last + 1]
            new = storage.new_table(tables[0].min_update_index, tables[-1].max_update_index)
            try:
                something = compacted(tables, new.write, self.options, with_oldest=not first)
                lock = storage.lock_list(self.lock_timeout)
                try:
                    names = list(storage.read_list().names)
                    old = list(snapshot.listing.names[first : last + 1])
                    at = names.index(old[0]) if old[0] in names else 0
                    if names[at : at + len(old)] != old:
                        raise StaleListError(f"{storage.location}: compacted tables were replaced")
                    names[at : at + len(old)] = [new.commit()] if something else []
                    lock.swap(names)
                except BaseException:
                    lock.release()
                    raise
            except BaseException:
                new.discard()
                raise
            if not something:
                new.discard()
            self._reload()
            for name, table_lock in zip(old, locks, strict=True):
                storage.remove_table(name)
                table_lock.release()
        return True

    @contextmanager
    def _claimed(
        self, snapshot: Snapshot, first: int, last: int, *, best_effort: bool
    ) -> Iterator[tuple[int, list[TableLock]]]:
        """Lock tables of a snapshot, newest first, while the list is locked.

        Yields: the first table that could be locked, and the locks in the order of the tables;
          with ``best_effort`` the older tables may be missing, if at least two are left
        """
        locks: list[TableLock] = []
        try:
            lock = self.storage.lock_list(self.lock_timeout)
            try:
                if not self.storage.is_current(snapshot.listing.token):
                    raise StaleListError(f"{self.storage.location}: tables were added")
                for i in range(last, first - 1, -1):
                    try:
                        locks.insert(0, self.storage.lock_table(snapshot.listing.names[i]))
                    except LockError:
                        if not best_effort or len(locks) < 2:
                            raise
                        first = i + 1
                        break
            finally:
                lock.release()
            yield first, locks
        finally:
            for table_lock in locks:
                table_lock.release()

    def clean(self) -> list[str]:
        """Remove the files that dead writers left: tables that are not listed, temporary files.

        Returns: the names of what was removed
        """
        lock = self.storage.lock_list(self.lock_timeout)
        try:
            snapshot = self._reload()
            stale = []
            for name in self.storage.unlisted(snapshot.listing.names):
                if self._is_beyond(name, snapshot.max_update_index):
                    continue
                self.storage.remove_table(name)
                stale.append(name)
            return stale
        finally:
            lock.release()

    def _is_beyond(self, name: str, max_update_index: int) -> bool:
        """Tell whether a table knows of updates that the stack does not: it may be precious."""
        try:
            return Table(name, self.storage.open_table(name)).max_update_index > max_update_index
        except ReftableError:
            return False


class Addition:
    """The right to add one table, held from the lock's acquisition to the list's swap.

    Attributes:
      snapshot: the stack as it is, and stays for as long as the addition is open
      next_update_index: the update index of the transaction
    """

    def __init__(self, stack: Stack, lock: ListLock, snapshot: Snapshot) -> None:
        self._stack = stack
        self._lock: ListLock | None = lock
        self._table: NewTable | None = None
        self._name: str | None = None
        self.snapshot = snapshot
        self.next_update_index = snapshot.max_update_index + 1

    def __enter__(self) -> Addition:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abort()

    def write(
        self,
        refs: Iterable[RefRecord],
        logs: Iterable[LogRecord],
        max_update_index: int | None = None,
    ) -> None:
        """Write the table, durably, but do not list it yet.

        Args:
          refs: in the order of their names
          logs: in the order of their keys
          max_update_index: of the table, if it is not a single transaction's
        Raises:
          RecordError: if a record cannot be written
          StorageError: if the table cannot
        """
        if self._lock is None or self._table is not None:
            raise ReftableError("an addition takes one table, while it is open")
        index = self.next_update_index
        last = index if max_update_index is None else max_update_index
        self._table = self._stack.storage.new_table(index, last)
        writer = TableWriter(self._table.write, index, last, self._stack.options)
        for ref in refs:
            writer.add_ref(ref)
        for log in logs:
            writer.add_log(log)
        writer.finish()
        if writer.is_empty:
            self._table.discard()
        else:
            self._name = self._table.commit()

    def commit(self) -> None:
        """List the table that was written; then keep the stack in shape.

        Raises:
          StorageError: if the list could not be written; the old one stands
        """
        if self._lock is None:
            raise ReftableError("the addition is over")
        if self._name is None:
            self.abort()
            return
        lock, name = self._lock, self._name
        stack = self._stack
        listing = lock.swap((*self.snapshot.listing.names, name))
        self._lock = self._table = None
        try:
            # What was written is known: no need to read the list again.
            tables = (*self.snapshot.tables, stack._open_table(name))
            stack._snapshot = Snapshot(tables, listing)
            stack.auto_compact()
        except ReftableError:
            pass  # the update has happened, whatever became of the housekeeping after it

    def abort(self) -> None:
        """Remove what was written and release the lock; harmless after :meth:`commit`."""
        if self._table is not None:
            self._table.discard()
            self._table = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None
