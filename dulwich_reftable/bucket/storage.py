# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A stack in a bucket: the list is the head object, and larger tables are objects of their own.

Nobody locks anything. A change is a turn among the threads of this process, and a swap that finds
another head than the one it is to replace is stale (:mod:`.commit`). A claim is a line in the head
that asks others to leave tables alone, and lapses by itself.

Tables that a swap replaces are *retired*: they stay for a grace period, for those who read older
heads. A sweep removes what no head names. It lists the objects, then swaps in a head of a new
epoch, and then deletes. A writer whose table was uploaded before that, and is not listed, is stale
by then, and finds by the epoch that the table may be gone.

An update walks so: it is planned on the head that is known, its table goes into the new head (one
above 16 KiB is uploaded before), and one conditional put swaps the heads. A lost put reads the head
once, and the update is planned anew on that. If the plan fails, or has nothing to write, the head
is asked for once, so that nobody is refused because of what an old head says. Small tables are
merged as part of an update; a larger compaction takes a claim, an upload and a swap.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import suppress

from ..engine.errors import CorruptTableError, ReftableError, StaleListError
from ..engine.format.layout import HASH_SIZES, Buffer
from ..engine.format.records import RefRecord
from ..engine.stack.stale_files import TABLE_NAME, StaleFile
from ..engine.stack.storage import Change, Claim, Listing, MissingTableError, NewTable
from ..engine.table.writer import TableWriter, WriteOptions
from .change import CLAIM_SECONDS, BucketChange, check_claims, split_retired
from .client import Bucket
from .current import CurrentHead, head_of, installed
from .errors import MissingObjectError
from .head import GRACE, Claimed, Commit, Head, ListedTable, new_nonce, table_digest
from .lazy import LazyTable
from .new_table import TABLES, BucketTable, table_key
from .ranges import Range
from .requests import is_ending

__all__ = ["BucketStorage"]

_CLAIM_TRIES = 3
"""Maximum puts to write or withdraw a claim: every one may cost somebody else an update."""


class BucketStorage:
    """The place of one stack; see :class:`~..engine.stack.storage.Storage`.

    Args:
      bucket: where it is

    Attributes:
      current: the head that is known
    """

    is_optimistic = True

    def __init__(self, bucket: Bucket) -> None:
        self.location = bucket.location
        self.bucket = bucket
        self.current = CurrentHead(bucket)
        self._new_tables: dict[str, BucketTable] = {}
        self._expired: deque[str] = deque()

    @classmethod
    def create(
        cls,
        bucket: Bucket,
        hash_id: str = "sha1",
        grace: float = GRACE,
        head: bytes | None = None,
    ) -> BucketStorage:
        """Make a new stack.

        Args:
          bucket: where it is to be
          hash_id: ``"sha1"`` or ``"s256"``
          grace: seconds for which replaced tables are kept for readers
          head: the branch that HEAD leads to; None for an empty stack
        Raises:
          StorageError: one of :mod:`.errors`; ``EEXIST`` if there is a stack
          UnfitStoreError: if the store ignores conditions
        """
        storage = cls(bucket)
        tables = () if head is None else (storage._first_table(head, hash_id),)
        first = Head(hash_id, (Commit(new_nonce(), int(time.time())),), tables=tables, grace=grace)
        storage.current.create(first)
        return storage

    def _first_table(self, head: bytes, hash_id: str) -> ListedTable:
        """Make the table that has HEAD."""
        table = BucketTable(self.current, self._new_tables, 1, 1)
        options = WriteOptions(hash_size=HASH_SIZES[hash_id.encode()])
        writer = TableWriter(table.write, 1, 1, options)
        writer.add_refs([RefRecord(b"HEAD", 1, target=head)])
        writer.finish()
        return table.listed()

    # Reading

    def refresh(self, known: Listing | None, max_age: float = 0) -> Listing:
        """Give the list as it is, by one conditional request at most."""
        return self.current.refresh(known, max_age)

    def salvaged_names(self) -> list[str]:
        """Give nothing: what a damaged head says cannot be told."""
        return []

    def open_tables(self, listing: Listing | None, names: Sequence[str]) -> Iterator[Buffer]:
        """Give the bytes of tables; those of large ones when they are looked at."""
        listed = {} if listing is None else {one.name: one for one in head_of(listing).tables}

        def opening(name: str) -> Callable[[], Buffer]:
            return lambda: self._open(name, listed.get(name), is_alone=len(names) < 2)

        return iter(self.bucket.client.side_by_side([opening(name) for name in names]))

    def _open(self, name: str, table: ListedTable | None, *, is_alone: bool) -> Buffer:
        if table is not None and table.data is not None:
            return table.data
        key = table_key(name)
        if table is not None and table.ends is not None:
            lazy = LazyTable(
                table.size,
                table.ends,
                lambda ranges: self._ranges(key, ranges),
                self.bucket.client.side_by_side,
            )
            if not is_alone:
                lazy.fetch_ref_index()  # while the other tables come
            return lazy
        try:
            found = self.bucket.get(key)
        except MissingObjectError as error:
            raise MissingTableError(error.errno, "there is no such table", error.filename) from None
        data = found.data if found is not None else b""
        if table is not None and table_digest([data]) != table.digest:
            raise CorruptTableError(
                self.bucket.locate(key), None, "these are not the bytes that were written"
            )
        return data

    def _ranges(self, key: str, ranges: Sequence[Range]) -> list[bytes]:
        try:
            return self.bucket.get_ranges(key, ranges)
        except MissingObjectError as error:
            reason = "the table is gone: this snapshot is older than the grace period"
            raise MissingTableError(error.errno, reason, error.filename) from None

    # Writing

    def new_table(self, min_update_index: int, max_update_index: int) -> NewTable:
        """Begin a table."""
        return BucketTable(self.current, self._new_tables, min_update_index, max_update_index)

    def begin(self, timeout: float | None, *, create: bool = False) -> Change:
        """Wait for this thread's turn; a stack is made by :meth:`create` only."""
        return BucketChange(self.current, self._new_tables, self._expired, timeout)

    def claim(self, names: Sequence[str]) -> Claim:
        """Ask others to leave tables alone, by a line in the head."""
        failure = StaleListError(f"{self.location}: the head changes all the time")
        base = self.current.latest()
        for _ in range(_CLAIM_TRIES):
            check_claims(self.location, base.head, names)
            if not {*names} <= {*base.head.names}:
                raise StaleListError(f"{self.location}: the tables are not listed any more")
            claim = Claimed(new_nonce(), int(time.time()) + CLAIM_SECONDS, tuple(names))
            try:
                self.current.swap(base, claims=(*base.head.claims, claim))
            except StaleListError as error:
                failure = error
                base = installed(self.refresh(None))
            else:
                return _BucketClaim(self, claim)
        raise failure

    def release_claim(self, claim: Claimed) -> None:
        """Withdraw a claim, if the head still has it; if that fails, it lapses."""
        base = self.current.latest()
        with suppress(ReftableError):
            for _ in range(_CLAIM_TRIES):
                if claim not in base.head.claims:
                    return
                try:
                    self.current.swap(
                        base, claims=tuple(one for one in base.head.claims if one != claim)
                    )
                except StaleListError:
                    base = installed(self.refresh(None))

    def retire(self, names: Iterable[str]) -> None:
        """Remove what was retired long ago; the head knows of ``names`` already."""
        keys = []
        with suppress(IndexError):
            while True:
                keys.append(table_key(self._expired.popleft()))
        with suppress(ReftableError):  # the next sweep finds them
            self.bucket.delete(keys)

    # Upkeep

    def stale_files(self, listed: Iterable[str]) -> list[StaleFile]:
        """Find tables that are neither in the list nor kept for readers."""
        head = head_of(self.refresh(None))
        return self._unnamed({*listed, *head.names, *(one.name for one in head.retired)})

    def _unnamed(self, named: Container[str]) -> list[StaleFile]:
        found = []
        for info in self.bucket.list(TABLES):
            name = info.key.removeprefix(f"{TABLES}/")
            match = TABLE_NAME.fullmatch(name)
            if match is not None and name not in named:
                found.append(StaleFile(name, int(match[2], 16)))
        return found

    def sweep(self, listing: Listing, may_go: Callable[[StaleFile], bool]) -> list[str]:
        """Remove tables that are neither listed nor kept for readers any more."""
        base = installed(listing)
        kept, expired = split_retired(base.head, time.time())
        named = {*base.head.names, *(one.name for one in kept)}
        gone = {one.name for one in expired}
        doomed = [
            stale.name for stale in self._unnamed(named) if stale.name in gone or may_go(stale)
        ]
        if not doomed and not expired:
            return []
        self.current.swap(base, retired=kept, epoch=base.head.epoch + 1)
        self.bucket.delete([table_key(name) for name in doomed])
        return doomed


class _BucketClaim:
    def __init__(self, storage: BucketStorage, claim: Claimed) -> None:
        self._storage = storage
        self._claim: Claimed | None = claim

    def release(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None and not is_ending():  # else it lapses
            self._storage.release_claim(claim)
