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

from .block import Buffer
from .errors import StorageError

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

    def commit(self) -> str:
        """Make the table durable and give it its name, which is returned."""

    def discard(self) -> None:
        """Remove it, under whichever name; harmless if there is nothing left to remove."""


class TableLock(Protocol):
    """The right to compact a table away."""

    def release(self) -> None:
        """Give it up; harmless if that is done."""


class ListLock(Protocol):
    """The right to change the list."""

    def swap(self, names: Iterable[str]) -> Listing:
        """Replace the list, durably, and release the lock.

        Returns: the new list
        Raises:
          StorageError: if it could not be written; the old list stands
          StaleListError: if the lock did not hold
        """

    def release(self) -> None:
        """Give it up; harmless if that is done."""


class Storage(Protocol):
    """The place of one stack."""

    @property
    def location(self) -> str:
        """Where it is, for messages."""

    def read_list(self) -> Listing:
        """Read the list; an absent one is empty.

        Raises:
          CorruptTableError: if it names what cannot be a table
        """

    def is_current(self, token: object) -> bool:
        """Tell, at the cost of one look, whether the list is still that of the token."""

    def open_table(self, name: str) -> Buffer:
        """Give a table's bytes, valid for as long as they are referred to.

        Raises:
          MissingTableError: if there is no such table
        """

    def new_table(self, min_update_index: int, max_update_index: int) -> NewTable:
        """Begin a table."""

    def lock_list(self, timeout: float | None) -> ListLock:
        """Take the lock of the list.

        Args:
          timeout: seconds to wait for it; 0 to try once, None for ever
        Raises:
          LockError: if it stayed taken
        """

    def lock_table(self, name: str) -> TableLock:
        """Take the lock of a table, without waiting.

        Raises:
          LockError: if it is taken
        """

    def remove_table(self, name: str) -> None:
        """Remove a table that is not listed any more, or leave it if it cannot be removed."""

    def unlisted(self, names: Iterable[str]) -> list[str]:
        """Give the files of dead writers and compactions; call it under the list's lock.

        Args:
          names: the tables that are listed
        Returns: names for :meth:`remove_table`
        """
