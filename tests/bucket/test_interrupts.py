"""Ctrl-C while the store does not answer: it ends the wait at once, and nothing is lost.

The signal comes at each request of an operation in turn. From then on the store answers nothing, so
that cleaning up must not wait for it either. What it was asked last happens later, or never.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore
from support.waiting import GUARD

from bucket.test_kills import (
    BEFORE,
    CHANGES,
    check_what_is_left,
    compaction,
    large_update,
    prepare,
    small_update,
    sweep,
)
from bucket.test_repo import add_commit
from bucket.test_storage import numbers_in, open_stack
from dulwich_reftable.bucket import Bucket, BucketRepo, open_store
from dulwich_reftable.bucket.gc import collect_garbage
from dulwich_reftable.engine.stack.stack import Stack

MAIN = b"refs/heads/main"
ROUND = random.randrange(2)  # of two runs, one applies a request late that the other never does


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Hanging:
    """The functions of obstore; from one of the requests on, none is answered.

    As those of obstore, they do not let the thread that calls them see a signal.

    Args:
      at: which request is the first one without an answer; the signal comes with it
      applies: whether it is applied when the test is over
    """

    exceptions = obstore.exceptions

    def __init__(self, at: int, applies: bool) -> None:
        self.made = 0
        self.was_given_up = False  # somebody has waited for an answer to the end
        self._at = at
        self._applies = applies
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(obstore, name)

        def request(*args: Any, **options: Any) -> Any:
            self.made += 1
            number = self.made
            if number < self._at:
                return function(*args, **options)
            self._threads.append(threading.current_thread())
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            if number == self._at:
                os.kill(os.getpid(), signal.SIGINT)
            try:
                self._over.wait(GUARD / 10)
            finally:
                self.was_given_up |= not self._over.is_set()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            if number == self._at and self._applies:
                function(*args, **options)
            raise obstore.exceptions.GenericError("status code: 400 ")  # is not repeated

        return request

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(GUARD)


def interrupt(store: MemoryStore, at: int, work: Callable[[Bucket], None]) -> bool:
    """Interrupt an operation at one of its requests; tell whether it came so far."""
    bucket = open_store(store)
    bucket.client.kind = "s3"
    bucket.client.keeps_conditions = True
    hanging = Hanging(at, applies=(at + ROUND) % 2 == 0)
    bucket.client.module = hanging  # type: ignore[assignment]
    try:
        work(bucket)
    except KeyboardInterrupt:
        return True
    else:
        return False
    finally:
        hanging.end()
        assert not hanging.was_given_up


def copy_of(store: MemoryStore) -> MemoryStore:
    copy = MemoryStore()
    for info in itertools.chain.from_iterable(obstore.list(store)):
        obstore.put(copy, info["path"], obstore.get(store, info["path"]).bytes())
    return copy


def scan(stack: Stack) -> None:
    assert numbers_in(stack) == BEFORE


@pytest.mark.parametrize("operation", [small_update, large_update, compaction, sweep, scan])
def test_of_a_stack(operation: Callable[[Stack], None]) -> None:
    prepared = MemoryStore()
    prepare(prepared)
    at, was_interrupted = 0, True
    while was_interrupted:
        at += 1
        assert at < 30
        store = copy_of(prepared)
        was_interrupted = interrupt(store, at, lambda one: operation(open_stack(one)))
        found = numbers_in(open_stack(open_store(store)))
        changed = BEFORE + CHANGES.get(operation, [])
        assert found in ([BEFORE, changed] if was_interrupted else [changed])
        check_what_is_left(open_store(store), found)
    assert at > 2


def push(repo: BucketRepo) -> None:
    [old] = repo.refs.as_dict(b"refs/heads").values()
    new = add_commit(repo, b"new", (old,))
    assert repo.refs.set_if_equals(MAIN, old, new, message=b"push")


def gc(repo: BucketRepo) -> None:
    collect_garbage(repo.object_store, repo.refs, grace=0.0, full=True)


@pytest.mark.parametrize("operation", [push, gc])
def test_of_a_repository(operation: Callable[[BucketRepo], None]) -> None:
    def work(bucket: Bucket) -> None:
        with BucketRepo(bucket) as repo:
            operation(repo)

    prepared = MemoryStore()
    with BucketRepo.init(open_store(prepared), default_branch=b"main") as repo:
        old = add_commit(repo)
        repo.refs[MAIN] = last = add_commit(repo, b"last", (old,))
    at, was_interrupted = 0, True
    while was_interrupted:
        at += 1
        assert at < 60
        store = copy_of(prepared)
        was_interrupted = interrupt(store, at, work)
        with BucketRepo(open_store(store)) as repo:
            found = repo.refs[MAIN]
            if operation is push and not was_interrupted:
                assert found != last
            push(repo)
        with BucketRepo(open_store(store)) as repo:
            gc(repo)
            walked = [entry.commit.id for entry in repo.get_walker([repo.refs[MAIN]])]
            assert {old, last, found} <= {*walked}
            assert list(repo.refs.verify()) == []
    assert at > 4


def test_of_a_real_request() -> None:
    """obstore waits for a server that accepts a connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        bucket = open_store(
            "s3://somewhere",
            endpoint=f"http://127.0.0.1:{port}",
            access_key_id="key",
            secret_access_key="secret",
            region="us-east-1",
            timeout=GUARD,
        )
        connections = []

        def accept() -> None:
            connections.append(listener.accept()[0])
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=accept)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            bucket.get("head")
        thread.join()
        for connection in connections:  # the request is still under way
            connection.settimeout(GUARD)
            assert connection.recv(4) == b"GET "
            connection.close()
