"""Packs of pushes: broken, incomplete, large and small ones, and where their objects go."""

from __future__ import annotations

import random
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

from dulwich import porcelain
from dulwich.repo import MemoryRepo
from dulwich.server import DictBackend, TCPGitServer
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.server import HANDLERS

from . import wire
from .pushing import push, refs_of

pytestmark = requires_git


def test_too_large_a_pack(url: str, origin: Git, work: Git) -> None:
    origin.run("config", "receive.maxInputSize", "100")
    work.run("commit", "-q", "--allow-empty", "-m", "x" * 2000)
    before = refs_of(origin)
    code, outcomes, said = push(work, url, "main", "main:refs/heads/new")
    assert code == 1
    assert "maximum input size" in said
    assert set(outcomes.values()) == {"!unpacker error"}
    assert refs_of(origin) == before


def test_missing_objects(url: str, origin: Git, work: Git) -> None:
    """A pack without what its commit needs is refused, and nothing of it is kept."""
    before = refs_of(origin)
    objects = sorted((origin.path / "objects").rglob("*"))
    fine = work.run("commit-tree", "-m", "fine", "-p", "main", "main^{tree}").strip()
    (work.path / "new").write_text("new\n")
    work.run("add", ".")
    work.run("commit", "-q", "-m", "lacks its blob")
    broken = work.run("rev-parse", "main").strip()
    tree = work.run("rev-parse", "main^{tree}").strip()
    pack = work.run("pack-objects", "--stdout", stdin=b"\n".join((broken, tree, fine, b"")))
    command = b"%s %s refs/heads/broken" % (wire.ZERO, broken)
    said = wire.push(url, command, pack=pack)
    assert b"unpack ok\n" in said
    assert b"ng refs/heads/broken missing necessary objects\n" in said
    assert refs_of(origin) == before
    assert sorted((origin.path / "objects").rglob("*")) == objects
    # After a refusal, its objects do not count as existing.
    empty = work.run("pack-objects", "--stdout")
    assert b"ng refs/heads/broken missing necessary objects\n" in wire.push(
        url, command, pack=empty
    )
    # As in git, it comes in with a complete push; but no ref may point to it.
    said = wire.push(url, b"%s %s refs/heads/fine" % (wire.ZERO, fine), pack=pack)
    assert said.endswith(b"ok refs/heads/fine\n0000")
    assert origin.run("cat-file", "-t", broken) == b"commit\n"
    assert b"ng refs/heads/broken missing necessary objects\n" in wire.push(
        url, command, pack=empty
    )


def test_garbage_for_a_pack(url: str, origin: Git, work: Git) -> None:
    before = refs_of(origin)
    objects = sorted((origin.path / "objects").rglob("*"))
    main = before[b"refs/heads/main"]
    good = work.run("pack-objects", "--stdout", stdin=main + b"\n")
    for pack in (b"", b"PACK", b"rubbish" * 20, good[:-30], good[:40] + b"!!!!" + good[44:]):
        said = wire.push(url, b"%s %s refs/heads/new" % (wire.ZERO, main), pack=pack)
        assert b"unpack ok" not in said
        assert b"ng refs/heads/new unpacker error\n" in said
        assert b"Traceback" not in said
        assert str(origin.path).encode() not in said
    assert refs_of(origin) == before
    assert sorted((origin.path / "objects").rglob("*")) == objects


def test_a_push_from_a_shallow_clone(
    url: str, origin: Git, work: Git, tmp_path: Path, kind: str
) -> None:
    """Its new commit builds on what the server has, so that nothing is missing."""
    work.run("clone", "-q", "--depth", "1", url, str(tmp_path / "shallow"))
    shallow = Git(tmp_path / "shallow")
    shallow.run("commit", "-q", "--allow-empty", "-m", "on top")
    assert push(shallow, url, "HEAD:refs/heads/on-top")[0] == 0
    assert len(origin.run("rev-list", "on-top").split()) == 4


def test_large_packs(url: str, origin: Git, work: Git, tmp_path: Path) -> None:
    """They are larger than what a client sends at once over HTTP, and than a side band's packet."""
    data = random.Random(1).randbytes(400_000)
    (work.path / "large").write_bytes(data)
    work.run("add", ".")
    work.run("commit", "-q", "-m", "large")
    assert push(work, "-c", "http.postBuffer=70000", url, "main")[0] == 0
    work.run("clone", "-q", url, str(tmp_path / "got"))
    assert (tmp_path / "got" / "large").read_bytes() == data


def test_small_packs_are_unpacked(url: str, origin: Git, work: Git) -> None:
    """As in git: a repository with thousands of packs would be slow."""

    def packs() -> int:
        return len(list((origin.path / "objects" / "pack").glob("*.pack")))

    before = packs()
    work.run("commit", "-q", "--allow-empty", "-m", "one")
    work.run("push", "-q", url, "main", "main:refs/heads/same")
    assert packs() == before
    origin.run("config", "transfer.unpackLimit", "1")
    work.run("commit", "-q", "--allow-empty", "-m", "two")
    work.run("push", "-q", url, "main")
    assert packs() == before + 1
    work.run("push", "-q", url, "main:refs/heads/again")  # an empty pack
    origin.run("config", "receive.unpackLimit", "2")
    work.run("commit", "-q", "--allow-empty", "-m", "three")
    work.run("push", "-q", url, "main")
    assert len(origin.run("rev-list", "main").split()) == 6


def test_a_repository_in_memory(work: Git) -> None:
    """Our handlers serve it as dulwich's do."""
    repos: dict[str, Any] = {"/r": MemoryRepo()}
    server = TCPGitServer(DictBackend(repos), "127.0.0.1", 0, handlers=HANDLERS)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"git://127.0.0.1:{server.server_address[1]}/r"
        assert push(work, "--atomic", url, "main", "v1")[0] == 0
        listed = work.run("ls-remote", url)
        assert listed.endswith(work.run("show-ref", "-d", "v1").replace(b" ", b"\t"))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_dulwich_as_a_client(url: str, origin: Git, work: Git, tmp_path: Path) -> None:
    """It clones, fetches and pushes as git does."""
    quiet: Any = porcelain.NoneStream()
    with dr.installed(), porcelain.clone(url, str(tmp_path / "got"), errstream=quiet) as got:
        assert got.refs[b"refs/tags/v1"] == work.run("rev-parse", "v1").strip()
        tip = got.get_worktree().commit(b"by dulwich", committer=b"D <d@example.com>")
        porcelain.push(got, url, ["refs/heads/main", "HEAD:refs/heads/new"], quiet, quiet)
        assert refs_of(origin)[b"refs/heads/main"] == tip
        assert refs_of(origin)[b"refs/heads/new"] == tip
        said = BytesIO()
        porcelain.push(got, url, ["HEAD:refs/heads/new/below"], quiet, said)
        assert b"refs/heads/new/below failed: refname conflict" in said.getvalue()
        work.run("fetch", "-q", url, "main")
        work.run("push", "-q", url, "FETCH_HEAD:refs/heads/more")
        porcelain.fetch(got, url, errstream=quiet)
