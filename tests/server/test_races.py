"""Many clients at once: exactly one wins, the losers know it, and nothing acknowledged is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.engine.stack import locks
from dulwich_reftable.engine.stack.locks import attempts
from dulwich_reftable.server import ReceivePackHandler, Server

from . import wire
from .pushing import push, refs_of, tables

pytestmark = requires_git

CLIENTS = 4
ROUNDS = 4


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    """Threads to run clients in."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        yield pool


def commits(origin: Git, parent: str, count: int, name: str) -> list[bytes]:
    """Make commits on one parent, in the repository that is served."""
    return [
        origin.run("commit-tree", "-p", parent, "-m", f"{name} {number}", "main^{tree}").strip()
        for number in range(count)
    ]


def at_once(clients: ThreadPoolExecutor, work: list[Callable[[], bytes]]) -> list[bytes]:
    """Run all at once."""
    barrier = threading.Barrier(len(work))

    def begin(one: Callable[[], bytes]) -> bytes:
        barrier.wait()
        return one()

    return list(clients.map(begin, work))


def push_two(turn: str, seat: Git) -> tuple[int, dict[str, str]]:
    """Push to a branch that everybody pushes to, and to one of our own."""
    return push(seat, "origin", "HEAD:main", f"HEAD:refs/heads/{seat.path.name}-{turn}")[:2]


def test_racing_clients(
    url: str, origin: Git, clients: ThreadPoolExecutor, tmp_path: Path, kind: str
) -> None:
    """Each client pushes a commit of its own on top of what it saw."""
    origin.run("config", "core.logAllRefUpdates", "true")
    seats = [Git(tmp_path / f"client{number}") for number in range(CLIENTS)]
    for seat in seats:
        origin.run("clone", "-q", url, str(seat.path))
    acknowledged = []
    for turn in range(ROUNDS):
        for number, seat in enumerate(seats):
            seat.run("fetch", "-q")
            seat.run("reset", "-q", "--hard", "origin/main")
            seat.run("commit", "-q", "--allow-empty", "-m", f"{turn} by {number}")

        attempt = partial(push_two, f"turn{turn}")
        outcomes = list(clients.map(attempt, seats))
        winners = [
            seat.run("rev-parse", "HEAD").strip()
            for seat, (code, _) in zip(seats, outcomes, strict=True)
            if code == 0
        ]
        assert len(winners) == 1
        for code, told in outcomes:
            assert (code == 0) == (told["refs/heads/main"] == " ")
        acknowledged += winners
    history = origin.run("rev-list", "--first-parent", "main").split()
    assert history[ROUNDS - 1 :: -1] == acknowledged
    if (origin.path / "reftable").is_dir():
        logged = [entry.new for entry in origin.reflogs()[b"refs/heads/main"]]
        assert logged == acknowledged


def test_stale_old_values_at_once(url: str, origin: Git, clients: ThreadPoolExecutor) -> None:
    """The pushes are made by hand, so that all have the same old value."""
    main = origin.run("rev-parse", "main").strip()
    for _ in range(ROUNDS):
        rivals = commits(origin, "main", CLIENTS, "rival")
        pack = origin.run("pack-objects", "--stdout", stdin=b"\n".join([*rivals, b""]))
        commands = [b"%s %s refs/heads/main" % (main, new) for new in rivals]
        said = at_once(clients, [partial(wire.push, url, one, pack=pack) for one in commands])
        won = [new for new, text in zip(rivals, said, strict=True) if b"ok refs/heads" in text]
        lost = [text for text in said if b"ng refs/heads/main incorrect old value" in text]
        assert (len(won), len(lost)) == (1, CLIENTS - 1), said
        main = origin.run("rev-parse", "main").strip()
        assert [main] == won


def test_delete_against_update(url: str, origin: Git, clients: ThreadPoolExecutor) -> None:
    old = origin.run("rev-parse", "main").strip()
    for turn in range(ROUNDS):
        name = b"refs/heads/t%d" % turn
        origin.run("update-ref", name, old)
        (new,) = commits(origin, "main", 1, f"turn {turn}")
        pack = origin.run("pack-objects", "--stdout", stdin=new + b"\n")
        deleted, updated = at_once(
            clients,
            [
                partial(wire.push, url, b"%s %s %s" % (old, wire.ZERO, name)),
                partial(wire.push, url, b"%s %s %s" % (old, new, name), pack=pack),
            ],
        )
        assert (b"ok refs" in deleted) != (b"ok refs" in updated), (deleted, updated)
        assert (name in refs_of(origin)) == (b"ok refs" in updated)


def test_names_in_each_others_way(url: str, origin: Git, clients: ThreadPoolExecutor) -> None:
    main = origin.run("rev-parse", "main").strip()
    empty = origin.run("pack-objects", "--stdout")
    for turn in range(ROUNDS):
        names = [b"refs/heads/d%d" % turn, b"refs/heads/d%d/x" % turn]
        commands = [b"%s %s %s" % (wire.ZERO, main, name) for name in names]
        said = at_once(clients, [partial(wire.push, url, one, pack=empty) for one in commands])
        assert sorted(b"ok refs" in text for text in said) == [False, True], said
        done = [name for name, text in zip(names, said, strict=True) if b"ok refs" in text]
        assert [name for name in refs_of(origin) if name in names] == done


def test_atomic_pushes_that_overlap(url: str, origin: Git, clients: ThreadPoolExecutor) -> None:
    """Each creates many refs; one of them is in all pushes."""
    main = origin.run("rev-parse", "main").strip()
    empty = origin.run("pack-objects", "--stdout")

    def attempt(number: int) -> bytes:
        names = [b"refs/heads/p%d-%d" % (number, i) for i in range(20)] + [b"refs/heads/shared"]
        commands = [b"%s %s %s" % (wire.ZERO, main, name) for name in names]
        return wire.push(url, *commands, pack=empty, capabilities=b"atomic")

    said = at_once(clients, [partial(attempt, number) for number in range(CLIENTS)])
    won = [number for number, text in enumerate(said) if b"ok refs/heads/shared" in text]
    assert len(won) == 1
    for number, text in enumerate(said):
        assert text.count(b"ok refs") == (21 if number in won else 0)
        assert text.count(b"ng refs") == (0 if number in won else 21)
    made = {name for name in refs_of(origin) if name.startswith(b"refs/heads/p")}
    assert made == {b"refs/heads/p%d-%d" % (won[0], i) for i in range(20)}


@pytest.mark.parametrize("served", ["tcp-reftable", "http-reftable"], indirect=True)
def test_many_refs_from_two_clients(
    url: str, origin: Git, work: Git, clients: ThreadPoolExecutor
) -> None:
    origin.run("pack-refs")
    names = [[f"main:refs/heads/{who}/{i:04}" for i in range(700)] for who in "ab"]
    outcomes = list(clients.map(lambda refs: push(work, url, *refs), names))
    assert [code for code, _, _ in outcomes] == [0, 0]
    assert len(refs_of(origin)) == 1402
    assert tables(origin) <= 3


def test_refs_that_move_while_they_are_fetched(
    url: str, origin: Git, work: Git, tmp_path: Path, clients: ThreadPoolExecutor
) -> None:
    """No client is refused an object that was advertised to it."""
    speak = ["-c", "protocol.version=0"]
    tips = [origin.run("rev-parse", f"main~{back}").strip() for back in range(3)]
    ended = threading.Event()

    def move() -> int:
        moves = 0
        with dr.Repo(str(origin.path)) as repo:
            while not ended.is_set():
                repo.refs[b"refs/heads/moving"] = tips[moves % 3]
                moves += 1
        return moves

    mover = clients.submit(move)
    try:
        for number in range(6):
            work.run(*speak, "clone", "-q", "--bare", url, str(tmp_path / f"clone{number}"))
    finally:
        ended.set()
    assert mover.result() > 10


def test_a_ref_that_moves_within_one_connection(
    server: Server, url: str, origin: Git, work: Git, kind: str
) -> None:
    """It moves between advertisement and wants; over HTTP, where these are two requests, too."""
    tip = origin.run("commit-tree", "-p", "main", "-m", "short-lived", "main^{tree}").strip()
    origin.run("update-ref", "refs/heads/moving", tip)
    want = wire.line(b"want %s ofs-delta\n" % tip) + b"0000" + wire.line(b"done\n")
    if kind == "http":
        (later,) = commits(origin, "moving", 1, "later")
        origin.run("update-ref", "refs/heads/moving", later)
        assert b"PACK" in wire.ask(url, "git-upload-pack", want)
        return
    with wire.connect(url) as connection, connection.makefile("rb") as stream:
        connection.sendall(wire.line(b"git-upload-pack /origin.git\0host=x\0"))
        shown = b""
        while (size := int(stream.read(4), 16)) > 0:
            shown += stream.read(size - 4)
        assert tip in shown
        origin.run("update-ref", "-d", "refs/heads/moving")
        connection.sendall(want)
        assert b"PACK" in stream.read()


@pytest.mark.parametrize("served", ["tcp-reftable", "http-reftable"], indirect=True)
def test_a_lock_that_is_taken(
    url: str,
    origin: Git,
    work: Git,
    clients: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All pushes wait for it longer than other writers do, but not for ever."""
    lock = origin.path / "reftable" / "tables.list.lock"
    lock.touch()
    releaser = threading.Timer(0.6, lock.unlink)  # several times reftable.lockTimeout's default
    releaser.start()
    names = [f"main:refs/heads/patient{number}" for number in range(CLIENTS)]
    assert set(clients.map(lambda name: push(work, url, name)[0], names)) == {0}
    releaser.join()
    timeouts: list[float | None] = []

    def noted(timeout: float | None, since: float | None = None) -> Iterator[None]:
        timeouts.append(timeout)
        return attempts(timeout, since)

    monkeypatch.setattr(locks, "attempts", noted)
    monkeypatch.setattr(ReceivePackHandler, "lock_timeout", 0.2)
    lock.touch()
    code, outcomes, _ = push(work, url, "main:refs/heads/a", "main:refs/heads/b")
    assert code == 1
    assert {*timeouts} == {0.2}
    assert set(outcomes.values()) == {"!the refs are locked by somebody else"}
    lock.unlink()
    # The repository's own setting counts more.
    monkeypatch.setattr(ReceivePackHandler, "lock_timeout", 60.0)
    origin.run("config", "reftable.lockTimeout", "50")
    lock.touch()
    timeouts.clear()
    assert push(work, url, "main:refs/heads/a")[0] == 1
    assert {*timeouts} == {0.05}
    lock.unlink()
    assert {b"refs/heads/a", b"refs/heads/b"}.isdisjoint(refs_of(origin))
