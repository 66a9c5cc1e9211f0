"""Attacks on a server's connections: is an honest client served at once afterwards?

Run it from the project's directory::

    python -m tests.soak.hostile_clients --seconds 60

A server in a process of its own is attacked, one attack after the other, over TCP and over HTTP.
After each attack an honest client has to be answered within a second, the memory has to be back
within 100 MB of what it was before, and the folder must hold what it held. A table tells how it
went. The exit status is 0 if all attacks were withstood.
"""

from __future__ import annotations

import argparse
import gzip
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from server.wire import line
from support.git import Git

MOST_SECONDS = 1.0
MOST_GROWTH = 100 << 20


@dataclass
class Target:
    """The server under attack.

    Attributes:
      kind: ``"tcp"`` or ``"http"``
      address: where it listens
      process: its id
      draw: for attacks that draw lots
    """

    kind: str
    address: tuple[str, int]
    process: int
    draw: random.Random

    @property
    def url(self) -> str:
        """The address of the repository."""
        scheme = {"tcp": "git", "http": "http"}[self.kind]
        return f"{scheme}://{self.address[0]}:{self.address[1]}/origin.git"

    def memory(self) -> int:
        """Bytes that the server holds in memory."""
        pages = int(Path(f"/proc/{self.process}/statm").read_text().split()[1])
        return pages * 4096

    def connect(self) -> socket.socket:
        """Connect to it."""
        return socket.create_connection(self.address, timeout=20)

    def say(self, *parts: bytes, wait: float = 5) -> None:
        """Send parts one after the other, and read what comes for a while."""
        with self.connect() as connection, suppress(OSError):
            for part in parts:
                connection.sendall(part)
            connection.settimeout(wait)
            while connection.recv(1 << 16):
                pass

    def request(self, service: str, body: bytes, *head: bytes) -> bytes:
        """Frame a request to a service."""
        if self.kind == "tcp":
            return line(f"{service} /origin.git\0host=x\0".encode()) + body
        kind = (
            f"POST /origin.git/{service} HTTP/1.1\r\nContent-Type: application/x-{service}-request"
        )
        length = b"Content-Length: %d" % len(body)
        return b"\r\n".join([kind.encode(), *(head or [length]), b"", body])


def silence(target: Target) -> None:
    """More connections than there may be, which say nothing."""
    connections = [target.connect() for _ in range(400)]
    time.sleep(1.5)
    for connection in connections:
        connection.close()


def trickle(target: Target) -> None:
    """As many connections, whose requests come a byte at a time."""
    request = target.request("git-upload-pack", b"")
    connections = [target.connect() for _ in range(300)]
    for letter in request[:20]:
        for connection in connections:
            with suppress(OSError):
                connection.sendall(bytes([letter]))
        time.sleep(0.1)
    for connection in connections:
        connection.close()


def half_open(target: Target) -> None:
    """Connections that are reset in the middle of a request."""
    request = target.request("git-receive-pack", b"00")
    for _ in range(300):
        with target.connect() as connection:
            connection.sendall(request[: target.draw.randrange(len(request))])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def deaf(target: Target) -> None:
    """Clients that ask for everything and read nothing."""
    wants = target.request("git-upload-pack", line(b"command=ls-refs") + b"00010000")
    connections = [target.connect() for _ in range(20)]
    for connection in connections:
        with suppress(OSError):
            connection.sendall(wants)
    time.sleep(1)
    for connection in connections:
        connection.close()


def large_heads(target: Target) -> None:
    """Heads, lines and packets that do not end."""
    for _ in range(20):
        if target.kind == "http":
            target.say(b"GET / HTTP/1.1\r\n", b"X: " + b"x" * (8 << 20))
            target.say(b"GET /" + b"x" * (8 << 20))
            target.say(
                b"GET / HTTP/1.1\r\n", *[b"X-%d: %s\r\n" % (n, b"x" * 9000) for n in range(999)]
            )
        else:
            target.say(b"fff0" + b"x" * 0xFFF0, b"x" * (8 << 20))
            target.say(b"ffff" * (2 << 20))


def rubbish(target: Target) -> None:
    """Requests that are drawn, or mutated from right ones."""
    for number in range(300):
        service = ("git-upload-pack", "git-receive-pack")[number % 2]
        request = bytearray(target.request(service, line(b"want " + b"1" * 40) + b"0000"))
        for _ in range(target.draw.randrange(1, 8)):
            request[target.draw.randrange(len(request))] = target.draw.randrange(256)
        target.say(bytes(request), wait=0.02)
        target.say(target.draw.randbytes(200), wait=0.02)


def commands(target: Target) -> None:
    """Pushes of very many and very long names, which go nowhere."""
    command = line(b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/" + b"x" * 60_000)
    target.say(target.request("git-receive-pack", command * 1000 + b"0000"))
    short = b"".join(line(b"0" * 40 + b" " + b"1" * 40 + b" refs/x/%d" % n) for n in range(200_000))
    target.say(target.request("git-receive-pack", short + b"0000"))


def bombs(target: Target) -> None:
    """Requests of gzip that inflate to a hundred times and more."""
    if target.kind == "tcp":
        return
    want = line(b"want " + b"1" * 40)
    inner = [
        gzip.compress(want * 2_000_000, 9),
        gzip.compress(bytes(1 << 30), 1),
        gzip.compress(want * 1000)[:-20],
        b"\x1f\x8b" + target.draw.randbytes(100_000),
    ]
    for packed in inner:
        for service in ("git-upload-pack", "git-receive-pack"):
            for encoding in (b"gzip", b"x-gzip"):
                head = [b"Content-Encoding: " + encoding, b"Content-Length: %d" % len(packed)]
                target.say(target.request(service, packed, *head))


def chunks(target: Target) -> None:
    """Bodies in chunks that are malformed, or never end."""
    if target.kind == "tcp":
        return
    for body in (
        b"ffffffffffffff\r\n" + bytes(1 << 20),
        b"1\r\na\r\n" * 100_000,
        b"-5\r\nabcde\r\n0\r\n\r\n",
        b"0\r\n" + b"X: x\r\n" * 100_000,
        b"1" + b";x" * 1_000_000 + b"\r\n",
    ):
        target.say(target.request("git-upload-pack", body, b"Transfer-Encoding: chunked"), wait=1)


def paths(target: Target) -> None:
    """Names that lead elsewhere, or to what nobody shall have."""
    names = ["../x", "HEAD", ".git", "origin.git/objects/x", "a\nb", "-x", "x" * 5000, "%2e%2e/x"]
    for name in names:
        for service in ("git-upload-pack", "git-receive-pack"):
            if target.kind == "tcp":
                target.say(line(f"{service} /{name}\0host=x\0".encode()), wait=1)
                continue
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "X"):
                for rest in (f"/info/refs?service={service}", f"/{service}"):
                    head = f"{method} /{name}{rest} HTTP/1.1\r\nContent-Length: 4\r\n\r\n0000"
                    target.say(head.encode(), wait=1)


ATTACKS: list[Callable[[Target], None]] = [
    silence, trickle, half_open, deaf, large_heads, rubbish, commands, bombs, chunks, paths,
]  # fmt: skip


@contextmanager
def served(root: Path, kind: str, draw: random.Random) -> Iterator[Target]:
    """Serve a folder from another process."""
    command = ["-m", "dulwich_reftable", "serve", "--port", "0", "--create", "--timeout", "5"]
    flags = ["--http"] if kind == "http" else []
    with (root.parent / f"log-{kind}").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command, *flags, str(root)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    try:
        host, port = process.stdout.readline().split()[-1].rstrip("/").rpartition("/")[2].split(":")
        yield Target(kind, (host, int(port)), process.pid, draw)
    finally:
        process.terminate()
        process.stdout.close()
        process.wait()


def make(root: Path) -> Git:
    """Make the repository that is served, with some thousand refs."""
    origin = Git.init(root / "origin.git", bare=True)
    tree = origin.run("mktree").strip()
    commit = origin.run("commit-tree", "-m", "one", tree).strip()
    names = [b"refs/heads/main", *(b"refs/tags/t%d" % number for number in range(5000))]
    origin.update_ref_stdin(b"create %s %s" % (name, commit) for name in names)
    return origin


def contents(root: Path) -> dict[Path, bytes]:
    """All files below a folder."""
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def attack(target: Target, origin: Git, how: Callable[[Target], None]) -> bool:
    """Attack once, and tell how it went; gives whether the attack was withstood."""
    origin.run("ls-remote", target.url)
    before = target.memory()
    files = contents(origin.path.parent)
    began = time.monotonic()
    how(target)
    took = time.monotonic() - began
    began = time.monotonic()
    done = origin.start(["ls-remote", target.url, "refs/heads/main"], b"", None)
    answered = time.monotonic() - began
    until = time.monotonic() + 10
    while (growth := target.memory() - before) > MOST_GROWTH and time.monotonic() < until:
        time.sleep(0.1)
    complaints = [] if done.returncode == 0 else ["not served: " + done.stderr.decode()]
    if answered > MOST_SECONDS:
        complaints.append("slow")
    if growth > MOST_GROWTH:
        complaints.append("memory")
    if contents(origin.path.parent) != files:
        complaints.append("the folder has changed")
    print(
        f"{target.kind:5}{how.__name__:14}{took:8.2f} s{answered:8.3f} s{growth / 2**20:9.1f} MB  "
        + ("; ".join(complaints) or "withstood"),
        flush=True,
    )
    return not complaints


def main(argv: Sequence[str] | None = None) -> int:
    """Attack until the time is over, each attack once at least."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parsed = parser.parse_args(argv)
    until = time.monotonic() + parsed.seconds
    draw = random.Random(parsed.seed)
    failed = 0
    print("over attack            took  honest client  growth")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "root"
        origin = make(root)
        with served(root, "tcp", draw) as tcp, served(root, "http", draw) as http:
            while True:
                for how in ATTACKS:
                    failed += sum(not attack(target, origin, how) for target in (tcp, http))
                if time.monotonic() > until:
                    break
        for log in Path(place).glob("log-*"):
            text = log.read_bytes()
            if b"Traceback" in text:
                failed += 1
                print(f"{log.name} holds a traceback: {text[text.index(b'Traceback') :][:500]!r}")
    print(f"{failed} attacks did harm" if failed else "all attacks were withstood")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
