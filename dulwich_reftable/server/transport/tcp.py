# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Serving a folder of repositories over ``git://``."""

from __future__ import annotations

import io
import socket
from collections.abc import Sequence
from typing import Any, cast

from dulwich.errors import GitProtocolError, NotGitRepository
from dulwich.protocol import TCP_GIT_PORT, pkt_line

from ..access import Access
from ..admission import admit, apply_grant
from ..authorization import AccessRequest
from ..connection import Connection
from ..creation import UnfitNameError
from ..errors import HANGUPS, RefusedError, printable, telling, trace
from ..folder import AnyFolder
from ..handlers import HANDLERS, Handlers, about_client, outcome_of
from ..pkt_lines import read_line
from .patience import PatientHandler
from .requests import Request
from .serving import Server, log

__all__ = ["GitServer"]

_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)
_LONGEST_REQUEST = 8192


class GitServer(Server):
    """A server for ``git://``.

    Args:
      folder: what to serve
      host: address to listen at
      port: 0 for any
      handlers: by the services' names
      access: which services are on; None for fetching only, unless a repository's
        ``daemon.receivePack`` turns on pushing
      listener: a socket that listens already; it replaces the address
    """

    def __init__(
        self,
        folder: AnyFolder,
        host: str = "127.0.0.1",
        port: int = TCP_GIT_PORT,
        handlers: Handlers = HANDLERS,
        access: Access | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        super().__init__((host, port), _Request, folder, handlers, access, listener)

    def busy(self, reason: str) -> bytes:
        """Give the answer to a client that is turned away."""
        answer: bytes = pkt_line(b"ERR %s; try again later" % reason.encode())
        return answer


class _Request(PatientHandler):
    """Serves one connection."""

    # Collect small answers; `before_wait` flushes them.
    wbufsize = 1 << 16

    def handle(self) -> None:
        """Serve the request and log a line about it."""
        self._what = "?"
        done = self._done = Request(str(self.client_address[0]))
        try:
            done.detail = self._serve()
        except HANGUPS as error:
            done.fail(error)
        except GitProtocolError as error:
            done.refuse(f"refused: {error}")
            self.linger()
        except Exception as error:
            log.debug("%s", trace(error))
            done.fail(error)
            self.linger()
        done.received = self.incoming.received
        self.server.request_ends(done)
        said = printable(done.detail)
        log.info(
            "%s %s %s (%.3f s)", done.client, self._what, said, done.seconds,
            extra={"request": done},
        )  # fmt: skip

    def _serve(self) -> str:
        proto = Connection(self._recv, self._write, self.wfile.flush)
        try:
            with telling(proto):
                service, args = self._command(proto)
                self.patience.end_head()
                self.server.request_begins(self.request, self._done.client)
                path = args[0].decode("utf-8", "surrogateescape")
                self._done.service = service.decode("latin-1")
                self._done.repository = path
                self._what = f"{printable(service.decode('latin-1'))} {path!a}"
                return self._dispatch(proto, service, [path, *args[1:]])
        finally:
            self.wfile.flush()

    def _dispatch(self, proto: Connection, service: bytes, args: Sequence[Any]) -> str:
        server = cast(GitServer, self.server)
        handler = server.handlers.get(service)
        if handler is None:
            raise RefusedError("service not enabled: " + self._what)
        who = AccessRequest(None, str(self.client_address[0]), args[0], service.decode())
        with server.folder.session() as session:
            try:
                repo, grant = admit(session, server.access.authorize, who)
            except UnfitNameError as error:
                raise RefusedError(str(error)) from error
            except NotGitRepository as error:
                denied = f"access denied or repository not exported: {args[0]!a}"
                raise RefusedError(denied) from error
            if not server.access.allows(repo.get_config_stack(), server.section, service.decode()):
                raise RefusedError("service not enabled: " + self._what)
            host, port = self.client_address[:2]
            shown = f"[{host}]" if ":" in host else host
            client = {"REMOTE_ADDR": shown, "REMOTE_PORT": str(port)}
            serving = handler(session, args, proto, **about_client(handler, client))
            apply_grant(serving, grant)
            try:
                serving.handle()
            finally:
                self._done.learn(serving)
            return outcome_of(serving)

    def _write(self, data: bytes) -> int:
        self._done.sent += len(data)
        if self._done.service == "git-upload-pack":
            self.time_left()
        return self.wfile.write(data)

    def before_wait(self) -> None:
        """Send buffered output, because the client cannot answer before it arrives."""
        self.wfile.flush()
        if _QUICK_ACK is not None:
            # git writes a request in pieces; Nagle's algorithm holds the next one until this ACK.
            self.connection.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)

    def _recv(self, size: int) -> bytes:
        """Read the bytes that have arrived; wait only if there are none."""
        stream = cast(io.BufferedReader, self.rfile)
        stream.peek(1)
        return stream.read1(size)

    @staticmethod
    def _command(proto: Connection) -> tuple[bytes, Sequence[Any]]:
        """Read the request: the service, the path, and words such as ``version=2``."""
        line = read_line(proto) or b""
        service, separator, rest = line.partition(b" ")
        path, *words = rest.split(b"\0")
        if not separator or not path or len(line) > _LONGEST_REQUEST:
            raise RefusedError("no request of git's")
        return service, [path, *words]
