# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Packs are made by a few threads of a process at a time; the others wait for a turn.

Threads that compute share one interpreter lock. Many at once finish no earlier than one after
another, they only hold memory for longer. A turn counts for a limited time, because its client may
read slowly: so nobody waits for a slow client for longer than that.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["PACKING", "Turns"]

_LEASE = 5.0


class Turns:
    """Lets a few threads work at a time.

    Args:
      most: the number of threads
      lease: seconds after which a thread does not count any more
    """

    def __init__(self, most: int, lease: float = _LEASE) -> None:
        self._most = most
        self._lease = lease
        self.forget()

    def forget(self) -> None:
        """Forget all threads; a forked child has none of them."""
        self._changed = threading.Condition()
        self._ends: dict[object, float] = {}

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and hold it."""
        mine = object()
        with self._changed:
            while (wait := self._wait()) > 0:
                self._changed.wait(wait)
            self._ends[mine] = time.monotonic() + self._lease
        try:
            yield
        finally:
            with self._changed:
                self._ends.pop(mine, None)
                self._changed.notify()

    def _wait(self) -> float:
        """Give the seconds until the next turn becomes free; 0 if one is."""
        now = time.monotonic()
        self._ends = {key: end for key, end in self._ends.items() if end > now}
        if len(self._ends) < self._most:
            return 0.0
        return min(self._ends.values()) - now


def _can_compute() -> int:
    """Give the number of threads that can compute at a time, and one that waits for its client."""
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    return 2 if has_lock else 1 + (os.cpu_count() or 1)


PACKING = Turns(_can_compute())
"""Turns for making packs."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PACKING.forget)
