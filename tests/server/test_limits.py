"""What an operator limits and sees: clients of an address, rates, time, memory; logs and counts."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support.garbage import COUNTS_REFERENCES
from support.git import Git, requires_git
from support.waiting import wait_for

from dulwich_reftable.server import HANDLERS, UploadPackHandler
from dulwich_reftable.server.buckets import key_of
from dulwich_reftable.server.transport.board import Board
from dulwich_reftable.server.transport.metrics import Metrics
from dulwich_reftable.server.transport.requests import Request

from . import wire
from .pushing import push
from .serving import Start, running

pytestmark = requires_git
both = pytest.mark.parametrize("served", ["tcp-reftable", "http-reftable"], indirect=True)
tcp = pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)


def complaint(work: Git, url: str) -> bytes:
    """What git says when it lists the refs; empty if it succeeds."""
    done: subprocess.CompletedProcess[bytes] = work.start(["ls-remote", url], b"", None)
    return done.stderr if done.returncode else b""


@both
def test_clients_of_an_address(root: Path, origin: Git, work: Git, kind: str) -> None:
    with running(root, kind) as server:
        server.max_per_address = 2
        url = server.url + "origin.git"
        idle = [wire.connect(server.url) for _ in range(2)]
        wait_for(lambda: server.seat.connections == 2)
        said = complaint(work, url)
        assert {"tcp": b"from your address", "http": b"503"}[kind] in said
        for connection in idle:
            connection.close()
        wait_for(lambda: server.seat.connections == 0)
        assert complaint(work, url) == b""


@tcp
def test_a_rate_of_connections(root: Path, origin: Git, work: Git, kind: str) -> None:
    with running(root, kind) as server:
        server.rate = 1e-6
        assert complaint(work, server.url + "origin.git") == b""
        assert b"too many requests a second" in complaint(work, server.url + "origin.git")


def test_buckets_and_places(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10**12
    monkeypatch.setattr("time.monotonic_ns", lambda: now)
    board = Board(2, 3)
    first, second = board.seats
    assert [first.is_too_fast("10.0.0.1", 0.2) for _ in range(3)] == [False, False, True]
    assert second.is_too_fast("10.0.0.1", 0.2)  # the workers share it
    assert not second.is_too_fast("10.0.0.2", 0.2)
    now += 5 * 10**9
    assert not first.is_too_fast("10.0.0.1", 0.2)
    assert key_of("2001:db8::1") == key_of("2001:db8::ffff%eth0")
    assert key_of("::ffff:10.0.0.1") == key_of("10.0.0.1") != key_of("10.0.0.2")
    places = [first.enter("a"), first.enter("a"), second.enter("a")]
    assert len(set(places)) == 3
    assert second.count("a") == 3
    first.leave(places[0])
    assert second.count("a") == 2
    first.clear()
    assert second.count("a") == 1


class Waiting(UploadPackHandler):
    """Waits for longer than the deadline before it answers."""

    def handle(self) -> None:
        threading.Event().wait(0.3)
        super().handle()


@tcp
def test_a_deadline(root: Path, origin: Git, work: Git, kind: str) -> None:
    """A fetch that takes too long is refused in words; a push whose pack has come is not."""
    handlers = {**HANDLERS, b"git-upload-pack": Waiting}
    with running(root, kind, handlers=handlers) as server:
        url = server.url + "origin.git"
        assert push(work, url, "main:refs/heads/x")[0] == 0
        server.deadline = 0.2
        assert b"takes longer than 0.2 seconds" in complaint(work, url)
        with wire.connect(server.url) as idle:
            idle.settimeout(30)
            assert b"takes longer than" in idle.recv(1000)


class Greedy(UploadPackHandler):
    """Runs out of memory."""

    def handle(self) -> None:
        raise MemoryError


@both
def test_out_of_memory(root: Path, origin: Git, work: Git, kind: str) -> None:
    told = threading.Event()
    with running(root, kind, handlers={**HANDLERS, b"git-upload-pack": Greedy}) as server:
        server.out_of_memory = told.set
        assert complaint(work, server.url + "origin.git")
        wait_for(told.is_set)


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory")
@both
def test_what_an_operator_sees(
    start: Start, root: Path, origin: Git, work: Git, tmp_path: Path, kind: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags, workers = (["--http"], 2) if kind == "http" else ([], 1)
    process, url = start(
        *("-m", "dulwich_reftable", "serve", "--port", "0", *flags, "--create"),
        *("--workers", str(workers)),
        *("--log", "json", "--metrics", f"127.0.0.1:{port}", "--worker-memory", "2000", str(root)),
    )
    assert push(work, url + "origin.git", "main:refs/heads/x")[0] == 0
    assert complaint(work, url + "nothing.git")
    metrics = f"http://127.0.0.1:{port}/"
    wait_for(lambda: get(metrics + "healthz") == (200, "ok\n"))
    wait_for(lambda: 'service="upload-pack",outcome="refused"} 1\n' in get(metrics + "metrics")[1])
    text = get(metrics + "metrics")[1]
    assert re.search(r'requests_total{service="receive-pack",outcome="done"} [12]\n', text)
    assert re.search(r'received_bytes_total{service="receive-pack"} [1-9]', text)
    assert f"\ndulwich_reftable_workers {workers}\n" in text
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == workers + 1  # with the metrics; a single worker, too, can be replaced
    assert get(metrics)[0] == 404
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    pushed = [line for line in lines if line.get("refs")]
    assert len(pushed) == 1
    assert pushed[0]["refs"][0]["ref"] == "refs/heads/x"
    assert (pushed[0]["service"], pushed[0]["outcome"]) == ("git-receive-pack", "done")
    assert pushed[0]["agent"].startswith("git/")
    assert pushed[0]["received"] > 0
    assert pushed[0]["sent"] > 0


def test_counts_outlive_workers_and_health_does_not() -> None:
    board = Board(1)
    seat = board.take()
    assert seat is not None
    for seconds, received in ((0.05, 3), (20.0, 0)):
        request = Request(service="git-upload-pack", received=received)
        request.seconds = seconds
        seat.count_request(request)
    server = Metrics("127.0.0.1", 0)
    server.begin(board)
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        assert get(url + "healthz")[0] == 503
        seat.beat()
        assert get(url + "healthz")[0] == 200
        seat.clear()
        assert get(url + "healthz")[0] == 503
        text = get(url + "metrics")[1]
        assert 'received_bytes_total{service="upload-pack"} 3\n' in text
        histogram = 'dulwich_reftable_request_seconds_%s{service="upload-pack"'
        for bound, number in (("0.01", 0), ("0.1", 1), ("1", 1), ("10", 1), ("+Inf", 2)):
            assert f'{histogram % "bucket"},le="{bound}"}} {number}\n' in text
        assert f"{histogram % 'sum'}}} 20.05\n" in text
        assert f"{histogram % 'count'}}} 2\n" in text
    finally:
        server.shutdown()
        server.server_close()


def test_buckets_are_shared_by_processes() -> None:
    """So failed passwords and rates count for all workers."""
    program = """
import os
from dulwich_reftable.server.buckets import Buckets
buckets = Buckets()
assert buckets.take(5, 1e-6, 3)
if not os.fork():
    os._exit(not (buckets.take(5, 1e-6, 3) and buckets.take(5, 1e-6, 3)))
assert os.wait()[1] == 0
assert not buckets.take(5, 1e-6, 3) and buckets.take(6, 1e-6, 3)
buckets.give_back(5)
assert buckets.take(5, 1e-6, 3)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory")
def test_memory_is_limited() -> None:
    program = """
from dulwich_reftable.server.transport.memory import limit_memory
limit_memory(300 << 20)
try:
    bytearray(1 << 30)
except MemoryError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"refused\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process has")
@pytest.mark.skipif(not COUNTS_REFERENCES, reason="objects are in a heap of the interpreter's own")
def test_memory_is_given_back() -> None:
    """Large blocks are, even if small ones that were made between them are still in use."""
    program = """
import threading
from dulwich_reftable.server.transport.memory import give_back_memory

def work():
    bytearray(1 << 20)
    large, small = [], []
    for _ in range(64):
        large.append(bytearray(b"x") * (1 << 20))
        small.append(bytearray(1000))
    del large
    print(resident() - before)
    return small

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) >> 8

print(give_back_memory())
before = resident()
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    is_done, kept = done.stdout.split()
    if is_done == b"False":
        pytest.skip("the C library is another one than GNU's, or the environment tells it")
    assert int(kept) < 32
