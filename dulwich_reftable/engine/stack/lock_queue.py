# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Queues in which the threads of one process wait for their turn at a lock file.

Without them, threads would poll for the file as strangers do, asleep most of the time and served
by chance. A queue is fair: first come, first served. Waiting in it is not waiting for a stranger
who may be dead, so it counts against the timeout only for as long as nothing moves: whenever
somebody who had the lock passes the turn on, the clock starts again for those behind.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from weakref import WeakValueDictionary

__all__ = ["Waiter"]


class _Queue:
    """The threads that want one lock; the first of them has the turn."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
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
    """Empty every queue in a forked child: the threads that stood there are not here."""
    global _queues_guard
    _queues_guard = threading.Lock()
    for queue in list(_queues.values()):
        queue.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


class Waiter:
    """This thread's turn at a lock.

    Args:
      path: what the lock is called, in the same way by all threads

    Attributes:
      since: from when on the wait for the lock counts (:func:`time.monotonic`)
    """

    def __init__(self, path: str) -> None:
        self.since = time.monotonic()
        self._queue = _queue_for(path)
        self._thread = threading.get_ident()
        self._called: threading.Condition | None = None

    def wait(self, timeout: float | None) -> bool:
        """Queue up.

        Args:
          timeout: for how many seconds nothing may move; None for ever
        Returns: whether the turn has come; if not, this thread does not queue any more
        """
        queue = self._queue
        with queue.guard:
            waiters = queue.waiters
            if timeout is None and waiters and waiters[0]._thread == self._thread:
                return False  # it would wait for itself
            waiters.append(self)
            while waiters[0] is not self:
                rest = None
                if timeout is not None:
                    rest = max(self.since, queue.passed_on) + timeout - time.monotonic()
                    if rest <= 0:
                        waiters.remove(self)
                        return False
                if self._called is None:
                    self._called = threading.Condition(queue.guard)
                self._called.wait(rest)
            self.since = max(self.since, queue.passed_on)
            return True

    def leave(self, *, had_lock: bool) -> None:
        """Pass the turn on, or step out of the queue; harmless if that is done.

        Args:
          had_lock: whether the lock was held, so that those behind see that things move
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
