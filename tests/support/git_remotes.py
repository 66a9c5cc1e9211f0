"""git's own servers, for dulwich's clients: ``git daemon``, ``git http-backend``, and a path."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from .git import Git

KINDS = ("path", "daemon", "http")
_LIMIT = 30.0
"""Seconds to wait for git."""


@contextmanager
def serving(repo: Git, kind: str) -> Iterator[str]:
    """Let git serve a repository, for pushing too; yield its address."""
    if kind == "path":
        yield str(repo.path)
    elif kind == "daemon":
        with _daemon(repo) as port:
            yield f"git://127.0.0.1:{port}/{repo.path.name}"
    else:
        with _http_backend(repo) as port:
            yield f"http://127.0.0.1:{port}/{repo.path.name}"


@contextmanager
def _daemon(repo: Git) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    command = ["git", "daemon", "--listen=127.0.0.1", f"--port={port}", "--export-all"]
    command += ["--enable=receive-pack", f"--base-path={repo.path.parent}", "--reuseaddr"]
    with subprocess.Popen(command, env=repo.env, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + _LIMIT
            while True:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert process.poll() is None, "git daemon ended"
                assert time.monotonic() < until, "git daemon does not listen"
                time.sleep(0.02)
            yield port
        finally:
            process.terminate()


@contextmanager
def _http_backend(repo: Git) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        """Runs ``git http-backend`` as a CGI program."""

        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            self.answer(b"")

        def do_POST(self) -> None:
            length = self.headers["Content-Length"]
            self.answer(self.rfile.read(int(length)) if length else b"".join(self.chunks()))

        def chunks(self) -> Iterator[bytes]:
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()

        def answer(self, body: bytes) -> None:
            url = urlsplit(self.path)
            variables = {
                "GIT_PROJECT_ROOT": str(repo.path.parent),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REQUEST_METHOD": self.command,
                "PATH_INFO": url.path,
                "QUERY_STRING": url.query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "REMOTE_USER": "tester",
            }
            answer = repo.run("http-backend", stdin=body, env=variables)
            head, _, body = answer.partition(b"\r\n\r\n")
            fields = [line.split(": ", 1) for line in head.decode().split("\r\n")]
            status = [value for name, value in fields if name == "Status"] or ["200 OK"]
            self.send_response(int(status[0].split()[0]))
            for name, value in fields:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def many_refs(path: Path) -> Git:
    """Make a repository with what old tools stumble over, in three tables.

    These are HEAD, 30 branches, an annotated tag, a tag of it, and a symref.
    """
    git = Git.init(path, bare=True, compacting=False)
    tree = git.run("write-tree").strip()
    first = git.run("commit-tree", "-m", "first", tree).strip()
    second = git.run("commit-tree", "-m", "second", "-p", first, tree).strip()
    names = [b"main", *(b"topic-%02d" % number for number in range(29))]
    git.update_ref_stdin(b"create refs/heads/%s %s" % (name, second) for name in names)
    git.run("tag", "-a", "-m", "tagged", "v1", first)
    git.run("tag", "-a", "-m", "tag of a tag", "v2", "v1")
    git.set_symrefs({b"refs/heads/alias": b"refs/heads/topic-03"})
    git.run("config", "http.receivepack", "true")
    return git
