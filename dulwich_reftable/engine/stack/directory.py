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
import mmap
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from ..errors import CorruptTableError, LockError, RefsMovedError, StaleListError, StorageError
from ..format.layout import Buffer
from . import files
from .files import Descriptor, create, open_directory, open_plain, read_all, sync, write_all
from .locks import LockFile
from .stale_files import LIST, TABLE_SUFFIX, TEMPORARY, StaleFile, find_stale_files
from .storage import ClaimedError, Listing, MissingTableError

__all__ = ["DirectoryStorage", "parse_list"]

# Tables up to this size are read, not mapped: a map would cost more than the copy.
_READ_UP_TO = 1 << 14
_MAP: dict[str, bool] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
"""Before Python 3.13, and on Windows, each map keeps a descriptor open."""

_TRIES = 5
"""Attempts to read a list that other hosts replace while it is read (``ESTALE``, on NFS)."""

_PAUSES = (0.001, 0.002, 0.005, 0.01)
"""Seconds between looks for a list that is missing although there are tables."""

_WRITE_AT_ONCE = 1 << 18
_LONGEST_LIST = 1 << 20
"""Bytes of a list of some 27,000 tables; opening them would take longer than reading the list."""

_LONGEST_SALVAGED = 1 << 24
"""Bytes of a damaged list of which names are read."""


class _ListToken:
    """A version of the list: which file it is, kept from being reused by holding it open.

    Args:
      fd: becomes the token's; -1 for a list that is not there
    """

    __slots__ = ("_file", "identity")

    def __init__(self, fd: int) -> None:
        self._file = Descriptor(fd)
        self.identity = _identity(os.fstat(fd)) if fd >= 0 else None
        # An open descriptor keeps the inode number from being reused. On Windows it would also keep
        # the list from being replaced.
        if files.IS_WINDOWS:
            self._file.close()


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
        self._fsync = fsync
        self._adjust_mode = adjust_mode
        self._confirm = confirm or (lambda: None)
        self._was_there = False
        self._in_use: set[str] = set()
        self._list_path = os.path.join(path, LIST)

    def __repr__(self) -> str:
        return f"DirectoryStorage({self.location!r})"

    # Reading

    def refresh(self, known: Listing | None, max_age: float = 0) -> Listing:
        """Read ``tables.list``, unless its ``stat`` is that of the known list.

        That costs so little that ``max_age`` is not used.
        """
        if known is not None:
            identity = self._identity_now()
            if identity == _identity_of(known):
                if identity is None:
                    self._check_absence()
                return known
        return self._read_list(_TRIES)

    def _read_list(self, tries: int) -> Listing:
        try:
            file, size = self._open_list()
            with file as fd:
                if size > _LONGEST_LIST:
                    raise CorruptTableError(self._list_path, None, f"{size} bytes are no list")
                names = self._parse(read_all(fd, size))
                file.fd = -1  # the token closes it
                self._was_there = True
                return Listing(names, _ListToken(fd))
        except FileNotFoundError:
            if os.path.islink(self._list_path):
                raise CorruptTableError(self._list_path, None, "a link to nothing") from None
            self._check_absence()
            return Listing((), _ListToken(-1))
        except OSError as error:
            if error.errno == errno.ESTALE and tries > 1:
                return self._read_list(tries - 1)
            raise StorageError.of(error, "read", self._list_path) from error

    def _open_list(self) -> tuple[Descriptor, int]:
        """Open ``tables.list``.

        NFS replaces a file that is open by two renames, and between them there is none. So look
        again where there has been a list, or a table.
        """
        for pause in _PAUSES:
            try:
                return open_plain(self._list_path)
            except FileNotFoundError:
                if os.path.islink(self._list_path) or not self._may_be_replaced():
                    raise
            time.sleep(pause)
        return open_plain(self._list_path)

    def _may_be_replaced(self) -> bool:
        """Tell whether a list that is missing may be one that is being replaced."""
        try:
            return any(name.endswith(TABLE_SUFFIX) for name in os.listdir(self.location))
        except OSError:
            return False

    def _check_absence(self) -> None:
        """Check that the list is missing because nobody has written to the stack yet.

        Raises:
          RefsMovedError: if the stack was there before, or the refs are kept elsewhere by now
        """
        self._confirm()
        if self._was_there:
            raise RefsMovedError(self._list_path, "the stack of refs is gone")

    def _parse(self, data: bytes) -> tuple[str, ...]:
        names, fault = parse_list(data)
        if fault is not None:
            # If it stands there several times, report the last one.
            offset = (b"\n" + data + b"\n").rindex(b"\n" + os.fsencode(fault) + b"\n")
            raise CorruptTableError(self._list_path, offset, f"{fault!r} cannot be a table")
        return tuple(names)

    def salvaged_names(self) -> list[str]:
        """Read the lines of ``tables.list`` that can be names of tables."""
        try:
            file, size = open_plain(self._list_path)
            with file as fd:
                names, _ = parse_list(read_all(fd, size) if size <= _LONGEST_SALVAGED else b"")
        except (CorruptTableError, OSError):
            return []
        return names

    def _identity_now(self) -> tuple[int, ...] | None:
        """Look which file the list is at the moment; None if there is none."""
        try:
            return _identity(os.stat(self._list_path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError.of(error, "read", self._list_path) from error

    def open_tables(self, listing: Listing | None, names: Sequence[str]) -> Iterator[Buffer]:
        """Map tables into memory (small ones are read)."""
        return map(self._open_table, names)

    def _open_table(self, name: str) -> Buffer:
        path = os.path.join(self.location, name)
        try:
            file, size = open_plain(path)
            with file as fd:
                data: Buffer
                if size <= _READ_UP_TO:
                    data = read_all(fd, size)
                else:
                    options = {} if files.IS_WINDOWS else _MAP
                    data = mmap.mmap(fd, size, access=mmap.ACCESS_READ, **options)
            # Not within the block: PyPy takes a returned value for a function when closing is
            # interrupted.
            return data
        except OSError as error:
            is_missing = error.errno in (errno.ENOENT, errno.ESTALE)
            kind = MissingTableError if is_missing else StorageError
            raise kind.of(error, "read", path) from error
        except ValueError as error:  # it became shorter; a table never does
            raise CorruptTableError(path, None, str(error)) from error

    # Writing

    def new_table(self, min_update_index: int, max_update_index: int) -> _NewTable:
        """Begin a table file."""
        base = f"0x{min_update_index:012x}-0x{max_update_index:012x}"
        return _NewTable(self, base)

    def begin(self, timeout: float | None, *, create: bool = False) -> _Change:
        """Create ``tables.list.lock``, and the directory if it is missing and may be made."""
        is_created = False
        try:
            lock = LockFile(self._list_path, timeout)
        except StorageError as error:
            if error.errno != errno.ENOENT:
                raise
            self._check_absence()
            if not create:
                raise
            self._create_directory()
            is_created = True
            lock = LockFile(self._list_path, timeout)
        try:
            self._confirm()
            self._adjust(lock.path)
            self.retire(list(self._in_use))
        except BaseException as error:
            lock.release()
            if is_created:
                with suppress(OSError):  # somebody else may be using it
                    os.rmdir(self.location)
            if isinstance(error, OSError) and not isinstance(error, StorageError):
                raise StorageError.of(error, "change the mode of", lock.path) from error
            raise
        return _Change(self, lock)

    def _create_directory(self) -> None:
        try:
            os.mkdir(self.location)
            self._adjust(self.location)
            sync(self._open_to_sync(os.path.dirname(self.location) or os.curdir))
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
            sync(self._open_to_sync(self.location))
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

    def _adjust(self, path: str) -> None:
        if self._adjust_mode is not None:
            self._adjust_mode(path)

    def _sync(self, fd: int) -> None:
        if self._fsync:
            os.fsync(fd)

    def _open_to_sync(self, path: str) -> Descriptor | None:
        return open_directory(path) if self._fsync else None


class _NewTable:
    """A table file that is being written.

    It does its own buffering: a file object of Python would, in a forked child, write what it has
    buffered a second time.
    """

    _is_temporary = False  # until there is a file

    def __init__(self, storage: DirectoryStorage, base: str) -> None:
        self._storage = storage
        self._owner = os.getpid()
        self._name = f"{base}-{secrets.token_hex(4)}{TABLE_SUFFIX}"
        self._path = os.path.join(storage.location, f"{base}{TEMPORARY}{secrets.token_hex(6)}")
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._fd = -1
        self._paths = [self._path]  # where it may be
        self._is_temporary = True
        try:
            self._fd = create(self._path)
            storage._adjust(self._path)
        except BaseException as error:
            self.discard()
            if isinstance(error, OSError):
                raise StorageError.of(error, "create", self._path) from error
            raise

    def __del__(self) -> None:
        # An interrupt can come before anybody could discard it. A table under its final name may be
        # listed, and stays.
        if self._is_temporary:
            self.discard()

    def write(self, data: bytes, /) -> None:
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered >= _WRITE_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        chunks, self._chunks, self._buffered = self._chunks, [], 0
        try:
            write_all(self._fd, b"".join(chunks))
        except OSError as error:
            raise StorageError.of(error, "write", self._path) from error

    def seal(self) -> None:
        self._flush()
        try:
            self._storage._sync(self._fd)
            fd, self._fd = self._fd, -1
            os.close(fd)  # without fsync, this may report a full disk
        except OSError as error:
            raise StorageError.of(error, "write", self._path) from error

    def commit(self) -> str:
        path = os.path.join(self._storage.location, self._name)
        self._paths.append(path)
        self._is_temporary = False
        try:
            os.rename(self._path, path)
        except OSError as error:
            raise StorageError.of(error, "rename", self._path) from error
        return self._name

    def discard(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)
        # A forked child inherits the object, but the file stays its parent's.
        if self._owner == os.getpid():
            for path in self._paths:
                with suppress(OSError):
                    os.unlink(path)
        self._is_temporary = False


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
    def __init__(self, storage: DirectoryStorage, lock: LockFile) -> None:
        self._storage = storage
        self._lock = lock
        self._names: tuple[str, ...] = ()
        self._replaced: Listing | None = None
        self._token: _ListToken | None = None
        self._directory: Descriptor | None = None

    def claim(self, names: Sequence[str]) -> _TableLocks:
        return self._storage.claim(names)

    def prepare(self, names: Iterable[str], replaced: Listing) -> None:
        self._names = tuple(names)
        self._replaced = replaced
        storage, lock = self._storage, self._lock
        try:
            write_all(lock.fd, b"".join(os.fsencode(name) + b"\n" for name in self._names))
            storage._sync(lock.fd)
            self._directory = storage._open_to_sync(storage.location)
            sync(self._directory)
        except OSError as error:
            raise StorageError.of(error, "write", lock.path) from error

    def check(self) -> None:
        storage, lock = self._storage, self._lock
        replaced, identity = self._replaced, storage._identity_now()
        if identity is None:
            storage._check_absence()
        if replaced is None or identity != _identity_of(replaced):
            raise StaleListError(f"{storage.location}: the list was changed under its lock")
        try:
            if not lock.is_held():
                raise StaleListError(f"{lock.path}: somebody removed the lock while it was held")
            # The lock file becomes the list: its descriptor moves into the token.
            self._token = _ListToken(lock.take_fd())
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

    def release(self) -> None:
        self._lock.release()
        if self._directory is not None:
            self._directory.close()


def parse_list(data: bytes) -> tuple[list[str], str | None]:
    """Parse ``tables.list``: one name a line; empty lines are skipped.

    Returns: the names that can be tables, each once; and the first line that is no such name, None
      if all are
    """
    names: dict[str, None] = {}
    fault = None
    for name in map(os.fsdecode, filter(None, data.split(b"\n"))):
        if name not in names and _is_plain_name(name):
            names[name] = None
        elif fault is None:
            fault = name
    return list(names), fault


def _is_plain_name(name: str) -> bool:
    if "/" in name or "\0" in name or name in (".", ".."):
        return False
    return not files.IS_WINDOWS or not any(character in name for character in "\\:")


def _identity_of(listing: Listing) -> tuple[int, ...] | None:
    token = listing.token
    return token.identity if isinstance(token, _ListToken) else ()


def _identity(found: os.stat_result) -> tuple[int, ...]:
    # Device and inode suffice if lists are renamed into place; the rest shows other changes.
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
