# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""How long a client may keep the server waiting.

A timeout for each read does not end a client that sends a byte now and then. So each wait uses up
the server's patience with a client, and what the client sends restores it in proportion
(:class:`Patience`). Nothing restores it before the request is complete: the whole head of the
request has to arrive in time.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from socketserver import StreamRequestHandler
from typing import Any

from ..errors import RefusedError

__all__ = ["SLOWEST", "Patience", "PatientHandler"]

SLOWEST = 256
"""Bytes a second that a client must send on average while the server waits for it."""

_LINGER = 1.0


class Patience:
    """The time that the server still waits for a client.

    Args:
      limit: the most seconds

    Attributes:
      left: remaining seconds
      is_in_head: whether the request is still incomplete; then nothing is restored
    """

    def __init__(self, limit: float) -> None:
        self.limit = self.left = limit
        self.is_in_head = True

    def end_head(self) -> None:
        """Start anew when the request is complete; from now on, received bytes restore patience."""
        self.is_in_head = False
        self.left = self.limit

    def begin_head(self, limit: float) -> None:
        """Wait for a request: its whole head has to come within so many seconds."""
        self.is_in_head = True
        self.left = min(self.limit, limit)

    def hurry(self) -> None:
        """Wait only for a moment any more."""
        self.begin_head(_LINGER)

    def spend(self, seconds: float, received: int) -> None:
        """Subtract a wait.

        Args:
          seconds: length of the wait
          received: bytes that arrived in it
        """
        earned = 0.0 if self.is_in_head else received / SLOWEST
        self.left = min(self.limit, self.left - seconds + earned)


class PatientHandler(StreamRequestHandler):
    """Reads from a client while there is patience, and writes in large pieces.

    Attributes:
      patience: with the client
      incoming: the raw stream of the client's bytes
    """

    server: Any
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Create the streams of the connection."""
        super().setup()
        self.rfile.close()
        self.patience = Patience(self.server.idle_timeout)
        self._set_deadline()
        self.incoming = _Incoming(self.connection, self.patience, self.before_wait, self.time_left)
        self.rfile = io.BufferedReader(self.incoming, 1 << 16)

    def _set_deadline(self) -> None:
        limit = self.server.deadline
        self._ends = float("inf") if limit is None else time.monotonic() + limit
        self._is_late = False

    def time_left(self) -> float:
        """Give the seconds that are left of the deadline.

        Raises:
          RefusedError: if none is; but only once, so that the client can be told
        """
        left = self._ends - time.monotonic()
        if left <= 0 and not self._is_late:
            self._is_late = True
            raise RefusedError(f"the request takes longer than {self.server.deadline:g} seconds")
        return max(left, _LINGER)

    def before_wait(self) -> None:
        """Called before each wait for the client."""

    def await_request(self, stream: io.BufferedReader, seconds: float) -> bool:
        """Wait for another request on the connection.

        Args:
          stream: of the client's bytes
          seconds: how long
        Returns: whether one has begun
        """
        self.patience.begin_head(seconds)
        self._ends = float("inf")
        try:
            if not self.server.request_is_awaited(self.request) or not stream.peek(1):
                return False
        except OSError:  # too late, or cut off
            return False
        self.patience.begin_head(self.patience.limit)
        self._set_deadline()
        return True

    def linger(self) -> None:
        """Read on for a moment: closing at once could destroy the answer on its way."""
        self.patience.hurry()
        try:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            while self.incoming.read(1 << 16):
                pass
        except OSError:
            return


class _Incoming(io.RawIOBase):
    """The stream of a client's bytes.

    Args:
      connection: socket of the client; its timeout also counts for writes
      patience: with the client
      before_wait: called before each read
      time_left: gives the seconds until the deadline of the request

    Attributes:
      received: bytes
    """

    def __init__(
        self,
        connection: socket.socket,
        patience: Patience,
        before_wait: Callable[[], object],
        time_left: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._patience = patience
        self._before_wait = before_wait
        self._time_left = time_left
        self.received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read bytes into a buffer.

        Raises:
          TimeoutError: if the client is too slow
        """
        patience = self._patience
        if patience.left <= 0:
            raise TimeoutError("the client is too slow")
        self._before_wait()
        began = time.monotonic()
        self._connection.settimeout(min(patience.left, self._time_left()))
        try:
            size = self._connection.recv_into(buffer)
        except TimeoutError as error:
            self._time_left()
            raise TimeoutError("the client is too slow") from error
        finally:
            self._connection.settimeout(patience.limit)
        self.received += size
        patience.spend(time.monotonic() - began, size)
        return size
