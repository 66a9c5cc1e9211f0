"""Group commit: threads that wait to write to one bucket write one table together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.memory_refs import refs_on
from support.memory_storage import MemoryStorage, Place

import dulwich_reftable as dr
from dulwich_reftable.engine.stack.commit_queue import CommitQueue

A, B, C, D = (digit * 40 for digit in (b"a", b"b", b"c", b"d"))
MAIN = b"refs/heads/main"
ABOUT: dict[str, Any] = {"committer": b"N <e>", "timestamp": 1_600_000_000, "timezone": 0}
PATIENCE = 20.0


class Crowd:
    """Threads of one process, which all wait while the first of them writes.

    Each call gets a container of its own, as in a server; they share the storage.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.storage = MemoryStorage(place)
        self.refs = refs_on(place, storage=self.storage)
        self.queue: CommitQueue[object] = CommitQueue.of(self.storage)
        self.swaps = 0
        self.outcomes: dict[int, object] = {}

    def run(self, *calls: Callable[[dr.ReftableRefsContainer], object]) -> list[object]:
        """Make calls that wait for each other, in this order; gives what they return or raise."""
        go_on = threading.Event()

        def before_swap() -> None:
            self.swaps += 1
            if self.swaps == 1:
                assert go_on.wait(PATIENCE)

        def make(number: int, call: Callable[[dr.ReftableRefsContainer], object]) -> None:
            refs = refs_on(self.place, storage=self.storage)
            try:
                self.outcomes[number] = call(refs)
            except dr.ReftableError as error:
                self.outcomes[number] = error

        self.place.before_swap = before_swap
        first = threading.Thread(
            target=make, args=(-1, lambda refs: refs.set_if_equals(b"refs/heads/first", None, A))
        )
        threads = [first]
        first.start()
        self._until(lambda: self.swaps == 1)
        for number, call in enumerate(calls):
            threads.append(threading.Thread(target=make, args=(number, call)))
            threads[-1].start()
            self._until(lambda number=number: len(self.queue) == number + 1)
        go_on.set()
        for thread in threads:
            thread.join(PATIENCE)
        return [self.outcomes[number] for number in range(len(calls))]

    @staticmethod
    def _until(is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < end
            time.sleep(0.001)


@pytest.fixture
def crowd() -> Crowd:
    return Crowd(Place())


def setting(
    name: bytes, old: bytes | None, new: bytes
) -> Callable[[dr.ReftableRefsContainer], object]:
    return lambda refs: refs.set_if_equals(name, old, new, message=new[:1], **ABOUT)


def test_many_in_one_table(crowd: Crowd) -> None:
    names = [b"refs/heads/n%d" % number for number in range(8)]
    assert crowd.run(*[setting(name, None, B) for name in names]) == [True] * 8
    assert crowd.swaps == 2
    refs = refs_on(crowd.place)
    assert {name: refs[name] for name in names} == dict.fromkeys(names, B)
    stack = refs.store.shared.snapshot()
    logs = [next(iter(stack.logs_of(name))) for name in names]
    assert [log.update_index for log in logs] == list(range(2, 10)), "each has its own"
    assert refs.verify()[1:] == []


def test_each_fails_by_itself(crowd: Crowd) -> None:
    """Each sees what those before it leave; what is impossible keeps nobody from writing."""

    def conflicting(refs: dr.ReftableRefsContainer) -> object:
        return refs.set_if_equals(MAIN + b"/below", None, A)

    def deleting(refs: dr.ReftableRefsContainer) -> object:
        with refs.transaction() as tx:
            tx.delete(MAIN, C)
            tx.create(b"refs/heads/other", D)
        return True

    def half(refs: dr.ReftableRefsContainer) -> object:
        with refs.transaction() as tx:
            tx.create(b"refs/heads/half", A)
            tx.update(MAIN, A, D)
        return True

    outcomes = crowd.run(
        setting(MAIN, b"0" * 40, B),
        setting(MAIN, b"0" * 40, C),
        conflicting,
        half,
        setting(MAIN, B, C),
        setting(MAIN, B, D),
        deleting,
        conflicting,
    )
    assert outcomes[:2] == [True, False]
    assert isinstance(outcomes[2], dr.RefConflictError)
    assert isinstance(outcomes[3], dr.TransactionError)
    assert outcomes[4:] == [True, False, True, True]
    assert crowd.swaps == 2
    refs = refs_on(crowd.place)
    assert refs.allkeys() == {MAIN + b"/below", b"refs/heads/first", b"refs/heads/other"}
    assert list(refs.read_reflog(MAIN)) == []


def test_all_is_prepared_anew_on_what_others_wrote(crowd: Crowd) -> None:
    """A value that another process sets makes some fail that would have succeeded."""
    theirs = refs_on(crowd.place)

    def write(refs: dr.ReftableRefsContainer) -> object:
        before = crowd.place.before_swap

        def overtaken() -> None:
            crowd.place.before_swap = before
            before()
            theirs[MAIN] = D

        crowd.place.before_swap = overtaken
        return refs.set_if_equals(b"refs/heads/n", None, B)

    outcomes = crowd.run(write, setting(MAIN, b"0" * 40, B), setting(MAIN, D, C))
    assert outcomes == [True, False, True]
    assert refs_on(crowd.place)[MAIN] == C


@pytest.mark.parametrize("kind", ["lost", "never", "later"])
def test_unknown_outcome_of_a_group(crowd: Crowd, kind: str) -> None:
    """Who would have written knows nothing; who failed has failed on what is really there."""
    faults, place = crowd.place.faults, crowd.place
    attempts = 0

    def next_fault() -> str | None:
        nonlocal attempts
        attempts += 1
        return kind if attempts == 2 else None

    faults.next = next_fault  # type: ignore[method-assign]
    one, two, three = crowd.run(
        setting(MAIN, None, B), setting(MAIN, b"0" * 40, C), setting(b"refs/heads/n", None, B)
    )
    assert isinstance(one, dr.OutcomeUnknownError)
    assert isinstance(three, dr.OutcomeUnknownError)
    place.catch_up()
    refs = refs_on(place)
    if kind == "lost":
        assert two is False
        assert (refs[MAIN], refs[b"refs/heads/n"]) == (B, B)
    elif kind == "never":
        assert two is True
        assert refs.as_dict() == {MAIN: C, b"refs/heads/first": A}


def test_one_that_is_too_large(crowd: Crowd) -> None:
    """Only writing tells, so the others are written without it."""

    def large(refs: dr.ReftableRefsContainer) -> object:
        name = b"refs/heads/" + b"x" * 3000
        return refs.set_if_equals(name, None, B, message=b"m" * 2000, **ABOUT)

    outcomes = crowd.run(setting(MAIN, None, B), large, setting(b"refs/heads/n", None, C))
    assert outcomes[0] is outcomes[2] is True
    assert isinstance(outcomes[1], dr.RecordError)
    refs = refs_on(crowd.place)
    assert refs.as_dict() == {MAIN: B, b"refs/heads/n": C, b"refs/heads/first": A}


def test_nobody_leads_in_time(crowd: Crowd) -> None:
    caught: list[dr.LockError] = []

    def attempt() -> None:
        impatient = refs_on(crowd.place, storage=crowd.storage, lock_timeout=0)
        with pytest.raises(dr.LockError, match="other threads are writing") as error:
            impatient[MAIN] = B
        caught.append(error.value)

    def before_swap() -> None:
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join(PATIENCE)

    crowd.place.before_swap = before_swap
    crowd.refs[b"refs/heads/n"] = A
    assert len(caught) == 1
    assert MAIN not in crowd.refs
    assert len(crowd.queue) == 0


def test_an_interrupt_of_the_leader(crowd: Crowd) -> None:
    """The next one leads, and whoever waited for the first knows that nobody knows."""
    real = crowd.storage.begin

    def begin(timeout: float | None, *, create: bool = False) -> Any:
        change = real(timeout, create=create)
        if crowd.swaps == 1:
            crowd.swaps += 1
            change.release()
            raise KeyboardInterrupt
        return change

    crowd.storage.begin = begin  # type: ignore[method-assign]
    outcomes = crowd.run(*[interrupted(setting(MAIN, None, new)) for new in (A, B)])
    outcomes.remove("interrupted")  # either may have led
    assert isinstance(outcomes[0], dr.OutcomeUnknownError)
    crowd.refs[MAIN] = C
    assert refs_on(crowd.place)[MAIN] == C


def interrupted(
    call: Callable[[dr.ReftableRefsContainer], object],
) -> Callable[[dr.ReftableRefsContainer], object]:
    """Make a call that is interrupted."""

    def act(refs: dr.ReftableRefsContainer) -> object:
        try:
            return call(refs)
        except KeyboardInterrupt:
            return "interrupted"

    return act
