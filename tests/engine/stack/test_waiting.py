"""Waiting for a lock: for how long, in which pauses, in whose turn; and what is said in the end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from weakref import WeakValueDictionary

import pytest
from dulwich.file import FileLocked
from support.filesystems import moves_open_files
from support.waiting import GUARD, wait_for

import dulwich_reftable as dr
from dulwich_reftable.engine.errors import LockError, StaleListError, StorageError
from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.engine.stack import files, lock_queue, locks
from dulwich_reftable.engine.stack.locks import LockFile, attempts
from dulwich_reftable.engine.stack.stack import Stack

from . import scenes
from .scenes import MAIN, refs_at, stacks_at


@pytest.fixture
def target(tmp_path: Path) -> str:
    return str(tmp_path / "tables.list")


class Clock:
    """Time that passes only in sleep, for locks and their queues."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None
        monkeypatch.setattr(locks, "time", self)
        monkeypatch.setattr(lock_queue, "time", self)

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1.7e9 + self.now

    def sleep(self, seconds: float) -> None:
        self.on_sleep()
        self.slept.append(seconds)
        self.now += max(seconds, 1e-9)  # the least would be lost in rounding, and time stand still


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    # Queues that are garbage, not yet collected, remember the time of the real clock.
    monkeypatch.setattr(lock_queue, "_queues", WeakValueDictionary())
    return Clock(monkeypatch)


def test_pauses_grow_and_differ(clock: Clock) -> None:
    tries = sum(1 for _ in attempts(5.0))
    assert tries == len(clock.slept) + 1
    assert sum(clock.slept) == pytest.approx(5.0)
    assert max(clock.slept[:5]) <= 0.002
    assert max(clock.slept) <= 0.15
    assert sum(clock.slept[-10:]) > 5 * sum(clock.slept[:10])
    assert len(set(clock.slept)) > len(clock.slept) / 2


def test_no_timeout_means_one_attempt(clock: Clock) -> None:
    assert sum(1 for _ in attempts(0)) == 1
    assert clock.slept == []


def test_for_ever(clock: Clock) -> None:
    for _ in attempts(None):
        if clock.now > 100_000:
            break
    assert max(clock.slept) <= 0.15


def test_lock_that_stays(target: str, clock: Clock) -> None:
    Path(target + ".lock").touch()
    os.utime(target + ".lock", (clock.time() - 4242, clock.time() - 4242))
    with pytest.raises(LockError) as refused:
        LockFile(target, 0.1)
    assert sum(clock.slept) == pytest.approx(0.1)
    assert refused.value.lock_path == target + ".lock"
    assert refused.value.age == pytest.approx(4242.1)
    assert refused.value.waited == pytest.approx(0.1)
    said = str(refused.value)
    assert target + ".lock" in said
    assert "held for 4242.1 s" in said
    assert "remove the file by hand" in said
    assert os.path.exists(target + ".lock"), "a lock of others was removed"


@pytest.mark.parametrize(
    ("setting", "slept"), [("0", 0.0), ("250", 0.25), (None, 0.1)], ids=["0", "250", "default"]
)
def test_setting(path: Path, clock: Clock, setting: str | None, slept: float) -> None:
    if setting is not None:
        set_section(path, setting)
    lock = path / ".git" / "reftable" / "tables.list.lock"
    lock.touch()
    refs = refs_at(path)
    with pytest.raises(dr.LockError) as refused:
        refs[MAIN] = b"1" * 40
    assert isinstance(refused.value, FileLocked)
    assert str(lock) in str(refused.value)
    assert sum(clock.slept) == pytest.approx(slept)
    lock.unlink()
    refs[MAIN] = b"1" * 40
    assert refs[MAIN] == b"1" * 40


def set_section(path: Path, timeout: str) -> None:
    with (path / ".git" / "config").open("a") as file:
        file.write(f"[reftable]\n\tlockTimeout = {timeout}\n")


def test_for_ever_ends_when_the_lock_goes(path: Path, clock: Clock) -> None:
    set_section(path, "-1")
    lock = path / ".git" / "reftable" / "tables.list.lock"
    lock.touch()

    def release() -> None:
        if clock.now > 5000:
            lock.unlink(missing_ok=True)

    clock.on_sleep = release
    refs = refs_at(path)
    refs[MAIN] = b"1" * 40
    assert refs[MAIN] == b"1" * 40
    assert clock.now > 5000


def test_nobody_waits_for_himself(path: Path) -> None:
    """Not even for ever: it would be for ever."""
    stack, again = stacks_at(path)[0], stacks_at(path)[0]
    again.lock_timeout = None
    with stack.addition(), pytest.raises(LockError):
        again.addition()
    with stack.addition():
        assert not again.auto_compact()
    with again.addition():
        pass


def test_other_error_than_taken(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot lock: No such file or directory: .*x\.lock"):
        LockFile(str(tmp_path / "none" / "x"), 0.0)


# Threads of one process


def start(*bodies: object) -> list[threading.Thread]:
    threads = [threading.Thread(target=body, daemon=True) for body in bodies]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    return threads


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(GUARD)
        assert not thread.is_alive(), "it hangs"


def wait_until_queued(target: str, number: int) -> None:
    queue = lock_queue._queue_for(os.path.abspath(target + ".lock"))
    wait_for(lambda: len(queue.waiters) >= number)


def test_threads_are_served_in_turn(target: str) -> None:
    first = LockFile(target, None)
    served: list[int] = []

    def body(number: int) -> None:
        lock = LockFile(target, GUARD)
        served.append(number)
        lock.release()

    threads = []
    for number in range(8):
        threads += start(lambda number=number: body(number))
        wait_until_queued(target, number + 2)
    first.release()
    join(threads)
    assert served == list(range(8))


class Hands:
    """A clock for the queues that is moved by hand."""

    def __init__(self, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.looks = 0
        self.queue = lock_queue._queue_for(os.path.abspath(target + ".lock"))
        monkeypatch.setattr(lock_queue, "time", self)

    def monotonic(self) -> float:
        self.looks += 1
        return self.now

    def move(self, seconds: float) -> None:
        """Let time pass, and let all who wait look at the clock."""
        with self.queue.guard:
            self.now += seconds
            waiting = list(self.queue.waiters)[1:]
            expected = self.looks + len(waiting)
            for waiter in waiting:
                assert waiter._called is not None
                waiter._called.notify()
        wait_for(lambda: self.looks >= expected)


def test_waiting_counts_only_while_nothing_moves(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands(target, monkeypatch)
    served: list[int] = []
    passes = [threading.Event() for _ in range(4)]
    refused = []

    def body(number: int) -> None:
        try:
            lock = LockFile(target, 60)
        except LockError:
            refused.append(number)
            return
        served.append(number)
        passes[number].wait(GUARD)
        lock.release()

    first = LockFile(target, None)
    threads = []
    for number in range(4):
        threads += start(lambda number=number: body(number))
        wait_until_queued(target, number + 2)
    hands.move(50)
    first.release()  # the clock starts again for all
    wait_until_queued(target, 4)
    hands.move(50)
    passes[0].set()
    threads[0].join(GUARD)
    hands.move(50)
    wait_for(lambda: served == [0, 1])
    assert refused == []
    hands.move(50)  # 1 is slow, but alive
    hands.move(400)
    assert refused == []
    hands.move(200)  # now it keeps the lock for too long
    join(threads[2:])
    assert sorted(refused) == [2, 3]
    passes[1].set()
    join(threads)


def test_a_thread_that_gets_no_processor_is_waited_for(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the next, but has not come to try; nobody else has the lock."""
    hands = Hands(target, monkeypatch)
    gets_processor = threading.Event()
    create = files.create
    served: list[int] = []

    def create_late(descriptor: files.Descriptor, path: str) -> None:
        assert gets_processor.wait(GUARD)
        create(descriptor, path)

    monkeypatch.setattr(files, "create", create_late)

    def body(number: int) -> None:
        lock = LockFile(target, 60)
        served.append(number)
        lock.release()

    threads = []
    for number in range(3):
        threads += start(lambda number=number: body(number))
        wait_until_queued(target, number + 1)
    hands.move(400)
    assert len(hands.queue.waiters) == 3
    gets_processor.set()
    join(threads)
    assert served == [0, 1, 2]


def test_threads_give_up_together(target: str, clock: Clock) -> None:
    """A stranger's lock: a queue of threads does not wait one after the other."""
    Path(target + ".lock").touch()
    waited: list[float] = []

    def wait_for_all() -> None:
        if not clock.slept:
            wait_until_queued(target, 20)

    clock.on_sleep = wait_for_all

    def body() -> None:
        with pytest.raises(LockError) as refused:
            LockFile(target, 0.3)
        waited.append(refused.value.waited)

    join(start(*[body] * 20))
    assert waited == pytest.approx([0.3] * 20)  # and not 0.3, 0.6, 0.9 ...
    assert not lock_queue._queue_for(os.path.abspath(target + ".lock")).waiters


def test_two_names_of_one_directory(tmp_path: Path) -> None:
    """They have two queues; the file excludes all the same."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    held = LockFile(str(tmp_path / "real" / "x"), None)
    with pytest.raises(LockError):
        LockFile(str(tmp_path / "link" / "x"), 0.05)
    held.release()


# Locks that others remove


def prepared(path: Path) -> tuple[Stack, Path]:
    return stacks_at(path)[0], path / ".git" / "reftable" / "tables.list.lock"


def add(stack: Stack, name: bytes) -> None:
    with stack.addition() as addition:
        addition.write([RefRecord(name, addition.next_update_index, b"x" * 20)], [])
        addition.commit()


@moves_open_files
@pytest.mark.parametrize("taken", [False, True], ids=["removed", "taken by another"])
def test_lock_removed_under_its_holder(path: Path, taken: bool) -> None:
    """He must not list anything, nor remove the other's lock."""
    stack, lock = prepared(path)
    other = stacks_at(path)[0]
    with stack.addition() as addition:
        addition.write([RefRecord(MAIN, addition.next_update_index, b"x" * 20)], [])
        lock.unlink()
        if taken:
            lock.write_bytes(b"")
        with pytest.raises(StaleListError, match="removed the lock"):
            addition.commit()
    assert lock.exists() == taken
    lock.unlink(missing_ok=True)
    assert other.snapshot().lookup_ref(MAIN) is None
    add(other, b"refs/heads/other")


def test_list_changed_under_the_lock(path: Path) -> None:
    stack, lock = prepared(path)
    add(stack, b"refs/heads/one")
    tables_list = lock.with_suffix("")
    with stack.addition() as addition:
        addition.write([RefRecord(MAIN, addition.next_update_index, b"x" * 20)], [])
        tables_list.write_bytes(tables_list.read_bytes() + b"\n")
        with pytest.raises(StaleListError, match="changed under its lock"):
            addition.commit()
    assert not lock.exists()
    assert stack.snapshot().lookup_ref(MAIN) is None


@pytest.mark.parametrize("has_happened", [False, True])
def test_rename_that_reports_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch, has_happened: bool
) -> None:
    """A network file system may have done it all the same: what is listed then must stay."""
    stack, lock = prepared(path)
    replace = os.replace

    def failing(old: str, new: str) -> None:
        if has_happened:
            replace(old, new)
        raise FileNotFoundError(2, "No such file or directory", old)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        with pytest.raises(StorageError, match="cannot rename"):
            add(stack, MAIN)
    assert not lock.exists()
    assert (stack.snapshot().lookup_ref(MAIN) is not None) == has_happened
    add(stack, b"refs/heads/other")
    stack.compact()
    stack.clean()
    assert scenes.stray_files(path / ".git") == []


def test_lock_that_cannot_be_removed_is_told_of(
    target: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lock = LockFile(target, 0)
    with monkeypatch.context() as patch:

        def refuse(path: str) -> None:
            raise PermissionError(13, "Permission denied", path)

        patch.setattr(os, "unlink", refuse)
        lock.release()
    assert f"cannot remove the lock '{target}.lock'" in caplog.text


def test_passing_error_in_removing_a_lock(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virus scanner that has the file open, on Windows."""
    unlink, tries = os.unlink, []

    def refuse_once(path: str) -> None:
        tries.append(path)
        if len(tries) == 1:
            raise PermissionError(13, "Permission denied", path)
        unlink(path)

    monkeypatch.setattr(os, "unlink", refuse_once)
    LockFile(target, 0).release()
    assert not os.path.exists(target + ".lock")
