# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The live stack: snapshots, additions, compaction, cleaning.

A reader takes a :class:`~.snapshot.Snapshot`, an immutable view of the open tables; one look at the
list tells whether it is still the latest. A writer takes an :class:`~.addition.Addition`.
Compaction (:mod:`.compaction`) follows every addition, and gives way to everybody.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from ..errors import CorruptTableError, LockError, ReftableError, StaleListError, StorageError
from ..format.layout import Buffer
from ..table.table import Table
from ..table.writer import WriteOptions
from .addition import Addition
from .compaction import compact, is_geometric
from .locks import attempts
from .snapshot import Snapshot
from .stale_files import StaleFile
from .storage import Listing, MissingTableError, Storage

__all__ = ["Stack"]

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

_RELOAD_SECONDS = 3.0
"""Seconds for which a reader follows a list that keeps changing, as in git."""

_ANY_AGE = float("inf")

_RETRY_PAUSE = 0.005
"""Maximum seconds, on average, before an update is done anew: the list gets older meanwhile."""

_PATIENCE = 1.0
"""Maximum seconds that an automatic compaction waits for a lock."""


class Stack:
    """A stack of tables.

    Args:
      storage: where it lives
      options: for tables to be written; their hash is that of all tables
      geometric_factor: see :mod:`.compaction`
      lock_timeout: seconds to wait for the list's lock; 0 to try once, None for ever

    Attributes:
      auto_compacts: whether additions keep the geometric sequence; may be set
      max_age: for how many seconds readers take the last list for current without asking; may be
        set. Writers always ask
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
        self.auto_compacts = True
        self.max_age = 0.0
        self._snapshot: Snapshot | None = None

    def close(self) -> None:
        """Let go of the open tables; snapshots stay readable."""
        self._snapshot = None

    # Reading

    def snapshot(self, max_age: float | None = None) -> Snapshot:
        """Give the latest snapshot.

        Args:
          max_age: as the attribute; None for that
        Raises:
          CorruptTableError: if the list or a table is damaged
          RefsMovedError: if the stack was there once, or refs are kept elsewhere by now
          StorageError: if the list or a table cannot be read
        """
        snapshot = self._snapshot
        listing = self.storage.refresh(
            snapshot.listing if snapshot is not None else None,
            self.max_age if max_age is None else max_age,
        )
        if snapshot is not None and listing is snapshot.listing:
            return snapshot
        return self._load(listing)

    def adopt(self, listing: Listing) -> None:
        """Take over a list that was just installed, without reading it again."""
        with suppress(MissingTableError):  # somebody has merged one by now
            self._snapshot = self._open(listing, self._known())

    def _load(self, listing: Listing) -> Snapshot:
        """Open a list, or the next one if a compaction has removed tables that it names."""
        deadline = time.monotonic() + _RELOAD_SECONDS
        known = self._known()
        while True:
            try:
                snapshot = self._open(listing, known)
            except MissingTableError:
                before, listing = listing, self.storage.refresh(None)
                if listing.names == before.names or time.monotonic() > deadline:
                    raise
            else:
                self._snapshot = snapshot
                return snapshot

    def _known(self) -> dict[str, Table]:
        """Give the tables that are open, by their names."""
        last = self._snapshot
        return {} if last is None else dict(zip(last.listing.names, last.tables, strict=True))

    def _open(self, listing: Listing, known: dict[str, Table]) -> Snapshot:
        """Open the tables of a list; those that are not known yet are added to the known ones."""
        missing = [name for name in listing.names if name not in known]
        if missing:
            buffers = self.storage.open_tables(listing, missing)
            for name, buffer in zip(missing, buffers, strict=True):
                known[name] = self._table(name, buffer)
        return Snapshot(tuple(known[name] for name in listing.names), listing)

    def _table(self, name: str, buffer: Buffer) -> Table:
        table = Table(f"{self.storage.location}/{name}", buffer)
        if table.hash_size != self.options.hash_size:
            raise CorruptTableError(
                table.filename,
                0,
                f"object ids of {table.hash_size} bytes in a stack of {self.options.hash_size}",
            )
        return table

    # Writing

    def update(self, work: Callable[[Addition], _T], *, compacts: bool = True) -> _T:
        """Do a piece of work on the latest snapshot, and commit what it writes.

        An optimistic storage is not asked for the list first: the work is done on the list that is
        known, and the swap finds out if that is old. If there is nothing to swap, because the work
        fails or writes nothing, the storage is asked then.

        Args:
          work: takes an addition; it may write to it, and does not commit it. If others were faster
            (:meth:`retry`), it is done anew with another addition
          compacts: as for :meth:`addition`
        Returns: what the work returns
        Raises:
          LockError: if the list stayed locked, or others were faster all the time
          OutcomeUnknownError: if nobody can tell whether the update stands
          ReftableError: as :meth:`addition` and :meth:`Addition.commit`
        """
        old: Listing | None = None  # the list that was found to be old

        def attempt() -> _T:
            nonlocal old
            while True:
                is_news = old is not None
                try:
                    with self._addition(compacts, partial(self._to_change, old)) as addition:
                        old = addition.snapshot.listing
                        return self._do(work, addition, is_news)
                except StaleListError:
                    # That a list from before this update was old is no lost attempt.
                    if is_news or not self.storage.is_optimistic:
                        raise

        return self.retry(attempt)

    def _do(self, work: Callable[[Addition], _T], addition: Addition, is_news: bool) -> _T:
        """Do a piece of work and commit it.

        Args:
          work: see :meth:`update`
          addition: what it takes
          is_news: whether the list was read since the update began
        Raises:
          StaleListError: if the list was old
        """
        snapshot = addition.snapshot
        try:
            result = work(addition)
        except StaleListError:
            raise
        except Exception:
            if not is_news:
                self._check_current(snapshot)
            raise
        if not is_news and not addition.has_written:
            self._check_current(snapshot)
        addition.commit()
        return result

    def _check_current(self, snapshot: Snapshot) -> None:
        """Ask whether a snapshot is the latest, unless a lock sees to that."""
        storage, listing = self.storage, snapshot.listing
        if storage.is_optimistic and storage.refresh(listing) is not listing:
            raise StaleListError(f"{storage.location}: the list that was known is old")

    def retry(self, attempt: Callable[[], _T]) -> _T:
        """Try to change the list, again as long as others are faster.

        A storage that is not optimistic keeps others out: then there is one attempt, and a stale
        list is an error. Otherwise there are more after growing, jittered pauses, until the lock
        timeout is over.

        Args:
          attempt: begins a change and swaps the list
        Returns: what the attempt returns
        Raises:
          LockError: if others were faster all the time
          StaleListError: if the lock did not hold
        """
        begun = time.monotonic()
        for _ in attempts(self.lock_timeout, begun, _RETRY_PAUSE):
            try:
                return attempt()
            except StaleListError as error:
                if not self.storage.is_optimistic:
                    raise
                stale = error
        waited = time.monotonic() - begun
        reason = "other writers were faster all the time"
        raise LockError(self.storage.location, None, waited, reason) from stale

    def addition(self, *, compacts: bool = True) -> Addition:
        """Lock the list in order to add tables, or begin to change it where there is no lock.

        Use :meth:`update`, unless something has to happen between writing and commit.

        Args:
          compacts: whether the stack is compacted after the commit; else call :meth:`settle`
        Returns: a context manager; what was not committed when it ends is undone
        Raises:
          LockError: if the lock stayed taken
          RefsMovedError: if the stack is not there any more, or nobody reads it by now
        """
        return self._addition(compacts, partial(self.snapshot, 0))

    def _addition(self, compacts: bool, snapshot: Callable[[], Snapshot]) -> Addition:
        change = self.storage.begin(self.lock_timeout, create=True)
        try:
            return Addition(
                self.storage,
                self.options,
                change,
                snapshot(),
                geometric_factor=self.geometric_factor if self.auto_compacts else None,
                lock_timeout=self.lock_timeout,
                settle=partial(self._adopt, compacts=compacts),
            )
        except BaseException:
            change.release()
            raise

    def _adopt(self, listing: Listing | None, replaced: list[str], *, compacts: bool) -> None:
        """Take over the list of an addition, give up the tables it merged, and compact the stack.

        Args:
          listing: the list that is in place
          replaced: the tables that it leaves out
          compacts: whether to compact
        """
        # The update has happened, even if the housekeeping after it fails.
        try:
            if listing is not None:
                self.adopt(listing)
            if replaced:
                self.storage.retire(replaced)
        except Exception as error:
            _log.warning("%s was not cleared up: %s", self.storage.location, error)
        if compacts:
            self.settle()

    def settle(self) -> None:
        """Compact the stack after an update, unless that is off; a failure is only logged."""
        adopted = self._snapshot  # which asks the storage nothing
        if adopted is not None and is_geometric(adopted.tables, self.geometric_factor):
            return
        try:
            if self.auto_compacts:
                self.auto_compact()
        except Exception as error:
            _log.warning("%s was not compacted: %s", self.storage.location, error)

    def auto_compact(self) -> bool:
        """Restore the geometric sequence, unless somebody else is doing so.

        Returns: whether tables were merged
        """
        if is_geometric(self._to_change().tables, self.geometric_factor):
            return False
        # The update is written: do not wait for ever.
        timeout = _PATIENCE if self.lock_timeout is None else self.lock_timeout
        try:
            return self._compact(self.geometric_factor, timeout)
        except (LockError, StaleListError):
            return False  # somebody else writes or compacts; the next addition tries again

    def compact(self) -> None:
        """Merge all tables into one.

        Raises:
          LockError: if the list or one of the tables stayed locked
        """

        def attempt() -> None:
            if len(self.snapshot(0).tables) > 1:
                self._compact(None, self.lock_timeout)

        self.retry(attempt)

    def _compact(self, factor: int | None, timeout: float | None) -> bool:
        return compact(
            self.storage,
            self._to_change,
            self.adopt,
            self.options,
            factor=factor,
            timeout=timeout,
        )

    def _to_change(self, old: Listing | None = None) -> Snapshot:
        """Give the latest snapshot; the swap of an optimistic storage finds out if it is old.

        Args:
          old: a list that is known to be old; without it, the first one may be any
        """
        snapshot = self.snapshot(_ANY_AGE if self.storage.is_optimistic else 0)
        return self.snapshot(0) if snapshot.listing is old else snapshot

    def clean(self) -> list[str]:
        """Remove stale files: unlisted tables, temporary files, locks without a table.

        Returns: the names of what was removed
        Raises:
          LockError: if the list stayed locked
        """
        return self.retry(self._clean)

    def _clean(self) -> list[str]:
        try:
            change = self.storage.begin(self.lock_timeout)
        except StorageError as error:
            if error.errno == errno.ENOENT:
                return []  # nothing was ever written here
            raise
        try:
            snapshot = self._load(self.storage.refresh(None))
            newest = snapshot.max_update_index
            return self.storage.sweep(
                snapshot.listing, lambda stale_file: self.newest_in(stale_file) <= newest
            )
        finally:
            change.release()

    def newest_in(self, stale_file: StaleFile) -> int:
        """Give the newest update index in a stale file.

        If that is beyond the stack's, the file has updates that the stack lacks, and may be
        precious.

        Args:
          stale_file: the file
        Returns: what the table says, or its name where it cannot be read; 0 if it is no table
        """
        if stale_file.update_index is None:
            return 0
        try:
            (buffer,) = self.storage.open_tables(None, (stale_file.name,))
            return Table(stale_file.name, buffer).max_update_index
        except ReftableError:
            return stale_file.update_index
