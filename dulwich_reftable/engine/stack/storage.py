# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Where tables live and how the list of them is swapped: the seam between stack and disk.

A stack reads a list and opens the tables in it. It writes a table, prepares a list that names it,
and swaps the lists. :mod:`.directory` implements this in a directory, where a lock keeps other
writers out. A storage may do without: then a swap finds out that somebody else was faster, and the
stack does its work anew on the new list. Nothing above this seam opens files.

An update, step by step:

1. :meth:`Storage.begin` gives a :class:`Change`; :meth:`Storage.refresh` gives the list.
2. :meth:`Storage.new_table`, :meth:`NewTable.seal` and :meth:`NewTable.commit` write the table.
3. :meth:`Change.prepare`, :meth:`~Change.check`, :meth:`~Change.swap` and :meth:`~Change.sync`
   put the new list in place of *exactly* the list that was read.
4. :meth:`Storage.retire` gives up the tables that the new list does not name any more.

After ``StaleListError`` nothing has happened: the new table is discarded, and written anew on the
new list. After ``OutcomeUnknownError`` the new list may be in place, or come into place later:
neither the new table nor the old ones are removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from ..errors import LockError, StorageError
from ..format.layout import Buffer
from .stale_files import StaleFile

__all__ = [
    "Change",
    "Claim",
    "ClaimedError",
    "Listing",
    "MissingTableError",
    "NewTable",
    "Storage",
]


class MissingTableError(StorageError):
    """A table that the list names is not there: the list has changed, or the stack is damaged."""


class ClaimedError(LockError):
    """Somebody else merges a table.

    Attributes:
      table: its name
    """

    def __init__(self, table: str, error: LockError) -> None:
        super().__init__(error.lock_path, error.age, error.waited, error.reason)
        self.table = table


class Listing(NamedTuple):
    """The list of tables at one moment.

    Attributes:
      names: oldest first
      token: the storage's own mark of this version of the list, with all that the storage knows of
        it: sizes of tables, or the bytes of small ones
    """

    names: tuple[str, ...]
    token: object


class NewTable(Protocol):
    """A table that is being written; nobody sees it before it is listed."""

    def write(self, data: bytes, /) -> object:
        """Append bytes."""

    def seal(self) -> None:
        """Make its bytes durable; no more may be written.

        A storage that keeps small tables in the list may leave that to the swap.

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
        """Remove it, before or after :meth:`commit`; harmless if it is gone.

        Nobody calls it once a list that names the table is, or may be, in place.
        """


class Claim(Protocol):
    """The right to replace some tables in a compaction; in some storages only a request."""

    def release(self) -> None:
        """Release the claim; harmless if that is done."""


class Change(Protocol):
    """The right to change the list, once: prepare, check, swap, sync.

    Where the storage is optimistic, others may have that right at the same time; then all but one
    of them meet ``StaleListError``.
    """

    def claim(self, names: Sequence[str]) -> Claim:
        """Claim tables that this very change replaces.

        Since the swap checks that nobody has replaced them, an optimistic storage only looks
        whether a compaction has claimed them.

        Args:
          names: of tables in the list
        Raises:
          ClaimedError: if somebody else has claimed one of them; then none is claimed
        """

    def prepare(self, names: Iterable[str], replaced: Listing) -> None:
        """Write the new list, durably, without installing it.

        Args:
          names: the tables in it; all are committed
          replaced: the list that it replaces
        Raises:
          StaleListError: if a new table may have been removed by a :meth:`Storage.sweep` meanwhile:
            it has to be written anew
          StorageError: if it could not be written
        """

    def check(self) -> None:
        """Check once more before the swap.

        Raises:
          StaleListError: if the list is not the one to be replaced, or the lock did not hold
        """

    def swap(self) -> Listing:
        """Put the prepared list in place of the old one, and let others change it.

        Returns: the list that is in place. It may be newer than the prepared one, if others have
          built on that meanwhile
        Raises:
          StaleListError: if the list is not the one to be replaced: nothing has happened, nor will
          StorageError: if that fails; the old list stands
          OutcomeUnknownError: if nobody can tell whether the new list is, or will be, in place
        """

    @property
    def may_be_swapped(self) -> bool:
        """Whether the new list is or may be in place, even if the swap was interrupted.

        What it names has to stay then.
        """

    def sync(self) -> None:
        """Make the swap durable.

        Raises:
          StorageError: if it is not sure to survive a power cut
        """

    def release(self) -> None:
        """Let others change the list; harmless if that is done."""


class Storage(Protocol):
    """The place of one stack. Threads may share it."""

    @property
    def location(self) -> str:
        """The name of the place, for messages."""

    @property
    def is_optimistic(self) -> bool:
        """Whether a change does not keep other writers out, so that a swap may find a stale list.

        Then the stack begins an update anew. Otherwise a stale list means that a lock was broken,
        which is an error.
        """

    # Reading

    def refresh(self, known: Listing | None, max_age: float = 0) -> Listing:
        """Give the list as it is; a list that never existed is empty.

        Args:
          known: a list that was given before; to ask whether it is current is one cheap request
          max_age: for how many seconds after it was last asked for, ``known`` may be taken for
            current without a request
        Returns: ``known`` itself if it is current
        Raises:
          CorruptTableError: if the list names what cannot be a table
          RefsMovedError: if the list has vanished, or refs are kept elsewhere by now
          StorageError: if it cannot be read
        """

    def salvaged_names(self) -> list[str]:
        """Give the names that can be read of a damaged list, oldest first; none if none can."""

    def open_tables(self, listing: Listing | None, names: Sequence[str]) -> Iterator[Buffer]:
        """Give the bytes of tables; they stay valid while somebody refers to them.

        A buffer may fetch its slices when they are asked for.

        Args:
          listing: the list that names the tables; None if they are in none
          names: of the tables
        Returns: the bytes, in the order of the names; a storage may fetch all of them side by side,
          and an iterator that raises has given those before
        Raises:
          MissingTableError: if one of the tables is not there
          StorageError: if one cannot be read
        """

    # Writing

    def new_table(self, min_update_index: int, max_update_index: int) -> NewTable:
        """Begin a table, within a change or before it."""

    def begin(self, timeout: float | None, *, create: bool = False) -> Change:
        """Begin to change the list.

        Args:
          timeout: seconds to wait for other writers; 0 to try once, None for ever
          create: whether to create the place of the stack if it does not exist
        Raises:
          LockError: if others kept it for too long
          RefsMovedError: if refs are kept elsewhere by now
          StorageError: if there is no such place
        """

    def claim(self, names: Sequence[str]) -> Claim:
        """Claim tables for a compaction that outlives the change in which it is called.

        In an optimistic storage that is a request to others, which ends by itself after some time.
        A swap that replaces the tables in spite of it is still safe: the later one is stale.

        Args:
          names: of tables in the list
        Raises:
          ClaimedError: if somebody else has claimed one of them; then none is claimed
          StaleListError: if one of them is not in the list any more
        """

    def retire(self, names: Iterable[str]) -> None:
        """Give up tables that a swap has replaced, once it is durable.

        A storage may remove them at once, or keep them for a while for those who read old lists. A
        table that cannot be removed is left to the next :meth:`sweep`.
        """

    # Upkeep

    def stale_files(self, listed: Iterable[str]) -> list[StaleFile]:
        """Find what dead writers and compactions left; a live writer's files may be among it.

        Args:
          listed: the tables in the list
        """

    def sweep(self, listing: Listing, may_go: Callable[[StaleFile], bool]) -> list[str]:
        """Remove what dead writers and compactions left; call it within a change.

        An optimistic storage first swaps in a list that differs from the old one by its token only,
        so that writers whose new tables are about to be removed find their lists stale.

        Args:
          listing: the list as it is
          may_go: tells whether a file may be removed
        Returns: the names of what was removed
        Raises:
          StaleListError: if the list has changed meanwhile; nothing was removed
          StorageError: if the files cannot be listed
        """
