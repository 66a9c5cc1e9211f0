"""Broken and malicious clients get an answer or a closed connection, and change nothing."""

from __future__ import annotations

import logging
import random
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support.git import Git, requires_git
from support.waiting import wait_for

from dulwich_reftable.server import Server

from . import wire
from .pushing import refs_of
from .serving import running

pytestmark = requires_git


@pytest.fixture
def files(origin: Git) -> dict[Path, bytes]:
    """All files of the repository."""
    return files_of(origin)


def files_of(git: Git) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in git.path.rglob("*") if path.is_file()}


def raw(url: str, data: bytes) -> bytes:
    """Send bytes to the port; return the answer."""
    with wire.connect(url) as connection, connection.makefile("rb") as stream:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return stream.read()
        except OSError:
            return b""


REQUESTS = [
    b"",
    b"\0" * 100,
    b"0000",
    b"0001",
    b"0003",
    b"0004",
    b"ffff" + b"x" * 100,
    b"-001",
    b"00 5x",
    b"GET / HTTP/1.0\r\n\r\n",
    wire.line(b"git-upload-pack"),
    wire.line(b"git-upload-pack \0"),
    wire.line(b"git-upload-pack /nowhere\0host=x\0"),
    wire.line(b"git-upload-pack /../../etc\0host=x\0"),
    wire.line(b"git-upload-pack //etc\0host=x\0"),
    wire.line(b"git-upload-pack /origin.git/refs\0host=x\0"),
    wire.line(b"git-upload-archive /origin.git\0host=x\0"),
    wire.line(b"rm-rf /origin.git\0host=x\0"),
    wire.line(b"\xff\xfe /origin.git\0host=x\0"),
    wire.line(b"git-receive-pack /" + b"x" * 9000 + b"\0host=x\0"),
    wire.line(b"git-receive-pack /new.git\0host=x\0"),
]


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
def test_requests(
    url: str, origin: Git, work: Git, files: dict[Path, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for request in REQUESTS:
        said = raw(url, request)
        assert b"Traceback" not in said
        assert said == b"" or said[4:8] == b"ERR "
        assert str(origin.path).encode() not in said
    assert work.run("ls-remote", url)
    assert files_of(origin) == files
    # One line each, perhaps after the client has gone, and no traceback.
    wait_for(lambda: len(logged(caplog)) >= len(REQUESTS) + 1)
    assert len(logged(caplog)) == len(REQUESTS) + 1
    assert not [entry for entry in caplog.records if entry.exc_info]


def logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the server logged."""
    return [entry for entry in caplog.records if entry.name == "dulwich_reftable.server"]


BODIES = [
    b"",
    b"0000",
    b"0001",
    b"fff0" + b"x" * 10,
    b"rubbish!" * 10,
    wire.line(b"want nonsense"),
    wire.line(b"want " + b"1" * 40),
    wire.line(b"want " + b"1" * 40 + b" no-such-thing ofs-delta"),
    wire.line(b"want " + b"g" * 40 + b" ofs-delta"),
    wire.line(b"have " + b"1" * 40),
    wire.line(b"command=ls-refs"),
    wire.line(b"command=ls-refs") + b"0001",
    wire.line(b"command=ls-refs") + b"0001" + wire.line(b"ref-prefix"),
    wire.line(b"command=ls-refs") + b"00010001",
    wire.line(b"command=rm") + b"0000",
    wire.line(b"command=fetch") + wire.line(b"command=fetch") + b"0000",
    wire.line(b"command=fetch") + b"0001" + wire.line(b"deepen -1") + b"0000",
    wire.line(b"command=fetch") + b"0001" + wire.line(b"deepen 99999999999999999999") + b"0000",
    wire.line(b"command=fetch") + b"0001" + wire.line(b"filter x:y") + b"0000",
    wire.line(b"agent=x") + b"0000",
    wire.line(b"object-format=sha256") + wire.line(b"command=ls-refs") + b"0000",
    wire.line(b"0" * 40),
    wire.line(b"0" * 40 + b" " + b"1" * 40),
    wire.line(b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/x"),
    wire.line(b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/x\0 no-such-thing"),
    wire.line(b"0" * 40 + b" " + b"1" * 64 + b" refs/heads/x\0 report-status"),
    wire.line(b"x" * 40 + b" " + b"1" * 40 + b" refs/heads/x\0 report-status"),
    wire.line(b"push-cert\0report-status"),
    wire.line(b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/x\0report-status atomic") + b"0000",
    wire.line(b"shallow " + b"1" * 40) + b"0000",
    wire.line(b"shallow"),
]


@pytest.mark.parametrize("served", ["tcp-reftable", "http-reftable"], indirect=True)
@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("service", ["git-upload-pack", "git-receive-pack"])
def test_bodies(
    url: str,
    origin: Git,
    work: Git,
    files: dict[Path, bytes],
    caplog: pytest.LogCaptureFixture,
    service: str,
    version: int,
) -> None:
    caplog.set_level(logging.DEBUG, "dulwich_reftable")
    draw = random.Random(7)
    mutated = []
    for body in BODIES:
        changed = bytearray(body + b"0000")
        changed[draw.randrange(len(changed))] = draw.randrange(256)
        mutated.append(bytes(changed))
    for body in BODIES + mutated:
        try:
            said = wire.ask(url, service, body, version=version)
        except urllib.error.HTTPError as error:
            said = error.read()
        assert b"Traceback" not in said
        assert str(origin.path).encode() not in said
    assert work.run("ls-remote", url)
    assert files_of(origin) == files
    surprises = [entry for entry in caplog.records if entry.exc_info and entry.levelno > 10]
    assert not surprises


@pytest.mark.parametrize("served", ["http-reftable"], indirect=True)
def test_http_paths(
    server: Server, url: str, origin: Git, files: dict[Path, bytes], root: Path
) -> None:
    (root.parent / "outside").mkdir()
    outside = Git.init(root.parent / "outside" / "o.git", bare=True)
    (root / "link.git").symlink_to(outside.path)
    (root / "worktree").mkdir()
    (root / "worktree" / ".git").write_text(f"gitdir: {outside.path}\n")
    refused = [
        "HEAD",
        "config",
        "origin.git/HEAD",
        "origin.git/config",
        "origin.git/info/refs",
        "origin.git/objects/info/packs",
        "origin.git/info/refs?service=git-upload-archive",
        "origin.git/info/refs?service=%ff",
        "../outside/o.git/info/refs?service=git-upload-pack",
        "x/%2e%2e/%2e%2e/outside/o.git/info/refs?service=git-upload-pack",
        "link.git/info/refs?service=git-upload-pack",
        "worktree/info/refs?service=git-upload-pack",
        "n%00/info/refs?service=git-upload-pack",
        "%ff%fe/info/refs?service=git-upload-pack",
        "%C3%A4/info/refs?service=git-receive-pack",
    ]
    for path in refused:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(server.url + path)
        assert caught.value.code in (403, 404), path
        assert b"Traceback" not in caught.value.read()
        caught.value.close()
    assert files_of(origin) == files
    assert urllib.request.urlopen(f"{url}/info/refs?service=git-upload-pack").status == 200


@pytest.mark.parametrize("served", ["tcp-reftable", "http-reftable"], indirect=True)
def test_hung_connections(root: Path, origin: Git, work: Git, kind: str) -> None:
    """The server closes them after a while; their number is limited, and they block nobody."""
    with running(root, kind) as server:
        server.idle_timeout = 0.5
        server.max_connections = 6
        url = server.url + "origin.git"
        begun = {
            "tcp": [b"", b"00", wire.line(b"git-receive-pack /origin.git\0host=x\0")],
            "http": [b"", b"POST /origin.git/git-receive-pack HTTP/1.1\r\nContent-Le"],
        }[kind]
        hung = [wire.connect(server.url) for _ in begun]
        for connection, data in zip(hung, begun, strict=True):
            connection.sendall(data)
        assert work.run("ls-remote", url)
        more = [wire.connect(server.url) for _ in range(10)]
        told = [recv_some(connection) for connection in more]
        assert any(b"too many connections" in said for said in told)
        for connection in hung + more:
            connection.settimeout(10)
            try:
                while connection.recv(65536):
                    pass
            except ConnectionError:
                pass
            connection.close()
        wait_for(lambda: not server._connections)
        assert work.run("ls-remote", url)
    assert b"refs/heads/main" in refs_of(origin)


def recv_some(connection: socket.socket) -> bytes:
    """Read what the server sends at once."""
    connection.settimeout(0.2)
    try:
        return connection.recv(4096)
    except OSError:
        return b""
