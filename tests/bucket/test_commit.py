"""What is told of a swap, whatever the store answers."""

from __future__ import annotations

import errno
import time

import pytest
from obstore.store import MemoryStore

from bucket.faults import LateWrites, ScriptedStore
from dulwich_reftable.bucket import AccessError, Bucket, UnavailableError, open_store
from dulwich_reftable.bucket import commit as commit_module
from dulwich_reftable.bucket.commit import HEAD, HeadObject, Installed
from dulwich_reftable.bucket.head import Commit, Head, new_nonce
from dulwich_reftable.engine.errors import (
    CorruptTableError,
    OutcomeUnknownError,
    RefsMovedError,
    StaleListError,
    StorageError,
)


class World:
    """One store, with a head, one writer who meets faults, and others who do not."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.late = LateWrites()
        self.other = HeadObject(open_store(self.store))
        self.base = self.other.create(first_head())

    def writer(self, *faults: str, patience: float = 0.05) -> HeadObject:
        self.bucket = open_store(self.store, deadline=0.05)
        self.bucket.client.keeps_conditions = True
        self.script = ScriptedStore(faults, self.late)
        self.script.into(self.bucket)
        return HeadObject(self.bucket, patience=patience)

    @property
    def now(self) -> Head:
        return self.other.read().head


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(commit_module, "_FENCE_SECONDS", 0.05)
    return World()


def first_head() -> Head:
    return Head("sha1", (Commit(new_nonce(), int(time.time())),))


def after(base: Installed) -> Head:
    return base.head.successor(new_nonce(), time.time())


def test_an_undisturbed_swap_is_one_request(world: World) -> None:
    writer = world.writer("")
    head = after(world.base)
    assert writer.swap(world.base, head).head == head
    assert world.bucket.requests == {"put": 1}
    assert world.now == head


def test_a_lost_race(world: World) -> None:
    theirs = world.other.swap(world.base, after(world.base))
    with pytest.raises(StaleListError):
        world.writer("").swap(world.base, after(world.base))
    assert world.now == theirs.head


@pytest.mark.parametrize("fault", ["after", "412 after", "no etag"])
def test_a_swap_that_was_applied_and_answered_with_a_fault(world: World, fault: str) -> None:
    head = after(world.base)
    assert world.writer(fault).swap(world.base, head).head == head
    assert world.bucket.requests == {"put": 1, "get": 1}


@pytest.mark.parametrize("fault", ["before", "409", "429", "412", "unsent"])
def test_a_swap_that_was_not_applied_is_tried_again(world: World, fault: str) -> None:
    head = after(world.base)
    assert world.writer(fault, fault, "", patience=5.0).swap(world.base, head).head == head
    assert world.now == head


def test_what_others_built_on_ours_is_adopted(world: World) -> None:
    head = after(world.base)
    writer = world.writer("after")
    read = world.bucket.get

    def get(*args: object, **options: object) -> object:
        ours = world.other.read()
        if ours.head == head:
            world.other.swap(ours, after(ours))
        return read(*args, **options)  # type: ignore[arg-type]

    world.bucket.get = get  # type: ignore[assignment, method-assign]
    found = writer.swap(world.base, head)
    assert found.head.serial == 2
    assert found.head == world.now
    assert found.head.nonce_of(1) == head.nonce


def test_a_put_that_arrives_twice_is_applied_once(world: World) -> None:
    head = after(world.base)
    assert world.writer("late", "", patience=5.0).swap(world.base, head).head == head
    theirs = world.other.swap(world.other.read(), after(world.other.read()))
    world.late.apply()
    assert world.now == theirs.head


def test_a_failure_is_fenced_before_it_is_told(world: World) -> None:
    head = after(world.base)
    writer = world.writer("late", patience=0.0)
    world.script.faults = ["late", ""]
    with pytest.raises(UnavailableError):
        writer.swap(world.base, head)
    world.late.apply()  # too late: the fence stands
    assert world.now.serial == 1
    assert world.now.nonce != head.nonce
    assert world.now.tables == world.base.head.tables


def test_a_put_that_arrives_during_the_fence_has_happened(world: World) -> None:
    head = after(world.base)
    writer = world.writer("late", patience=0.0)
    world.script.faults = ["late", "412"]
    read = world.bucket.get
    reads: list[object] = []

    def get(*args: object, **options: object) -> object:
        if reads:
            world.late.apply()
        reads.append(args)
        return read(*args, **options)  # type: ignore[arg-type]

    world.bucket.get = get  # type: ignore[assignment, method-assign]
    assert writer.swap(world.base, head).head == head


@pytest.mark.parametrize("is_applied", [False, True])
def test_what_cannot_be_fenced_is_unknown(world: World, is_applied: bool) -> None:
    head = after(world.base)
    writer = world.writer("late", "before")
    world.script.reads_fail = True
    with pytest.raises(OutcomeUnknownError):
        writer.swap(world.base, head)
    if is_applied:
        world.late.apply()
    assert (world.now == head) == is_applied


def test_a_store_that_cannot_be_reached_leaves_no_doubt(world: World) -> None:
    with pytest.raises(UnavailableError) as caught:
        world.writer("unsent").swap(world.base, after(world.base))
    assert not caught.value.was_sent
    assert world.now == world.base.head  # no fence, either


def test_busy_answers_leave_no_doubt(world: World) -> None:
    with pytest.raises(StorageError) as caught:
        world.writer("409").swap(world.base, after(world.base))
    assert caught.value.errno == errno.EAGAIN
    assert world.now == world.base.head


def test_refused_credentials_are_told_as_such(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = world.writer("")
    failure = AccessError(writer.location, "status 403")

    def refuse(*_: object) -> None:
        raise failure

    monkeypatch.setattr(world.bucket, "replace", refuse)
    with pytest.raises(AccessError):
        writer.swap(world.base, after(world.base))


def test_a_wrong_entity_tag_is_found_out(world: World) -> None:
    writer = world.writer("wrong etag", "", patience=5.0)
    first = writer.swap(world.base, after(world.base))
    second = after(first)
    assert writer.swap(first, second).head == second


def test_a_head_that_is_gone_or_damaged(world: World) -> None:
    bucket = open_store(world.store)
    found = bucket.get(HEAD)
    assert found is not None
    bucket.put(HEAD, found.data[:-1])
    with pytest.raises(CorruptTableError):
        world.other.read()
    bucket.delete([HEAD])
    with pytest.raises(RefsMovedError):
        world.other.read()


# The first head


def new_writer(*faults: str) -> tuple[Bucket, HeadObject]:
    bucket = open_store(MemoryStore(), deadline=0.2)
    bucket.client.keeps_conditions = True
    return ScriptedStore(faults).into(bucket), HeadObject(bucket)


@pytest.mark.parametrize("fault", ["after", "412 after", "no etag", "409", "before", "unsent"])
def test_the_first_head_is_made_in_spite_of_faults(fault: str) -> None:
    _, writer = new_writer(fault, "")
    head = first_head()
    assert writer.create(head).head == head


def test_a_first_head_is_made_once() -> None:
    bucket, writer = new_writer("")
    first = writer.create(first_head())
    with pytest.raises(StorageError) as caught:
        writer.create(first_head())
    assert caught.value.errno == errno.EEXIST
    HeadObject(bucket).swap(first, after(first))
    with pytest.raises(StorageError):
        writer.create(first_head())


def test_a_first_head_that_may_come_later_is_unknown() -> None:
    _, writer = new_writer("late")
    with pytest.raises(OutcomeUnknownError):
        writer.create(first_head())


def test_writes_keep_the_pace_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    clock = [100.0]

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock[0] += seconds

    writer = HeadObject(open_store(MemoryStore(), pace=1.0))
    found = writer.create(first_head())
    monkeypatch.setattr(commit_module.time, "sleep", sleep)
    monkeypatch.setattr(commit_module.time, "monotonic", lambda: clock[0])
    for _ in range(3):
        found = writer.swap(found, after(found))
    assert sum(pauses) == pytest.approx(2.0)
