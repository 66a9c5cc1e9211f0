"""A stack in a bucket: requests, where tables are, readers of old heads, sweeps, claims."""

from __future__ import annotations

import errno
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from dulwich_reftable.bucket import Bucket, MissingBucketError, open_store
from dulwich_reftable.bucket import change as change_module
from dulwich_reftable.bucket.storage import BucketStorage
from dulwich_reftable.bucket.turns import Expected, Turns
from dulwich_reftable.engine.errors import (
    CorruptTableError,
    LockError,
    RefsMovedError,
    StaleListError,
    StorageError,
)
from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, RefRecord
from dulwich_reftable.engine.stack.addition import Addition
from dulwich_reftable.engine.stack.stack import Stack
from dulwich_reftable.engine.stack.storage import ClaimedError, MissingTableError
from dulwich_reftable.engine.table.writer import WriteOptions


@pytest.fixture
def stack(bucket: Bucket) -> Stack:
    BucketStorage.create(bucket)
    return open_stack(bucket)


def open_stack(bucket: Bucket, **options: object) -> Stack:
    """Open it as another process would, as far as the stack goes."""
    return Stack(BucketStorage(bucket), **options)  # type: ignore[arg-type]


def name_of(number: int) -> bytes:
    return b"refs/heads/%06d" % number


def add(stack: Stack, numbers: Iterable[int], value: int = 1) -> None:
    def work(addition: Addition) -> None:
        index = addition.next_update_index
        oid = value.to_bytes(20, "big")
        addition.write([RefRecord(name_of(number), index, oid) for number in numbers], [])

    stack.update(work)


def numbers_in(stack: Stack) -> list[int]:
    names = [ref.name for _, refs in stack.snapshot().ref_records() for ref in refs]
    return [int(name.rpartition(b"/")[2]) for name in names]


def spent(bucket: Bucket, before: Counter[str]) -> dict[str, int]:
    return dict(bucket.requests - before)


def tables_of(bucket: Bucket) -> set[str]:
    return {info.key.removeprefix("tables/") for info in bucket.list("tables")}


# Requests


def test_an_update_is_one_put(bucket: Bucket, stack: Stack) -> None:
    add(stack, [1])
    before = bucket.requests.copy()
    add(stack, [2])
    assert spent(bucket, before) == {"put": 1}
    assert tables_of(bucket) == set()


def test_an_update_that_loses_reads_the_head_once(bucket: Bucket, stack: Stack) -> None:
    add(stack, [1])
    other = open_stack(bucket)
    add(other, [2])
    before = bucket.requests.copy()
    add(stack, [3])
    assert spent(bucket, before) == {"put": 2, "get": 1}
    assert numbers_in(open_stack(bucket)) == [1, 2, 3]


def test_compactions_cost_little(bucket: Bucket, stack: Stack) -> None:
    """Those of small tables are part of an update; others take a claim, an upload and a swap."""
    add(stack, range(1000, 1300))
    before = bucket.requests.copy()
    for number in range(300):
        add(stack, [number])
        assert len(stack.snapshot(60).tables) < 8
    assert spent(bucket, before).keys() <= {"put", "get"}
    assert bucket.requests["put"] - before["put"] < 300 + 15
    assert bucket.requests["get"] - before["get"] < 10


def test_who_wins_gives_way_to_others(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the one that knows the new head would win all the time."""
    BucketStorage.create(bucket)
    stack, other = open_stack(bucket), open_stack(bucket)
    waited_for: list[int] = []

    def pause(turns: Turns, before: Sequence[Expected]) -> float:
        waited_for.append(len(before))
        if len(waited_for) == 1:
            add(other, [20])
        return 0.0

    monkeypatch.setattr(Turns, "pause", pause)
    for number in range(5):
        add(stack, [number])
    add(other, [10])
    assert waited_for == []  # nobody writes at the same time
    add(stack, [11])  # loses once
    add(stack, [12])  # its second one
    assert waited_for == []
    before = bucket.requests.copy()
    add(stack, [13])
    assert waited_for[:1] == [1]
    assert spent(bucket, before)["put"] == 3  # the other loses once, we do not
    assert numbers_in(open_stack(bucket)) == [*range(5), 10, 11, 12, 13, 20]


def test_who_is_silent_when_it_is_its_turn_is_waited_for_once(bucket: Bucket) -> None:
    BucketStorage.create(bucket)
    stack, other = open_stack(bucket), open_stack(bucket)
    add(stack, [1])
    add(other, [2])
    for number in (3, 4):  # loses once, and has two swaps then
        add(stack, [number])
    before = bucket.requests.copy()
    add(stack, [5])
    assert spent(bucket, before)["get"] > 0
    before = bucket.requests.copy()
    for number in (6, 7, 8):
        add(stack, [number])
    assert spent(bucket, before) == {"put": 3}


def test_what_fails_or_writes_nothing_asks_once(bucket: Bucket, stack: Stack) -> None:
    def fail(addition: Addition) -> None:
        raise ValueError("no")

    add(stack, [1])
    before = bucket.requests.copy()
    with pytest.raises(ValueError, match="no"):
        stack.update(fail)
    assert spent(bucket, before) == {"get": 1}
    stack.update(lambda addition: None)
    assert spent(bucket, before) == {"get": 2}


def test_a_stack_that_has_vanished(bucket: Bucket, stack: Stack) -> None:
    add(stack, [1])
    bucket.delete(["head"])
    with pytest.raises(RefsMovedError):
        add(stack, [2])
    with pytest.raises(RefsMovedError):
        stack.snapshot()


def test_a_read_is_one_conditional_request(bucket: Bucket, stack: Stack) -> None:
    add(stack, [1])
    reader = open_stack(bucket)
    before = bucket.requests.copy()
    snapshot = reader.snapshot()
    assert snapshot.lookup_ref(name_of(1)) is not None
    assert reader.snapshot() is snapshot
    assert spent(bucket, before) == {"get": 2}
    storage, listing = reader.storage, snapshot.listing
    assert storage.refresh(listing, max_age=60) is listing
    assert spent(bucket, before) == {"get": 2}
    add(stack, [2])
    assert storage.refresh(listing, max_age=60) is listing
    assert storage.refresh(listing).names != listing.names


def test_a_larger_table_is_an_object_of_its_own(bucket: Bucket, stack: Stack) -> None:
    before = bucket.requests.copy()
    add(stack, range(2000))
    assert spent(bucket, before)["put"] == 2
    (name,) = stack.snapshot().listing.names
    assert tables_of(bucket) == {name}
    before = bucket.requests.copy()
    assert numbers_in(open_stack(bucket)) == [*range(2000)]
    assert spent(bucket, before) == {"get": 2}


def test_tables_for_which_the_head_has_no_room_are_uploaded(bucket: Bucket, stack: Stack) -> None:
    stack.auto_compacts = False
    for start in range(0, 4000, 400):
        add(stack, range(start, start + 400))
    names = stack.snapshot().listing.names
    assert len(names) == 10
    assert 0 < len(tables_of(bucket)) < 10
    assert numbers_in(open_stack(bucket)) == [*range(4000)]


def test_a_large_table_is_read_as_far_as_it_is_looked_at(bucket: Bucket) -> None:
    BucketStorage.create(bucket)
    add(open_stack(bucket), range(100_000))
    (info,) = bucket.list("tables")
    assert info.size > 1 << 20
    stack = open_stack(bucket)
    before = bucket.requests.copy()
    snapshot = stack.snapshot()
    assert snapshot.lookup_ref(name_of(77_777)) is not None
    assert spent(bucket, before) == {"get": 3}  # the head, the index, a page
    assert snapshot.lookup_ref(name_of(77_778)) is not None
    assert spent(bucket, before) == {"get": 3}
    assert snapshot.lookup_ref(name_of(7)) is not None
    assert spent(bucket, before) == {"get": 4}
    assert snapshot.lookup_ref(b"refs/heads/none") is None
    assert spent(bucket, before)["get"] <= 6
    before = bucket.requests.copy()
    assert numbers_in(open_stack(bucket)) == [*range(100_000)]
    assert spent(bucket, before)["get"] <= 10


def test_many_small_tables_are_opened_at_once(bucket: Bucket, stack: Stack) -> None:
    stack.auto_compacts = False
    for start in range(0, 20_000, 2000):
        add(stack, range(start, start + 2000))
    before = bucket.requests.copy()
    assert numbers_in(open_stack(bucket)) == [*range(20_000)]
    assert spent(bucket, before) == {"get": 11}


def test_large_tables_are_looked_into_side_by_side(
    bucket: Bucket, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as a lookup has to wait for bytes; after that, one after the other."""
    stack.auto_compacts = False
    for start in range(0, 40_000, 10_000):
        add(stack, range(start, start + 10_000))
    sizes = [info.size for info in bucket.list("tables")]
    assert len(sizes) == 4
    assert min(sizes) > 256 << 10
    before = bucket.requests.copy()
    snapshot = open_stack(bucket).snapshot()
    assert spent(bucket, before) == {"get": 5}  # the head, and side by side each index of refs
    all_at_it = threading.Barrier(4)
    seen: set[int] = set()
    get_ranges = Bucket.get_ranges

    def wait_for_the_others(*args: Any) -> list[bytes]:
        if threading.get_ident() not in seen:
            seen.add(threading.get_ident())
            all_at_it.wait(20)
        return get_ranges(*args)

    monkeypatch.setattr(Bucket, "get_ranges", wait_for_the_others)
    assert snapshot.lookup_ref(name_of(5)) is not None
    assert len(seen) == 4
    before = bucket.requests.copy()
    assert snapshot.lookup_ref(name_of(5)) is not None
    for table in snapshot.tables:
        monkeypatch.setattr(table.remote, "side_by_side", None)
    assert snapshot.lookup_ref(name_of(6)) is not None
    assert spent(bucket, before) == {}


# Places


def test_a_stack_that_is_not_there(bucket: Bucket) -> None:
    """A wrong prefix is no empty repository."""
    with pytest.raises(RefsMovedError, match="no refs are kept here"):
        open_stack(bucket).snapshot()
    with pytest.raises(RefsMovedError):
        add(open_stack(bucket), [1])
    assert list(bucket.list()) == []


def test_a_bucket_that_is_not_there(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MissingBucketError(bucket.location)

    monkeypatch.setattr(bucket, "get", fail)
    with pytest.raises(MissingBucketError):
        open_stack(bucket).snapshot()


def test_a_stack_is_made_once(bucket: Bucket, stack: Stack) -> None:
    add(stack, [1])
    with pytest.raises(StorageError) as caught:
        BucketStorage.create(bucket)
    assert caught.value.errno == errno.EEXIST
    assert numbers_in(open_stack(bucket)) == [1]


def test_hashes_of_32_bytes(bucket: Bucket) -> None:
    BucketStorage.create(bucket, "s256")
    stack = open_stack(bucket, options=WriteOptions(hash_size=32))
    with stack.addition() as addition:
        addition.write([RefRecord(b"refs/heads/x", addition.next_update_index, b"x" * 32)], [])
        addition.commit()
    assert BucketStorage(bucket).current.latest().head.hash_id == "s256"


def test_stacks_below_different_prefixes(bucket: Bucket, stack: Stack) -> None:
    other = bucket.within("other")
    BucketStorage.create(other)
    add(open_stack(other), [2])
    add(stack, range(2000))
    assert numbers_in(open_stack(other)) == [2]
    stack.clean()
    assert numbers_in(open_stack(other)) == [2]


# Damage


@pytest.mark.parametrize("damage", ["cut", "changed", "exchanged", "gone"])
def test_a_damaged_table_is_told(bucket: Bucket, stack: Stack, damage: str) -> None:
    stack.auto_compacts = False
    add(stack, range(2000))
    add(stack, range(2000), value=2)
    keys = [f"tables/{name}" for name in stack.snapshot().listing.names]
    data = [bucket.get_range(key, 0, bucket.head(key).size) for key in keys]
    kind: type[Exception] = CorruptTableError
    if damage == "cut":
        bucket.put(keys[0], data[0][:-1])
    elif damage == "changed":
        bucket.put(keys[0], data[0][:5000] + b"\xff" + data[0][5001:])
    elif damage == "exchanged":
        bucket.put(keys[0], data[1])
    else:
        bucket.delete([keys[0]])
        kind = MissingTableError
    with pytest.raises(kind, match=r"\.ref"):
        numbers_in(open_stack(bucket))
    assert numbers_in(stack) == [*range(2000)]  # it has read the tables before


def test_a_damaged_head_is_told(bucket: Bucket, stack: Stack) -> None:
    bucket.put("head", b"")
    with pytest.raises(CorruptTableError):
        open_stack(bucket).snapshot()
    with pytest.raises(CorruptTableError):
        add(stack, [1])


# Readers of old heads


def test_a_snapshot_is_read_until_the_grace_period_ends(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    BucketStorage.create(bucket, grace=100.0)
    stack = open_stack(bucket)
    add(stack, range(60_000))  # so large that it is read bit by bit
    held = open_stack(bucket).snapshot()
    add(stack, [70_000])
    stack.compact()
    stack.clean()
    assert held.lookup_ref(name_of(30_000)) is not None
    clock = change_module.time.time
    monkeypatch.setattr(change_module.time, "time", lambda: clock() + 200)
    assert stack.clean() != []
    assert tables_of(bucket) == {*stack.snapshot().listing.names}
    with pytest.raises(StorageError, match="older than the grace period"):
        held.lookup_ref(name_of(50_000))
    assert numbers_in(open_stack(bucket)) == [*range(60_000), 70_000]


def test_what_was_retired_long_ago_goes_with_a_later_compaction(bucket: Bucket) -> None:
    BucketStorage.create(bucket, grace=0.0)
    stack = open_stack(bucket)
    for value in range(4):
        add(stack, range(2000), value=value)
        stack.compact()
    head = BucketStorage(bucket).current.latest().head
    assert len(head.retired) <= 2
    assert len(tables_of(bucket)) <= 3


# Sweeps


def test_a_sweep_leaves_what_is_listed(bucket: Bucket, stack: Stack) -> None:
    add(stack, range(2000))
    add(stack, [5000])
    orphan = f"0x{1:012x}-0x{1:012x}-00000000.ref"
    bucket.put(f"tables/{orphan}", b"junk")
    bucket.put("tables/note.txt", b"somebody's")
    storage = stack.storage
    assert [file.name for file in storage.stale_files(stack.snapshot().listing.names)] == [orphan]
    assert stack.clean() == [orphan]
    assert stack.clean() == []
    assert tables_of(bucket) == {"note.txt", stack.snapshot().listing.names[0]}
    assert numbers_in(open_stack(bucket)) == [*range(2000), 5000]


def test_a_table_that_is_newer_than_the_stack_is_kept(bucket: Bucket, stack: Stack) -> None:
    orphan = f"0x{9:012x}-0x{9:012x}-00000000.ref"
    bucket.put(f"tables/{orphan}", b"junk")
    assert stack.clean() == []
    assert tables_of(bucket) == {orphan}


def test_a_writer_in_flight_is_stale_after_a_sweep(bucket: Bucket, stack: Stack) -> None:
    """However long it was stopped between the upload and the swap."""
    add(stack, [1])
    writer = open_stack(bucket)
    with writer.addition() as addition:
        index = addition.next_update_index
        addition.write([RefRecord(name_of(n), index, b"v" * 20) for n in range(2000)], [])
        (uploaded,) = tables_of(bucket)
        add(stack, [3])
        assert stack.clean() == [uploaded]
        with pytest.raises(StaleListError):
            addition.commit()
    assert numbers_in(open_stack(bucket)) == [1, 3]
    add(writer, range(2000))
    assert {*numbers_in(open_stack(bucket))} == {*range(2000)}


def test_a_table_that_was_uploaded_before_a_sweep_is_not_listed_after_it(
    bucket: Bucket, stack: Stack
) -> None:
    add(stack, [1])
    storage = BucketStorage(bucket)
    storage.refresh(None)
    table = storage.new_table(1, 1)
    table.write(bytes(20_000))
    table.seal()
    add(stack, [2])
    assert len(stack.clean()) == 1
    with_it = (*storage.refresh(None).names, table.commit())
    change = storage.begin(0)
    with pytest.raises(StaleListError, match="sweep"):
        change.prepare(with_it, storage.refresh(None))
    change.release()


# Claims


def test_a_claim_keeps_other_compactors_away(bucket: Bucket, stack: Stack) -> None:
    stack.auto_compacts = False
    for number in range(3):
        add(stack, [number])
    names = stack.snapshot().listing.names
    claim = stack.storage.claim(names[:2])
    other = open_stack(bucket, lock_timeout=0.0)
    with pytest.raises(LockError, match="compaction has claimed"):
        other.compact()
    with pytest.raises(ClaimedError) as caught:
        other.storage.claim(names[1:])
    assert caught.value.table == names[1]
    other.storage.claim(names[2:]).release()
    claim.release()
    claim.release()
    assert BucketStorage(bucket).current.latest().head.claims == ()
    other.compact()
    assert numbers_in(stack) == [0, 1, 2]
    assert len(stack.snapshot().listing.names) == 1
    assert BucketStorage(bucket).current.latest().head.claims == ()


def test_a_claim_lapses(bucket: Bucket, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.auto_compacts = False
    for number in range(2):
        add(stack, [number])
    stack.storage.claim(stack.snapshot().listing.names)
    clock = change_module.time.time
    monkeypatch.setattr(change_module.time, "time", lambda: clock() + 1000)
    open_stack(bucket).compact()
    assert len(stack.snapshot().listing.names) == 1


def test_a_table_that_is_gone_cannot_be_claimed(bucket: Bucket, stack: Stack) -> None:
    add(stack, [1])
    with pytest.raises(StaleListError):
        stack.storage.claim([f"0x{9:012x}-0x{9:012x}-00000000.ref"])


# Threads


def test_threads_take_turns(bucket: Bucket, stack: Stack) -> None:
    threads = [threading.Thread(target=add, args=(stack, [number])) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers_in(open_stack(bucket)) == [*range(8)]
    assert bucket.requests["put"] < 20


def test_a_turn_that_does_not_come(stack: Stack) -> None:
    change = stack.storage.begin(0)
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            stack.storage.begin(0.01)
        except LockError as error:
            failures.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert "other threads" in str(failures[0])
    change.release()


def test_reflogs(bucket: Bucket, stack: Stack) -> None:
    update = LogUpdate(bytes(20), b"v" * 20, b"N", b"e", 1, 0, b"message\n")
    with stack.addition() as addition:
        index = addition.next_update_index
        addition.write([], [LogRecord(b"refs/heads/x", index, update)])
        addition.commit()
    (log,) = open_stack(bucket).snapshot().logs_of(b"refs/heads/x")
    assert log.update == update


def test_tables_larger_than_memory_takes_pass_through_a_file(
    bucket: Bucket, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dulwich_reftable.bucket.new_table._IN_MEMORY", 10_000)
    add(stack, range(3000))
    assert numbers_in(open_stack(bucket)) == [*range(3000)]


def test_open_store_gives_separate_clients() -> None:
    BucketStorage.create(open_store("memory://separate-clients"))
    assert open_store("memory://separate-clients").requests == {}
