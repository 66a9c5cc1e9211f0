"""A process is killed at each request of an update, a compaction or a sweep; the next goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore

from bucket.test_storage import add, name_of, numbers_in, open_stack, tables_of
from dulwich_reftable.bucket import Bucket, open_store
from dulwich_reftable.bucket.storage import BucketStorage
from dulwich_reftable.engine.stack.stack import Stack


class Killed(BaseException):
    """The process ends here."""


class Deadly:
    """The functions of obstore; one of the requests kills, and none is made after it.

    Args:
      at: which request
      applies: whether it is made
    """

    exceptions = obstore.exceptions

    def __init__(self, at: int, applies: bool) -> None:
        self.at = at
        self.applies = applies
        self.made = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(obstore, name)

        def request(*args: Any, **options: Any) -> Any:
            self.made += 1
            if self.made < self.at:
                return function(*args, **options)
            if self.made == self.at and self.applies:
                function(*args, **options)
            raise Killed

        return request


def small_update(stack: Stack) -> None:
    add(stack, [5000])


def large_update(stack: Stack) -> None:
    add(stack, range(5000, 6000))


def compaction(stack: Stack) -> None:
    stack.compact()


def sweep(stack: Stack) -> None:
    stack.clean()


CHANGES: dict[Callable[[Stack], None], list[int]] = {
    small_update: [5000],
    large_update: [*range(5000, 6000)],
}
BEFORE = [*range(1600), 4000, 4001]


def prepare(store: MemoryStore) -> None:
    """Make a stack that has tables of both kinds, retired tables, and an orphan."""
    bucket = open_store(store)
    BucketStorage.create(bucket, grace=0.0)
    stack = open_stack(bucket)
    add(stack, range(800))
    add(stack, range(800, 1600))
    stack.compact()
    stack.auto_compacts = False
    add(stack, [4000])
    add(stack, [4001])
    bucket.put(f"tables/0x{1:012x}-0x{1:012x}-00000000.ref", b"junk")


def kill(operation: Callable[[Stack], None], at: int, applies: bool) -> bool:
    """Kill a process at one of its requests, and look whether the next can go on.

    Returns: whether it was killed; else it made fewer requests
    """
    store = MemoryStore()
    prepare(store)
    bucket = open_store(store)
    bucket.client.keeps_conditions = True
    bucket.client.module = Deadly(at, applies)  # type: ignore[assignment]
    stack = open_stack(bucket)
    was_killed = False
    try:
        operation(stack)
    except Killed:
        was_killed = True

    after = open_store(store)
    found = numbers_in(open_stack(after))
    changed = BEFORE + CHANGES.get(operation, [])
    assert found in (BEFORE, changed)
    if not was_killed:
        assert found == changed
    check_what_is_left(after, found)
    return was_killed


def check_what_is_left(bucket: Bucket, numbers: list[int]) -> None:
    """Look whether the next process can write, and a sweep leaves what is listed."""
    stack = open_stack(bucket)
    add(stack, [9000])
    clock = time.time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: clock() + 1000)  # the claims of the dead lapse
        stack.compact()
        stack.clean()
        stack.clean()
    assert numbers_in(open_stack(bucket)) == [*numbers, 9000]
    assert tables_of(bucket) == {*stack.snapshot().listing.names}
    assert open_stack(bucket).snapshot().lookup_ref(name_of(9000)) is not None


@pytest.mark.parametrize("applies", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("operation", [small_update, large_update, compaction, sweep])
def test_the_next_process_goes_on(operation: Callable[[Stack], None], applies: bool) -> None:
    at = 1
    while kill(operation, at, applies):
        at += 1
        assert at < 30
    assert at > 3
