# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Changing the list of a stack in a bucket: the new tables, and one swap of the head."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from ..engine.errors import LockError, OutcomeUnknownError, ReftableError, StaleListError
from ..engine.stack.lock_queue import Waiter
from ..engine.stack.storage import Claim, ClaimedError, Listing
from .commit import Installed
from .current import CurrentHead, installed
from .head import Head, ListedTable, Retired
from .new_table import BucketTable

__all__ = ["CLAIM_SECONDS", "BucketChange", "check_claims", "split_retired"]

CLAIM_SECONDS = 120
"""How long a claim counts."""

_INLINE_TOTAL = 64 << 10
"""Maximum bytes of all tables inside the head."""


class _NoClaim:
    """What a change claims of the tables that it replaces itself: its swap sees to them."""

    def release(self) -> None: ...


class BucketChange:
    """The turn of a thread; see :class:`~..engine.stack.storage.Change`.

    Args:
      current: the head of the stack
      new_tables: tables that nobody lists yet, by their names
      expired: collects the names of tables to be removed soon: no head names them any more
      timeout: seconds to wait for other threads
    """

    def __init__(
        self,
        current: CurrentHead,
        new_tables: Mapping[str, BucketTable],
        expired: deque[str],
        timeout: float | None,
    ) -> None:
        self._location = current.bucket.location
        self._current = current
        self._new_tables = new_tables
        self._expired = expired
        self._base: Installed | None = None
        self._tables: tuple[ListedTable, ...] = ()
        self._new: list[BucketTable] = []
        self._turn = Waiter(f"{self._location}#{id(current)}")
        self.may_be_swapped = False
        begun = time.monotonic()
        if not self._turn.wait(timeout):
            waited = time.monotonic() - begun
            reason = "other threads of this process are writing"
            raise LockError(self._location, None, waited, reason)
        try:
            current.wait_for_turn()
        except BaseException:
            self.release()
            raise

    def claim(self, names: Sequence[str]) -> Claim:
        """Look whether somebody else merges the tables; the swap sees to the rest."""
        check_claims(self._location, self._current.latest().head, names)
        return _NoClaim()

    def prepare(self, names: Iterable[str], replaced: Listing) -> None:
        """Make out the new list, and upload tables for which the head has no room."""
        self._base = base = installed(replaced)
        listed = {table.name: table for table in base.head.tables}
        names = tuple(names)
        self._new = [self._new_tables[name] for name in names if name not in listed]
        inline = sum(len(listed[name].data or b"") for name in names if name in listed)
        for table in self._new:
            if inline + table.size > _INLINE_TOTAL:
                table.upload()
            if table.epoch is None:
                inline += table.size
            elif table.epoch != base.head.epoch:
                raise StaleListError(f"{self._location}: a sweep may have removed {table.name}")
            listed[table.name] = table.listed()
        self._tables = tuple(listed[name] for name in names)

    def check(self) -> None:
        """Do nothing: the swap checks."""

    def swap(self) -> Listing:
        """Put the prepared list into the head; give the list that is in place."""
        base = self._base
        if base is None:
            raise ReftableError("a change is prepared before it is made")
        now = time.time()
        kept, expired = split_retired(base.head, now)
        after = {table.name for table in self._tables}
        retired = (
            Retired(table.name, int(now))
            for table in base.head.tables
            if table.name not in after and table.data is None
        )
        claims = (claim for claim in base.head.claims if {*claim.names} <= after)
        self.may_be_swapped = True
        try:
            listing = self._current.swap(
                base, tables=self._tables, retired=(*kept, *retired), claims=tuple(claims)
            )
        except ReftableError as error:
            self.may_be_swapped = isinstance(error, OutcomeUnknownError)
            raise
        self._expired.extend(one.name for one in expired)
        for table in self._new:
            table.done()
        self.release()
        return listing

    def sync(self) -> None:
        """Do nothing: what a store has acknowledged is durable."""

    def release(self) -> None:
        """Let the next thread change the list."""
        self._turn.leave(had_lock=True)


def split_retired(head: Head, now: float) -> tuple[tuple[Retired, ...], tuple[Retired, ...]]:
    """Part the retired tables: those that are kept for readers, and those whose time is over."""
    limit = now - head.grace
    kept = tuple(one for one in head.retired if one.since > limit)
    return kept, tuple(one for one in head.retired if one.since <= limit)


def check_claims(location: str, head: Head, names: Sequence[str]) -> None:
    """Look whether somebody merges one of the tables.

    Raises:
      ClaimedError: if so
    """
    now = time.time()
    for claim in head.claims:
        taken = [name for name in names if name in claim.names]
        if taken and claim.until > now:
            age = max(now - (claim.until - CLAIM_SECONDS), 0.0)
            error = LockError(f"{location}/{taken[0]}", age, 0.0, "a compaction has claimed it")
            raise ClaimedError(taken[0], error)
