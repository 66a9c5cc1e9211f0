# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The file of a table: opening it, and writing a new one under a temporary name."""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import sys
from contextlib import suppress
from functools import partial

from ..errors import CorruptTableError, StorageError
from ..format.layout import Buffer
from . import files
from .files import Descriptor, WriteRules, create, open_plain, read_all, write_all
from .stale_files import TABLE_SUFFIX, TEMPORARY
from .storage import MissingTableError

__all__ = ["NewTableFile", "open_table"]

# Tables up to this size are read, not mapped: a map would cost more than the copy.
_READ_UP_TO = 1 << 14
_MAP: dict[str, bool] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
"""Before Python 3.13, and on Windows, each map keeps a descriptor open."""

_WRITE_AT_ONCE = 1 << 18


def open_table(path: str) -> Buffer:
    """Map a table into memory; a small one is read.

    Raises:
      MissingTableError: if there is no such file
      StorageError: if it cannot be read
      CorruptTableError: if it is no plain file
    """
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


class NewTableFile:
    """A table file that is being written; see :class:`~.storage.NewTable`.

    It does its own buffering: a file object of Python would, in a forked child, write what it has
    buffered a second time.

    Args:
      directory: of the stack
      base: the beginning of its name
      rules: how it is written
    """

    _is_temporary = False  # until there is a file

    def __init__(self, directory: str, base: str, rules: WriteRules) -> None:
        self._directory = directory
        self._rules = rules
        self._owner = os.getpid()
        self._name = f"{base}-{secrets.token_hex(4)}{TABLE_SUFFIX}"
        self._path = os.path.join(directory, f"{base}{TEMPORARY}{secrets.token_hex(6)}")
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._file = Descriptor()
        self._paths = [self._path]  # where it may be
        self._is_temporary = True
        try:
            create(self._file, self._path)
            rules.adjust(self._path)
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
        """Append bytes."""
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered >= _WRITE_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        chunks, self._chunks, self._buffered = self._chunks, [], 0
        try:
            write_all(self._file.fd, b"".join(chunks))
        except OSError as error:
            raise StorageError.of(error, "write", self._path) from error

    def seal(self) -> None:
        """Write the rest, and sync the file."""
        self._flush()
        try:
            self._rules.sync(self._file.fd)
            self._file.close_reporting()
        except OSError as error:
            raise StorageError.of(error, "write", self._path) from error

    def commit(self) -> str:
        """Give the file its final name."""
        path = os.path.join(self._directory, self._name)
        self._paths.append(path)
        self._is_temporary = False
        try:
            files.when_unused(partial(os.rename, self._path, path))
        except OSError as error:
            raise StorageError.of(error, "rename", self._path) from error
        return self._name

    def discard(self) -> None:
        """Remove the file, under either name."""
        self._file.close()
        # A forked child inherits the object, but the file stays its parent's.
        if self._owner == os.getpid():
            for path in self._paths:
                with suppress(OSError):
                    os.unlink(path)
        self._is_temporary = False
