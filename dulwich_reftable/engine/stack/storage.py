# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Where tables live and how the list of them is swapped: the seam between stack and disk.

The stack needs the list with a token of its version, the bytes of a table, a place for a new table,
and two kinds of locks. :mod:`.directory` implements this in a directory. An object store with
conditional writes can implement it too, since a swap may fail with ``StaleListError``. Nothing
above this seam opens files.
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
        """Make its bytes durable; no more may be written.

        Raises:
          StorageError: if they could not be written
        """

    def commit(self) -> str:
        """Give the sealed table its name.

        Returns: the name

        Raises:
          StorageError: if that fails
        """

    def discard(self) -> None:
        """Remove it, before or after :meth:`commit`; harmless if it is gone."""


class TableLock(Protocol):
    """The right to replace a table in a compaction."""

    def release(self) -> None:
        """Release the lock; harmless if that is done."""


class ListLock(Protocol):
    """The right to change the list, once: prepare, check, swap, sync."""

    def prepare(self, names: Iterable[str], replaced: Listing) -> None:
        """Write the new list, durably, without installing it.

        Args:
          names: the tables in it; all are committed
          replaced: the list that it replaces
        Raises:
          StorageError: if it could not be written
        """

    def check(self) -> None:
        """Check once more before the swap.

        Raises:
          StaleListError: if the list is not the one to be replaced, or the lock did not hold
        """

    def swap(self) -> Listing:
        """Put the prepared list in place of the old one, and release the lock.

        Returns: the new list
        Raises:
          StorageError: if that fails; the old list stands
          StaleListError: if the list is not the one to be replaced
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
        """Release the lock; harmless if that is done."""


class Storage(Protocol):
    """The place of one stack."""

    @property
    def location(self) -> str:
        """The name of the place, for messages."""

    def read_list(self) -> Listing:
        """Read the list; a list that never existed is empty.

        Raises:
          CorruptTableError: if it names a file that cannot be a table
          RefsMovedError: if the list has vanished, or refs are kept elsewhere by now
        """

    def is_current(self, token: object) -> bool:
        """Tell, by one cheap request, whether the list is still that of the token.

        Raises:
          RefsMovedError: as :meth:`read_list`
        """

    def open_table(self, name: str) -> Buffer:
        """Give a table's bytes; they stay valid while somebody refers to them.

        Raises:
          MissingTableError: if there is no such table
        """

    def new_table(self, min_update_index: int, max_update_index: int) -> NewTable:
        """Begin a table."""

    def lock_list(self, timeout: float | None, *, create: bool = False) -> ListLock:
        """Take the lock of the list.

        Args:
          timeout: seconds to wait for it; 0 to try once, None for ever
          create: whether to create the place of the stack if it does not exist
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
        """Find the files of dead writers and compactions; call it under the list's lock.

        Args:
          listed: the tables in the list
        """

    def remove(self, name: str) -> bool:
        """Remove a table that is not listed any more, or a stale file.

        Returns: False if it could not be removed; the next clean-up will try again
        """
