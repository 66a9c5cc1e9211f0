# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Serving a folder of repositories over smart HTTP.

:class:`Application` is WSGI, for whichever server; :class:`HTTPGitServer` is one for small needs.
Requests are taken apart by dulwich's application. Dumb clients are turned away: what they would get
are files, which know nothing of hidden refs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from socketserver import TCPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from dulwich.errors import HangupException, NotGitRepository
from dulwich.web import (
    GunzipFilter,
    HTTPGitApplication,
    LimitedInputFilter,
    get_info_refs,
    handle_service_request,
)

from .errors import RefusedError
from .folder import Folder, Session
from .handlers import HANDLERS, Handlers
from .receive import ReceivePackHandler
from .serving import Server, log
from .settings import is_enabled

__all__ = ["Application", "HTTPGitServer"]

_MOST_DRAINED = 1 << 20


class Application:
    """A WSGI application.

    Args:
      folder: what to serve
      handlers: by the services' names
    """

    def __init__(self, folder: Folder, handlers: Handlers = HANDLERS) -> None:
        self._folder = folder
        self._handlers = handlers
        self._limited = LimitedInputFilter(self._answer)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request."""
        return self._limited(environ, start_response)

    def _answer(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterator[bytes]:
        """Answer a request, log a line, and let no error out."""
        began = time.monotonic()
        body = environ["wsgi.input"]
        answer = _Answer(start_response)
        outcome = "done"
        try:
            with self._folder.session() as session:
                yield from self._dispatch(session, environ, answer)
        except RefusedError as error:
            outcome = f"refused: {error}"
        except HangupException:
            outcome = "hung up"
        except Exception as error:
            outcome = f"failed: {type(error).__name__}: {error}"
            log.debug("%s", outcome, exc_info=True)
        if answer.status is None:
            yield answer.refuse("500 Internal Server Error", "the request could not be served")
        if environ.get("CONTENT_LENGTH"):
            _drain(body)
        took = time.monotonic() - began
        what = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']!a}"
        log.info(
            "%s %s %s %s (%.3f s)",
            environ.get("REMOTE_ADDR"), what, (answer.status or "")[:3], outcome, took,
        )  # fmt: skip

    def _dispatch(
        self, session: Session, environ: dict[str, Any], answer: _Answer
    ) -> Iterator[bytes]:
        path, service = _service(environ)
        handler = self._handlers.get(service.encode("ascii", "replace"))
        if handler is None:
            yield answer.refuse("403 Forbidden", "service not enabled")
            return
        try:
            repo = session.open_repository(path, for_push=service == "git-receive-pack")
        except NotGitRepository as error:
            yield answer.refuse("404 Not Found", str(error))
            return
        if not is_enabled(repo.get_config_stack(), "http", service):
            yield answer.refuse("403 Forbidden", "service not enabled")
            return
        said = {"git_protocol": environ.get("HTTP_GIT_PROTOCOL")}
        if isinstance(handler, type) and issubclass(handler, ReceivePackHandler):
            said["committer"] = _committer(environ)
        application = _Smart(session, handlers={service.encode(): partial(handler, **said)})
        yield from GunzipFilter(application)(environ, answer)


class _Smart(HTTPGitApplication):
    """dulwich's application, for smart clients only."""

    services: ClassVar[dict[Any, Any]] = {
        key: function
        for key, function in HTTPGitApplication.services.items()
        if function in (get_info_refs, handle_service_request)
    }


class _Answer:
    """``start_response``, remembering whether it was called.

    Args:
      start_response: the server's
    """

    def __init__(self, start_response: Callable[..., Any]) -> None:
        self._start_response = start_response
        self.status: str | None = None

    def __call__(self, status: str, *args: Any) -> Any:
        self.status = status
        return self._start_response(status, *args)

    def refuse(self, status: str, reason: str) -> bytes:
        """Begin an answer that says why there is none; gives its text."""
        self(status, [("Content-Type", "text/plain")])
        return reason.encode("ascii", "replace") + b"\n"


def _service(environ: dict[str, Any]) -> tuple[str, str]:
    """Take a request apart: the path of the repository, and the service."""
    # WSGI has the bytes of the path as Latin-1; dulwich, and file names, are better served so.
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "surrogateescape")
    environ["PATH_INFO"] = path
    if environ["REQUEST_METHOD"] == "POST":
        repository, _, service = path.rpartition("/")
        return repository, service
    service = parse_qs(environ.get("QUERY_STRING", "")).get("service", [""])[0]
    return path.removesuffix("/info/refs"), service


def _committer(environ: dict[str, Any]) -> bytes:
    """Say who pushes, as git's ``http-backend`` does."""
    user = environ.get("REMOTE_USER") or "anonymous"
    host = environ.get("REMOTE_ADDR") or "(none)"
    name = "".join(letter for letter in user if letter.isprintable() and letter not in "<>")
    return f"{name} <{name}@http.{host}>".encode()


def _drain(body: Any) -> None:
    """Read what is left of a request: to hang up on it would lose the answer."""
    left = _MOST_DRAINED
    while left > 0:
        try:
            data = body.read(1 << 16)
        except OSError:
            return
        if not data:
            return
        left -= len(data)


class HTTPGitServer(Server, WSGIServer):
    """A server for smart HTTP.

    Args:
      folder: what to serve
      host: address to listen at
      port: 0 for any
      handlers: by the services' names
    """

    scheme = "http"

    def __init__(
        self,
        folder: Folder,
        host: str = "127.0.0.1",
        port: int = 8000,
        handlers: Handlers = HANDLERS,
    ) -> None:
        super().__init__((host, port), _Request)
        self.set_app(Application(folder, handlers))

    def server_bind(self) -> None:
        """Bind the socket, without asking for the name of the host, which takes time."""
        TCPServer.server_bind(self)
        self.server_name = str(self.server_address[0])
        self.server_port = int(self.server_address[1])
        self.setup_environ()


class _Request(WSGIRequestHandler):
    """One connection."""

    def log_message(self, format: str, *args: Any) -> None:
        """Log what the application knows nothing of: requests that are not HTTP."""
        log.debug("%s %s", self.client_address[0], format % args)

    def address_string(self) -> str:
        """Give the client's address; its name is nobody's business, and takes time."""
        return str(self.client_address[0])
