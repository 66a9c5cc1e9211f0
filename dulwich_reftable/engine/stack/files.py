# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Files by descriptor: open plain ones only, read and write in full, sync directories.

Errors are those of the operating system; callers add the name of the file.
"""

from __future__ import annotations

import errno
import gc
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from ..errors import CorruptTableError

__all__ = [
    "COUNTS_REFERENCES",
    "IS_WINDOWS",
    "Descriptor",
    "WriteRules",
    "create",
    "is_taken",
    "keep_open",
    "open_directory",
    "open_plain",
    "read_all",
    "sync",
    "when_unused",
    "write_all",
]

IS_WINDOWS = os.name == "nt"
"""Whether an open or mapped file can be neither removed nor replaced, and no directory be synced.

Look at it when it matters, as ``files.IS_WINDOWS``: tests set it."""

COUNTS_REFERENCES = sys.implementation.name == "cpython"
"""Whether what nobody refers to any more goes at once, rather than when garbage is collected."""

_BINARY = getattr(os, "O_BINARY", 0)
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY
_CREATE_FLAGS = os.O_CREAT | os.O_EXCL | os.O_WRONLY | _BINARY
_READ_AT_ONCE = 1 << 16

_PAUSES_WHILE_USED = (0.0, 0.001, 0.01, 0.02, 0.04)
"""Seconds."""

_KEPT_OPEN = 500
"""Half of what many systems allow a process."""

_CANNOT_BE_SYNCED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EPERM)
"""Errors of a file system whose directories cannot be synced, or not by this user."""


class Descriptor:
    """A descriptor that closes itself at the end of a ``with`` block, or when it is collected.

    An interrupt can come between any two steps of Python, but not within a call of C code. So
    opening and keeping are one call, and so are forgetting and closing: a file that stays open,
    Windows would never replace.
    """

    __slots__ = ("_opened",)

    def __init__(self) -> None:
        self._opened: list[int] = []

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_opened"):  # an interrupt can come before the constructor has begun
            self.close()

    @property
    def fd(self) -> int:
        """The descriptor; -1 when it is closed."""
        return self._opened[0] if self._opened else -1

    def open(self, path: str, flags: int) -> None:
        """Open a file, by this user's mask if it is created.

        Raises:
          OSError: if it cannot be opened
        """
        try:
            self._opened.extend(map(os.open, (path,), (flags,), (0o666,)))
        except OSError as error:
            if not _collects_descriptors(error):
                raise
            self._opened.extend(map(os.open, (path,), (flags,), (0o666,)))

    def close(self) -> None:
        """Close it; harmless if that is done. Data that matters was synced before."""
        if self._opened:
            with suppress(OSError):
                self.close_reporting()

    def close_reporting(self) -> None:
        """Close it; without fsync, that may report a full disk.

        Raises:
          OSError: if it says so; it is closed all the same
        """
        any(map(os.close, map(self._opened.pop, range(len(self._opened)))))


def _collects_descriptors(error: OSError) -> bool:
    """Collect garbage if too many files are open.

    PyPy closes the files that nobody refers to any more, and the maps of tables, when it collects
    garbage. It does not collect for want of descriptors.

    Returns: whether to try again, once
    """
    if error.errno not in (errno.EMFILE, errno.ENFILE):
        return False
    gc.collect()
    return True


_kept_open = count(1)


def keep_open() -> None:
    """Count a file that stays open for as long as somebody refers to it.

    Without reference counts, each write would leave one open until garbage is collected for want of
    memory; what else the process opens, such as sockets, would find no descriptor. So it is
    collected after every 500th.
    """
    if next(_kept_open) % _KEPT_OPEN == 0 and not COUNTS_REFERENCES:
        gc.collect()


def open_plain(path: str) -> tuple[Descriptor, int]:
    """Open a plain file for reading; opening a pipe does not block.

    Returns: the descriptor, and the file's size
    Raises:
      CorruptTableError: if it is no plain file
      OSError: if it cannot be opened
    """
    file = Descriptor()
    try:
        try:
            file.open(path, _READ_FLAGS)
        except PermissionError:
            if os.path.isdir(path):  # Windows does not open it at all
                raise CorruptTableError(path, None, "not a plain file") from None
            raise
        found = os.fstat(file.fd)
        if not stat.S_ISREG(found.st_mode):
            raise CorruptTableError(path, None, "not a plain file")
    except BaseException:
        file.close()
        raise
    return file, found.st_size


def create(file: Descriptor, path: str) -> None:
    """Create a file that must not exist yet, and open it for writing.

    Raises:
      OSError: if that fails; Windows has several for a name that is taken, see :func:`is_taken`
    """
    file.open(path, _CREATE_FLAGS)


def is_taken(error: OSError) -> bool:
    """Tell whether :func:`create` has failed because there is something under that name.

    Where there is a directory, Windows denies access. It also does so for a file that was removed
    while a program, such as a virus scanner, has it open: it exists until that is over.
    """
    return isinstance(error, FileExistsError) or (IS_WINDOWS and isinstance(error, PermissionError))


def when_unused(action: Callable[[], object]) -> None:
    """Rename or remove a file; on Windows, wait until nobody has it open.

    Readers of lists and virus scanners close their files soon. Git waits as often and as long.

    Raises:
      OSError: if it stays open, or the action fails for another reason
    """
    for pause in _PAUSES_WHILE_USED:
        try:
            action()
        except PermissionError:
            if not IS_WINDOWS:
                raise
            time.sleep(pause)
        else:
            return
    action()


def read_all(fd: int, size: int) -> bytes:
    """Read to the end.

    Args:
      fd: at the file's beginning
      size: of the file, as far as known
    """
    data = os.read(fd, size + 1)
    if len(data) != size:  # a short read, or the file has changed
        while more := os.read(fd, _READ_AT_ONCE):
            data += more
    return data


def write_all(fd: int, data: bytes) -> None:
    """Write all of it, in as many steps as needed."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def open_directory(path: str) -> Descriptor | None:
    """Open a directory for :func:`sync`; None where directories cannot be synced."""
    if IS_WINDOWS:
        return None
    directory = Descriptor()
    try:
        directory.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno not in _CANNOT_BE_SYNCED:
            raise
        return None
    return directory


def sync(directory: Descriptor | None) -> None:
    """Sync a directory that :func:`open_directory` opened; None is ignored."""
    if directory is None:
        return
    try:
        os.fsync(directory.fd)
    except OSError as error:
        if error.errno not in _CANNOT_BE_SYNCED:
            raise


class WriteRules:
    """How the files of a repository are written.

    Args:
      fsync: whether they are synced
      adjust_mode: called with the path of each file or directory that is created, to give it the
        mode that the repository's sharing asks for
    """

    def __init__(self, fsync: bool, adjust_mode: Callable[[str], None] | None) -> None:
        self._fsync = fsync
        self._adjust_mode = adjust_mode

    def adjust(self, path: str) -> None:
        """Give a new file or directory its mode."""
        if self._adjust_mode is not None:
            self._adjust_mode(path)

    def sync(self, fd: int) -> None:
        """Sync a file."""
        if self._fsync:
            os.fsync(fd)

    def open_to_sync(self, path: str) -> Descriptor | None:
        """Open a directory for :func:`sync`; None if that shall do nothing."""
        return open_directory(path) if self._fsync else None
