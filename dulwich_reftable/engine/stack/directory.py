# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A stack in a directory: table files, ``tables.list``, and lock files beside them.

The order of steps makes it safe. A table is written under a temporary name, synced and
renamed before any list names it. A list is written into its lock file and synced; then the
directory is, so that a list can never reach the disk before the names of its tables; then the list
is renamed over the old one, and the directory synced again. Whatever dies in between leaves the
old list or the new one, each with all of its tables. Reading creates nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from ..errors import LockError, StaleListError, StorageError
from ..format.layout import Buffer
from .files import Descriptor, WriteRules, sync, write_all
from .locks import LockFile
from .stale_files import StaleFile, find_stale_files
from .storage import ClaimedError, Listing
from .table_file import NewTableFile, open_table
from .table_list import ListToken, TableList, identity_of

__all__ = ["DirectoryStorage"]


class DirectoryStorage:
    """A stack's directory; the lock of the list keeps other writers out.

    Args:
      path: the directory; it need not exist before something is written
      fsync: whether to fsync what is written
      adjust_mode: called with the path of each file or directory that is created, to give it
        the mode that the repository's sharing asks for
      confirm: raises ``RefsMovedError`` if the repository keeps its refs elsewhere by now. It is
        called by every writer, under the lock, and by a reader who finds no list
    """

    is_optimistic = False

    def __init__(
        self,
        path: str,
        *,
        fsync: bool = True,
        adjust_mode: Callable[[str], None] | None = None,
        confirm: Callable[[], None] | None = None,
    ) -> None:
        self.location = path
        self.rules = WriteRules(fsync, adjust_mode)
        self._confirm = confirm or (lambda: None)
        self._list = TableList(path, self._confirm)
        self._in_use: set[str] = set()

    def __repr__(self) -> str:
        return f"DirectoryStorage({self.location!r})"

    # Reading

    def refresh(self, known: Listing | None, max_age: float = 0) -> Listing:
        """Read ``tables.list``, unless its ``stat`` is that of the known list.

        That costs so little that ``max_age`` is not used.
        """
        return self._list.read(known)

    def salvaged_names(self) -> list[str]:
        """Read the lines of ``tables.list`` that can be names of tables."""
        return self._list.salvaged_names()

    def open_tables(self, listing: Listing | None, names: Sequence[str]) -> Iterator[Buffer]:
        """Map tables into memory (small ones are read)."""
        return map(open_table, [os.path.join(self.location, name) for name in names])

    # Writing

    def new_table(self, min_update_index: int, max_update_index: int) -> NewTableFile:
        """Begin a table file."""
        base = f"0x{min_update_index:012x}-0x{max_update_index:012x}"
        return NewTableFile(self.location, base, self.rules)

    def begin(self, timeout: float | None, *, create: bool = False) -> _Change:
        """Create ``tables.list.lock``, and the directory if it is missing and may be made."""
        is_created = False
        try:
            lock = LockFile(self._list.path, timeout)
        except StorageError as error:
            if error.errno != errno.ENOENT:
                raise
            self._list.check_absence()
            if not create:
                raise
            self._create_directory()
            is_created = True
            lock = LockFile(self._list.path, timeout)
        try:
            self._confirm()
            self.rules.adjust(lock.path)
            self.retire(list(self._in_use))
        except BaseException as error:
            lock.release()
            if is_created:
                with suppress(OSError):  # somebody else may be using it
                    os.rmdir(self.location)
            if isinstance(error, OSError) and not isinstance(error, StorageError):
                raise StorageError.of(error, "change the mode of", lock.path) from error
            raise
        return _Change(self, self._list, lock)

    def _create_directory(self) -> None:
        try:
            os.mkdir(self.location)
            self.rules.adjust(self.location)
            sync(self.rules.open_to_sync(os.path.dirname(self.location) or os.curdir))
        except FileExistsError:
            pass  # somebody else was faster
        except OSError as error:
            raise StorageError.of(error, "create", self.location) from error

    def claim(self, names: Sequence[str]) -> _TableLocks:
        """Create ``<table>.lock`` for each table, the newest first, as git does."""
        claim = _TableLocks()
        try:
            for name in reversed(names):
                claim.add(os.path.join(self.location, name))
        except BaseException as error:
            claim.release()
            if isinstance(error, LockError):
                raise ClaimedError(name, error) from None
            raise
        return claim

    def retire(self, names: Iterable[str]) -> None:
        """Unlink tables.

        Windows removes no table that somebody has mapped: the next writer tries again.
        """
        for name in names:
            self._remove(name)

    # Upkeep

    def stale_files(self, listed: Iterable[str]) -> list[StaleFile]:
        """Find the stale files in the directory."""
        try:
            return find_stale_files(os.listdir(self.location), listed)
        except OSError as error:
            raise StorageError.of(error, "list", self.location) from error

    def sweep(self, listing: Listing, may_go: Callable[[StaleFile], bool]) -> list[str]:
        """Unlink stale files.

        The directory is synced first: a new list has to be on disk before the tables that it
        replaced are removed, and not every writer syncs it.
        """
        stale = self.stale_files(listing.names)
        try:
            sync(self.rules.open_to_sync(self.location))
        except OSError as error:
            raise StorageError.of(error, "sync", self.location) from error
        return [file.name for file in stale if may_go(file) and self._remove(file.name)]

    def _remove(self, name: str) -> bool:
        try:
            os.unlink(os.path.join(self.location, name))
        except FileNotFoundError:
            pass
        except OSError:
            self._in_use.add(name)
            return False
        self._in_use.discard(name)
        return True


class _TableLocks:
    """Locks of tables that are to be merged."""

    def __init__(self) -> None:
        self._locks: list[LockFile] = []

    def add(self, path: str) -> None:
        self._locks.append(LockFile(path, 0))
        self._locks[-1].close()

    def release(self) -> None:
        while self._locks:
            self._locks.pop().release()


class _Change:
    def __init__(self, storage: DirectoryStorage, table_list: TableList, lock: LockFile) -> None:
        self._storage = storage
        self._list = table_list
        self._lock = lock
        self._names: tuple[str, ...] = ()
        self._replaced: Listing | None = None
        self._token: ListToken | None = None
        self._directory: Descriptor | None = None

    def claim(self, names: Sequence[str]) -> _TableLocks:
        return self._storage.claim(names)

    def prepare(self, names: Iterable[str], replaced: Listing) -> None:
        self._names = tuple(names)
        self._replaced = replaced
        storage, lock = self._storage, self._lock
        try:
            write_all(lock.fd, b"".join(os.fsencode(name) + b"\n" for name in self._names))
            storage.rules.sync(lock.fd)
            self._directory = storage.rules.open_to_sync(storage.location)
            sync(self._directory)
        except OSError as error:
            raise StorageError.of(error, "write", lock.path) from error

    def check(self) -> None:
        lock, replaced, identity = self._lock, self._replaced, self._list.identity()
        if identity is None:
            self._list.check_absence()
        if replaced is None or identity != identity_of(replaced):
            location = self._storage.location
            raise StaleListError(f"{location}: the list was changed under its lock")
        try:
            if not lock.is_held():
                raise StaleListError(f"{lock.path}: somebody removed the lock while it was held")
            # The lock file becomes the list. Until then, whoever releases the lock closes it.
            self._token = ListToken(lock.file)
        except OSError as error:
            raise StorageError.of(error, "check", lock.path) from error

    def swap(self) -> Listing:
        lock = self._lock
        try:
            lock.commit()
        except OSError as error:
            raise StorageError.of(error, "rename", lock.path) from error
        return Listing(self._names, self._token)

    @property
    def may_be_swapped(self) -> bool:
        return self._lock.is_committed

    def sync(self) -> None:
        directory, self._directory = self._directory, None
        try:
            sync(directory)
        except OSError as error:
            doing = "sync what was written, which may not survive a power cut"
            raise StorageError.of(error, doing, self._storage.location) from error
        finally:
            if directory is not None:
                directory.close()

    def release(self) -> None:
        self._lock.release()
        if self._directory is not None:
            self._directory.close()
