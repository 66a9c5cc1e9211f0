# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Where tables live and how the list of them is swapped: the seam between stack and disk.

The stack asks for little: the list with a token that tells whether it still holds, the bytes of a
table, a place to write a new one, and two kinds of locks. :mod:`.directory` gives it from a
directory; a store of objects with conditional writes can give the same, since a swap may fail with
``StaleListError``. Nothing above this seam opens files.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from ..errors import StorageError
from ..format.layout import Buffer
from .stale_files import StaleFile

__all__ = ["ListLock", "Listing", "MissingTableError", "NewTable", "Storage", "TableLock"]


class MissingTableError(StorageError):
    """A table that the list names is not there: the list has changed, or the stack is damaged."""


class Listing(NamedTuple):
    """The list of tables at one moment.

    Attributes:
      names: oldest first
      token: the storage's own mark of this version of the list
    """

    names: tuple[str, ...]
    token: object


class NewTable(Protocol):
    """A table that is being written; nobody sees it before it is listed."""

    def write(self, data: bytes, /) -> object:
        """Append bytes."""

    def seal(self) -> None:
        """Make its bytes durable: there will be no more.

        Raises:
          StorageError: if they could not be written
        """

    def commit(self) -> str:
        """Give the sealed table its name, which is returned.

        Raises:
          StorageError: if that fails
        """

    def discard(self) -> None:
        """Remove it, under whichever name; harmless if there is nothing left to remove."""


class TableLock(Protocol):
    """The right to compact a table away."""

    def release(self) -> None:
        """Give it up; harmless if that is done."""


class ListLock(Protocol):
    """The right to change the list, once: prepare, check, swap, sync."""

    def prepare(self, names: Iterable[str], replaced: Listing) -> None:
        """Write the new list, durably, where nobody sees it yet.

        Args:
          names: the tables in it, all of which have their names
          replaced: the list that it is to replace, and no other
        Raises:
          StorageError: if it could not be written
        """

    def check(self) -> None:
        """Make sure that the swap is still right.

        Raises:
          StaleListError: if the list is not the one to be replaced, or the lock did not hold
        """

    def swap(self) -> Listing:
        """Put the prepared list in place of the old one, and release the lock.

        Returns: the new list
        Raises:
          StorageError: if that fails; the old list stands
          StaleListError: if only now it turns out that the list is not the one to be replaced
        """

    @property
    def is_swapped(self) -> bool:
        """Whether the new list is in place, even if the swap was interrupted."""

    def sync(self) -> None:
        """Make the swap durable.

        Raises:
          StorageError: if it is not sure to survive a power cut
        """

    def release(self) -> None:
        """Give the lock up; harmless if that is done."""


class Storage(Protocol):
    """The place of one stack."""

    @property
    def location(self) -> str:
        """Where it is, for messages."""

    def read_list(self) -> Listing:
        """Read the list; one that was never there is empty.

        Raises:
          CorruptTableError: if it names what cannot be a table
          RefsMovedError: if it was there once, or refs are kept elsewhere by now
        """

    def is_current(self, token: object) -> bool:
        """Tell, at the cost of one look, whether the list is still that of the token.

        Raises:
          RefsMovedError: as :meth:`read_list`
        """

    def open_table(self, name: str) -> Buffer:
        """Give a table's bytes, valid for as long as they are referred to.

        Raises:
          MissingTableError: if there is no such table
        """

    def new_table(self, min_update_index: int, max_update_index: int) -> NewTable:
        """Begin a table."""

    def lock_list(self, timeout: float | None, *, create: bool = False) -> ListLock:
        """Take the lock of the list.

        Args:
          timeout: seconds to wait for it; 0 to try once, None for ever
          create: whether to make the place of the stack, where there is none yet
        Raises:
          LockError: if it stayed taken
          RefsMovedError: if refs are kept elsewhere by now
          StorageError: if there is no such place
        """

    def lock_table(self, name: str) -> TableLock:
        """Take the lock of a table, without waiting.

        Raises:
          LockError: if it is taken
        """

    def stale_files(self, listed: Iterable[str]) -> list[StaleFile]:
        """Give the files of dead writers and compactions; call it under the list's lock.

        Args:
          listed: the tables in the list
        """

    def remove(self, name: str) -> bool:
        """Remove a table that is not listed any more, or a stale file.

        Returns: False if it could not be removed; the next clean-up will try again
        """
