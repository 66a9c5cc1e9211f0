# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Group commit: the threads of a process that wait to write to one storage write together.

To swap the list of an optimistic storage takes long, and some let one object change once a second
only. So a thread puts its piece of work into a queue, and waits until it may lead. The leader takes
all the work that has come meanwhile, and does it in one change; the others find theirs done.
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


_queues: WeakKeyDictionary[Storage, CommitQueue[Any]] = WeakKeyDictionary()
_queues_guard = threading.Lock()


class CommitQueue(Generic[_T]):
    """The work that waits to be written to one storage, oldest first."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._leading = threading.Lock()
        self._waiting: list[_T] = []

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
        with self._guard:
            self._waiting.append(work)
        try:
            if not self._leading.acquire(timeout=-1 if timeout is None else timeout):
                with self._guard:
                    is_taken = not self._withdraw(work)
                if not is_taken:
                    waited = time.monotonic() - begun
                    raise LockError(location, None, waited, "other threads are writing")
                self._leading.acquire()  # the leader is at it
            try:
                with self._guard:
                    works, self._waiting = self._waiting, []
                    if not any(other is work for other in works):  # it is done
                        works, self._waiting = [], works
                if works:
                    lead(works)
            finally:
                self._leading.release()
        except BaseException:  # an interrupt
            with self._guard:
                self._withdraw(work)
            raise
        return bool(works)

    def _withdraw(self, work: _T) -> bool:
        """Take a piece of work out of the queue; tell whether it was there."""
        before = len(self._waiting)
        self._waiting = [other for other in self._waiting if other is not work]
        return len(self._waiting) < before
