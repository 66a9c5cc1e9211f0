# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``tables.list``: reading it, and telling whether it is still the one that was read.

A list is never changed, but replaced. So one ``stat`` tells whether it is current. Reading creates
nothing.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable

from ..errors import CorruptTableError, RefsMovedError, StorageError
from . import files
from .files import Descriptor, open_plain, read_all
from .stale_files import LIST, TABLE_SUFFIX
from .storage import Listing

__all__ = ["ListToken", "TableList", "identity_of", "parse_list"]

_TRIES = 5
"""Attempts to read a list that other hosts replace while it is read (``ESTALE``, on NFS)."""

_PAUSES = (0.001, 0.002, 0.005, 0.01)
"""Seconds between looks for a list that is missing although there are tables."""

_NO_NAME = re.compile(r"[/\x00-\x1f]")
_NO_NAME_ON_WINDOWS = re.compile(r'[\\<>:"|?*]|[. ]$')
"""What Windows refuses in names, and what it takes off their ends without saying so."""

_LONGEST_LIST = 1 << 20
"""Bytes of a list of some 27,000 tables; opening them would take longer than reading the list."""

_LONGEST_SALVAGED = 1 << 24
"""Bytes of a damaged list of which names are read."""


class ListToken:
    """A version of the list: which file it is, kept from being reused by holding it open.

    Args:
      file: becomes the token's; not open for a list that is not there

    Attributes:
      identity: what :meth:`TableList.identity` gives as long as it is this file
    """

    __slots__ = ("_file", "identity")

    def __init__(self, file: Descriptor) -> None:
        self._file = file
        self.identity = _identity(os.fstat(file.fd)) if file.fd >= 0 else None
        # An open descriptor keeps the inode number from being reused. On Windows it would also keep
        # the list from being replaced.
        if files.IS_WINDOWS:
            self._file.close()
        else:
            files.keep_open()


class TableList:
    """The list of a directory.

    Args:
      directory: of the stack
      confirm: raises ``RefsMovedError`` if the repository keeps its refs elsewhere by now; called
        if there is no list

    Attributes:
      path: of the file
    """

    def __init__(self, directory: str, confirm: Callable[[], None]) -> None:
        self.path = os.path.join(directory, LIST)
        self._confirm = confirm
        self._was_there = False

    def read(self, known: Listing | None = None) -> Listing:
        """Read the list, unless its ``stat`` is that of the known one.

        Args:
          known: a list that was read before
        Returns: ``known`` itself if it is current; an empty list if there never was one
        Raises:
          CorruptTableError: if it names what cannot be a table
          RefsMovedError: if it has vanished, or refs are kept elsewhere by now
          StorageError: if it cannot be read
        """
        if known is not None:
            identity = self.identity()
            if identity == identity_of(known):
                if identity is None:
                    self.check_absence()
                return known
        return self._read(_TRIES)

    def _read(self, tries: int) -> Listing:
        try:
            file, size = self._open()
            try:
                if size > _LONGEST_LIST:
                    raise CorruptTableError(self.path, None, f"{size} bytes are no list")
                names = self._parse(read_all(file.fd, size))
                self._was_there = True
                return Listing(names, ListToken(file))
            except BaseException:
                file.close()
                raise
        except FileNotFoundError:
            if os.path.islink(self.path):
                raise CorruptTableError(self.path, None, "a link to nothing") from None
            self.check_absence()
            return Listing((), ListToken(Descriptor()))
        except OSError as error:
            if error.errno == errno.ESTALE and tries > 1:
                return self._read(tries - 1)
            raise StorageError.of(error, "read", self.path) from error

    def _open(self) -> tuple[Descriptor, int]:
        """Open ``tables.list``.

        NFS replaces a file that is open by two renames, and between them there is none. So look
        again where there has been a list, or a table.
        """
        for pause in _PAUSES:
            try:
                return open_plain(self.path)
            except FileNotFoundError:
                if os.path.islink(self.path) or not self._may_be_replaced():
                    raise
            time.sleep(pause)
        return open_plain(self.path)

    def _may_be_replaced(self) -> bool:
        """Tell whether a list that is missing may be one that is being replaced."""
        try:
            found = os.listdir(os.path.dirname(self.path))
        except OSError:
            return False
        return any(name.endswith(TABLE_SUFFIX) for name in found)

    def check_absence(self) -> None:
        """Check that the list is missing because nobody has written to the stack yet.

        Raises:
          RefsMovedError: if the stack was there before, or the refs are kept elsewhere by now
        """
        self._confirm()
        if self._was_there:
            raise RefsMovedError(self.path, "the stack of refs is gone")

    def _parse(self, data: bytes) -> tuple[str, ...]:
        names, fault = parse_list(data)
        if fault is not None:
            # If it stands there several times, report the last one.
            offset = (b"\n" + data + b"\n").rindex(b"\n" + os.fsencode(fault) + b"\n")
            raise CorruptTableError(self.path, offset, f"{fault!r} cannot be a table")
        return tuple(names)

    def salvaged_names(self) -> list[str]:
        """Read the lines of ``tables.list`` that can be names of tables."""
        try:
            file, size = open_plain(self.path)
            with file as fd:
                names, _ = parse_list(read_all(fd, size) if size <= _LONGEST_SALVAGED else b"")
        except (CorruptTableError, OSError):
            return []
        return names

    def identity(self) -> tuple[int, ...] | None:
        """Look which file the list is at the moment; None if there is none."""
        try:
            return _identity(os.stat(self.path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError.of(error, "read", self.path) from error


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
    if _NO_NAME.search(name) or name in (".", ".."):
        return False
    return not (files.IS_WINDOWS and _NO_NAME_ON_WINDOWS.search(name))


def identity_of(listing: Listing) -> tuple[int, ...] | None:
    """Give the identity of the file that a list was read from; None if there was none."""
    token = listing.token
    return token.identity if isinstance(token, ListToken) else ()


def _identity(found: os.stat_result) -> tuple[int, ...]:
    # Device and inode suffice if lists are renamed into place; the rest shows other changes.
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
