# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Queues in which the threads of one process wait for a lock file, or for anything with a path.

Without a queue, threads would poll for the file as other processes do: asleep most of the time, and
served by chance. The queue is fair: first come, first served. The timeout is meant for an owner who
may be dead, and the threads ahead in the queue are alive. So whenever a thread that had the lock
leaves the queue, the clock starts again for the threads behind it. While the first thread is busy,
they wait several times as long: it has the lock, or is about to take it, and may itself wait for a
processor, as on a machine with much to do, or in a Python without a global interpreter lock, where
all threads want to run at the same time. It is not busy while another process has the lock file.
But they do not wait for ever, since that thread may in turn wait for one of them.

The server lets pushes that create the same repository wait in such a queue, too.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from weakref import WeakValueDictionary

__all__ = ["Waiter"]


_PATIENCE = 10
"""How many times the timeout they wait for a thread that is busy."""


class _Queue:
    """The threads that want one lock; the first of them may take it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Empty the queue."""
        # Reentrant, since the garbage collector may release a lock in the middle of anything.
        self.guard = threading.RLock()
        self.waiters: deque[Waiter] = deque()
        self.passed_on = float("-inf")


_queues: WeakValueDictionary[str, _Queue] = WeakValueDictionary()
_queues_guard = threading.Lock()


def _queue_for(path: str) -> _Queue:
    with _queues_guard:
        queue = _queues.get(path)
        if queue is None:
            queue = _queues[path] = _Queue()
        return queue


def _forget_threads() -> None:
    """Empty every queue in a forked child, which has none of the waiting threads."""
    global _queues_guard
    _queues_guard = threading.Lock()
    for queue in list(_queues.values()):
        queue.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


class Waiter:
    """This thread's place in the queue for a lock.

    Args:
      path: of what they wait for, spelled alike by all threads
      is_busy: see below

    Attributes:
      since: when the wait for the lock file began (:func:`time.monotonic`)
      is_busy: whether this thread, once it is the first of the queue, has the lock or is about to
        take it
    """

    def __init__(self, path: str, *, is_busy: bool = False) -> None:
        self.is_busy = is_busy
        self.since = time.monotonic()
        self._queue = _queue_for(path)
        self._thread = threading.get_ident()
        self._called: threading.Condition | None = None

    def wait(self, timeout: float | None) -> bool:
        """Queue up, and wait to be the first.

        Args:
          timeout: seconds without any progress of the queue, or several times that while another
            thread is first and busy; None for ever
        Returns: whether this thread is the first; if not, it has left the queue
        """
        queue = self._queue
        with queue.guard:
            waiters = queue.waiters
            if timeout is None and waiters and waiters[0]._thread == self._thread:
                return False  # this thread would wait for itself
            waiters.append(self)
            while waiters[0] is not self:
                rest = None
                if timeout is not None:
                    first = waiters[0]
                    is_busy = first.is_busy and first._thread != self._thread
                    limit = timeout * _PATIENCE if is_busy else timeout
                    rest = max(self.since, queue.passed_on) + limit - time.monotonic()
                    if rest <= 0:
                        waiters.remove(self)
                        return False
                    rest = min(rest, timeout)  # then look again whether it is still busy
                if self._called is None:
                    self._called = threading.Condition(queue.guard)
                self._called.wait(rest)
            self.since = max(self.since, queue.passed_on)
            return True

    def leave(self, *, had_lock: bool) -> None:
        """Leave the queue, and wake the next thread; harmless if that is done.

        Args:
          had_lock: whether this thread held the lock, which is progress for those behind it
        """
        queue = self._queue
        with queue.guard:
            waiters = queue.waiters
            if self not in waiters:
                return
            was_first = waiters[0] is self
            waiters.remove(self)
            if not was_first:
                return
            if had_lock:
                queue.passed_on = time.monotonic()
            if waiters and waiters[0]._called is not None:
                waiters[0]._called.notify()
