"""Readers beside compactors, compactors beside writers, and pushers that are killed."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest
from obstore.store import MemoryStore

from bucket.test_kills import Deadly, Killed
from bucket.test_repo import add_commit
from bucket.test_storage import add, name_of, numbers_in, open_stack
from dulwich_reftable.bucket import Bucket, BucketRepo, open_store
from dulwich_reftable.bucket.storage import BucketStorage
from dulwich_reftable.engine.errors import LockError
from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.engine.stack.addition import Addition
from dulwich_reftable.engine.stack.storage import MissingTableError

MAIN = b"refs/heads/main"
COMPACTIONS = 100
WRITERS, COMPACTORS, UPDATES = 8, 2, 8


def test_a_snapshot_is_held_over_many_compactions(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads right until the grace period ends, and then says so."""
    clock, ahead = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: clock() + ahead)
    BucketStorage.create(bucket, grace=1000.0)
    writer = open_stack(bucket)
    add(writer, range(50_000))  # large, so that it is read as far as it is looked at
    held = open_stack(bucket).snapshot()
    assert held.lookup_ref(name_of(0)) is not None
    writer.compact()
    add(writer, range(0, 50_000, 1000), value=2)
    writer.compact()  # nobody but the snapshot needs the first table now
    for number in range(COMPACTIONS):
        ahead += 999.0 / COMPACTIONS
        add(writer, [60_000 + number], value=3)
        add(writer, range(60_000, 60_000 + number), value=4)  # which merges the newest tables
        found = held.lookup_ref(name_of(200 * number))
        assert found is not None
        assert found.value == (1).to_bytes(20, "big")
        assert held.lookup_ref(name_of(60_000 + number)) is None
    ahead += 2000
    writer.clean()
    with pytest.raises(MissingTableError, match="older than the grace period"):
        held.lookup_ref(name_of(30_000))
    assert len(numbers_in(open_stack(bucket))) == 50_000 + COMPACTIONS


def test_compactors_beside_writers(bucket: Bucket) -> None:
    """Nothing is lost, and the stack stays as short as a geometric sequence is."""
    BucketStorage.create(bucket)
    store = bucket.client.store
    failures: list[BaseException] = []

    def run(work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    def write(writer: int) -> None:
        stack = open_stack(open_store(store, "prefix"), lock_timeout=60.0)
        for number in range(UPDATES):
            at = writer * UPDATES + number
            stack.update(partial(_write, number=at))

    def compact(_: int) -> None:
        stack = open_stack(open_store(store, "prefix"))
        for _ in range(UPDATES):
            try:
                stack.compact()
            except LockError:
                continue  # others were faster, or are at it

    jobs = [*[(write, number) for number in range(WRITERS)], *[(compact, 0)] * COMPACTORS]
    threads = [threading.Thread(target=run, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    after = open_stack(open_store(store, "prefix"))
    assert numbers_in(after) == [*range(WRITERS * UPDATES)]
    add(after, [10_000])
    after.auto_compact()
    assert len(after.snapshot().tables) <= 2 + math.log2(WRITERS * UPDATES)


def _write(addition: Addition, number: int) -> None:
    record = RefRecord(name_of(number), addition.next_update_index, (1).to_bytes(20, "big"))
    addition.write([record], [])


@pytest.mark.parametrize("applies", [False, True], ids=["before", "after"])
def test_killed_at_each_request_of_a_push(applies: bool) -> None:
    """A ref never names what is not there, and the next push goes on."""
    for at in itertools.count(1):
        assert at < 60
        store = MemoryStore()
        with BucketRepo.init(open_store(store), default_branch=b"main") as repo:
            old = add_commit(repo)
            repo.refs[MAIN] = old
        bucket = open_store(store)
        bucket.client.keeps_conditions = True
        bucket.client.module = Deadly(at, applies=applies)  # type: ignore[assignment]
        was_killed = False
        new = b""
        try:
            with BucketRepo(bucket) as repo:
                new = add_commit(repo, b"new", (old,))
                repo.refs.set_if_equals(MAIN, old, new, message=b"push")
        except Killed:
            was_killed = True
        with BucketRepo(open_store(store)) as repo:
            found = repo.refs[MAIN]
            assert found == (old if was_killed and not applies else new) or (was_killed and applies)
            assert found in (old, new)
            assert found in repo.object_store
            again = add_commit(repo, b"new", (old,))
            assert repo.refs.set_if_equals(MAIN, found, again, message=b"push")
        with BucketRepo(open_store(store)) as repo:
            assert repo.object_store[repo.refs[MAIN]].as_raw_string().endswith(b"\n\nnew")
            assert list(repo.refs.verify()) == []
        if not was_killed:
            break
    assert at > 4
