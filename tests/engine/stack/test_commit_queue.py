"""The queue of a group commit: who leads, who is woken, and who gives up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from dulwich_reftable.engine.errors import LockError
from dulwich_reftable.engine.stack.commit_queue import CommitQueue

PATIENCE = 20.0


class Leads:
    """The changes of a queue, each of which waits until it may end."""

    def __init__(self) -> None:
        self.queue: CommitQueue[str] = CommitQueue()
        self.made: list[list[str]] = []
        self.ends = {name: threading.Event() for name in "abcd"}
        self.threads: dict[str, threading.Thread] = {}

    def _lead(self, works: list[str]) -> None:
        self.made.append(works)
        assert self.ends[works[0]].wait(PATIENCE)

    def submit(self, work: str, timeout: float | None = PATIENCE) -> None:
        self.queue.submit(work, self._lead, timeout=timeout, location="x")

    def start(self, work: str) -> None:
        self.threads[work] = threading.Thread(target=self.submit, args=(work,))
        self.threads[work].start()

    def end(self, work: str) -> None:
        self.ends[work].set()

    def join(self, work: str) -> None:
        self.threads[work].join(PATIENCE)
        assert not self.threads[work].is_alive()


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_whose_work_is_done_does_not_wait_for_the_next_change() -> None:
    leads = Leads()
    leads.start("a")
    until(lambda: leads.made == [["a"]])
    for number, work in enumerate("bc"):
        leads.start(work)
        until(lambda number=number: len(leads.queue) == number + 1)
    leads.end("a")
    until(lambda: leads.made[1:] == [["b", "c"]])
    leads.start("d")
    until(lambda: len(leads.queue) == 1)
    leads.end("b")
    until(lambda: leads.made[2:] == [["d"]])
    for work in "abc":
        leads.join(work)
    leads.end("d")
    leads.join("d")
    assert len(leads.queue) == 0


def test_who_gives_up_is_not_done() -> None:
    leads = Leads()
    leads.start("a")
    until(lambda: leads.made == [["a"]])
    with pytest.raises(LockError, match="other threads"):
        leads.submit("b", timeout=0)
    leads.end("a")
    leads.join("a")
    leads.end("c")
    leads.submit("c")
    assert leads.made == [["a"], ["c"]]


def test_what_follows_is_done_by_one_thread_and_others_go_on() -> None:
    queue: CommitQueue[str] = CommitQueue()
    done: list[str] = []

    def first() -> None:
        thread = threading.Thread(target=queue.alone, args=(lambda: done.append("second"),))
        thread.start()
        thread.join(PATIENCE)
        done.append("first")

    def fail() -> None:
        raise ValueError("no")

    queue.alone(first)
    with pytest.raises(ValueError, match="no"):
        queue.alone(fail)
    queue.alone(lambda: done.append("third"))
    assert done == ["first", "third"]
