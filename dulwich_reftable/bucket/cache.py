# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Keep copies of immutable objects on the local disk, for all processes of a user.

Each object is one file. It is written under a temporary name, verified and renamed, so other
processes see all of it or nothing. Nothing is synced. Instead, each process verifies a file when it
first opens it: a file that a power cut or the disk has damaged is removed, and fetched again. Packs
and their indexes end with a checksum of their own. To other objects the cache appends one.

Files are mapped into memory. A mapping outlives the removal of its file, so a process may evict
what another one reads. The oldest files by access time go first; the cache sets this time itself,
because many file systems do not.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import IO, Any, NamedTuple

from dulwich.errors import ChecksumMismatch

from ..engine.errors import StorageError
from ..engine.format.layout import Buffer

__all__ = [
    "DEFAULT_LIMIT",
    "Cache",
    "Check",
    "NoRoomError",
    "Read",
    "Shelf",
    "default_directory",
    "feed",
]

DEFAULT_LIMIT = 4 << 30
"""Bytes that a cache may take, unless its maker says otherwise."""

_IN_MEMORY = 64 << 20
"""Maximum bytes of an object that is kept in memory if the disk does not take it."""
_KEPT = 0.9
"""The part of the limit that is left after files were evicted."""
_RESCANS = 16
"""How many times the directory is read again while as many bytes are added as the limit allows."""
_STALE = 3600
"""Seconds after which a temporary file belongs to nobody."""
_TEMPORARY = "tmp-"
_SEAL_SIZE = 32

Read = Callable[[], Iterable[bytes]]
"""Fetches an object, in pieces."""
Check = Callable[[Buffer], None]
"""Raises ``ChecksumMismatch`` if the bytes of an object are damaged, or those of another one."""


def default_directory() -> str:
    """Return the directory of the user's cache; it need not exist."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~/AppData/Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "dulwich-reftable")


class Cache:
    """A directory of cached objects with a maximum size.

    Several processes with the same limit together may exceed it by a sixteenth each.

    Args:
      directory: where the files are; None for a temporary one that :meth:`close` removes
      limit: maximum bytes of all files
    """

    def __init__(
        self, directory: str | os.PathLike[str] | None = None, limit: int = DEFAULT_LIMIT
    ) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._directory = None if directory is None else os.path.abspath(os.fspath(directory))
        self._removal: weakref.finalize[[str, bool], Cache] | None = None
        self._is_private = directory is None
        self._added: int | None = None  # bytes since the directory was read; None: never read

    def shelf(self, identity: str) -> Shelf:
        """Give the place for the objects of one repository.

        Args:
          identity: tells the repository from all others; its location may not be enough, because
            two servers may have buckets of the same name
        """
        return Shelf(self, blake2b(identity.encode(), digest_size=16).hexdigest())

    def fits(self, size: int) -> bool:
        """Tell whether the cache keeps an object of that many bytes."""
        return size <= self.limit // 2

    def close(self) -> None:
        """Remove a temporary directory; other caches stay."""
        with self._lock:
            if self._removal is not None:
                self._removal()
                self._directory = self._removal = None

    def directory(self) -> str:
        """Return the directory, and make a temporary one if need be."""
        with self._lock:
            if self._directory is None:
                self._directory = tempfile.mkdtemp(prefix="dulwich-reftable-")
                self._removal = weakref.finalize(self, shutil.rmtree, self._directory, True)
            return self._directory

    def note(self, path: str, size: int) -> None:
        """Evict files if there are too many, after one was added.

        Args:
          path: of the new file, which stays
          size: of it, in bytes
        """
        with self._lock:
            if self._added is not None:
                self._added += size
                if self._added < self.limit // _RESCANS:
                    return
            self._added = 0
        directory = self.directory()
        files = sorted(_files(directory))
        total = sum(file.size for file in files)
        if total > self.limit:
            for file in files:
                if total <= self.limit * _KEPT:
                    break
                if file.path != path:
                    with suppress(OSError):  # somebody else was faster, or has it open (Windows)
                        os.unlink(file.path)
                        total -= file.size


class _File(NamedTuple):
    """A cached file: seconds since the epoch of its last use, its size in bytes, its path."""

    used: float
    size: int
    path: str


def _files(directory: str) -> Iterator[_File]:
    """Find all files of a cache, and remove what dead processes left."""
    for shelf in _entries(directory):
        for entry in _entries(shelf.path):
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if entry.name.startswith(_TEMPORARY):
                    if time.time() - found.st_mtime > _STALE:
                        os.unlink(entry.path)
                else:
                    yield _File(found.st_atime, found.st_size, entry.path)


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        return []


class NoRoomError(StorageError):
    """An object is too large for the cache, or for its disk, and for memory (``ENOSPC``)."""

    def __init__(self, name: str) -> None:
        super().__init__(errno.ENOSPC, "the cache does not take an object of that size", name)


class _DiskError(Exception):
    """The disk does not take a file."""


def feed(digest: Any, buffer: Any, stop: int) -> None:
    """Hash the beginning of a buffer, and let go of it.

    Args:
      digest: of :mod:`hashlib`
      buffer: ``bytes`` or a memory map
      stop: how many bytes of it
    """
    with memoryview(buffer) as view, view[:stop] as part:
        digest.update(part)


class Shelf:
    """The cached objects of one repository. Threads may share it; made by :meth:`Cache.shelf`."""

    def __init__(self, cache: Cache, name: str) -> None:
        self._cache = cache
        self._name = name
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        self._verified: dict[str, tuple[int, int]] = {}

    def fetch(self, name: str, size: int, read: Read, check: Check | None = None) -> Buffer:
        """Give an object: from the cache, or else from where it is kept.

        Args:
          name: of the object; the same name always means the same bytes
          size: of it, in bytes
          read: fetches it
          check: verifies it; None: the cache verifies its own copy, and trusts ``read``
        Returns: a memory map, or ``bytes`` if the disk does not take the object
        Raises:
          ChecksumMismatch: if what was fetched is damaged; the cache does not keep it
          NoRoomError: if it is large, and the cache does not take it
          StorageError: if it has another size
        """
        with self._turn(name):
            found = self._open(name, size, check)
            return self._download(name, size, read, check) if found is None else found

    def find(self, name: str, size: int, check: Check | None = None) -> Buffer | None:
        """Give an object that is in the cache; None if it is not."""
        with self._turn(name):
            return self._open(name, size, check)

    def adopt(self, name: str, path: str) -> None:
        """Move a local file into the cache; if that fails, nothing happens.

        Args:
          name: of the object; it has to be one that is fetched with a check
          path: of the file, which is on the same file system or is copied
        """
        size = os.path.getsize(path)
        if not self._cache.fits(size):
            return
        with suppress(OSError):
            target = os.path.join(self._folder(), name)
            temporary = f"{os.path.dirname(target)}{os.sep}{_TEMPORARY}{os.getpid()}-{name}"
            shutil.move(path, temporary)
            os.replace(temporary, target)
            self._cache.note(target, size)

    def drop(self, name: str) -> None:
        """Remove an object from the cache, for instance because it is damaged."""
        self._verified.pop(name, None)
        with suppress(OSError):
            os.unlink(os.path.join(self._folder(), name))

    @contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        """Let one thread at a time look for an object, so that it is fetched once."""
        with self._lock:
            turn = self._turns.setdefault(name, threading.Lock())
        with turn:
            yield

    def _folder(self) -> str:
        folder = os.path.join(self._cache.directory(), self._name)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return folder

    # Files

    def _open(self, name: str, size: int, check: Check | None) -> Buffer | None:
        if not size:
            return None
        try:
            with open(os.path.join(self._folder(), name), "rb") as file:
                found = os.fstat(file.fileno())
                if found.st_size == size + (0 if check else _SEAL_SIZE):
                    buffer = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
                    version = (found.st_ino, found.st_mtime_ns)
                    if self._verified.get(name) != version:
                        (check or _seal_check(file))(buffer)
                        self._verified[name] = version
                    with suppress(OSError):
                        now = time.time_ns()
                        os.utime(file.name, ns=(now, found.st_mtime_ns))
                    return buffer
        except (OSError, ValueError):
            return None  # it is not there, or was removed meanwhile, or cannot be mapped
        except ChecksumMismatch:
            pass
        self.drop(name)
        return None

    def _download(self, name: str, size: int, read: Read, check: Check | None) -> Buffer:
        try:
            if not self._cache.fits(size):
                raise _DiskError
            self._write(name, size, read, check)
            found = self._open(name, size, check)
            if found is not None:
                return found
        except _DiskError:
            pass
        if size > _IN_MEMORY:
            raise NoRoomError(name)
        data = b"".join(read())
        _check_size(name, size, len(data))
        if check is not None:
            check(data)
        return data

    def _write(self, name: str, size: int, read: Read, check: Check | None) -> None:
        with _disk_errors():
            number, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=self._folder())
        try:
            with _disk_errors():
                file = os.fdopen(number, "w+b")
            with file:
                seal = blake2b(digest_size=_SEAL_SIZE)
                written = 0
                for piece in read():
                    written += len(piece)
                    _check_size(name, size, max(written, size))
                    seal.update(piece)
                    with _disk_errors():
                        file.write(piece)
                _check_size(name, size, written)
                with _disk_errors():
                    if check is None:
                        file.write(seal.digest())
                    file.flush()
                if check is not None and size:
                    with _disk_errors():
                        buffer = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
                    with buffer:
                        check(buffer)
                found = os.fstat(file.fileno())
            target = os.path.join(os.path.dirname(temporary), name)
            with _disk_errors():
                os.replace(temporary, target)
            self._verified[name] = (found.st_ino, found.st_mtime_ns)
            self._cache.note(target, size)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


def _check_size(name: str, wanted: int, size: int) -> None:
    if size != wanted:
        raise StorageError(
            errno.EIO, f"the object has {size} bytes where {wanted} are expected", name
        )


def _seal_check(file: IO[bytes]) -> Check:
    """Make the check of an object that the cache has sealed."""

    def check(buffer: Buffer) -> None:
        file.seek(len(buffer))
        stored = file.read(_SEAL_SIZE)
        found = blake2b(digest_size=_SEAL_SIZE)
        feed(found, buffer, len(buffer))
        if found.digest() != stored:
            raise ChecksumMismatch(stored.hex(), found.hexdigest(), file.name)

    return check


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Tell errors of the disk from those of the store, which are OSErrors, too."""
    try:
        yield
    except OSError as error:
        raise _DiskError from error
