"""Several requests on one connection of HTTP/1.1, and when a connection ends instead."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from support.git import Git, requires_git
from support.waiting import wait_for

from dulwich_reftable.server import HTTPGitServer, Server

from . import wire
from .serving import running

pytestmark = [requires_git, pytest.mark.parametrize("ref_format", ["reftable"])]

ADVERTISEMENT = "/origin.git/info/refs?service=git-upload-pack"
FETCH = {"Content-Type": "application/x-git-upload-pack-request", "Git-Protocol": "version=2"}
LS_REFS = b"".join([wire.line(b"command=ls-refs\n"), b"0001", wire.line(b"peel\n"), b"0000"])


Connect = Callable[[Server], http.client.HTTPConnection]


@pytest.fixture
def connect() -> Iterator[Connect]:
    made: list[http.client.HTTPConnection] = []

    def connect(server: Server) -> http.client.HTTPConnection:
        host, port = server.server_address[:2]
        made.append(http.client.HTTPConnection(str(host), int(port), timeout=30))
        return made[-1]

    yield connect
    for connection in made:
        connection.close()


def ask(
    connection: http.client.HTTPConnection,
    target: str = ADVERTISEMENT,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, bytes]:
    """Ask on the same connection; it must not have been closed."""
    before = connection.sock
    connection.request(method, target, body, dict(headers))
    assert before in (None, connection.sock)
    answer = connection.getresponse()
    return answer.status, answer.read()


def is_closed(connection: http.client.HTTPConnection | socket.socket) -> bool:
    """Wait for the end of a connection on which nothing is to come."""
    found = connection if isinstance(connection, socket.socket) else connection.sock
    return found is None or found.recv(1) == b""


def test_requests_of_all_kinds(root: Path, origin: Git, connect: Connect) -> None:
    with running(root, "http") as server:
        kept, apart = connect(server), connect(server)
        requests: list[tuple[str, str, bytes | None, dict[str, str]]] = [
            (ADVERTISEMENT, "GET", None, {}),
            (ADVERTISEMENT, "HEAD", None, {}),
            ("/origin.git/git-upload-pack", "POST", LS_REFS, FETCH),
            ("/nothing.git/info/refs?service=git-upload-pack", "GET", None, {}),
            ("/origin.git/git-upload-pack", "POST", b"x" * 100_000, {"Content-Type": "text/plain"}),
            ("/origin.git/git-upload-pack", "PUT", b"", {}),
            (ADVERTISEMENT, "GET", None, {"Git-Protocol": "version=2"}),
        ]
        for target, method, body, headers in requests:
            answers = [
                ask(kept, target, method, body, headers),
                ask(apart, target, method, body, {**headers, "Connection": "close"}),
            ]
            assert answers[0] == answers[1], target
            assert is_closed(apart)
            apart = connect(server)
        assert b"refs/heads/main" in ask(kept)[1]
        wait_for(lambda: server.seat.connections == 0)


def test_requests_that_are_sent_at_once(root: Path, origin: Git) -> None:
    with running(root, "http") as server, wire.connect(server.url) as client:
        one = f"GET {ADVERTISEMENT} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        last = one.replace(b"Host", b"Connection: close\r\nHost")
        client.sendall(one + one + last)
        said = client.makefile("rb").read()
    assert said.count(b"HTTP/1.1 200 OK") == 3
    assert said.count(b"\r\n0\r\n\r\n") == 3
    assert said.count(b"Connection: close") == 1


@pytest.mark.parametrize(
    "head",
    [
        f"GET {ADVERTISEMENT} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        f"GET {ADVERTISEMENT} HTTP/1.0\r\n\r\n",
        f"GET {ADVERTISEMENT} HTTP/1.1\r\nConnection: close\r\n\r\n",
        # Of a body that does not come, nobody knows where the next request would begin.
        f"GET {ADVERTISEMENT} HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
        f"GET {ADVERTISEMENT} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
        f"GET {ADVERTISEMENT} HTTP/1.1\r\n\r\n",
    ],
)
def test_a_connection_that_ends(root: Path, origin: Git, head: str) -> None:
    with running(root, "http") as server, socket.socket() as client:
        server.idle_timeout = 0.3
        client.settimeout(30)
        client.connect(("127.0.0.1", int(server.server_address[1])))
        client.sendall(head.encode())
        said = client.makefile("rb").read()
        assert said.startswith(b"HTTP/1.1 200 OK")
        assert said.count(b"HTTP/1.1") == 1


def test_a_client_that_asks_no_more(root: Path, origin: Git, connect: Connect) -> None:
    """It is told nothing, since there is no request that took too long."""
    with running(root, "http") as server:
        assert isinstance(server, HTTPGitServer)
        server.keep_alive = 0.05
        kept = connect(server)
        assert ask(kept)[0] == 200
        assert is_closed(kept)
        server.keep_alive = 0
        kept = connect(server)
        assert ask(kept)[0] == 200
        assert kept.sock is None


def test_the_end_of_the_server(root: Path, origin: Git, connect: Connect) -> None:
    """It waits for requests, for a thousand seconds if need be, but not for clients."""
    with running(root, "http") as server:
        server.grace = server.idle_timeout = 1000
        kept = connect(server)
        assert ask(kept)[0] == 200
        wait_for(lambda: bool(server._waiting))
    assert is_closed(kept)


def test_waiting_connections_keep_nobody_out(root: Path, origin: Git, connect: Connect) -> None:
    with running(root, "http") as server:
        server.max_connections = server.max_per_address = 2
        kept = [connect(server) for _ in range(5)]
        for connection in kept:
            wait_for(lambda: len(server._waiting) == len(server._connections))
            assert ask(connection)[0] == 200
        assert is_closed(kept[0])
        wait_for(lambda: len(server._waiting) == 2)
        assert ask(kept[-1])[0] == 200


def test_each_request_counts(root: Path, origin: Git, connect: Connect) -> None:
    """Else one connection could ask as often as it liked."""
    with running(root, "http") as server:
        server.rate = 1e-6
        kept = connect(server)
        assert ask(kept)[0] == 200
        status, text = ask(kept)
        assert (status, b"too many requests a second" in text) == (503, True)
        assert is_closed(kept)


def test_limits_are_for_the_clients_of_a_proxy(root: Path, origin: Git, connect: Connect) -> None:
    with running(root, "http") as server:
        server.proxies = 1
        server.rate = 1e-6
        proxy = connect(server)
        assert ask(proxy, headers={"X-Forwarded-For": "10.0.0.9, 10.0.0.1"})[0] == 200
        assert ask(proxy, headers={"X-Forwarded-For": "10.0.0.2"})[0] == 200
        assert ask(proxy, headers={"X-Forwarded-For": "10.0.0.1"})[0] == 503
        server.rate = None
        server.max_per_address = 1
        place = server.seat.enter("10.0.0.3")
        assert ask(connect(server), headers={"X-Forwarded-For": "10.0.0.3"})[0] == 503
        server.seat.leave(place)
        assert ask(connect(server), headers={"X-Forwarded-For": "10.0.0.3"})[0] == 200


def test_the_address_that_the_first_of_two_proxies_adds(
    root: Path, origin: Git, connect: Connect
) -> None:
    with running(root, "http") as server:
        server.proxies = 2
        server.rate = 1e-6
        proxy = connect(server)
        for forwarded, status in (
            ("10.0.0.7, 10.0.0.1, 10.0.0.9", 200),
            ("10.0.0.2, 10.0.0.8", 200),
            ("10.0.0.9", 200),  # it came past one of them: the peer itself
            ("10.0.0.1, 10.0.0.8", 503),
        ):
            assert ask(proxy, headers={"X-Forwarded-For": forwarded})[0] == status, forwarded


POST = (
    b"POST /origin.git/git-upload-pack HTTP/1.1\r\n"
    b"Content-Type: application/x-git-upload-pack-request\r\n"
)
STRICT = [
    (POST + b"Content-Length: 4\r\n\r\n0000", 3),
    (b"\r\n" + POST + b"Content-Length: 4\r\n\r\n0000", 3),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n4;x=y\r\n0000\r\n0\r\nX: y\r\n\r\n", 3),
    (POST + b"Connection: x, Close\r\nContent-Length: 4\r\n\r\n0000", 1),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\n0000\r\n0\r\n\n", 1),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n4\n0000\r\n0\r\n\r\n", 1),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n4;x\n0000\r\n0\r\n\r\n", 1),
    (POST + b"Transfer-Encoding : chunked\r\n\r\n", 1),
    (POST + b"Content-Length : 4\r\n\r\n0000", 1),
    (POST + b"Content-Length: 4\r\n\tX: y\r\n\r\n0000", 1),
    (POST + b"X: y\rContent-Length: 4\r\n\r\n0000", 1),
    (POST + b"no field\r\nContent-Length: 4\r\n\r\n0000", 1),
]
"""Requests, and how many of three such requests on one connection are answered."""


def test_where_a_request_ends(root: Path, origin: Git) -> None:
    """What a proxy may read differently is refused: a request must not be taken for two."""
    with running(root, "http") as server:
        for request, count in STRICT:
            with wire.connect(server.url) as client:
                client.sendall(request * 3)
                client.shutdown(socket.SHUT_WR)
                said = client.makefile("rb").read()
            assert said.count(b"HTTP/1.") == count, request


def test_a_connection_that_was_cut_off(root: Path, origin: Git) -> None:
    """Its request is not done, since its client would not hear of it."""
    aborted = pytest.raises(ConnectionAbortedError)
    with running(root, "http") as server, socket.socket() as stranger, aborted:
        server.request_begins(stranger, "10.0.0.1")


def test_git_uses_one_connection(root: Path, origin: Git, work: Git) -> None:
    with running(root, "http") as server:
        accepted: list[object] = []
        get_request = server.get_request

        def accept() -> tuple[object, object]:
            accepted.append(1)
            return get_request()

        server.get_request = accept  # type: ignore[method-assign]
        work.run("-c", "protocol.version=2", "ls-remote", server.url + "origin.git")
        assert len(accepted) == 1
