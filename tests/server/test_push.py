"""Pushes: what is refused and why, what is done, and that the report is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.server import Server

from . import wire
from .pushing import push, refs_of, tables

pytestmark = requires_git


def test_create_update_delete(url: str, origin: Git, work: Git) -> None:
    main = work.run("rev-parse", "main").strip()
    work.run("commit", "-q", "--allow-empty", "-m", "more")
    assert push(work, url, "main", "main:refs/heads/new", "v1:refs/tags/again")[:2] == (
        0,
        {"refs/heads/main": " ", "refs/heads/new": "*", "refs/tags/again": "*"},
    )
    assert push(work, "--force", url, "main~2:main", ":new", ":refs/tags/v1")[:2] == (
        0,
        {"refs/heads/main": "+", "refs/heads/new": "-", "refs/tags/v1": "-"},
    )
    assert refs_of(origin) == {
        b"refs/heads/main": work.run("rev-parse", "main~2").strip(),
        b"refs/tags/again": work.run("rev-parse", "v1").strip(),
    }
    assert main != work.run("rev-parse", "main").strip()
    assert origin.run("rev-parse", "again^{}") == work.run("rev-parse", "v1^{}")


def test_one_push_is_one_table(root: Path, work: Git, url: str, origin: Git) -> None:
    if origin.path.joinpath("reftable").is_dir():
        origin.run("config", "reftable.geometricFactor", "200")
        origin.run("pack-refs")
        before = tables(origin)
        names = [f"main:refs/heads/b{number:03}" for number in range(50)]
        assert push(work, url, *names, "main:refs/heads/main/x", ":v1")[0] == 1
        assert tables(origin) - before <= 1
        with dr.Repo(str(origin.path)) as repo:
            assert repo.refs.verify() == []
    assert b"refs/heads/main/x" not in refs_of(origin)


def test_what_is_in_the_way_is_told_and_the_rest_goes_in(url: str, origin: Git, work: Git) -> None:
    code, outcomes, said = push(
        work,
        url,
        "main:refs/heads/main/below",
        "main:refs/heads/a/b",
        "main:refs/heads/a",
        "main:refs/heads/fine",
        ":refs/tags/v1",
        "main:refs/tags/v1/x",
    )
    assert code == 1
    assert outcomes["refs/heads/main/below"] == "!refname conflict"
    assert "error: 'refs/heads/main' exists; cannot create 'refs/heads/main/below'" in said
    # One of two conflicting commands is done.
    assert sorted(outcomes[f"refs/heads/{name}"] for name in ("a", "a/b")) == [
        "!refname conflict",
        "*",
    ]
    assert re.search(
        "error: cannot process 'refs/heads/a.*' and 'refs/heads/a.*' at the same", said
    )
    assert outcomes["refs/heads/fine"] == "*"
    # The same push deletes the ref that is in the way.
    assert (outcomes["refs/tags/v1"], outcomes["refs/tags/v1/x"]) == ("-", "*")
    listed = refs_of(origin)
    assert {b"refs/heads/main", b"refs/heads/fine", b"refs/tags/v1/x"} < listed.keys()
    assert len(listed) == 4


def test_refs_below_are_in_the_way(url: str, origin: Git, work: Git) -> None:
    work.run(
        "push", "-q", url, "main:refs/heads/q/deep", "main:refs/heads/q-", "main:refs/heads/q0"
    )
    code, outcomes, said = push(work, "--atomic", url, "main:refs/heads/q", "main:refs/heads/fine")
    assert (code, outcomes["refs/heads/fine"]) == (1, "!atomic push failure")
    assert outcomes["refs/heads/q"] == "!refname conflict"
    assert "error: 'refs/heads/q/deep' exists; cannot create 'refs/heads/q'" in said
    assert b"refs/heads/fine" not in refs_of(origin)
    assert push(work, url, "main:refs/heads/q", ":refs/heads/q/deep")[0] == 0


@pytest.mark.parametrize("name", ["n" * 5000, "n/" * 25_000 + "n"])
def test_names_that_cannot_be_stored(
    url: str, origin: Git, work: Git, ref_format: str, name: str
) -> None:
    if ref_format == "files":
        pytest.skip("what names files take is the system's to say")
    before = refs_of(origin)
    main = before[b"refs/heads/main"]
    said = wire.push(
        url,
        *(b"%s %s refs/heads/%d%s" % (wire.ZERO, main, at, name.encode()) for at in range(3)),
        b"%s %s refs/heads/fine" % (wire.ZERO, main),
        pack=wire.EMPTY_PACK,
    )
    assert said.count(b" failed to update ref\n") == 3
    assert b"ok refs/heads/fine\n" in said
    assert refs_of(origin) == {**before, b"refs/heads/fine": main}


def test_atomic_is_all_or_nothing(url: str, origin: Git, work: Git) -> None:
    before = refs_of(origin)
    shown = tables(origin)
    code, outcomes, _ = push(
        work, "--atomic", url, "main:refs/heads/a", "main:refs/heads/main/x", ":refs/tags/v1"
    )
    assert code == 1
    assert outcomes == {
        "refs/heads/a": "!atomic push failure",
        "refs/heads/main/x": "!refname conflict",
        "refs/tags/v1": "!atomic push failure",
    }
    assert refs_of(origin) == before
    assert tables(origin) == shown
    assert push(work, "--atomic", url, "main:refs/heads/a", ":refs/tags/v1")[0] == 0
    assert refs_of(origin).keys() == {b"refs/heads/main", b"refs/heads/a"}


def test_stale_old_values(url: str, origin: Git, work: Git) -> None:
    """No pack: the objects are there already."""
    zero = wire.ZERO
    main, older = (work.run("rev-parse", name).strip() for name in ("main", "main~1"))
    work.run("push", "-q", url, "main:refs/heads/other")
    before = refs_of(origin)
    # Deletions only, so that no pack is awaited.
    said = wire.push(
        url,
        b"%s %s refs/heads/other" % (older, zero),
        b"%s %s refs/heads/nowhere" % (main, zero),
    )
    assert b"ng refs/heads/other incorrect old value provided\n" in said
    assert b"ng refs/heads/nowhere reference does not exist\n" in said
    assert refs_of(origin) == before
    said = wire.push(
        url,
        b"%s %s refs/heads/nowhere" % (main, zero),
        b"%s %s refs/tags/v1" % (before[b"refs/tags/v1"], zero),
    )
    assert b"ok refs/tags/v1\n" in said
    assert b"ng refs/heads/nowhere reference does not exist\n" in said
    assert refs_of(origin) == {b"refs/heads/main": main, b"refs/heads/other": main}


def test_a_ref_twice(url: str, origin: Git, work: Git) -> None:
    before = refs_of(origin)
    main = before[b"refs/heads/main"]
    said = wire.push(
        url,
        b"%s %s refs/heads/main" % (main, wire.ZERO),
        b"%s %s refs/heads/main" % (main, wire.ZERO),
    )
    assert said.count(b"ng refs/heads/main inconsistent aliased update\n") == 2
    assert refs_of(origin) == before


FUNNY_NAMES = [
    b"HEAD",
    b"ORIG_HEAD",
    b"refs/heads/..",
    b"refs/heads/a b",
    b"refs/heads/x.lock",
    b"refs/../config",
    b"refs/heads/\xff\n\x01",
    b"refs/heads/",
    b"../../etc/passwd",
    b"main-worktree/HEAD",
    b"refs/x",
]


def test_funny_names(url: str, origin: Git, work: Git) -> None:
    before = refs_of(origin)
    config = (origin.path / "config").read_bytes()
    main = before[b"refs/heads/main"]
    for name in FUNNY_NAMES:
        said = wire.push(url, b"%s %s %s" % (main, wire.ZERO, name))
        assert b"funny refname" in said
        assert b"ok " + name.split(b"\n")[0] not in said
    said = wire.push(url, *(b"%s %s %s" % (main, wire.ZERO, name) for name in FUNNY_NAMES))
    assert said.count(b"ng ") == said.count(b"funny refname\n") == len(FUNNY_NAMES)
    assert refs_of(origin) == before
    assert (origin.path / "config").read_bytes() == config


def test_denials(url: str, origin: Git, work: Git) -> None:
    """The rules, compared with what git's server says about the same push."""
    rules = {"receive.denyDeletes": "true", "receive.denyNonFastForwards": "true"}
    for key, value in rules.items():
        origin.run("config", key, value)
    work.run("push", "-q", url, "main:refs/heads/other")
    before = refs_of(origin)
    pushed = ["--force", "main~1:main", ":other", ":refs/tags/v1", "main~1:refs/heads/made"]
    ours = push(work, pushed[0], url, *pushed[1:])
    assert refs_of(origin) == {
        b"refs/heads/main": before[b"refs/heads/main"],
        b"refs/heads/other": before[b"refs/heads/other"],
        b"refs/heads/made": work.run("rev-parse", "main~1").strip(),
    }
    origin.run("update-ref", "refs/tags/v1", before[b"refs/tags/v1"])
    origin.run("update-ref", "-d", "refs/heads/made")
    theirs = push(work, pushed[0], str(origin.path), *pushed[1:])
    assert ours[:2] == theirs[:2]
    assert ours[1]["refs/heads/main"] == "!non-fast-forward"
    assert ours[1]["refs/heads/other"] == "!deletion prohibited"


@pytest.mark.parametrize("setting", [None, "refuse", "warn", "ignore", "updateInstead"])
def test_the_current_branch(
    root: Path, work: Git, server: Server, ref_format: str, tmp_path: Path, setting: str | None
) -> None:
    """The branch of a repository with a working tree, and of a linked working tree."""
    home = Git.init(root / "home", ref_format=ref_format)
    work.run("push", "-q", str(home.path), "main:refs/heads/side", "main:refs/heads/third")
    home.run("reset", "-q", "--hard", "side")
    home.run("worktree", "add", "-q", str(tmp_path / "linked"), "third")
    if setting is not None:
        home.run("config", "receive.denyCurrentBranch", setting)
    work.run("commit", "-q", "--allow-empty", "-m", "more")
    url = server.url + "home"
    refused = setting in (None, "refuse", "updateInstead")
    reason = "branch is currently checked out"
    if setting == "updateInstead":
        reason = "updateInstead needs the hook push-to-checkout here"
    expected = f"!{reason}" if refused else " "
    assert push(work, url, "main", "main:third", "main:side")[1] == {
        "refs/heads/main": expected,
        "refs/heads/third": expected,
        "refs/heads/side": " ",
    }
    expected = (
        "!branch is currently checked out"
        if setting in (None, "refuse")
        else "!deletion of the current branch prohibited"
    )
    assert push(work, url, ":main")[1] == {"refs/heads/main": expected}
    home.run("config", "receive.denyDeleteCurrent", "ignore")
    if not refused:
        assert push(work, url, ":main")[1] == {"refs/heads/main": "-"}
        work.run("push", "-q", url, "main")
    assert home.complaints() == b""


def test_hidden_refs_are_not_touched(url: str, origin: Git, work: Git) -> None:
    origin.run("config", "receive.hideRefs", "refs/secret")
    origin.run("config", "--add", "receive.hideRefs", "!refs/secret/open")
    origin.run("update-ref", "refs/secret/a", "main")
    code, outcomes, _ = push(
        work, url, "main:refs/secret/b", "main:refs/secret/open/c", "main:refs/heads/x"
    )
    assert (code, outcomes) == (
        1,
        {
            "refs/secret/b": "!deny updating a hidden ref",
            "refs/secret/open/c": "*",
            "refs/heads/x": "*",
        },
    )
    code, outcomes, _ = push(work, "--atomic", url, "main:refs/secret/b", "main:refs/heads/y")
    assert outcomes["refs/heads/y"] == "!atomic push failure"
    assert b"refs/heads/y" not in refs_of(origin)


def test_what_a_branch_may_be(url: str, origin: Git, work: Git) -> None:
    code, outcomes, _ = push(
        work, url, "v1:refs/heads/tag", "main^{tree}:refs/heads/tree", "main^{tree}:refs/x/tree"
    )
    assert code == 1
    assert outcomes["refs/heads/tree"] == "!invalid new value provided"
    assert outcomes["refs/x/tree"] == "*"
    assert {b"refs/heads/tag", b"refs/heads/tree"}.isdisjoint(refs_of(origin))


def test_symrefs_are_followed(url: str, origin: Git, work: Git) -> None:
    origin.run("symbolic-ref", "refs/heads/alias", "refs/heads/main")
    origin.run("symbolic-ref", "refs/heads/loop", "refs/heads/loop2")
    origin.run("symbolic-ref", "refs/heads/loop2", "refs/heads/loop")
    work.run("commit", "-q", "--allow-empty", "-m", "more")
    code, outcomes, _ = push(work, url, "main:alias", "main:main", "main:refs/heads/loop")
    assert (code, outcomes) == (
        1,
        {
            "refs/heads/alias": " ",
            "refs/heads/main": " ",
            "refs/heads/loop": "!broken symref",
        },
    )
    assert origin.run("symbolic-ref", "refs/heads/alias") == b"refs/heads/main\n"
    assert refs_of(origin)[b"refs/heads/main"] == work.run("rev-parse", "main").strip()
    outcomes = push(work, "-f", url, "main~1:alias", "main~2:main")[1]
    assert set(outcomes.values()) == {"!inconsistent aliased update"}
    assert push(work, url, ":alias")[1] == {
        "refs/heads/alias": "!deletion of the current branch prohibited"
    }
    origin.run("symbolic-ref", "HEAD", "refs/heads/elsewhere")
    assert push(work, url, ":alias")[0] == 0
    assert b"refs/heads/main" not in refs_of(origin)
    for name in ("alias", "loop", "loop2"):
        origin.run("symbolic-ref", "--delete", f"refs/heads/{name}")
    origin.run("symbolic-ref", "HEAD", "refs/heads/main")
    work.run("push", "-q", url, "main")


def test_reflogs(url: str, origin: Git, work: Git, kind: str, ref_format: str) -> None:
    """A bare repository has none by default; if it has them, they log pushes."""
    work.run("push", "-q", url, "main:refs/heads/quiet")
    assert origin.reflogs() == {}
    origin.run("config", "core.logAllRefUpdates", "true")
    work.run("commit", "-q", "--allow-empty", "-m", "more")
    work.run("push", "-q", url, "main", "main:refs/heads/new", "main:refs/tags/light")
    logs = origin.reflogs()
    # On files, dulwich does not log an update of a branch to HEAD.
    logged_head = {b"HEAD"} if ref_format == "reftable" else set()
    assert logs.keys() == {b"refs/heads/main", b"refs/heads/new"} | logged_head
    entry = logs[b"refs/heads/main"][-1]
    assert entry.message == b"push"
    assert (entry.old, entry.new) == tuple(
        work.run("rev-parse", name).strip() for name in ("main~1", "main")
    )
    name = (
        b"anonymous <anonymous@http.127.0.0.1>" if kind == "http" else b"U Ser <user@example.com>"
    )
    assert entry.committer == name
    origin.run("config", "core.logAllRefUpdates", "always")
    work.run("push", "-q", url, "main:refs/x/y")
    assert b"refs/x/y" in origin.reflogs()


@pytest.mark.parametrize("object_format", ["sha256"])
def test_sha256(url: str, origin: Git, work: Git) -> None:
    work.run("commit", "-q", "--allow-empty", "-m", "more")
    outcomes = push(work, url, "main", "main:refs/heads/main/x", "main:refs/heads/new", ":v1")[1]
    assert outcomes == {
        "refs/heads/main": " ",
        "refs/heads/main/x": "!refname conflict",
        "refs/heads/new": "*",
        "refs/tags/v1": "-",
    }
    assert refs_of(origin)[b"refs/heads/new"] == work.run("rev-parse", "main").strip()


def test_deleting_what_the_client_never_saw(url: str, origin: Git, work: Git) -> None:
    """git would delete any value; here the old value counts."""
    before = refs_of(origin)
    said = wire.push(
        url,
        b"%s %s refs/tags/v1" % (wire.ZERO, wire.ZERO),
        b"%s %s refs/tags/nowhere" % (wire.ZERO, wire.ZERO),
        b"%s %s refs/tags/lost" % (b"1" * 40, wire.ZERO),
    )
    assert b"ng refs/tags/v1 reference already exists\n" in said
    assert b"ok refs/tags/nowhere\n" in said
    assert b"ng refs/tags/lost reference does not exist\n" in said
    assert refs_of(origin) == before
    # Hex digits may be capitals.
    value = before[b"refs/tags/v1"].upper()
    assert b"ok refs/tags/v1\n" in wire.push(url, b"%s %s refs/tags/v1" % (value, wire.ZERO))
    assert b"refs/tags/v1" not in refs_of(origin)
