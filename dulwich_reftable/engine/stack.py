# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The live stack: snapshots, additions under the lock, compaction, cleaning.

A reader takes a :class:`Snapshot`, an immutable view of the open tables; one look at the list tells
whether it is still the latest. A writer takes an :class:`Addition`: under the list's lock it sees
the latest snapshot, checks what it expects, writes one table, and swaps the list. An addition to
several stacks is one to each, and :func:`commit_all`. Compaction (:mod:`.compaction`) follows every
addition, and gives way to everybody.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType

from .compaction import compact, is_geometric
from .errors import CorruptTableError, LockError, ReftableError, StaleListError, StorageError
from .merged import Merged
from .records import LogRecord, RefRecord
from .storage import Listing, ListLock, MissingTableError, NewTable, Storage
from .table import Table
from .writer import TableWriter, WriteOptions

__all__ = ["Addition", "Snapshot", "Stack", "commit_all"]

_log = logging.getLogger(__name__)

_RELOAD_SECONDS = 3.0
"""For how long a reader chases a list that changes under it, as in git."""

_PATIENCE = 1.0
"""For how many seconds a compaction waits at the most that nobody has asked for."""


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
        known: dict[str, Table] = {}
        last = self._snapshot
        if last is not None:
            known.update(zip(last.listing.names, last.tables, strict=True))
        listing = self.storage.read_list()
        while True:
            try:
                for name in listing.names:
                    if name not in known:
                        known[name] = self._open_table(name)
                snapshot = Snapshot(tuple(known[name] for name in listing.names), listing)
            except MissingTableError:
                before, listing = listing, self.storage.read_list()
                if listing.names == before.names or time.monotonic() > deadline:
                    raise
            else:
                self._snapshot = snapshot
                return snapshot

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
        if is_geometric(self.snapshot().tables, self.geometric_factor):
            return False
        # Waiting for ever is for who has something to write, which is done by now.
        timeout = _PATIENCE if self.lock_timeout is None else self.lock_timeout
        factor = self.geometric_factor
        try:
            return compact(
                self.storage, self.snapshot, self.options, factor=factor, timeout=timeout
            )
        except (LockError, StaleListError):
            return False  # somebody else writes or compacts: the next one will see to it

    def compact(self) -> None:
        """Merge all tables into one.

        Raises:
          LockError: if the list or one of the tables stayed locked
        """
        if len(self.snapshot().tables) > 1:
            compact(
                self.storage, self.snapshot, self.options, factor=None, timeout=self.lock_timeout
            )

    def clean(self) -> list[str]:
        """Remove the files that dead writers left: tables that are not listed, temporary files.

        Returns: the names of what was removed
        Raises:
          LockError: if the list stayed locked
        """
        lock = self.storage.lock_list(self.lock_timeout)
        try:
            snapshot = self._reload()
            return [
                name
                for name, update_index in self.storage.leftovers(snapshot.listing.names)
                if not self._is_beyond(name, update_index, snapshot.max_update_index)
                and self.storage.remove(name)
            ]
        finally:
            lock.release()

    def _is_beyond(self, name: str, update_index: int | None, max_update_index: int) -> bool:
        """Tell whether a table knows of updates that the stack does not: it may be precious.

        Args:
          name: of the file
          update_index: what its name says; None if it is no table
          max_update_index: of the stack
        """
        if update_index is None:
            return False
        try:
            table = Table(name, self.storage.open_table(name))
        except ReftableError:
            return update_index > max_update_index
        return table.max_update_index > max_update_index


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
        self._listing: Listing | None = None
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
        """Write the table and the list that names it, durably, but put the list not in place yet.

        All that may want space on the disk is done here, so that little is left to go wrong.

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
        self._table = table = self._stack.storage.new_table(index, last)
        writer = TableWriter(table.write, index, last, self._stack.options)
        writer.add_refs(refs)
        for log in logs:
            writer.add_log(log)
        writer.finish()
        if writer.is_empty:
            table.discard()
        else:
            table.seal()
            self._name = table.commit()
            listing = self.snapshot.listing
            self._lock.prepare((*listing.names, self._name), listing)

    def commit(self) -> None:
        """List the table that was written; then keep the stack in shape.

        Raises:
          StorageError: if the list could not be put in place, and the old one stands; or if it was,
            but is not sure to survive a power cut
          StaleListError: if somebody broke the lock; the list is his
        """
        commit_all((self,))

    def abort(self) -> None:
        """Remove what was written and release the lock; harmless after :meth:`commit`."""
        lock, table = self._lock, self._table
        # An interrupted commit may have happened all the same; then the table has to stay.
        if table is not None and lock is not None and not lock.is_swapped:
            table.discard()
        if lock is not None:
            lock.release()
        self._lock = self._table = None

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
        """Swap the old list in again, if it is not too late.

        Raises:
          ReftableError: if that cannot be done
        """
        if self._lock is not None:
            self._lock.release()  # as far as an interrupt has left that to do
        storage = self._stack.storage
        lock = storage.lock_list(self._stack.lock_timeout)
        try:
            listing = storage.read_list()
            before = self.snapshot.listing.names
            if listing.names != (*before, self._name):
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

    def _keep_in_shape(self) -> None:
        """Compact the stack, as far as that can be done."""
        stack, listing, name = self._stack, self._listing, self._name
        try:
            if listing is not None and name is not None:
                # What was written is known: no need to read the list again. Unless somebody has
                # merged it by now.
                with suppress(MissingTableError):
                    tables = (*self.snapshot.tables, stack._open_table(name))
                    stack._snapshot = Snapshot(tables, listing)
            stack.auto_compact()
        except Exception as error:
            # The update has happened, whatever became of the housekeeping after it.
            _log.warning("%s was not compacted: %s", stack.storage.location, error)


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
    written = [addition for addition in additions if addition._name is not None]
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
        addition._keep_in_shape()


def _take_back(additions: list[Addition], cause: BaseException) -> None:
    """Undo the swaps that have happened, as others have not."""
    swapped = [addition for addition in additions if addition._is_swapped()]
    if len(swapped) == len(additions):
        return  # only interrupted, and too late
    for addition in swapped:
        try:
            addition._take_back()
        except ReftableError as error:
            location = addition._stack.storage.location
            raise StorageError(
                None, f"an update stands although one that belongs to it failed: {error}", location
            ) from cause
