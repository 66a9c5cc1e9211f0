# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What servers over TCP and HTTP have in common: threads, limits, and coming to an end.

Each connection has a thread. There may be so many at a time, and more are hung up on; whoever says
nothing for too long is hung up on too. Ending lets running requests finish, for a while.
"""

from __future__ import annotations

import logging
import signal
import socket
import socketserver
import sys
import threading
import time
from typing import Any

from .folder import Folder
from .handlers import Handlers

__all__ = ["Server", "log", "run"]

log = logging.getLogger("dulwich_reftable.server")


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A server with a thread a connection.

    Attributes:
      folder: what is served
      handlers: by the services' names
      idle_timeout: seconds that a client may keep us waiting
      max_connections: how many there may be at a time
      grace: seconds for running requests to finish when the server ends
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    scheme = "git"

    folder: Folder
    handlers: Handlers
    idle_timeout = 60.0
    max_connections = 256
    grace = 10.0

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self._connections: set[Any] = set()
        self._changed = threading.Condition()
        super().__init__(address, handler)

    @property
    def url(self) -> str:
        """Where the server is reached."""
        host, port = self.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"{self.scheme}://{shown}:{port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a new thread, if there are not too many."""
        with self._changed:
            is_welcome = len(self._connections) < self.max_connections
            if is_welcome:
                self._connections.add(request)
        if not is_welcome:
            log.warning("%s turned away: too many connections", client_address[0])
            self.shutdown_request(request)
            return
        request.settimeout(self.idle_timeout)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong with a connection, in a line."""
        error = sys.exc_info()[1]
        log.warning("%s failed: %s: %s", client_address[0], type(error).__name__, error)

    def server_close(self) -> None:
        """Stop listening, and let running requests finish; those that take too long are cut."""
        super().server_close()
        deadline = time.monotonic() + self.grace
        with self._changed:
            self._changed.wait_for(lambda: not self._connections, self.grace)
            left = list(self._connections)
        for request in left:
            log.warning("a connection was cut off")
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client was faster
        with self._changed:
            rest = max(1.0, deadline - time.monotonic())
            self._changed.wait_for(lambda: not self._connections, rest)


def run(server: Server) -> None:
    """Serve until the process is asked to end, by SIGINT or SIGTERM.

    Args:
      server: it is closed in the end
    """

    def end(number: int, frame: object) -> None:
        # It waits for the loop, which this handler interrupts.
        threading.Thread(target=server.shutdown, name="end").start()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # Handlers run in the main thread only; this wakes up now and then, and sleeps through none.
        server.serve_forever()
    finally:
        server.server_close()
        for number, handler in before.items():
            signal.signal(number, handler)
    log.info("ended")
