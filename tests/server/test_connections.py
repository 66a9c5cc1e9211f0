"""Slow, hostile and too many clients: each gets an answer in bounded time, and others find room."""

from __future__ import annotations

import gzip
import logging
import re
import socket
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from support.git import Git, requires_git

from dulwich_reftable.server import HANDLERS, ReceivePackHandler, UploadPackHandler
from dulwich_reftable.server.errors import printable
from dulwich_reftable.server.transport.patience import SLOWEST, Patience

from . import wire
from .pushing import push
from .serving import running

pytestmark = requires_git

both = pytest.mark.parametrize("served", ["tcp-reftable", "http-reftable"], indirect=True)
tcp = pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
http = pytest.mark.parametrize("served", ["http-reftable"], indirect=True)


def test_patience() -> None:
    patience = Patience(10)
    for _ in range(9):
        patience.spend(1, 1 << 20)
    assert patience.left == 1  # the head has to come in time, however large it is
    patience.end_head()
    for _ in range(1000):
        patience.spend(1, SLOWEST)
    assert patience.left == 10
    for _ in range(10):
        patience.spend(1, 1)
    assert 0 < patience.left < 1
    patience.spend(1, 1)
    assert patience.left < 0


def rest_of(connection: socket.socket) -> bytes:
    """Read until the server closes the connection; fail if it takes too long."""
    connection.settimeout(30)
    said = b""
    with suppress(ConnectionError):
        while data := connection.recv(65536):
            said += data
    return said


BEGUN = {
    "tcp": [
        b"",
        b"00",
        wire.line(b"git-upload-pack /origin.git\0host=x\0"),
        wire.line(b"git-receive-pack /origin.git\0host=x\0") + b"00",
    ],
    "http": [
        b"",
        b"GET /origin.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: ",
        b"POST /origin.git/git-upload-pack HTTP/1.1\r\nContent-Length: 1000\r\n"
        b"Content-Type: application/x-git-upload-pack-request\r\n\r\n00",
        b"POST /origin.git/git-receive-pack HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/x-git-receive-pack-request\r\n\r\n5",
    ],
}


@both
def test_a_trickle_does_not_keep_a_connection(root: Path, origin: Git, kind: str) -> None:
    """A byte now and then is not enough in any part of a request."""
    with running(root, kind) as server:
        server.idle_timeout = 0.4
        connections = [wire.connect(server.url) for _ in BEGUN[kind]]
        for connection, begun in zip(connections, BEGUN[kind], strict=True):
            connection.sendall(begun)
        left = set(connections)
        pause = threading.Event()
        for _ in range(200):
            pause.wait(0.1)
            for connection in list(left):
                try:
                    connection.sendall(b"0")
                except OSError:
                    left.discard(connection)
            if not left:
                break
        assert not left
        for connection in connections:
            connection.close()


@both
def test_idle_connections_make_room(root: Path, origin: Git, work: Git, kind: str) -> None:
    """Silent clients take all places; honest clients are still served."""
    with running(root, kind) as server:
        server.max_connections = 4
        server.youth = 0
        idle = [wire.connect(server.url) for _ in range(20)]
        for connection in idle[::2]:
            connection.sendall({"tcp": b"00", "http": b"GET /"}[kind])
        assert work.run("ls-remote", server.url + "origin.git")
        for connection in idle:
            connection.close()


class Slow(UploadPackHandler):
    """A handler that waits until the test lets it go on."""

    begun = threading.Semaphore(0)
    go = threading.Event()

    def handle(self) -> None:
        self.begun.release()
        assert self.go.wait(30)
        super().handle()


@both
def test_too_many_at_work(root: Path, origin: Git, work: Git, kind: str) -> None:
    """The clients at the limit are served; a further one is told that the server is busy."""
    Slow.go.clear()
    handlers = {**HANDLERS, b"git-upload-pack": Slow}
    request = {
        "tcp": wire.line(b"git-upload-pack /origin.git\0host=x\0"),
        "http": b"GET /origin.git/info/refs?service=git-upload-pack HTTP/1.0\r\n\r\n",
    }[kind]
    with running(root, kind, handlers=handlers) as server:
        server.max_connections = 2
        server.youth = 0
        busy = [wire.connect(server.url) for _ in range(2)]
        for connection in busy:
            connection.sendall(request)
            assert Slow.begun.acquire(timeout=30)
        late = work.start(["ls-remote", server.url + "origin.git"], b"", None)
        assert late.returncode != 0
        assert {"tcp": b"too many connections", "http": b"503"}[kind] in late.stderr
        Slow.go.set()
        for connection in busy:
            if kind == "tcp":
                connection.sendall(b"0000")
            assert b"refs/heads/main" in rest_of(connection)
            connection.close()
        assert work.run("ls-remote", server.url + "origin.git")


class Broken(UploadPackHandler):
    """A handler that fails."""

    def handle(self) -> None:
        from dulwich_reftable.server.errors import telling

        with telling(self.proto):
            raise RuntimeError("secret\n/srv/secret")


class BrokenReceiver(ReceivePackHandler):
    """A handler that fails in the middle of a push."""

    def _judge(self, *args: Any) -> None:
        raise RuntimeError("secret\n/srv/secret")


@both
def test_internal_errors(
    root: Path, origin: Git, work: Git, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client learns that there was an error; the log says which."""
    caplog.set_level(logging.INFO, "dulwich_reftable")
    handlers = {**HANDLERS, b"git-upload-pack": Broken, b"git-receive-pack": BrokenReceiver}
    with running(root, kind, handlers=handlers) as server:
        url = server.url + "origin.git"
        fetched = work.start(["ls-remote", url], b"", None).stderr
        pushed = push(work, url, "main:refs/heads/x")[2].encode()
    for said in (fetched, pushed):
        assert b"internal server error" in said
        assert b"secret" not in said
    failed = [text for text in caplog.messages if "failed" in text]
    assert len(failed) == 2
    assert all(r"RuntimeError: secret\n/srv/secret" in text for text in failed)


@both
def test_what_became_of_a_push_is_logged(
    url: str, origin: Git, work: Git, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dulwich_reftable")
    push(work, url, "main:refs/heads/a", "main:refs/heads/main/x")
    push(work, url, "main:refs/heads/b")
    said = [text for text in caplog.messages if "refs updated" in text]
    while len(said) < 2:  # the line comes after the answer
        said = [text for text in caplog.messages if "refs updated" in text]
    assert "refused, 1 of 2 refs updated; b'refs/heads/main/x': b'refname conflict'" in said[0]
    assert "done, 1 of 1 refs updated" in said[1]


def test_nothing_forges_a_log_line() -> None:
    assert printable("a b~'\"\\") == "a b~'\"\\"
    assert printable("a\nb\r\x1b[0m\x00\u2028\udcff\xe4") == r"a\nb\r\x1b[0m\x00\u2028\udcff\xe4"


@both
def test_requests_do_not_forge_log_lines(
    url: str, origin: Git, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dulwich_reftable")
    evil = b"x\n2026-01-01 forged\x1b[2J"
    if kind == "tcp":
        for request in (
            b"git-upload-pack /" + evil + b"\0host=x\0",
            b"git-" + evil + b" /origin.git\0host=x\0",
            b"git-upload-pack /origin.git\0host=" + evil,
        ):
            with closing(wire.connect(url)) as connection:
                connection.sendall(wire.line(request))
                connection.shutdown(socket.SHUT_WR)
                rest_of(connection)
    else:
        for line in (b"GET /x%0aforged HTTP/1.1", b"GET /\x1b[2J", b"\x1b[2J"):
            with closing(wire.connect(url)) as connection:
                connection.sendall(line + b"\r\nConnection: close\r\n\r\n")
                rest_of(connection)
    want = b"want " + b"1" * 40 + b" ofs-delta filter side-band-64k agent=" + evil
    for body in (
        wire.line(want) + wire.line(b"filter " + evil) + b"0000",
        wire.line(b"want " + evil),
        wire.line(evil),
        wire.line(b"command=ls-refs") + b"0001" + wire.line(b"peel" + evil) + b"0000",
    ):
        for version in (0, 2):
            wire.ask(url, "git-upload-pack", body, version=version)
    for body in (wire.line(evil), wire.line(b"0" * 40 + b" " + b"1" * 40 + b" refs/" + evil)):
        wire.ask(url, "git-receive-pack", body + b"0000")
    assert caplog.messages
    for text in caplog.messages:
        assert re.fullmatch(r"[\x20-\x7e]*", text), text


@both
@pytest.mark.parametrize("ref_format", ["reftable", "files"])
def test_names_of_refs_that_are_too_long(url: str, origin: Git, work: Git, ref_format: str) -> None:
    """The client is told about each such name, and the rest of the push goes in."""
    main = origin.run("rev-parse", "main").strip()
    empty = origin.run("pack-objects", "--stdout")
    for number, name in enumerate((b"x" * 300, b"x" * 5000, b"x/" * 2500 + b"x", b"x" * 60_000)):
        said = wire.push(
            url,
            b"%s %s refs/heads/%s" % (wire.ZERO, main, name),
            b"%s %s refs/heads/fine%d" % (wire.ZERO, main, number),
            pack=empty,
        )
        assert b"unpack ok\n" in said
        assert b"ok refs/heads/fine%d\n" % number in said
        assert b"ng refs/heads/" + name in said or number == 0


def raw(url: str, head: bytes, body: bytes = b"") -> bytes:
    """Send a request of HTTP; gives the answer."""
    with closing(wire.connect(url)) as connection:
        connection.sendall(head + b"\r\n\r\n" + body)
        connection.shutdown(socket.SHUT_WR)
        return rest_of(connection)


POST = (
    b"POST /origin.git/git-upload-pack HTTP/1.1\r\n"
    b"Content-Type: application/x-git-upload-pack-request\r\n"
)


@http
@pytest.mark.parametrize(
    ("head", "status"),
    [
        (POST + b"Content-Length: 4", b"200"),
        (POST + b"Transfer-Encoding: chunked", b"200"),
        (POST + b"Content-Length: 4\r\nContent-Length: 4", b"400"),
        (POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked", b"400"),
        (POST + b"Content-Length: -4", b"400"),
        (POST + b"Content-Length: +4", b"400"),
        (POST + b"Content-Length: 4,4", b"400"),
        (POST + b"Content-Length: 99999999999999999999999", b"400"),
        (POST + b"Content-Length: \xb2", b"400"),
        (POST + b"Transfer-Encoding: gzip, chunked", b"501"),
        (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"501"),
        (POST + b"Content-Length: 4\r\nContent-Encoding: br", b"415"),
        (POST.replace(b"x-git", b"x-got") + b"Content-Length: 4", b"415"),
        (POST + b"\r\n".join(b"X-%d: 1" % n for n in range(200)), b"431"),
        (POST + b"X: " + b"x" * 70_000, b"431"),
        (POST + b"\r\n".join(b"X-%d: %s" % (n, b"x" * 9000) for n in range(50)), b"431"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1", b"431"),
        (b"GET /", b"400"),
        (b"GET / HTTP/9.9", b"505"),
        (b"GET / HTTP/x", b"400"),
        (b"GET / / HTTP/1.1", b"400"),
    ],
)
def test_heads(url: str, origin: Git, work: Git, head: bytes, status: bytes) -> None:
    body = b"4\r\n0000\r\n0\r\n\r\n" if b"Transfer-Encoding" in head else b"0000"
    answer = raw(url, head, body)
    version, said, _ = answer.split(b" ", 2)
    assert (version[:5], said) == (b"HTTP/", status), answer[:200]
    assert work.run("ls-remote", url)


@http
def test_gzip_over_http(url: str, origin: Git) -> None:
    """With chunks and with a length, as gzip and as x-gzip; a bomb is refused."""
    want = b"want " + origin.run("rev-parse", "main").strip() + b" ofs-delta"
    sent = gzip.compress(wire.line(want) + b"0000" + wire.line(b"done\n"))
    framed = {
        b"Content-Length: %d" % len(sent): sent,
        b"Transfer-Encoding: chunked": b"%x\r\n%s\r\n0\r\n\r\n" % (len(sent), sent),
    }
    for encoding in (b"gzip", b"x-gzip", b"GZIP"):
        for head, body in framed.items():
            answer = raw(url, POST + b"Content-Encoding: %s\r\n" % encoding + head, body)
            assert b"PACK" in answer
    more = wire.line(want.removesuffix(b" ofs-delta"))
    bomb = gzip.compress(wire.line(want) + more * 250_000)
    head = b"Content-Encoding: gzip\r\nContent-Length: %d" % len(bomb)
    assert b"ERR the request is larger than http.maxRequestBuffer" in raw(url, POST + head, bomb)


@http
def test_large_bodies(url: str, origin: Git, work: Git) -> None:
    """git sends them in chunks, in pieces of http.postBuffer."""
    (work.path / "large").write_bytes(
        bytes(range(256)) * 10
        + b"".join(hash(str(n)).to_bytes(8, "little", signed=True) for n in range(300_000))
    )
    work.run("add", ".")
    work.run("commit", "-q", "-m", "large")
    for size in ("1000", "3000000"):
        assert push(work, "-c", f"http.postBuffer={size}", url, f"main:refs/heads/b{size}")[0] == 0


@tcp
@pytest.mark.parametrize(
    ("limit", "value"), [("_MAX_COMMANDS", 3), ("_MAX_COMMAND_BYTES", 3 * 100)]
)
def test_too_many_commands(
    url: str, origin: Git, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(f"dulwich_reftable.server.receive_pack.handler.{limit}", value)
    main = origin.run("rev-parse", "main").strip()
    command = b"%s %s refs/heads/" % (main, wire.ZERO)
    assert b"unpack ok" in wire.push(url, command + b"a", command + b"b")
    said = wire.push(url, *(command + name for name in (b"a", b"b", b"c", b"d")))
    assert b"ERR receive-pack: too many commands" in said
