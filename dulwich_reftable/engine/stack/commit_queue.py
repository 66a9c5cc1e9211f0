# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Group commit: the threads of a process that wait to write to one storage write together.

To swap the list of an optimistic storage takes long, and some let one object change once a second
only. So a thread puts its piece of work into a queue. The first one leads: it takes all the work
that is there, and does it in one change. When it is done it wakes those whose work it was, and lets
the oldest of those lead that have come meanwhile. Nobody waits for a lock that says nothing about
his work, so that all that are woken can come back soon. A leader waits for them a moment, a small
part of what a change takes: else two halves of the threads would take turns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from ..errors import LockError
from .storage import Storage

__all__ = ["CommitQueue"]

_T = TypeVar("_T")


_PART = 0.25
_LONGEST = 0.01
"""The part of the time of a change, and the seconds, for which a leader waits for more work."""

_queues: WeakKeyDictionary[Storage, CommitQueue[Any]] = WeakKeyDictionary()
_queues_guard = threading.Lock()


class _Entry(Generic[_T]):
    """A piece of work in the queue.

    Attributes:
      work: itself
      news: is set when it is done, or when its thread is to lead
      leads: whether its thread is to lead
    """

    __slots__ = ("leads", "news", "work")

    def __init__(self, work: _T) -> None:
        self.work = work
        self.news = threading.Event()
        self.leads = False


class CommitQueue(Generic[_T]):
    """The work that waits to be written to one storage, oldest first."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._follow_up = threading.Lock()
        self._is_led = False
        self._waiting: list[_Entry[_T]] = []
        self._expected = 0  # how much work comes if all threads come back
        self._is_full = threading.Event()
        self._seconds = 0.0  # what the last change took

    @classmethod
    def of(cls, storage: Storage) -> CommitQueue[_T]:
        """Give the queue of a storage; all stacks on it share the queue."""
        with _queues_guard:
            queue = _queues.get(storage)
            if queue is None:
                queue = _queues[storage] = cls()
            return queue

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(
        self,
        work: _T,
        lead: Callable[[list[_T]], None],
        *,
        timeout: float | None,
        location: str,
    ) -> bool:
        """Have a piece of work done, by this thread or by another one.

        Args:
          work: the piece of work
          lead: does pieces of work, oldest first, and keeps the result of each with it; it is
            called by one thread at a time
          timeout: seconds to wait for the leader to take it; None for ever
          location: of the storage, for messages
        Returns: whether this thread has led
        Raises:
          LockError: if nobody took it in time; it will not be done
        """
        begun = time.monotonic()
        entry = _Entry(work)
        try:
            with self._guard:
                self._waiting.append(entry)
                if len(self._waiting) >= self._expected:
                    self._is_full.set()
                if not self._is_led:
                    self._is_led = entry.leads = True
            if not entry.leads and not entry.news.wait(timeout):
                if self._withdraw(entry):
                    waited = time.monotonic() - begun
                    raise LockError(location, None, waited, "other threads are writing")
                entry.news.wait()  # the leader is at it, or this thread is to lead
            if not entry.leads:
                return False
            self._is_full.wait(min(self._seconds * _PART, _LONGEST))
            with self._guard:
                taken, self._waiting = self._waiting, []
            try:
                started = time.monotonic()
                lead([one.work for one in taken])
                self._seconds = time.monotonic() - started
            finally:
                self._expect(len(taken))
                for one in taken:
                    one.news.set()
        finally:
            self._leave(entry)
        return True

    def alone(self, work: Callable[[], object]) -> None:
        """Do what follows on a change, unless another thread is at it."""
        if self._follow_up.acquire(blocking=False):
            try:
                work()
            finally:
                self._follow_up.release()

    def _expect(self, done: int) -> None:
        """Expect that those come back whose work is done, beside those who wait already."""
        with self._guard:
            self._expected = done + len(self._waiting)
            self._is_full.clear()

    def _withdraw(self, entry: _Entry[_T]) -> bool:
        """Take a piece of work out of the queue, unless its thread is to lead.

        Returns: whether it was there
        """
        with self._guard:
            is_there = not entry.leads and entry in self._waiting
            if is_there:
                self._waiting.remove(entry)
            return is_there

    def _leave(self, entry: _Entry[_T]) -> None:
        """Let the next one lead, if this thread has led; after an interrupt, forget its work."""
        with self._guard:
            if entry in self._waiting:
                self._waiting.remove(entry)
            if entry.leads:
                entry.leads = False
                self._is_led = bool(self._waiting)
                if self._waiting:
                    self._waiting[0].leads = True
                    self._waiting[0].news.set()
