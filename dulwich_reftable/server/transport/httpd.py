# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A small server for smart HTTP: :class:`.web.Application` on the standard library's server.

The head of a request is limited in time and size, and its framing is checked strictly. The
application gets the body as a stream that ends with the request.

A connection of HTTP/1.1 stays open for another request, unless the client or the end of the server
is against it. It does so only if it is clear where the next one begins: after an answer that was
sent whole, and a body that was read, or soon can be. A client whose connection is waiting so counts
for no limit, and is cut off first when others come.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from http.client import LineTooLong
from ipaddress import ip_address
from typing import Any, cast
from wsgiref.handlers import SimpleHandler
from wsgiref.headers import Headers
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from dulwich.errors import GitProtocolError

from ..access import Access
from ..errors import RefusedError, describe, printable
from ..folder import AnyFolder
from ..handlers import HANDLERS, Handlers
from .body import Chunked, Limited
from .patience import PatientHandler
from .request_head import Head, MalformedHeadError
from .serving import Server, log
from .web import Application

__all__ = ["HTTPGitServer"]

_MOST_PIECES_LEFT = 16


class HTTPGitServer(Server, WSGIServer):
    """A server for smart HTTP. Without ``check_password`` in ``access`` it authenticates nobody.

    Args:
      folder: what to serve
      host: address to listen at
      port: 0 for any
      handlers: by the services' names
      access: which services are on; None for fetching only, unless a repository's
        ``http.receivePack`` turns on pushing
      listener: a socket that listens already; it replaces the address
    """

    scheme = section = "http"
    keep_alive = 15.0
    """Seconds for which a connection waits for another request; 0 to close it."""

    def __init__(
        self,
        folder: AnyFolder,
        host: str = "127.0.0.1",
        port: int = 8000,
        handlers: Handlers = HANDLERS,
        access: Access | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        super().__init__((host, port), _Request, folder, handlers, access, listener)
        application = Application(folder, handlers, self.access)
        application.on_end = self.request_ends
        self.set_app(application)

    def busy(self, reason: str) -> bytes:
        """Give the answer to a client that is turned away."""
        text = reason.encode() + b"; try again later\n"
        return (
            b"HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 5\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(text), text)
        )

    def server_bind(self) -> None:
        """Bind the socket, and set what WSGI asks for."""
        Server.server_bind(self)
        self.server_name = str(self.server_address[0])
        self.server_port = int(self.server_address[1])
        self.setup_environ()


class _Request(PatientHandler, WSGIRequestHandler):
    """One connection."""

    rfile: Any
    # A client whose version cannot be read still understands an answer with a head.
    default_request_version = "HTTP/1.0"

    # What the parser of the standard library goes by; the answers are _Handler's.
    protocol_version = "HTTP/1.1"
    server: HTTPGitServer

    def handle(self) -> None:
        """Serve its requests, one after the other."""
        stream = self.rfile
        while self._serve(stream) and self.await_request(stream, self.server.keep_alive):
            pass

    def handle_expect_100(self) -> bool:
        """Do nothing yet: whether the body is wanted is not known."""
        return True

    def _serve(self, stream: io.BufferedReader) -> bool:
        """Serve one request; tells whether another one may follow."""
        try:
            self.rfile = Head(stream)
            try:
                self.raw_requestline = self.rfile.readline()
                if not self.raw_requestline:
                    return False
                if not self.parse_request():  # the parser has answered
                    self.linger()
                    return False
                if len(self.requestline.split()) < 3:  # HTTP/0.9, which has no heads
                    return self._refuse(400, "Bad Request")
            except LineTooLong:
                return self._refuse(431, "Request Header Fields Too Large")
            except MalformedHeadError:
                return self._refuse(400, "Bad Request")
            finally:
                self.rfile = stream
        except (TimeoutError, RefusedError):
            return self._refuse(408, "Request Timeout")
        body = self._body(stream)
        if body is None:
            return False
        address = str(self.client_address[0])
        if self.server.proxies:
            address = self._forwarded_for() or address
        reason = self.server.request_begins(self.request, address)
        if reason is not None:
            self.wfile.write(self.server.busy(reason))
            self.linger()
            return False
        self.patience.end_head()
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        environ = {
            **self.get_environ(),
            "wsgi.input_terminated": True,
            "REMOTE_ADDR": address,
            "REMOTE_PORT": str(self.client_address[1]),
        }
        handler = _Handler(body, cast(Any, self.wfile), self.get_stderr(), environ)
        handler.may_go_on = self._may_go_on()
        if str(environ["PATH_INFO"]).endswith("/git-upload-pack"):
            handler.before_write = self.time_left
        handler.run(cast(Any, self.server).get_app())
        return handler.may_go_on and handler.is_finished and self._reads_rest_of(body)

    def _may_go_on(self) -> bool:
        said = ",".join(self.headers.get_all("Connection") or []).lower().split(",")
        is_new = self.request_version == "HTTP/1.1" and "close" not in map(str.strip, said)
        return is_new and self.server.keep_alive > 0 and self.server.keeps_connections

    def _reads_rest_of(self, body: io.BufferedReader) -> bool:
        """Read what the application has left of the body, if it is there and not much."""
        self.patience.hurry()
        try:
            return any(not body.read1() for _ in range(_MOST_PIECES_LEFT))
        except (OSError, GitProtocolError):
            return False

    def _forwarded_for(self) -> str | None:
        """Give the address that the first proxy has added; the client can write those before it."""
        said = ",".join(self.headers.get_all("X-Forwarded-For") or []).split(",")
        try:
            return str(ip_address(said[-self.server.proxies].strip()))
        except (ValueError, IndexError):
            return None

    def _body(self, stream: io.BufferedReader) -> io.BufferedReader | None:
        """Give the body of the request; None, with an answer, if its framing is not clear."""
        lengths = self.headers.get_all("Content-Length") or []
        encodings = self.headers.get_all("Transfer-Encoding") or []
        if encodings:
            if [encoding.strip().lower() for encoding in encodings] != ["chunked"]:
                self._refuse(501, "Not Implemented")
                return None
            if lengths:
                self._refuse(400, "Bad Request")
                return None
            return io.BufferedReader(Chunked(stream))
        if len(lengths) > 1 or not all(_is_number(length) for length in lengths):
            self._refuse(400, "Bad Request")
            return None
        return io.BufferedReader(Limited(stream, int(lengths[0]) if lengths else 0))

    def _refuse(self, code: int, reason: str) -> bool:
        """Refuse a request, and the connection with it."""
        self.request_version = "HTTP/1.0"
        self.requestline = getattr(self, "requestline", "")
        self.command = ""
        self.send_error(code, reason)
        self.linger()
        return False

    def log_message(self, format: str, *args: Any) -> None:
        """Log a request that is not HTTP, of which the application knows nothing."""
        log.info("%s %s", self.client_address[0], printable(format % args))

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing: the application does."""

    def address_string(self) -> str:
        """Give the client's address: to look up its name would take time."""
        return str(self.client_address[0])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


class _Handler(SimpleHandler):
    """Runs the application.

    An answer whose length is not known is sent in chunks. HTTP would let it end with the
    connection, but libgit2 takes that for a broken answer.

    Attributes:
      may_go_on: whether the connection may stay open for another request
      is_finished: whether the answer was sent whole
    """

    may_go_on = False
    is_finished = False

    # The request must not see the environment of the process, which might hold REMOTE_USER.
    os_environ: dict[str, str] = {}  # noqa: RUF012
    http_version = "1.1"
    environ: dict[str, Any]
    headers: Headers
    _in_chunks = False
    before_write: Callable[[], object] = staticmethod(lambda: None)

    def cleanup_headers(self) -> None:
        """Say where the answer ends."""
        super().cleanup_headers()
        if not self.may_go_on:
            self.headers["Connection"] = "close"
        if "Content-Length" not in self.headers and self.environ["SERVER_PROTOCOL"] == "HTTP/1.1":
            self.headers["Transfer-Encoding"] = "chunked"

    def send_headers(self) -> None:
        """Send the head of the answer; what follows is its body."""
        super().send_headers()
        has_body = self.environ["REQUEST_METHOD"] != "HEAD"
        self._in_chunks = has_body and "Transfer-Encoding" in self.headers

    def write(self, data: bytes) -> None:
        """Write a part of the answer, in time."""
        self.before_write()
        super().write(data)

    def _write(self, data: bytes) -> None:
        if not self._in_chunks:
            super()._write(data)
        elif data:  # an empty chunk is the last one
            super()._write(b"%x\r\n%b\r\n" % (len(data), data))

    def finish_content(self) -> None:
        """End the answer."""
        super().finish_content()
        if self._in_chunks:
            self._in_chunks = False
            self._write(b"0\r\n\r\n")
        self.is_finished = True

    def log_exception(self, exc_info: Any) -> None:
        """Log an error that the application did not see, in a line."""
        if exc_info[1] is not None:
            log.info("%s", describe(exc_info[1]))
