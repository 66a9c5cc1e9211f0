"""What the server answers to haves, compared with ``git upload-pack``."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from dulwich.objects import ObjectID
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.server import Server
from dulwich_reftable.server.history import History
from dulwich_reftable.server.upload_pack import negotiation as negotiation_module
from dulwich_reftable.server.upload_pack.negotiation import Reach

from . import wire
from .fetching import World
from .serving import running

pytestmark = requires_git


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("root")
    world = World(Git.init(root / "origin.git", bare=True), random.Random(4))
    world.grow(60, 4)
    return world


@pytest.fixture(scope="module")
def commits(world: World) -> list[str]:
    return world.git.run("rev-list", "--all", "--date-order").decode().split()


@pytest.fixture
def served() -> tuple[str, str]:
    return "tcp", "reftable"


@pytest.fixture
def root(world: World) -> Path:
    return world.git.path.parent


@pytest.fixture
def server(root: Path, kind: str) -> object:
    with running(root, kind) as server:
        yield server


def git_says(git: Git, body: bytes, version: int) -> bytes:
    """Ask git's server, and leave out the rest of its answer."""
    done = git.start(["upload-pack", str(git.path)], body, {"GIT_PROTOCOL": f"version={version}"})
    stream, at = done.stdout, 0
    while (size := int(stream[at : at + 4], 16)) > 0:
        at += size
    return stream[at + 4 :]


@pytest.mark.parametrize("acks", ["", "multi_ack", "multi_ack_detailed"])
def test_acknowledgements(server: Server, world: World, commits: list[str], acks: str) -> None:
    draw = random.Random(f"acks {acks}")
    tips = world.git.run("for-each-ref", "--format=%(objectname)", "refs/heads").decode().split()
    seen = set()
    for _ in range(12):
        wants = draw.sample(tips, draw.choice((1, 1, 2)))
        if draw.random() < 0.2:
            wants.append(world.git.run("rev-parse", "refs/tags/t0").decode().strip())
        first, *rest = wants
        lines = [f"want {first} ofs-delta {acks}\n", *(f"want {want}\n" for want in rest), ""]
        deep = commits[draw.randrange(len(commits)) :]
        for _ in range(draw.randrange(4)):
            # git acknowledges the parents of what it acknowledged twice to those who want one.
            for have in draw.sample(deep, 1 if not acks else min(len(deep), draw.randrange(1, 4))):
                lines.append(f"have {have}\n")
            for _ in range(draw.choice((0, 0, 1, 2))):
                lines.append(f"have {draw.randrange(16**40):040x}\n")
            if not acks:
                break
            lines.append("")
        lines.append("done\n")
        body = b"".join(wire.line(text.encode()) if text else b"0000" for text in lines)
        ours = wire.ask(server.url + "origin.git", "git-upload-pack", body)
        theirs = git_says(world.git, body, 0)
        assert b"PACK" in theirs
        assert ours.partition(b"PACK")[0] == theirs.partition(b"PACK")[0]
        seen.update(ours.partition(b"PACK")[0].replace(b"\n", b" ").split())
    assert b"NAK" in b" ".join(seen)
    if acks == "multi_ack_detailed":
        assert b"ready" in seen


def test_acknowledgements_of_version_2(server: Server, world: World, commits: list[str]) -> None:
    draw = random.Random(7)
    tips = world.git.run("for-each-ref", "--format=%(objectname)", "refs/heads").decode().split()
    ready = 0
    for _ in range(15):
        lines = [f"want {want}\n" for want in draw.sample(tips, draw.choice((1, 2)))]
        deep = commits[draw.randrange(len(commits)) :]
        lines += [f"have {have}\n" for have in draw.sample(deep, min(len(deep), 3))]
        lines += [f"have {draw.randrange(16**40):040x}\n"]
        body = wire.line(b"command=fetch") + b"0001"
        body += b"".join(wire.line(text.encode()) for text in lines) + b"0000"
        ours = wire.ask(server.url + "origin.git", "git-upload-pack", body, version=2)
        theirs = git_says(world.git, body, 2)
        assert (b"ready\n" in ours) == (b"ready\n" in theirs)
        assert (b"PACK" in ours) == (b"PACK" in theirs)
        # git leaves out parents of what it acknowledged.
        ours_acked, theirs_acked = (
            {line for line in said.splitlines() if line[4:8] == b"ACK "} for said in (ours, theirs)
        )
        assert ours_acked >= theirs_acked
        ready += b"ready\n" in ours
    assert 0 < ready < 15


@pytest.mark.parametrize("served", [("http", "reftable")])
def test_the_ends_of_history_are_asked_for_by_http(
    server: Server, world: World, served: tuple[str, str]
) -> None:
    """A request that ends behind the wants gets the shallow commits and no error."""
    tip = world.git.run("rev-parse", "main").strip()
    body = wire.line(b"want %s ofs-delta\n" % tip) + wire.line(b"deepen 1\n") + b"0000"
    said = wire.ask(server.url + "origin.git", "git-upload-pack", body)
    assert said == wire.line(b"shallow " + tip) + b"0000"
    said = wire.ask(server.url + "origin.git", "git-upload-pack", body + wire.line(b"done\n"))
    assert said.startswith(wire.line(b"shallow " + tip) + b"00000008NAK\nPACK")


def test_what_is_enough(world: World, commits: list[str]) -> None:
    """The answer after each have is the one that a new walk would give."""
    git, draw = world.git, random.Random(9)
    ids = [commit.encode() for commit in commits]
    below = {oid: set(git.run("rev-list", oid).split()) for oid in ids}
    with dr.Repo(str(git.path)) as repo:
        for _ in range(60):
            history = History(repo.object_store)
            wants = draw.sample(ids, draw.choice((1, 2, 3)))
            reach = Reach(history, wants)
            assert not reach.is_enough()
            named: set[bytes] = set()
            implied: set[bytes] = set()
            for oid in draw.sample(ids, 8):
                reach.add(oid)
                named.add(oid)
                implied |= {oid, *history.parents(oid)}
                enough = reach.is_enough()
                assert enough >= all(below[want] & named for want in wants)
                assert enough <= all(below[want] & implied for want in wants)
        tree = git.run("rev-parse", "main^{tree}").strip()
        reach = Reach(History(repo.object_store), [ids[0], tree])
        reach.add(ids[0])
        assert not reach.is_enough()


def test_history_is_read_once(
    world: World, commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each commit is read once, however often a client asks, and no further than needed."""
    reads: list[bytes] = []
    with dr.Repo(str(world.git.path)) as repo:
        store = repo.object_store
        read = type(store).__getitem__

        def count(self: object, oid: bytes) -> object:
            reads.append(oid)
            return read(self, ObjectID(oid))  # type: ignore[arg-type]

        monkeypatch.setattr(type(store), "__getitem__", count)
        reach = Reach(History(store), [commits[0].encode()])
        for oid in commits[::-1]:
            reach.add(oid.encode())
            reach.is_enough()
    assert len(reads) == len(set(reads))


@pytest.mark.parametrize("version", [0, 2])
def test_too_many_lines(
    server: Server, world: World, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both haves and wants are limited; a repeated one is kept once."""
    monkeypatch.setattr(negotiation_module, "MAX_LINES", 50)
    monkeypatch.setattr("dulwich_reftable.server.upload_pack.handler.MAX_LINES", 50)
    monkeypatch.setattr("dulwich_reftable.server.upload_pack.version_2.MAX_LINES", 50)
    tip = world.git.run("rev-parse", "main").strip()
    url = server.url + "origin.git"
    for word, count, refused in (
        (b"want", 60, True), (b"have", 60, True), (b"want", 40, False), (b"have", 40, False),
    ):  # fmt: skip
        want = wire.line(b"want %s ofs-delta multi_ack\n" % tip)
        more = wire.line(b"%s %s\n" % (word, tip)) * count
        done = wire.line(b"done\n")
        if version == 2:
            start = wire.line(b"command=fetch") + b"0001" + wire.line(b"want %s\n" % tip)
            body = start + more + done + b"0000"
        elif word == b"want":
            body = want + more + b"0000" + done
        else:
            body = want + b"0000" + more + done
        said = wire.ask(url, "git-upload-pack", body, version=version)
        assert (b"ERR " in said and b"too many" in said) == refused
        assert (b"PACK" in said) != refused
