"""A stack in a storage without locks: others may be faster, and answers may get lost."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest
from support.memory_storage import INLINE, Faults, MemoryStorage, Place

from dulwich_reftable.engine.errors import LockError, OutcomeUnknownError, StaleListError
from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, RefRecord
from dulwich_reftable.engine.stack.addition import Addition
from dulwich_reftable.engine.stack.stack import Stack

from .scenes import state_of


@pytest.fixture
def place() -> Place:
    return Place()


def process(place: Place, timeout: float | None = 10.0) -> Stack:
    """A stack as a process of its own has it."""
    return Stack(MemoryStorage(place), lock_timeout=timeout)


def noise(size: int) -> bytes:
    """A log message that compresses to so many bytes."""
    return random.Random(size).randbytes(size).hex().encode() + b"\n"


def put(name: bytes, value: int, padding: int = 0) -> Callable[[Addition], None]:
    """The work of setting a ref, with a reflog entry."""

    def work(addition: Addition) -> None:
        index, new_id = addition.next_update_index, value.to_bytes(20, "big")
        update = LogUpdate(bytes(20), new_id, b"N", b"e", 0, 0, noise(padding))
        addition.write([RefRecord(name, index, new_id)], [LogRecord(name, index, update)])

    return work


def value_of(stack: Stack, name: bytes) -> int:
    record = stack.snapshot().lookup_ref(name)
    return 0 if record is None or record.value is None else int.from_bytes(record.value, "big")


def once(call: Callable[[], object]) -> Callable[[], None]:
    """Call a function the first time only."""
    calls = [call]

    def act() -> None:
        if calls:
            calls.pop()()

    return act


def all_there(place: Place) -> None:
    """Check that every listed table is there once all deletions are through."""
    place.catch_up()
    assert set(place.head.names) <= place.tables.keys()


def test_work_is_done_anew_on_what_others_wrote(place: Place) -> None:
    ours, theirs = process(place), process(place)
    seen: list[int] = []

    def add_one(addition: Addition) -> int:
        record = addition.snapshot.lookup_ref(b"refs/n")
        value = 0 if record is None or record.value is None else int.from_bytes(record.value, "big")
        seen.append(value)
        put(b"refs/n", value + 1)(addition)
        return value

    place.before_swap = once(lambda: theirs.update(put(b"refs/n", 10)))
    assert ours.update(add_one) == 10
    assert seen == [0, 10]
    assert value_of(process(place), b"refs/n") == 11
    assert len(state_of(ours)[1][b"refs/n"]) == 2
    all_there(place)


def test_others_are_faster_all_the_time(place: Place) -> None:
    ours, theirs = process(place, 0.05), process(place)
    theirs.auto_compacts = False
    depth = 0

    def write() -> None:
        nonlocal depth
        if not depth:
            depth = 1
            theirs.update(put(b"refs/theirs", 1))
            depth = 0

    place.before_swap = write
    with pytest.raises(LockError, match=r"memory://stack.*faster all the time") as caught:
        ours.update(put(b"refs/ours", 1))
    assert "by hand" not in str(caught.value)
    assert value_of(process(place), b"refs/ours") == 0
    assert ours.update(lambda addition: 5) == 5, "what writes nothing cannot be stale"


def test_one_attempt_without_patience(place: Place) -> None:
    ours, theirs = process(place, 0), process(place)

    def be_faster_twice() -> None:
        theirs.update(put(b"refs/n", 10))
        place.before_swap = once(lambda: theirs.update(put(b"refs/n", 11)))

    place.before_swap = once(be_faster_twice)
    with pytest.raises(LockError):
        ours.update(put(b"refs/n", 1))
    ours.update(put(b"refs/n", 1))
    assert value_of(theirs, b"refs/n") == 1


def test_a_list_that_was_old_is_no_attempt(place: Place) -> None:
    ours, theirs = process(place, 0), process(place)
    ours.update(put(b"refs/n", 1))
    theirs.update(put(b"refs/n", 2))
    ours.update(put(b"refs/m", 3))
    assert [value_of(theirs, name) for name in (b"refs/n", b"refs/m")] == [2, 3]


def test_what_fails_on_an_old_list_is_tried_on_the_latest(place: Place) -> None:
    ours, theirs = process(place, 0), process(place)
    ours.update(put(b"refs/n", 1))
    theirs.update(put(b"refs/n", 2))
    seen: list[int] = []

    def expect(value: int) -> Callable[[Addition], None]:
        def work(addition: Addition) -> None:
            record = addition.snapshot.lookup_ref(b"refs/n")
            seen.append(int.from_bytes((record and record.value) or b"", "big"))
            if seen[-1] != value:
                raise ValueError(seen[-1])
            put(b"refs/n", 7)(addition)

        return work

    ours.update(expect(2))
    assert seen == [1, 2]
    theirs.update(put(b"refs/n", 8))
    with pytest.raises(ValueError, match="8"):
        ours.update(expect(6))
    assert seen == [1, 2, 7, 8]
    assert value_of(theirs, b"refs/n") == 8


def test_what_writes_nothing_has_seen_the_latest_list(place: Place) -> None:
    ours, theirs = process(place, 0), process(place)
    ours.update(put(b"refs/n", 1))
    theirs.update(put(b"refs/n", 2))
    seen: list[bytes | None] = []

    def look(addition: Addition) -> None:
        record = addition.snapshot.lookup_ref(b"refs/n")
        seen.append(record and record.value)

    ours.update(look)
    assert seen == [(1).to_bytes(20, "big"), (2).to_bytes(20, "big")]


@pytest.mark.parametrize("padding", [0, INLINE])
@pytest.mark.parametrize(("kind", "stands"), [("lost", True), ("never", False), ("later", True)])
def test_unknown_outcome_removes_nothing(
    place: Place, kind: str, stands: bool, padding: int
) -> None:
    stack = process(place)
    for number in range(3):
        stack.update(put(b"refs/n", number, padding))
    setattr(place.faults, kind, 1.0)
    with pytest.raises(OutcomeUnknownError, match="nobody can tell"):
        stack.update(put(b"refs/n", 7, padding))
    setattr(place.faults, kind, 0.0)
    all_there(place)
    assert (value_of(process(place), b"refs/n") == 7) is stands
    assert value_of(stack, b"refs/n") == value_of(process(place), b"refs/n")


def test_unknown_outcome_of_a_compaction(place: Place) -> None:
    stack = process(place)
    stack.auto_compacts = False
    for number in range(5):
        stack.update(put(b"refs/n%d" % number, number, INLINE))
    before = state_of(stack)
    for kind in ("lost", "later", "never"):
        setattr(place.faults, kind, 1.0)
        with pytest.raises(OutcomeUnknownError):
            stack.compact()
        setattr(place.faults, kind, 0.0)
        all_there(place)
        assert state_of(process(place)) == before
        stack.update(put(b"refs/n%s" % kind.encode(), 1, INLINE))
        before = state_of(stack)


def test_a_swap_that_others_have_built_on(place: Place) -> None:
    """The list that is in place names their tables, too."""
    ours, theirs = process(place), process(place)
    ours.auto_compacts = theirs.auto_compacts = False
    place.after_swap = once(lambda: theirs.update(put(b"refs/theirs", 2)))
    ours.update(put(b"refs/ours", 1))
    requests = place.requests
    assert (value_of(ours, b"refs/ours"), value_of(ours, b"refs/theirs")) == (1, 2)
    assert place.requests == requests + 2, "the list is known"


def test_others_write_while_tables_are_merged(place: Place) -> None:
    """The tables are merged once, and the swap is tried again."""
    ours, theirs = process(place), process(place)
    theirs.auto_compacts = ours.auto_compacts = False
    for number in range(6):
        ours.update(put(b"refs/n%d" % number, number, INLINE))
    written: list[str] = []
    real = ours.storage.new_table
    ours.storage.new_table = lambda low, high: written.append("") or real(low, high)  # type: ignore
    place.before_swap = once(lambda: theirs.update(put(b"refs/theirs", 9, INLINE)))
    ours.compact()
    assert len(place.head.names) == 2
    assert len(written) == 1
    assert value_of(process(place), b"refs/theirs") == 9
    assert len(state_of(ours)[0]) == 7
    all_there(place)


def test_claimed_tables_are_left_alone(place: Place) -> None:
    ours, theirs = process(place, 0), process(place)
    theirs.auto_compacts = False
    for number in range(4):
        theirs.update(put(b"refs/n%d" % number, number))
    claim = theirs.storage.claim(place.head.names[:2])
    with pytest.raises(LockError, match="somebody merges tables"):
        ours.compact()
    ours.update(put(b"refs/n9", 9))
    assert place.head.names[:2] == tuple(place.claims)
    claim.release()
    ours.compact()
    assert len(place.head.names) == 1
    all_there(place)


def test_tables_replaced_in_spite_of_a_claim(place: Place) -> None:
    """A claim ends by itself; the swap that comes later is stale, and does no harm."""
    ours, theirs = process(place), process(place)
    theirs.auto_compacts = False
    for number in range(4):
        theirs.update(put(b"refs/n%d" % number, number, INLINE))
    before = state_of(theirs)

    def overtake() -> None:
        place.claims.clear()
        theirs.compact()

    place.before_swap = once(overtake)
    ours.compact()
    assert len(place.head.names) == 1
    assert state_of(ours) == before
    all_there(place)


def test_sweep_fences_writers_in_flight(place: Place) -> None:
    """A table that was sent before a sweep, and is not listed, goes; it is sent again."""
    ours, theirs = process(place), process(place)
    ours.update(put(b"refs/a", 1, INLINE))
    swept: list[str] = []
    theirs.newest_in = lambda stale_file: 0  # type: ignore[method-assign]
    place.before_swap = once(lambda: swept.extend(theirs.clean()))
    ours.update(put(b"refs/b", 2, INLINE))
    assert len(swept) == 1
    all_there(place)
    assert state_of(process(place)) == state_of(ours)
    assert value_of(ours, b"refs/b") == 2


def test_sweep_under_a_compaction(place: Place) -> None:
    """Its merged table is gone: it gives up, rather than list what is not there."""
    ours, theirs = process(place), process(place)
    ours.auto_compacts = False
    for number in range(4):
        ours.update(put(b"refs/n%d" % number, number, INLINE))
    before = state_of(ours)
    theirs.newest_in = lambda stale_file: 0  # type: ignore[method-assign]
    place.before_swap = once(theirs.clean)
    ours.compact()
    all_there(place)
    assert state_of(process(place)) == before
    assert len(place.head.names) == 1, "it began anew"


def test_clean_begins_anew_if_somebody_writes(place: Place) -> None:
    ours, theirs = process(place), process(place)
    ours.update(put(b"refs/a", 1))
    real = ours.storage.stale_files
    write = once(lambda: theirs.update(put(b"refs/b", 1)))
    ours.storage.stale_files = lambda listed: (real(listed), write())[0]  # type: ignore
    assert ours.clean() == []
    all_there(place)


def test_readers_may_be_content_with_an_older_list(place: Place) -> None:
    ours, theirs = process(place), process(place)
    ours.update(put(b"refs/n", 1))
    ours.max_age = 60.0
    assert value_of(ours, b"refs/n") == 1
    requests = place.requests
    theirs.update(put(b"refs/n", 2))
    counted = place.requests
    assert value_of(ours, b"refs/n") == 1
    assert place.requests == counted > requests
    seen = ours.update(lambda addition: addition.snapshot.max_update_index)
    assert seen == 2, "a writer always asks"
    assert value_of(ours, b"refs/n") == 2


def test_a_broken_lock_is_an_error_in_a_directory() -> None:
    """Only an optimistic storage has the work done anew."""
    storage = MemoryStorage(Place(Faults(random.Random(1), stale=1.0)))
    storage.is_optimistic = False
    with pytest.raises(StaleListError):
        Stack(storage, lock_timeout=10.0).update(put(b"refs/n", 1))


def test_threads_take_turns(place: Place) -> None:
    """The threads of one process do not make each other's lists stale."""
    stack = process(place)
    attempts = 0

    def work(addition: Addition) -> None:
        nonlocal attempts
        attempts += 1
        put(b"refs/n%d" % attempts, attempts)(addition)

    threads = [threading.Thread(target=lambda: stack.update(work)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert attempts == 8
    assert len(state_of(stack)[0]) == 8


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost_or_doubled(seed: int) -> None:
    """Counters that several processes increment: what was acknowledged is there, once.

    Each increment has a reflog entry of its own. What nobody knows is there once or not at all.
    """
    place = Place(Faults(random.Random(seed), stale=0.1, lost=0.04, never=0.04, later=0.04))
    done: list[bytes] = []
    doubtful: list[bytes] = []

    def run(number: int) -> None:
        stack = process(place, 30.0)
        chance = random.Random(seed * 100 + number)
        for turn in range(20):
            who = b"%d-%d" % (number, turn)
            name = b"refs/c%d" % chance.randrange(2)
            padding = noise(chance.choice((0, INLINE)))

            def work(
                addition: Addition, name: bytes = name, said: bytes = who + b" " + padding
            ) -> None:
                index = addition.next_update_index
                record = addition.snapshot.lookup_ref(name)
                old = bytes(20) if record is None else record.value or b""
                new = (int.from_bytes(old, "big") + 1).to_bytes(20, "big")
                log = LogRecord(name, index, LogUpdate(old, new, b"N", b"e", 0, 0, said))
                addition.write([RefRecord(name, index, new)], [log])

            try:
                stack.update(work)
                done.append(who)
            except OutcomeUnknownError:
                doubtful.append(who)
            if chance.random() < 0.1:
                with suppress(OutcomeUnknownError):
                    chance.choice((stack.compact, stack.clean))()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    place.faults = Faults(random.Random(seed))
    all_there(place)
    assert len(done) + len(doubtful) == 4 * 20
    assert doubtful
    stack = process(place)
    refs, logs = state_of(stack)
    found = Counter(update.message.split()[0] for updates in logs.values() for update in updates)
    assert set(done) <= found.keys() <= {*done, *doubtful}
    assert set(found.values()) == {1}
    for name, updates in logs.items():
        values = [int.from_bytes(update.new_id, "big") for update in updates]
        assert values == list(range(len(values), 0, -1))
        assert int(refs[name], 16) == len(values)
