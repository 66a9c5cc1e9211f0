# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Serving a folder of repositories over ``git://``."""

from __future__ import annotations

import socket
import socketserver
import time
from collections.abc import Sequence
from typing import Any, cast

from dulwich.errors import GitProtocolError, HangupException, NotGitRepository
from dulwich.protocol import TCP_GIT_PORT, ReceivableProtocol

from .errors import RefusedError, telling
from .folder import Folder
from .handlers import HANDLERS, Handlers
from .lines import read_line
from .serving import Server, log
from .settings import is_enabled

__all__ = ["GitServer"]

_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class GitServer(Server):
    """A server for ``git://``.

    Args:
      folder: what to serve
      host: address to listen at
      port: 0 for any
      handlers: by the services' names
    """

    def __init__(
        self,
        folder: Folder,
        host: str = "127.0.0.1",
        port: int = TCP_GIT_PORT,
        handlers: Handlers = HANDLERS,
    ) -> None:
        self.folder = folder
        self.handlers = handlers
        super().__init__((host, port), _Request)


class _Request(socketserver.StreamRequestHandler):
    """One connection."""

    # Small answers go together, and then at once.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Serve it, and log a line."""
        began = time.monotonic()
        self._what = "?"
        try:
            outcome = self._serve()
        except RefusedError as error:
            outcome = f"refused: {error}"
        except HangupException:
            outcome = "hung up"
        except (GitProtocolError, OSError) as error:
            outcome = f"failed: {error}"
        except Exception as error:
            log.error("%s: %s", self._what, error, exc_info=True)
            outcome = f"failed: {type(error).__name__}"
        took = time.monotonic() - began
        log.info("%s %s %s (%.3f s)", self.client_address[0], self._what, outcome, took)

    def _serve(self) -> str:
        server = cast(GitServer, self.server)
        proto = ReceivableProtocol(self._recv, self.wfile.write)
        try:
            with telling(proto):
                service, args = self._command(proto)
                handler = server.handlers.get(service)
                path = args[0].decode("utf-8", "surrogateescape")
                self._what = f"{service.decode('ascii', 'replace')} {path!a}"
                if handler is None:
                    raise RefusedError("service not enabled: " + self._what)
                with server.folder.session() as session:
                    try:
                        repo = session.open_repository(
                            path, for_push=service == b"git-receive-pack"
                        )
                    except NotGitRepository as error:
                        denied = f"access denied or repository not exported: {path!a}"
                        raise RefusedError(denied) from error
                    if not is_enabled(repo.get_config_stack(), "daemon", service.decode()):
                        raise RefusedError("service not enabled: " + self._what)
                    handler(session, [path, *args[1:]], proto).handle()
        finally:
            self.wfile.flush()
        return "done"

    def _recv(self, size: int) -> bytes:
        """Read; the client does not answer what it has not got yet."""
        self.wfile.flush()
        if _QUICK_ACK is not None:
            # git writes a request in pieces, and waits for this before it sends the next one.
            self.connection.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        return cast(bytes, self.connection.recv(size))

    @staticmethod
    def _command(proto: ReceivableProtocol) -> tuple[bytes, Sequence[Any]]:
        """Read what the client wants: the service, the path, and words such as ``version=2``."""
        line = read_line(proto) or b""
        service, separator, rest = line.partition(b" ")
        path, *words = rest.split(b"\0")
        if not separator or not path or len(line) > 8192:
            raise RefusedError("no request of git's")
        return service, [path, *words]
