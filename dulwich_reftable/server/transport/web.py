# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Serving a folder of repositories over smart HTTP, behind any WSGI server.

There are two kinds of requests: ``GET NAME/info/refs?service=SERVICE`` asks for the advertisement
of a service, and ``POST NAME/SERVICE`` is a request to the service (``gitprotocol-http``). Dumb
clients are refused, because files do not respect hidden refs.

The server answers nothing before it knows that the request is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from dulwich.config import Config
from dulwich.errors import GitProtocolError, NotGitRepository

from ...config.types import unsigned
from ...config.values import find_value
from ..access import Access
from ..admission import ChallengeError, ForbiddenError, admit, apply_grant
from ..authorization import AccessRequest
from ..connection import Connection
from ..errors import HANGUPS, printable, trace
from ..folder import AnyFolder, Session
from ..handlers import HANDLERS, Handlers, about_client, outcome_of
from ..passwords import TooManyAttemptsError
from .basic_auth import user_of
from .body import Read, bounded, decoded, plain_reader
from .requests import Request
from .serving import log

__all__ = ["Application"]

_SERVICES = ("git-upload-pack", "git-receive-pack")
_MOST_DRAINED = 1 << 20
_CHALLENGE = ("WWW-Authenticate", 'Basic realm="git", charset="UTF-8"')
_NO_CACHE = [
    ("Expires", "Fri, 01 Jan 1980 00:00:00 GMT"),
    ("Pragma", "no-cache"),
    ("Cache-Control", "no-cache, max-age=0, must-revalidate"),
]


class Application:
    """A WSGI application.

    Args:
      folder: what to serve
      handlers: by the services' names
      access: which services are on; None for fetching, and for pushing by authenticated users
        (``REMOTE_USER``), unless a repository's ``http.*`` says otherwise
    """

    def __init__(
        self, folder: AnyFolder, handlers: Handlers = HANDLERS, access: Access | None = None
    ) -> None:
        self._folder = folder
        self._handlers = handlers
        self._access = access or Access()
        self.on_end: Callable[[Request], object] = Request.end

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterator[bytes]:
        """Answer a request and log a line about it; no exception leaves this method."""
        done = Request(environ.get("REMOTE_ADDR") or "-", environ.get("REMOTE_USER") or None)
        answer = _Answer(environ["REQUEST_METHOD"], start_response)
        plain = plain_reader(environ)

        def body(size: int) -> bytes:
            data = plain(size)
            done.received += len(data)
            return data

        try:
            with self._folder.session() as session:
                done.detail = self._serve(session, environ, body, answer, done)
        except _StatusError as error:
            done.refuse(error.reason)
            yield answer.refuse(error)
        except HANGUPS as error:
            done.fail(error)
            answer.end()  # the client may still be there: its request may just end too early
        except GitProtocolError as error:
            done.refuse(f"refused: {error}")
        except Exception as error:
            done.fail(error)
            log.debug("%s", trace(error))
        if answer.status is None:
            yield answer.refuse(_StatusError("500 Internal Server Error", "internal server error"))
        _drain(body)
        done.sent = answer.sent
        self.on_end(done)
        what = f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '')!a}"
        log.info(
            "%s %s %s %s (%.3f s)",
            printable(done.who), printable(what), answer.status[:3] if answer.status else "-",
            printable(done.detail), done.seconds,
            extra={"request": done},
        )  # fmt: skip

    def _serve(
        self,
        session: Session,
        environ: dict[str, Any],
        body: Read,
        answer: _Answer,
        done: Request,
    ) -> str:
        """Serve a request; gives its outcome for the log."""
        request = _Request.of(environ)
        done.service, done.repository = request.service, request.path
        handler = self._handlers.get(request.service.encode())
        if handler is None:
            raise _StatusError("403 Forbidden", f"service not enabled: {request.service}")
        for_push = request.service == "git-receive-pack"
        access = self._access
        user = done.user = _user_of(environ, access)
        who = AccessRequest(user, environ.get("REMOTE_ADDR"), request.path, request.service)
        try:
            repo, grant = admit(session, access.authorize, who)
        except ChallengeError as error:
            raise _StatusError("401 Unauthorized", str(error), _CHALLENGE) from error
        except ForbiddenError as error:
            raise _StatusError("403 Forbidden", str(error)) from error
        except NotGitRepository as error:
            raise _StatusError("404 Not Found", str(error)) from error
        config = repo.get_config_stack()
        if not access.allows(config, "http", request.service, user):
            is_for_users = access.allows(config, "http", request.service, "somebody")
            if is_for_users and user is None and access.check_password is not None:
                raise _StatusError("401 Unauthorized", "authentication required", _CHALLENGE)
            raise _StatusError("403 Forbidden", f"service not enabled: {request.service}")
        try:
            read = decoded(body, environ.get("HTTP_CONTENT_ENCODING", ""))
        except ValueError as error:
            raise _StatusError("415 Unsupported Media Type", str(error)) from error
        if not for_push:
            read = bounded(read, _max_request_buffer(config))
        about = about_client(handler, _client(environ))
        if for_push and about:
            about["committer"] = "{} <{}>".format(*_identity(environ)).encode()
        kind = "advertisement" if request.advertises else "result"
        answer.content_type = f"application/x-{request.service}-{kind}"
        proto = Connection((lambda _: b"") if request.advertises else read, answer.write)
        serving = handler(
            session, [request.path], proto,
            stateless_rpc=True, advertise_refs=request.advertises,
            git_protocol=environ.get("HTTP_GIT_PROTOCOL"), **about,
        )  # fmt: skip
        apply_grant(serving, grant)
        if request.advertises:
            proto.write_pkt_line(f"# service={request.service}\n".encode())
            proto.write_pkt_line(None)
        try:
            serving.handle()
        finally:
            done.learn(serving)
        answer.end()
        return outcome_of(serving)


class _StatusError(Exception):
    """The request is refused by a status and a line of text."""

    def __init__(self, status: str, reason: str, *headers: tuple[str, str]) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


class _Request(NamedTuple):
    """A request of a client.

    Attributes:
      path: of the repository
      service: such as ``"git-upload-pack"``
      advertises: whether it asks for the advertisement
    """

    path: str
    service: str
    advertises: bool

    @classmethod
    def of(cls, environ: dict[str, Any]) -> _Request:
        """Parse a request.

        Raises:
          _StatusError: if requests of that kind are not served
        """
        # WSGI decodes the path as Latin-1; file names need its bytes.
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "surrogateescape")
        method = environ["REQUEST_METHOD"]
        repository, _, service = path.rpartition("/")
        if service in _SERVICES:
            _check_method(method, "POST")
            expected = f"application/x-{service}-request"
            if environ.get("CONTENT_TYPE", "").strip().lower() != expected:
                raise _StatusError("415 Unsupported Media Type", f"expected {expected}")
            return cls(repository, service, False)
        if not path.endswith("/info/refs"):
            raise _StatusError("404 Not Found", "only smart HTTP is served")
        _check_method(method, "GET", "HEAD")
        service = parse_qs(environ.get("QUERY_STRING", "")).get("service", [""])[0]
        if service not in _SERVICES:
            raise _StatusError("403 Forbidden", "only smart HTTP is served")
        return cls(path.removesuffix("/info/refs"), service, True)


def _check_method(method: str, *allowed: str) -> None:
    if method not in allowed:
        allow = ("Allow", ", ".join(allowed))
        raise _StatusError("405 Method Not Allowed", f"use {' or '.join(allowed)}", allow)


class _Answer:
    """The answer to a request; the status and headers go out with the first bytes.

    Args:
      method: of the request
      start_response: the server's

    Attributes:
      status: as sent; None before that
      content_type: of the answer, unless the request is refused
      sent: bytes of the answer's body
    """

    def __init__(self, method: str, start_response: Callable[..., Any]) -> None:
        self._has_body = method != "HEAD"
        self._start_response = start_response
        self._write: Callable[[bytes], object] = lambda data: None
        self.status: str | None = None
        self.content_type = ""
        self.sent = 0

    def write(self, data: bytes) -> int:
        """Send a part of the answer."""
        if self.status is None:
            self.status = "200 OK"
            headers = [("Content-Type", self.content_type), *_NO_CACHE]
            self._write = self._start_response(self.status, headers)
        if data and self._has_body:
            self.sent += len(data)
            self._write(data)
        return len(data)

    def end(self) -> None:
        """Send an answer without a body, if nothing was sent."""
        if self.status is None and self.content_type:
            self.write(b"")

    def refuse(self, error: _StatusError) -> bytes:
        """Begin an answer that refuses the request; gives its text."""
        text = printable(error.reason).encode() + b"\n"
        self.status = error.status
        length = ("Content-Length", str(len(text)))
        headers = [("Content-Type", "text/plain"), length, *_NO_CACHE, *error.headers]
        self._start_response(error.status, headers)
        return text if self._has_body else b""


def _user_of(environ: dict[str, Any], access: Access) -> str | None:
    """Find the user of a request.

    Raises:
      _StatusError: if the user does not prove who it is
    """
    try:
        return user_of(environ, access.check_password)
    except ChallengeError as error:
        raise _StatusError("401 Unauthorized", str(error), _CHALLENGE) from error
    except TooManyAttemptsError as error:
        later = ("Retry-After", "60")
        raise _StatusError("429 Too Many Requests", str(error), later) from error


def _max_request_buffer(config: Config) -> int:
    """Read ``http.maxRequestBuffer``: the longest request to fetch, in bytes; 10 MiB as in git."""
    return find_value(config, b"http", b"maxRequestBuffer", unsigned) or 10 << 20


def _drain(read: Read) -> None:
    """Read the rest of a request: closing the connection before would destroy the answer."""
    left = _MOST_DRAINED
    try:
        while left > 0 and (data := read(1 << 16)):
            left -= len(data)
    except (OSError, GitProtocolError):
        return


def _client(environ: dict[str, Any]) -> dict[str, str]:
    """Give the environment variables that tell hooks about the client."""
    names = ("REMOTE_USER", "REMOTE_ADDR", "REMOTE_PORT")
    client = {name: str(environ[name]) for name in names if environ.get(name)}
    name, address = _identity(environ)
    return {"GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": address, **client}


def _identity(environ: dict[str, Any]) -> tuple[str, str]:
    """Give the name and the address of the client, as git's ``http-backend`` makes them."""
    user = environ.get("REMOTE_USER") or "anonymous"
    host = environ.get("REMOTE_ADDR") or "(none)"
    name = "".join(letter for letter in user if letter.isprintable() and letter not in "<>")
    return name, f"{name}@http.{host}"
