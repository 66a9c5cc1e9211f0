# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Counts of all workers for Prometheus at ``/metrics``, and ``/healthz``, at an address apart."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from .board import Board

__all__ = ["Metrics"]


class Metrics(ThreadingHTTPServer):
    """Serves the counts. ``/healthz`` is 200 while a worker accepts connections, else 503.

    Args:
      host: address to listen at
      port: 0 for any
    """

    daemon_threads = True
    allow_reuse_address = True
    board: Board

    def __init__(self, host: str, port: int) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Request)

    def server_bind(self) -> None:
        """Bind the socket, without asking for the name of the host, which takes time."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def begin(self, board: Board) -> None:
        """Serve in a thread.

        Args:
          board: holds the counts
        """
        self.board = board
        threading.Thread(target=self.serve_forever, name="metrics", daemon=True).start()


class _Request(BaseHTTPRequestHandler):
    server: Any
    timeout = 10

    def do_GET(self) -> None:
        """Answer."""
        board: Board = self.server.board
        code, kind = 200, "text/plain; charset=utf-8"
        if self.path == "/metrics":
            kind, text = "text/plain; version=0.0.4; charset=utf-8", board.metrics()
        elif self.path == "/healthz":
            is_well = any(seat.is_accepting for seat in board.seats)
            code, text = (200, "ok\n") if is_well else (503, "no worker accepts connections\n")
        else:
            code, text = 404, "there are /metrics and /healthz\n"
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""
