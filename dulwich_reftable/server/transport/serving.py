# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Threads, limits and shutdown: the part that the servers for TCP and HTTP share.

Each connection has a thread, and the number of connections is limited. At the limit, the server
closes the connection that has been idle longest without a request, so idle clients cannot keep
others out. If all connections have requests, the new client is told that the server is busy. Its
connection stays open until the client has gone, or for a few seconds, because closing a connection
before its request is read can destroy the answer. A shutdown waits for running requests, for a
limited time.
"""

from __future__ import annotations

import logging
import signal
import socket
import socketserver
import sys
import threading
import time
from collections import deque
from typing import Any

from ..access import Access
from ..errors import HANGUPS, describe
from ..folder import AnyFolder
from ..handlers import Handlers

__all__ = ["Server", "log", "run"]

log = logging.getLogger("dulwich_reftable.server")

_LINGER = 5.0
_LOOK = 0.1
_MOST_LINGERING = 256


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A server that gives each connection a thread.

    Attributes:
      folder: what is served
      handlers: by the services' names
      access: which services are on
      idle_timeout: seconds that the server waits for a client; see :class:`.patience.Patience`
      max_connections: the most connections at a time
      grace: seconds for running requests to finish when the server ends
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    scheme = "git"
    section = "daemon"
    """The section of a repository's configuration for this server."""
    too_many = b""
    """The answer to a client when the server is busy."""

    idle_timeout = 60.0
    max_connections = 256
    grace = 10.0
    youth = 1.0
    """Seconds before a new connection without a request may be closed."""

    def __init__(
        self,
        address: tuple[str, int],
        handler: Any,
        folder: AnyFolder,
        handlers: Handlers,
        access: Access | None,
    ) -> None:
        self.folder = folder
        self.handlers = handlers
        self.access = access or Access()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        # The time when each was accepted; None when its request is complete.
        self._connections: dict[Any, float | None] = {}
        self._changed = threading.Condition()
        self._turned_away: deque[tuple[float, Any]] = deque()
        self._next_look = 0.0
        super().__init__(address, handler)

    @property
    def url(self) -> str:
        """The URL of the server."""
        host, port = self.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"{self.scheme}://{shown}:{port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a new thread, unless the server is busy."""
        with self._changed:
            has_room = len(self._connections) < self.max_connections or self._cut_idle()
            if has_room:
                self._connections[request] = time.monotonic()
        if not has_room:
            log.warning("%s turned away: too many connections", client_address[0])
            self._turn_away(request)
            return
        request.settimeout(self.idle_timeout)
        super().process_request(request, client_address)

    def request_begins(self, request: Any) -> None:
        """Mark a connection as having a request, so that it is not closed as idle."""
        with self._changed:
            if request in self._connections:
                self._connections[request] = None

    def _cut_idle(self) -> bool:
        """Close the connection that has been idle longest; tell whether there was one."""
        silent = [(since, key) for key, since in self._connections.items() if since is not None]
        since, request = min(silent, key=lambda pair: pair[0], default=(0.0, None))
        if request is None or time.monotonic() - since < self.youth:
            return False
        del self._connections[request]
        _cut(request)
        return True

    def _turn_away(self, request: Any) -> None:
        """Tell a client that the server is busy, and keep the connection until it has read that."""
        request.setblocking(False)
        try:
            request.send(self.too_many)
            request.shutdown(socket.SHUT_WR)
        except OSError:
            request.close()  # it has gone
            return
        self._turned_away.append((time.monotonic(), request))
        if len(self._turned_away) > _MOST_LINGERING:
            self._turned_away.popleft()[1].close()

    def service_actions(self) -> None:
        """Close rejected connections whose clients have gone; the server loop calls this."""
        now = time.monotonic()
        if not self._turned_away or now < self._next_look:
            return
        self._next_look = now + _LOOK
        left: deque[tuple[float, Any]] = deque()
        for since, request in self._turned_away:
            if now - since > _LINGER or _has_ended(request):
                request.close()
            else:
                left.append((since, request))
        self._turned_away = left

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and make room for another one."""
        super().shutdown_request(request)
        with self._changed:
            self._connections.pop(request, None)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log the error of a connection in one line."""
        error = sys.exc_info()[1]
        if isinstance(error, HANGUPS):
            log.info("%s hung up", client_address[0])
        elif error is not None:
            log.warning("%s failed: %s", client_address[0], describe(error))

    def server_close(self) -> None:
        """Stop listening and wait for running requests; close those that take too long."""
        super().server_close()
        deadline = time.monotonic() + self.grace
        with self._changed:
            self._changed.wait_for(lambda: not self._connections, self.grace)
            left = list(self._connections)
        for request in left:
            log.warning("a connection was cut off")
            _cut(request)
        with self._changed:
            rest = max(1.0, deadline - time.monotonic())
            self._changed.wait_for(lambda: not self._connections, rest)
        while self._turned_away:
            self._turned_away.popleft()[1].close()


def _has_ended(request: Any) -> bool:
    """Read the bytes that have arrived, and tell whether the client has closed the connection."""
    try:
        return not request.recv(1 << 16)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _cut(request: Any) -> None:
    """Shut down a connection; a thread that waits for its client wakes up."""
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client was faster


def run(server: Server) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
      server: is closed at the end
    """

    def end(number: int, frame: object) -> None:
        # `shutdown` waits for the loop, and the loop waits for this handler: use a thread.
        threading.Thread(target=server.shutdown, name="end").start()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # Signal handlers run in the main thread, between the polls of this loop.
        server.serve_forever()
    finally:
        server.server_close()
        for number, handler in before.items():
            signal.signal(number, handler)
    log.info("ended")
