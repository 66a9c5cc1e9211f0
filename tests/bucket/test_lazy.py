"""Large tables of a bucket, of which only what is looked at is fetched: how often, and how much."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import obstore
import pytest

from bucket.test_storage import add, name_of, open_stack
from dulwich_reftable.bucket import Bucket, lazy, open_store
from dulwich_reftable.bucket.storage import BucketStorage
from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, RefRecord
from dulwich_reftable.engine.stack.addition import Addition
from dulwich_reftable.engine.stack.stack import Stack

COUNT = 30_000
LOGS = 4_000
PATIENCE = 20.0


class Watched:
    """obstore, whose requests for ranges are noted; each may have to wait for others."""

    exceptions = obstore.exceptions

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.meets: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(obstore, name)

    def get_range(self, store: Any, path: str, *, start: int, end: int) -> Any:
        self.ranges.append((start, end))
        self.meets()
        return obstore.get_range(store, path, start=start, end=end)


@pytest.fixture(scope="module")
def filled() -> Bucket:
    """Give a bucket with two large tables; the newer one replaces every other ref."""
    bucket = open_store("memory://lazy-tables/x")
    BucketStorage.create(bucket)
    stack = open_stack(bucket)
    stack.auto_compacts = False
    noise = random.Random(1)

    def update() -> LogUpdate:
        message = noise.randbytes(30).hex().encode()
        return LogUpdate(b"0" * 20, b"1" * 20, b"A", b"a@example.com", 1, 0, message)

    def work(addition: Addition) -> None:
        index = addition.next_update_index
        refs = (RefRecord(name_of(number), index, b"1" * 20) for number in range(COUNT))
        logs = (LogRecord(name_of(number), index, update()) for number in range(LOGS))
        addition.write(refs, logs)

    stack.update(work)
    add(stack, range(0, COUNT, 2), value=2)
    return bucket


@pytest.fixture
def watched(filled: Bucket) -> Iterator[Watched]:
    watched = filled.client.module = Watched()  # type: ignore[assignment]
    yield watched
    filled.client.module = obstore


@pytest.fixture
def stack(filled: Bucket, watched: Watched) -> Stack:
    """Give the stack, opened by a new process."""
    stack = open_stack(filled)
    assert all(table.remote is not None for table in stack.snapshot().tables)
    watched.ranges.clear()
    return stack


def scan(stack: Stack) -> None:
    refs, _ = stack.snapshot(PATIENCE).ref_dict(lambda names: False)
    assert len(refs) == COUNT
    assert refs[name_of(2)] != refs[name_of(1)] == refs[name_of(3)]


def test_a_scan_fetches_all_refs_of_a_table_at_once(stack: Stack, watched: Watched) -> None:
    scan(stack)
    assert [start for start, _ in watched.ranges] == [0, 0]
    scan(stack)
    assert len(watched.ranges) == 2
    logs = stack.snapshot(PATIENCE).tables[0].size - LOGS * 60
    assert max(end for _, end in watched.ranges) < logs + lazy._PAGE  # which are left out


def test_a_scan_goes_on_with_large_parts_and_keeps_few(
    stack: Stack, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy, "_MOST", 3 * lazy._PAGE)
    monkeypatch.setattr(lazy, "_KEPT", 4 * lazy._PAGE)
    tables = stack.snapshot(PATIENCE).tables
    for _ in range(2):  # what was let go of is fetched again
        watched.ranges.clear()
        scan(stack)
        assert 2 < len(watched.ranges) <= 2 + sum(table.size // lazy._MOST for table in tables)
        assert all(end - start <= lazy._MOST for start, end in watched.ranges)
        for table in tables:
            assert isinstance(table.remote, lazy.LazyTable)
            assert len(table.remote._pages) <= 4


@pytest.mark.parametrize("way", ["scan", "lookup", "lookups"])
def test_tables_are_fetched_side_by_side(stack: Stack, watched: Watched, way: str) -> None:
    both = threading.Barrier(2)
    watched.meets = lambda: both.wait(PATIENCE)
    snapshot = stack.snapshot(PATIENCE)
    if way == "scan":
        scan(stack)
    elif way == "lookup":
        assert snapshot.lookup_ref(name_of(3)) is not None
    else:
        names = [name_of(number) for number in (1, 2, 3, 4, COUNT)]
        values = snapshot.values_of(names)
        assert [*sorted(values)] == names[:4]
        assert values[names[1]] == values[names[3]] != values[names[0]] == values[names[2]]
    assert len(watched.ranges) == 2
