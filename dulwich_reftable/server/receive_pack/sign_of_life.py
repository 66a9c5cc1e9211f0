# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Signs of life for a client that waits while a push is checked (git: ``receive.keepAlive``).

A thread sends them, because the check itself does not know how long its steps take. Nothing else
may be sent meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from dulwich.errors import GitProtocolError

__all__ = ["signs_of_life"]


@contextmanager
def signs_of_life(send: Callable[[], object], seconds: float | None) -> Iterator[None]:
    """Send signs of life while a block runs.

    Args:
      send: sends one
      seconds: between two of them; None for no signs
    """
    if seconds is None:
        yield
        return
    has_ended = Event()

    def tick() -> None:
        try:
            while not has_ended.wait(seconds):
                send()
        except (OSError, GitProtocolError):
            return  # the client has gone; the next one who writes to it will find out

    thread = Thread(target=tick, name="signs of life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()
