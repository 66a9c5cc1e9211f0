"""Threads on one container, containers beside each other in one process, and forked children."""

from __future__ import annotations

import gc
import os
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import soak.threads
from soak import workload
from support.forking import exit_code_of, needs_fork
from support.pool import ObjectPool
from support.waiting import GUARD, wait_for

import dulwich_reftable as dr
from dulwich_reftable.engine.errors import LockError, StaleListError
from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.engine.stack.directory import DirectoryStorage
from dulwich_reftable.engine.stack.locks import LockFile
from dulwich_reftable.engine.stack.stack import Stack

from . import scenes
from .scenes import ABOUT, MAIN, refs_at, stacks_at

COUNTERS = [b"refs/heads/c%d" % number for number in range(3)]


def value(number: int) -> bytes:
    return b"%040x" % (number + 1)


def run_threads(*bodies: Callable[[], None]) -> None:
    """Run functions at the same time; an error of one of them is an error."""
    errors: list[str] = []
    start = threading.Barrier(len(bodies))

    def guarded(body: Callable[[], None]) -> None:
        try:
            start.wait(GUARD)
            body()
        except BaseException:
            errors.append(traceback.format_exc())

    threads = [threading.Thread(target=guarded, args=(body,), daemon=True) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GUARD)
        assert not thread.is_alive(), "it hangs"
    assert not errors, errors[0]


@pytest.mark.parametrize("containers", [1, 3], ids=["one container", "three containers"])
def test_counting_together(path: Path, containers: int) -> None:
    """Compare-and-swap by eight threads, each of which sees the others' updates."""
    with (path / ".git" / "config").open("a") as file:
        file.write("[reftable]\n\tlockTimeout = 60000\n")
    shared = [refs_at(path) for _ in range(containers)]
    for name in COUNTERS:
        shared[0][name] = value(0)
    done: list[tuple[bytes, bytes]] = []
    stop = threading.Event()

    def count(refs: dr.ReftableRefsContainer, who: int) -> None:
        for number in range(15):
            name = COUNTERS[number % len(COUNTERS)]
            while True:
                old = refs[name]
                new = value(int(old, 16))
                message = b"%d-%d" % (who, number)
                if refs.set_if_equals(name, old, new, message=message, **ABOUT):
                    done.append((name, message))
                    break

    def watch(refs: dr.ReftableRefsContainer) -> None:
        last = dict.fromkeys(COUNTERS, 0)
        while not stop.wait(0.001):
            snapshot = refs.snapshot()
            now = {name: int(snapshot[name], 16) for name in COUNTERS}
            assert all(now[name] >= last[name] for name in COUNTERS)
            assert set(refs.as_dict()) == set(COUNTERS)
            last = now

    def counting() -> None:
        bodies = [
            (lambda refs=shared[who % containers], who=who: count(refs, who)) for who in range(8)
        ]
        try:
            run_threads(*bodies)
        finally:
            stop.set()

    run_threads(counting, lambda: watch(shared[0]), lambda: watch(shared[-1]))
    assert len(done) == 120
    for name in COUNTERS:
        messages = sorted(entry.message for entry in shared[0].read_reflog(name))
        assert messages == sorted(message for ref, message in done if ref == name)
        assert int(shared[0][name], 16) == 1 + len(messages)
    assert scenes.stray_files(path / ".git") == []


def test_readers_of_one_container(path: Path) -> None:
    """Tables, blocks and what is remembered of them serve several threads while others write."""
    refs = refs_at(path)
    with refs.transaction() as tx:
        for number in range(800):
            tx.create(b"refs/tags/t%04d" % number, value(number))
    stop = threading.Event()

    def write() -> None:
        other = refs_at(path)
        for number in range(15):
            other[b"refs/heads/n%d" % number] = value(number)
        other.compact()
        stop.set()

    def read(step: int) -> None:
        number = step
        while not stop.is_set():
            number = (number + step) % 800
            name = b"refs/tags/t%04d" % number
            assert refs[name] == value(number)
            assert name in refs.refs_for_object(value(number))
            assert [n for n, _ in refs.iter_refs(name)] == [name]

    run_threads(write, *[lambda step=step: read(step) for step in (7, 13, 101, 397)])


def test_everything_at_once(tmp_path: Path, pool: ObjectPool) -> None:
    """`tests.soak.threads` is the same for longer."""
    arena = workload.Arena.make(tmp_path / "repo", pool)
    soak.threads.prepare(arena)
    reports = soak.threads.work_together(arena, workload.Limit(rounds=10), 3, 2)
    assert workload.losses(arena, reports) == []
    assert any(report.done for report in reports)


# Forked children


@needs_fork
def test_container_in_a_child(path: Path) -> None:
    refs = refs_at(path)
    refs[MAIN] = value(0)

    def body() -> None:
        assert refs[MAIN] == value(0)
        assert refs.set_if_equals(MAIN, value(0), value(1))
        for number in range(10):
            refs[b"refs/heads/n%d" % number] = value(number)

    assert exit_code_of(body) == 0
    assert refs[MAIN] == value(1)
    assert refs.set_if_equals(MAIN, value(1), value(2))
    assert exit_code_of(lambda: check(refs[MAIN] == value(2))) == 0


def check(fact: bool) -> None:
    assert fact


@needs_fork
def test_fork_while_a_thread_has_the_lock(tmp_path: Path) -> None:
    """The child does not queue behind a thread that it does not have, but waits for the file."""
    target, forked, held = str(tmp_path / "x"), tmp_path / "forked", threading.Event()

    def hold() -> None:
        lock = LockFile(target, None)
        held.set()
        wait_for(forked.exists)
        lock.release()

    def body() -> None:
        forked.touch()
        LockFile(target, 10).release()

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    assert held.wait(GUARD)
    assert exit_code_of(body) == 0
    holder.join(GUARD)


@needs_fork
def test_fork_while_a_thread_writes(path: Path) -> None:
    """The child has the lock's object, but not the lock: it neither waits for ever nor frees it."""
    directory = path / ".git" / "reftable"
    stack, other = stacks_at(path)[0], stacks_at(path)[0]
    other.lock_timeout = 0.05
    forked, written = threading.Event(), threading.Event()

    def write() -> None:
        with stack.addition() as addition:

            def refs() -> list[RefRecord]:
                for number in range(3000):
                    if number == 2500:  # some blocks are written, some are not
                        written.set()
                        assert forked.wait(GUARD)
                    index = addition.next_update_index
                    yield RefRecord(b"refs/heads/n%04d" % number, index, b"x" * 20)

            addition.write(refs(), [])
            addition.commit()

    def body() -> None:
        with pytest.raises(LockError):
            other.addition()
        gc.collect()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    assert written.wait(GUARD)
    try:
        assert (directory / "tables.list.lock").exists()
        assert exit_code_of(body) == 0
        assert (directory / "tables.list.lock").exists()
    finally:
        forked.set()
        writer.join(GUARD)
    assert len(list(other.snapshot().ref_values())) > 0
    assert other.snapshot().lookup_ref(b"refs/heads/n2999") is not None
    assert exit_code_of(lambda: add(other, b"refs/heads/later")) == 0
    assert other.snapshot().lookup_ref(b"refs/heads/later") is not None


def add(stack: Stack, name: bytes) -> None:
    with stack.addition() as addition:
        addition.write([RefRecord(name, addition.next_update_index, b"x" * 20)], [])
        addition.commit()


@needs_fork
@pytest.mark.parametrize("does", ["abort", "commit", "nothing"])
def test_fork_in_an_addition(path: Path, does: str) -> None:
    """The addition is the parent's; what the child does with its copy of it makes no difference."""
    stack = stacks_at(path)[0]
    with stack.addition() as addition:
        addition.write([RefRecord(MAIN, addition.next_update_index, b"x" * 20)], [])
        before = sorted(os.listdir(path / ".git" / "reftable"))

        def body() -> None:
            nonlocal addition
            if does == "abort":
                addition.abort()
            elif does == "commit":
                with pytest.raises(StaleListError):
                    addition.commit()
            del addition

        assert exit_code_of(body) == 0
        assert sorted(os.listdir(path / ".git" / "reftable")) == before
        addition.commit()
    fresh = Stack(DirectoryStorage(str(path / ".git" / "reftable")))
    assert fresh.snapshot().lookup_ref(MAIN) is not None
    add(stack, b"refs/heads/later")
