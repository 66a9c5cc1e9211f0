"""A place of stacks in memory that behaves like a bucket: no locks, and answers that get lost.

A :class:`Place` is what several processes share; each of them has a :class:`MemoryStorage` on it.
The list is swapped by comparing a nonce. Small tables come into the place with the list that names
them, larger ones before it. :class:`Faults` makes swaps fail, or lose their answers, by chance:
what an unanswered swap wrote may be there, come later, or never. Deletions take their time, so that
a table that is deleted although it is needed goes missing sooner or later.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dulwich_reftable.engine.errors import (
    LockError,
    OutcomeUnknownError,
    RefsMovedError,
    StaleListError,
)
from dulwich_reftable.engine.stack.stale_files import TABLE_NAME, StaleFile
from dulwich_reftable.engine.stack.storage import ClaimedError, Listing, MissingTableError

INLINE = 512
"""Up to this size, a table comes into the place with the list that names it."""

_CLAIM_SECONDS = 60.0


@dataclass
class Faults:
    """What goes wrong with swaps, each with a probability.

    Attributes:
      random: decides
      stale: the list is found stale although nobody has written
      lost: the answer is lost, after the swap
      never: the answer is lost, and the swap does not happen
      later: the answer is lost, and the swap happens later, if the list is the same then
    """

    random: random.Random
    stale: float = 0.0
    lost: float = 0.0
    never: float = 0.0
    later: float = 0.0

    def next(self) -> str | None:
        """Choose what goes wrong now; None for nothing."""
        point = self.random.random()
        for kind in ("stale", "lost", "never", "later"):
            point -= getattr(self, kind)
            if point < 0:
                return kind
        return None


@dataclass(frozen=True)
class _Head:
    """One version of the list.

    Attributes:
      nonce: tells it from all others
      epoch: how many sweeps there have been
      names: the tables in it
    """

    nonce: str = field(default_factory=lambda: secrets.token_hex(8))
    epoch: int = 0
    names: tuple[str, ...] = ()


@dataclass
class _Token:
    head: _Head
    asked: float  # when the place was last asked whether it is current


@dataclass
class Place:
    """What all storages on it share.

    Attributes:
      faults: what goes wrong
      guard: makes each request one step
      head: the list
      tables: the bytes of tables, listed or not
      retired: tables that lists named once; readers of old lists may need them
      claims: until when tables are claimed (:func:`time.monotonic`)
      requests: how many there were
      delayed: what happens later
      before_swap, after_swap: are called then, outside of the guard
    """

    faults: Faults = field(default_factory=lambda: Faults(random.Random(0)))
    guard: threading.RLock = field(default_factory=threading.RLock)
    head: _Head = field(default_factory=_Head)
    tables: dict[str, bytes] = field(default_factory=dict)
    retired: set[str] = field(default_factory=set)
    claims: dict[str, float] = field(default_factory=dict)
    requests: int = 0
    delayed: list[Callable[[], object]] = field(default_factory=list)
    before_swap: Callable[[], object] = lambda: None
    after_swap: Callable[[], object] = lambda: None

    def request(self) -> None:
        """Count a request; some of what was delayed happens before it."""
        self.requests += 1
        if self.delayed and self.faults.random.random() < 0.5:
            self.delayed.pop(self.faults.random.randrange(len(self.delayed)))()

    def catch_up(self) -> None:
        """Let everything happen that was delayed."""
        with self.guard:
            while self.delayed:
                self.delayed.pop(0)()

    def delete(self, name: str) -> None:
        """Delete a table, some time."""
        self.delayed.append(lambda: self.tables.pop(name, None))


class MemoryStorage:
    """One process's view of a place.

    Args:
      place: shared with others
    """

    is_optimistic = True

    def __init__(self, place: Place, location: str = "memory://stack") -> None:
        self.place = place
        self.location = location
        self.turn = threading.Lock()  # of the process's threads
        self.pending: dict[str, _NewTable] = {}  # committed, and not listed

    # Reading

    def refresh(self, known: Listing | None, max_age: float = 0) -> Listing:
        place = self.place
        token = known.token if known is not None else None
        now = time.monotonic()
        if known is not None and isinstance(token, _Token) and now - token.asked < max_age:
            return known
        with place.guard:
            place.request()
            head = place.head
        if known is not None and isinstance(token, _Token) and token.head is head:
            token.asked = now
            return known
        return Listing(head.names, _Token(head, now))

    def salvaged_names(self) -> list[str]:
        return []

    def open_tables(self, listing: Listing | None, names: Sequence[str]) -> Iterator[bytes]:
        place = self.place
        for name in names:
            with place.guard:
                place.request()
                data = place.tables.get(name)
            if data is None:
                raise MissingTableError(None, "there is no such table", f"{self.location}/{name}")
            yield data

    # Writing

    def new_table(self, min_update_index: int, max_update_index: int) -> _NewTable:
        base = f"0x{min_update_index:012x}-0x{max_update_index:012x}"
        return _NewTable(self, f"{base}-{secrets.token_hex(4)}.ref")

    def begin(self, timeout: float | None, *, create: bool = False) -> _Change:
        if not self.turn.acquire(timeout=-1 if timeout is None else timeout):
            raise LockError(self.location, None, timeout or 0.0, "other threads are writing")
        return _Change(self)

    def claim(self, names: Sequence[str]) -> _Claim:
        place = self.place
        with place.guard:
            place.request()
            self.require_unclaimed(names)
            if not set(names) <= set(place.head.names):
                raise StaleListError(f"{self.location}: tables are not listed any more")
            place.claims.update(dict.fromkeys(names, time.monotonic() + _CLAIM_SECONDS))
        return _Claim(place, names)

    def require_unclaimed(self, names: Sequence[str]) -> None:
        for name in names:
            if self.place.claims.get(name, 0.0) > time.monotonic():
                error = LockError(self.location, None, 0.0, "somebody merges tables")
                raise ClaimedError(name, error)

    def retire(self, names: Iterable[str]) -> None:
        """Do nothing: the swap has noted them."""

    # Upkeep

    def stale_files(self, listed: Iterable[str]) -> list[StaleFile]:
        place = self.place
        with place.guard:
            place.request()
            stale = sorted(place.tables.keys() - set(listed) - place.retired)
        matches = filter(None, map(TABLE_NAME.fullmatch, stale))
        return [StaleFile(match[0], int(match[2], 16)) for match in matches]

    def sweep(self, listing: Listing, may_go: Callable[[StaleFile], bool]) -> list[str]:
        place = self.place
        found = self.stale_files(listing.names)
        with place.guard:
            place.request()
            head = place.head
            if head is not _head_of(listing):
                raise StaleListError(f"{self.location}: the list has changed")
            retired, place.retired = place.retired, set()
            place.head = _Head(epoch=head.epoch + 1, names=head.names)
        gone = [file.name for file in found if may_go(file)]
        with place.guard:
            for name in (*gone, *retired):
                place.delete(name)
        return gone


def _head_of(listing: Listing) -> _Head:
    if not isinstance(listing.token, _Token):
        raise RefsMovedError("memory", "the list is that of another storage")
    return listing.token.head


class _NewTable:
    def __init__(self, storage: MemoryStorage, name: str) -> None:
        self._storage = storage
        self.name = name
        self._chunks: list[bytes] = []
        self.epoch = storage.place.head.epoch
        self.data = b""

    def write(self, data: bytes, /) -> None:
        self._chunks.append(data)

    def seal(self) -> None:
        self.data = b"".join(self._chunks)
        if len(self.data) > INLINE:
            place = self._storage.place
            with place.guard:
                place.request()
                place.tables[self.name] = self.data

    def commit(self) -> str:
        self._storage.pending[self.name] = self
        return self.name

    def discard(self) -> None:
        self._storage.pending.pop(self.name, None)
        with self._storage.place.guard:
            self._storage.place.delete(self.name)


class _Claim:
    def __init__(self, place: Place, names: Sequence[str]) -> None:
        self._place = place
        self._names = names

    def release(self) -> None:
        names, self._names = self._names, ()
        with self._place.guard:
            for name in names:
                self._place.claims.pop(name, None)


class _Change:
    """A turn of the threads of one process; other processes are not kept out."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._new: list[_NewTable] = []
        self._prepared: tuple[tuple[str, ...], _Head] | None = None
        self._is_over = False
        self.may_be_swapped = False

    def claim(self, names: Sequence[str]) -> _Claim:
        with self._storage.place.guard:
            self._storage.require_unclaimed(names)
        return _Claim(self._storage.place, ())

    def prepare(self, names: Iterable[str], replaced: Listing) -> None:
        names, head = tuple(names), _head_of(replaced)
        pending = self._storage.pending
        self._new = [pending[name] for name in names if name in pending]
        if any(new.epoch != head.epoch for new in self._new):
            raise StaleListError(f"{self._storage.location}: a new table may be swept")
        self._prepared = names, head

    def check(self) -> None:
        """Leave it to the swap."""

    def swap(self) -> Listing:
        place = self._storage.place
        place.before_swap()
        assert self._prepared is not None
        names, replaced = self._prepared
        self.may_be_swapped = True
        with place.guard:
            place.request()
            fault = place.faults.next()
            if fault == "stale":
                place.head = _Head(epoch=place.head.epoch, names=place.head.names)
            if place.head is not replaced:
                self.may_be_swapped = False
                raise StaleListError(f"{self._storage.location}: others were faster")
            new = [(table.name, table.data) for table in self._new]
            for name, _ in new:
                self._storage.pending.pop(name, None)

            def put() -> None:
                if place.head is replaced:
                    place.tables.update(new)
                    place.retired |= set(replaced.names) - set(names)
                    place.head = _Head(epoch=replaced.epoch, names=names)

            if fault == "later":
                place.delayed.append(put)
            elif fault != "never":
                put()
            if fault is not None:
                raise OutcomeUnknownError(self._storage.location, "no answer")
        self.release()
        place.after_swap()
        with place.guard:
            head = place.head
        return Listing(head.names, _Token(head, time.monotonic()))

    def sync(self) -> None:
        """Do nothing: what is there is durable."""

    def release(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._storage.turn.release()
