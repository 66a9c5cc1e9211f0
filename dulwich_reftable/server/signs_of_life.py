# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Signs of life for a client that waits (git: ``uploadpack.keepAlive``, ``receive.keepAlive``).

A thread sends them while nothing else is sent, because the work itself does not know how long its
steps take. What the work sends meanwhile has to go through :meth:`SignsOfLife.between`, so that a
sign never comes in the middle of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Any

from dulwich.config import Config
from dulwich.errors import GitProtocolError

from ..config.types import integer
from ..config.values import find_value

__all__ = ["SignsOfLife", "keep_alive"]

_DEFAULT = 5


def keep_alive(config: Config, section: bytes) -> int | None:
    """Read ``<section>.keepAlive``.

    Args:
      config: of the repository
      section: ``b"uploadpack"`` or ``b"receive"``
    Returns: seconds; None for no signs, which 0 and negative numbers mean
    """
    seconds = find_value(config, section, b"keepAlive", integer)
    if seconds is None:
        return _DEFAULT
    return seconds if seconds > 0 else None


class SignsOfLife:
    """Sends signs of life from :meth:`begin` to the end of the block; a context manager.

    Args:
      send: sends one
      seconds: of silence before one; None for no signs
    """

    def __init__(self, send: Callable[[], object], seconds: float | None) -> None:
        self._send = send
        self._seconds = seconds
        self._has_ended = Event()
        self._lock = Lock()
        self._spoke = 0.0
        self._failure: Exception | None = None
        self._thread: Thread | None = None

    def __enter__(self) -> SignsOfLife:
        return self

    def __exit__(self, *error: object) -> None:
        self._has_ended.set()
        if self._thread is not None:
            self._thread.join()

    def begin(self) -> None:
        """Begin to send signs."""
        if self._seconds is not None and self._thread is None:
            self._spoke = time.monotonic()
            self._thread = Thread(target=self._tick, name="signs of life", daemon=True)
            self._thread.start()

    def between(self, write: Callable[[bytes], object]) -> Callable[[bytes], None]:
        """Give a function that writes between two signs, and puts the next one off.

        Args:
          write: writes
        Returns: the function; it raises the error of a sign that could not be sent
        """

        def write_between(data: bytes) -> None:
            with self._lock:
                if self._failure is not None:
                    raise self._failure
                write(data)
                self._spoke = time.monotonic()

        return write_between

    def _tick(self) -> None:
        seconds: Any = self._seconds
        wait = seconds
        while not self._has_ended.wait(wait):
            with self._lock:
                wait = self._spoke + seconds - time.monotonic()
                if wait > 0:
                    continue
                try:
                    self._send()
                except (OSError, GitProtocolError) as error:
                    self._failure = error  # for the next one who writes
                    return
                self._spoke, wait = time.monotonic(), seconds
