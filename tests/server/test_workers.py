"""``serve --workers``: processes that share a socket, are restarted, reloaded, and end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.git import Git, requires_git
from support.waiting import GUARD, wait_for

from dulwich_reftable.server.transport.board import Board
from dulwich_reftable.server.turns import Turns

from . import wire
from .pushing import push, refs_of
from .serving import WAITING_HOOK, Start

pytestmark = [
    requires_git,
    pytest.mark.skipif(sys.platform != "linux", reason="the tests find workers in /proc"),
]
tcp = pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)

SERVE = ("-m", "dulwich_reftable", "serve", "--port", "0", "--workers", "2", "--create")


def children(process: subprocess.Popen[bytes]) -> set[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return {int(pid) for pid in path.read_text().split()}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def two_workers(process: subprocess.Popen[bytes]) -> set[int]:
    wait_for(lambda: len(children(process)) == 2)
    return children(process)


@tcp
def test_a_dead_worker_is_replaced(start: Start, root: Path, origin: Git, work: Git) -> None:
    process, url = start(*SERVE, str(root))
    assert work.run("ls-remote", url + "origin.git")
    before = two_workers(process)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: victim not in children(process) and len(children(process)) == 2)
    assert len(children(process) & before) == 1
    for _ in range(4):
        assert work.run("ls-remote", url + "origin.git")
    everybody = children(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=GUARD) == 0
    assert not any(map(is_alive, everybody))


@tcp
def test_workers_end_with_their_supervisor(start: Start, root: Path, origin: Git) -> None:
    process, _ = start(*SERVE, str(root))
    workers = two_workers(process)
    process.kill()
    wait_for(lambda: not any(map(is_alive, workers)))


@tcp
def test_a_reload_lets_a_push_finish(start: Start, root: Path, origin: Git, work: Git) -> None:
    hook = origin.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(WAITING_HOOK)
    hook.chmod(0o755)
    main = refs_of(origin)[b"refs/heads/main"]
    empty = origin.run("pack-objects", "--stdout")
    process, url = start(*SERVE, str(root))
    assert work.run("ls-remote", url + "origin.git")
    before = two_workers(process)
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(
            wire.push, url + "origin.git", b"%s %s refs/heads/late" % (wire.ZERO, main), pack=empty
        )
        wait_for(lambda: (origin.path / "begun").exists())
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(children(process) & before) == 1 and len(children(process)) == 3)
        assert work.run("ls-remote", url + "origin.git")
        (origin.path / "go").touch()
        assert b"ok refs/heads/late\n" in said.result()
    wait_for(lambda: not children(process) & before)
    assert len(children(process)) == 2


def test_workers_make_the_same_repository(start: Start, root: Path, work: Git) -> None:
    _, url = start(*SERVE, str(root))
    with ThreadPoolExecutor(6) as pool:
        names = [f"main:refs/heads/b{number}" for number in range(6)]
        codes = list(pool.map(lambda name: push(work, url + "x.git", name)[0], names))
    assert codes == [0] * 6
    assert [path.name for path in root.iterdir()] == ["x.git"]
    assert len(refs_of(Git(root / "x.git"))) == 6


def test_workers_that_cannot_begin_end_the_server(tmp_path: Path) -> None:
    """Each worker makes its server anew; here this fails, and nothing loops.

    What the workers share with the supervisor is left alone by the collector.
    """
    program = """
import gc, sys
from dulwich_reftable.server.transport.workers import Supervisor, listen, seats_for
from dulwich_reftable.server.transport.board import Board
def make(listener):
    is_shared = not hasattr(gc, "freeze") or gc.get_freeze_count() > 1000
    raise OSError("no luck" if is_shared else "objects are not frozen")
sys.exit(Supervisor(listen("127.0.0.1", 0), make, 2, Board(seats_for(2))).run())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True, check=False, timeout=GUARD,
    )  # fmt: skip
    assert done.returncode == 1
    assert 1 <= done.stderr.count(b"no luck") <= 2
    assert b"no worker begins to serve" in done.stderr


def test_the_least_loaded_worker_goes_first() -> None:
    board = Board(3)
    first, second = board.take(), board.take()
    assert first is not None
    assert second is not None
    first.connections = 2
    assert first.is_least_loaded  # the other one does not accept yet
    second.beat()
    assert not first.is_least_loaded
    assert second.is_least_loaded
    second.stop()
    assert first.is_least_loaded
    first.clear()
    assert board.take() is first
    assert board.take() is board.seats[2]
    assert board.take() is None


def test_turns() -> None:
    turns = Turns(2, lease=60)
    begun, go = threading.Semaphore(0), threading.Event()

    def work() -> None:
        with turns.turn():
            begun.release()
            assert go.wait(GUARD)

    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(work) for _ in range(3)]
        assert begun.acquire(timeout=GUARD)
        assert begun.acquire(timeout=GUARD)
        assert not begun.acquire(timeout=0.05)
        go.set()
        for each in done:
            each.result()
    # A turn that lasts too long keeps nobody waiting.
    turns = Turns(1, lease=0.01)
    with turns.turn(), turns.turn():
        pass
