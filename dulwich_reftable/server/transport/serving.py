# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Threads, limits and shutdown: the part that the servers for TCP and HTTP share.

Each connection has a thread, and the number of connections is limited. At the limit, the server
closes the connection that has been idle longest without a request, so idle clients cannot keep
others out; those that wait for another request come first. If all connections have requests, the
new client is told that the server is busy. Its connection stays open until the client has gone, or
for a few seconds, because closing a connection before its request is read can destroy the answer. A
shutdown waits for running requests, for a limited time.
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
from collections.abc import Callable
from typing import Any

from ..access import Access
from ..errors import HANGUPS, describe
from ..folder import AnyFolder
from ..handlers import Handlers
from .board import lone_seat
from .requests import Request

__all__ = ["Server", "log", "run"]

log = logging.getLogger("dulwich_reftable.server")

_LINGER = 5.0
_LOOK = 0.1
_AFTER_YOU = 0.02
_MOST_LINGERING = 256


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A server that gives each connection a thread.

    Attributes:
      folder: what is served
      handlers: by the services' names
      access: which services are on
      idle_timeout: seconds that the server waits for a client; see :class:`.patience.Patience`
      max_connections: the most connections at a time
      proxies: through how many proxies clients come, each of which says who came to it; 0 for none
      max_per_address: the most of one address, to all workers; None for no limit
      rate: the most requests of one address a second, on average; None for no limit
      deadline: the most seconds for a request, looked at when its client is read, or written to
        by a fetch; None for no limit
      grace: seconds for running requests to finish when the server ends
      seat: the numbers that it shares with other workers
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    scheme = "git"
    section = "daemon"
    """The section of a repository's configuration for this server."""

    idle_timeout = 60.0
    max_connections = 256
    proxies = 0
    max_per_address: int | None = None
    rate: float | None = None
    deadline: float | None = None
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
        listener: socket.socket | None = None,
    ) -> None:
        self._listener = listener
        self.seat = lone_seat()
        self.folder = folder
        self.handlers = handlers
        self.access = access or Access()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        # The time when each was accepted; None when its request is complete.
        self._connections: dict[Any, float | None] = {}
        self._places: dict[Any, int] = {}
        self._waiting: set[Any] = set()  # for another request
        self._is_ending = False
        self._changed = threading.Condition()
        self.out_of_memory: Callable[[], object] = lambda: None
        self._turned_away: deque[tuple[float, Any]] = deque()
        self._next_look = 0.0
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind the socket, unless there is one that listens already."""
        if self._listener is None:
            # Not `super`: the server for HTTP would ask for the name of the host, which takes time.
            socketserver.TCPServer.server_bind(self)
            return
        self.socket.close()
        self.socket = self._listener
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """Listen, unless the socket does already."""
        if self._listener is None:
            super().server_activate()

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection; let workers that have less to do go first.

        Raises:
          OSError: if another worker has taken it
        """
        if not self.seat.is_least_loaded:
            time.sleep(_AFTER_YOU)
        return super().get_request()

    @property
    def url(self) -> str:
        """The URL of the server."""
        return self.url_at(self.server_address)

    @classmethod
    def url_at(cls, address: Any) -> str:
        """Give the URL of a server.

        Args:
          address: of its socket
        """
        host, port = address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"{cls.scheme}://{shown}:{port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a new thread, unless the server is busy."""
        address = str(client_address[0])
        with self._changed:
            reason = self._objection()
            if reason is None and not self.proxies:
                reason = self._enter(request, address)
            if reason is None:
                self._connections[request] = time.monotonic()
            else:
                self.seat.count_turned_away()
            self._tell_seat()
        if reason is not None:
            log.warning("%s turned away: %s", address, reason)
            self._turn_away(request, reason)
            return
        request.settimeout(self.idle_timeout)
        super().process_request(request, client_address)

    def _objection(self) -> str | None:
        """Give the reason not to serve any other client; None if there is none."""
        if len(self._connections) < self.max_connections or self._cut_idle():
            return None
        return "too many connections"

    def _enter(self, request: Any, address: str) -> str | None:
        """Count a connection of an address; gives the reason not to serve it, if there is one."""
        if self.rate is not None and self.seat.is_too_fast(address, self.rate):
            return "too many requests a second from your address"
        most = self.max_per_address
        if most is not None and self.seat.count(address) >= most:
            return "too many connections from your address"
        self._places[request] = self.seat.enter(address)
        return None

    def _tell_seat(self) -> None:
        self.seat.connections = len(self._connections) - len(self._waiting)

    def busy(self, reason: str) -> bytes:
        """Give the answer to a client that is turned away.

        Args:
          reason: for the client
        """
        raise NotImplementedError

    def request_ends(self, request: Request) -> None:
        """Count a request. After one that ran out of memory the process ends, if it is a worker."""
        request.end()
        with self._changed:
            self.seat.count_request(request)
        if isinstance(request.error, MemoryError):
            log.warning("out of memory")
            self.out_of_memory()

    def request_begins(self, request: Any, address: str) -> str | None:
        """Mark a connection as having a request, so that it is not closed as idle.

        Args:
          request: the connection
          address: of the client
        Returns: the reason not to serve it, if there is one
        Raises:
          ConnectionAbortedError: if the connection was cut off meanwhile, so nobody would hear
        """
        with self._changed:
            if request not in self._connections:
                raise ConnectionAbortedError
            self._connections[request] = None
            self._waiting.discard(request)
            reason = None
            if request not in self._places:  # behind a proxy, or not the first request
                reason = self._enter(request, address)
            if reason is not None:
                self.seat.count_turned_away()
            self._tell_seat()
        if reason is not None:
            log.warning("%s turned away: %s", address, reason)
        return reason

    def request_is_awaited(self, request: Any) -> bool:
        """Mark a connection as waiting for another request; tell whether it may."""
        with self._changed:
            if self._is_ending or request not in self._connections:
                return False
            self._connections[request] = time.monotonic()
            self._waiting.add(request)
            self.seat.leave(self._places.pop(request, -1))
            self._tell_seat()
        return True

    @property
    def keeps_connections(self) -> bool:
        """Whether connections may wait for another request."""
        return not self._is_ending

    def _cut_idle(self) -> bool:
        """Close the connection that has been idle longest; tell whether there was one."""
        silent = [
            (key not in self._waiting, since, key)
            for key, since in self._connections.items()
            if since is not None
        ]
        is_new, since, request = min(silent, key=lambda one: one[:2], default=(True, 0.0, None))
        if request is None or (is_new and time.monotonic() - since < self.youth):
            return False
        del self._connections[request]
        self._waiting.discard(request)
        _cut(request)
        return True

    def _turn_away(self, request: Any, reason: str) -> None:
        """Tell a client that the server is busy, and keep the connection until it has read that."""
        request.setblocking(False)
        try:
            request.send(self.busy(reason))
            request.shutdown(socket.SHUT_WR)
        except OSError:
            request.close()  # it has gone
            return
        self._turned_away.append((time.monotonic(), request))
        if len(self._turned_away) > _MOST_LINGERING:
            self._turned_away.popleft()[1].close()

    def service_actions(self) -> None:
        """Close rejected connections whose clients have gone; the server loop calls this."""
        self.seat.beat()
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
            self._waiting.discard(request)
            self.seat.leave(self._places.pop(request, -1))
            self._tell_seat()
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
        self.seat.stop()
        deadline = time.monotonic() + self.grace
        with self._changed:
            self._is_ending = True
            for request in self._waiting:
                _cut(request, socket.SHUT_RD)  # a request that has come already is served
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


def _cut(request: Any, how: int = socket.SHUT_RDWR) -> None:
    """Shut down a connection; a thread that waits for its client wakes up."""
    try:
        request.shutdown(how)
    except OSError:
        return  # the client was faster


def run(server: Server, begin: Callable[[], object] = lambda: None) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
      server: is closed at the end
      begin: called when the server handles signals
    """

    def end(number: int, frame: object) -> None:
        # `shutdown` waits for the loop, and the loop waits for this handler: use a thread.
        threading.Thread(target=server.shutdown, name="end").start()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        begin()
        # Signal handlers run in the main thread, between the polls of this loop.
        server.serve_forever()
    finally:
        server.server_close()
        for number, handler in before.items():
            signal.signal(number, handler)
