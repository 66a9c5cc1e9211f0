# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A stack in a directory: table files, ``tables.list``, and lock files beside them.

What makes it safe is the order of things. A table is written under a temporary name, synced and
renamed before any list names it; a list is written into its lock file, synced, and renamed over
the old one; then the directory is synced. Whatever dies in between leaves the old list or the new
one, each with all of its tables. Reading creates nothing.
"""

from __future__ import annotations

import mmap
import os
import secrets
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress

from .block import Buffer
from .errors import CorruptTableError, StorageError
from .locking import LockFile
from .storage import Listing, MissingTableError

__all__ = ["DirectoryStorage"]

_LIST = "tables.list"
_TABLE_SUFFIX = ".ref"
_TEMPORARY = ".temp."
_LOCK_SUFFIX = ".lock"

# Tables up to this size are read, not mapped: a map costs more than such a copy.
_READ_UP_TO = 1 << 14
_LONGEST_LIST = 1 << 24

_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_WRITE_FLAGS = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)

# An open descriptor keeps an inode number from coming back; Windows has to do without, since
# there it would also keep the list from being replaced.
_PIN_INODES = os.name != "nt"


class _ListToken:
    """A version of the list: which file it is, kept from being reused by holding it open."""

    __slots__ = ("_fd", "identity")

    def __init__(self, fd: int) -> None:
        self._fd = -1
        self.identity = _identity(os.fstat(fd)) if fd >= 0 else None
        if fd >= 0 and _PIN_INODES:
            self._fd = fd
        elif fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):
                os.close(self._fd)


class DirectoryStorage:
    """A stack's directory.

    Args:
      path: the directory; it need not exist before something is written
      durable: whether to fsync what is written
      adjust_mode: called with the path of each file or directory that is created, to give it
        the mode that the repository's sharing asks for
    """

    def __init__(
        self, path: str, *, durable: bool = True, adjust_mode: Callable[[str], None] | None = None
    ) -> None:
        self.location = path
        self._durable = durable
        self._adjust_mode = adjust_mode
        self._list_path = os.path.join(path, _LIST)

    def __repr__(self) -> str:
        return f"DirectoryStorage({self.location!r})"

    # Reading

    def read_list(self) -> Listing:
        """Read ``tables.list``."""
        try:
            fd = _open_plain(self._list_path)
        except FileNotFoundError:
            return Listing((), _ListToken(-1))
        except OSError as error:
            raise StorageError.of(error, "read", self._list_path) from error
        try:
            size = os.fstat(fd).st_size
            if size > _LONGEST_LIST:
                raise CorruptTableError(self._list_path, None, f"{size} bytes are no list")
            data = _read_all(fd, size)
        except OSError as error:
            os.close(fd)
            raise StorageError.of(error, "read", self._list_path) from error
        except CorruptTableError:
            os.close(fd)
            raise
        token = _ListToken(fd)
        return Listing(self._parse(data), token)

    def _parse(self, data: bytes) -> tuple[str, ...]:
        names: dict[str, None] = {}
        offset = 0
        for line in data.split(b"\n"):
            name = os.fsdecode(line)
            if name in names or not _is_plain_name(name):
                raise CorruptTableError(self._list_path, offset, f"{name!r} cannot be a table")
            if name:
                names[name] = None
            offset += len(line) + 1
        return tuple(names)

    def is_current(self, token: object) -> bool:
        """Compare device and inode of ``tables.list``."""
        try:
            found = os.stat(self._list_path)
        except FileNotFoundError:
            return isinstance(token, _ListToken) and token.identity is None
        except OSError as error:
            raise StorageError.of(error, "read", self._list_path) from error
        return isinstance(token, _ListToken) and token.identity == _identity(found)

    def open_table(self, name: str) -> Buffer:
        """Map a table into memory (a small one is read)."""
        path = os.path.join(self.location, name)
        try:
            fd = _open_plain(path)
            try:
                size = os.fstat(fd).st_size
                if size <= _READ_UP_TO:
                    return _read_all(fd, size)
                return mmap.mmap(fd, size, access=mmap.ACCESS_READ)
            finally:
                os.close(fd)
        except FileNotFoundError as error:
            raise MissingTableError.of(error, "read", path) from error
        except OSError as error:
            raise StorageError.of(error, "read", path) from error

    # Writing

    def new_table(self, min_update_index: int, max_update_index: int) -> _NewTable:
        """Begin a table file."""
        base = f"0x{min_update_index:012x}-0x{max_update_index:012x}"
        return _NewTable(self, base)

    def lock_list(self, timeout: float | None) -> _ListLock:
        """Create ``tables.list.lock``, and the directory if it is missing."""
        if not os.path.isdir(self.location):
            try:
                os.makedirs(self.location, exist_ok=True)
                self._adjust(self.location)
                self._sync_directory(os.path.dirname(self.location))
            except OSError as error:
                raise StorageError.of(error, "create", self.location) from error
        lock = LockFile(self._list_path, timeout)
        try:
            self._adjust(lock.path)
        except OSError as error:
            lock.release()
            raise StorageError.of(error, "change the mode of", lock.path) from error
        return _ListLock(self, lock)

    def lock_table(self, name: str) -> LockFile:
        """Create ``<table>.lock``."""
        lock = LockFile(os.path.join(self.location, name), 0)
        lock.close()
        return lock

    def remove_table(self, name: str) -> None:
        """Unlink a file; one that somebody keeps from being removed is left for :meth:`clean`."""
        with suppress(OSError):
            os.unlink(os.path.join(self.location, name))

    def unlisted(self, names: Iterable[str]) -> list[str]:
        """Give table files that are not listed, and temporary files that nobody writes.

        Under the list's lock no addition is under way, and a compaction renames its table only
        after taking that lock, so an unlisted table is nobody's. A temporary file may be that of a
        compaction, which holds locks of tables meanwhile; then all of them are left alone.
        """
        try:
            found = os.listdir(self.location)
        except OSError as error:
            raise StorageError.of(error, "list", self.location) from error
        listed = set(names)
        unlisted = [name for name in found if name.endswith(_TABLE_SUFFIX) and name not in listed]
        if not any(name.endswith(_TABLE_SUFFIX + _LOCK_SUFFIX) for name in found):
            unlisted += [name for name in found if _TEMPORARY in name and name not in listed]
        return unlisted

    def _adjust(self, path: str) -> None:
        if self._adjust_mode is not None:
            self._adjust_mode(path)

    def _sync(self, fd: int) -> None:
        if self._durable:
            os.fsync(fd)

    def _sync_directory(self, path: str) -> None:
        if self._durable and os.name != "nt":
            fd = os.open(path, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


class _NewTable:
    def __init__(self, storage: DirectoryStorage, base: str) -> None:
        self._storage = storage
        self._name = f"{base}-{secrets.token_hex(4)}{_TABLE_SUFFIX}"
        temporary = f"{base}{_TEMPORARY}{secrets.token_hex(6)}"
        self._path = os.path.join(storage.location, temporary)
        try:
            self._file = open(os.open(self._path, _WRITE_FLAGS, 0o666), "wb")  # noqa: SIM115
            try:
                storage._adjust(self._path)
            except BaseException:
                self.discard()
                raise
        except OSError as error:
            raise StorageError.of(error, "create", self._path) from error

    def write(self, data: bytes, /) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise StorageError.of(error, "write", self._path) from error

    def commit(self) -> str:
        try:
            self._file.flush()
            self._storage._sync(self._file.fileno())
            self._file.close()
            path = os.path.join(self._storage.location, self._name)
            os.rename(self._path, path)
            self._path = path
        except OSError as error:
            raise StorageError.of(error, "write", self._path) from error
        return self._name

    def discard(self) -> None:
        with suppress(OSError):  # what was buffered may not fit on the disk, which does not matter
            self._file.close()
        with suppress(OSError):
            os.unlink(self._path)


class _ListLock:
    def __init__(self, storage: DirectoryStorage, lock: LockFile) -> None:
        self._storage = storage
        self._lock = lock

    def swap(self, names: Iterable[str]) -> Listing:
        names = tuple(names)
        lock = self._lock
        data = b"".join(os.fsencode(name) + b"\n" for name in names)
        try:
            _write_all(lock.fd, data)
            self._storage._sync(lock.fd)
            # The descriptor moves into the token: it is that of the list to be.
            fd, lock.fd = lock.fd, -1
            token = _ListToken(fd)
            lock.commit()
        except OSError as error:
            raise StorageError.of(error, "write", lock.path) from error
        # From here on the swap has happened. If the directory cannot be synced, it is not durable
        # yet, but it is seen: telling the caller that it failed would be the greater lie.
        with suppress(OSError):
            self._storage._sync_directory(self._storage.location)
        return Listing(names, token)

    def release(self) -> None:
        self._lock.release()


def _is_plain_name(name: str) -> bool:
    return "/" not in name and "\0" not in name and os.sep not in name and name not in (".", "..")


def _identity(found: os.stat_result) -> tuple[int, ...]:
    if _PIN_INODES:
        return found.st_dev, found.st_ino
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _open_plain(path: str) -> int:
    """Open a file for reading, without being held up by one that is a pipe."""
    fd = os.open(path, _READ_FLAGS)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise CorruptTableError(path, None, "not a plain file")
    return fd


def _read_all(fd: int, size: int) -> bytes:
    data = os.read(fd, size + 1)
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            break
        data += more
    return data


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
