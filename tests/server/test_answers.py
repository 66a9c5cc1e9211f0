"""How the HTTP server ends an answer: by a length, a last chunk, or the end of the connection."""

from __future__ import annotations

import http.client
import socket
from contextlib import closing
from pathlib import Path

import pytest
from support.git import Git, requires_git

from dulwich_reftable.server import Server

from .serving import running

pytestmark = [requires_git, pytest.mark.parametrize("ref_format", ["reftable"])]

ADVERTISEMENT = "/origin.git/info/refs?service=git-upload-pack"


def ask(server: Server, target: str) -> tuple[http.client.HTTPResponse, bytes]:
    host, port = server.server_address[:2]
    with closing(http.client.HTTPConnection(str(host), int(port), timeout=30)) as connection:
        connection.request("GET", target)
        answer = connection.getresponse()
        return answer, answer.read()


def test_an_advertisement_comes_in_chunks(root: Path, origin: Git) -> None:
    """libgit2 must learn where the answer ends."""
    with running(root, "http") as server:
        answer, body = ask(server, ADVERTISEMENT)
        assert (answer.status, answer.version, answer.chunked) == (200, 11, True)
    lines = body.split(b"\n")
    assert lines[0] == b"001e# service=git-upload-pack"
    assert lines[-1] == b"0000"
    assert any(line.endswith(b" refs/heads/main") for line in lines)


@pytest.mark.parametrize("target", ["/nothing.git/info/refs?service=git-upload-pack", "/"])
def test_a_refusal_ends_too(root: Path, origin: Git, target: str) -> None:
    with running(root, "http") as server:
        answer, body = ask(server, target)
        assert answer.status in (403, 404)
        assert answer.chunked or answer.getheader("Content-Length")
        assert body


def test_an_old_client_gets_no_chunks(root: Path, origin: Git) -> None:
    with running(root, "http") as server:
        address = "127.0.0.1", int(server.server_address[1])
        with socket.create_connection(address, timeout=30) as client:
            client.sendall(b"GET %s HTTP/1.0\r\n\r\n" % ADVERTISEMENT.encode())
            said = client.makefile("rb").read()
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body.startswith(b"001e# service=git-upload-pack\n0000")
    assert body.endswith(b"0000")


def test_libgit2(root: Path, origin: Git, work: Git, tmp_path: Path) -> None:
    pygit2 = pytest.importorskip("pygit2", reason="needs libgit2 by pygit2")
    with running(root, "http") as server:
        clone = pygit2.clone_repository(f"{server.url}origin.git", str(tmp_path / "clone"))
        clone.remotes["origin"].push(["refs/heads/main:refs/heads/from-libgit2"])
    assert b"refs/heads/from-libgit2" in origin.for_each_ref()
