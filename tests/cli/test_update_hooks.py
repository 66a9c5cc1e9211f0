"""``update-ref`` and the hook ``reference-transaction``: it is asked and told what git asks it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.compare import shown_reflogs
from support.git import Git, requires_git
from support.pool import ObjectPool

import dulwich_reftable as dr

from .conftest import Run

pytestmark = requires_git

HOOK = """#!/bin/sh
{ echo "state $1"; cat; } >>"$(git rev-parse --absolute-git-dir)/record"
pwd >>"$(git rev-parse --absolute-git-dir)/where"
test ! -e "$(git rev-parse --git-common-dir)/refuse-$1" || { echo no; exit 1; }
"""
SYMREFS = (b"HEAD", b"refs/heads/sym", b"refs/heads/symsym", b"refs/heads/dangling")
ZERO = "0" * 40

Block = tuple[str, list[str]]


@pytest.fixture(scope="module")
def scene(pool_of: Callable[[str], ObjectPool], tmp_path_factory: pytest.TempPathFactory) -> Git:
    """A branch that is HEAD's, another, symrefs that lead somewhere and nowhere."""
    git = Git.init(tmp_path_factory.mktemp("hooks") / "repo")
    pool = pool_of("sha1")
    pool.lend(git.git_dir)
    main, topic = pool.commits[:2]
    git.update_ref_stdin([
        b"create refs/heads/main " + main, b"create refs/heads/topic " + topic,
    ])  # fmt: skip
    git.set_symrefs({
        b"refs/heads/sym": b"refs/heads/topic",
        b"refs/heads/symsym": b"refs/heads/sym",
        b"refs/heads/dangling": b"refs/heads/nothing",
    })  # fmt: skip
    hook = git.git_dir / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(HOOK)
    hook.chmod(0o755)
    return git


@pytest.fixture
def twins(scene: Git, tmp_path: Path) -> tuple[Git, Git]:
    """Two copies of the scene: git's and ours."""
    for name in ("git", "ours"):
        shutil.copytree(scene.path, tmp_path / name, symlinks=True)
    return Git(tmp_path / "git"), Git(tmp_path / "ours")


def record(git: Git) -> list[Block]:
    """What the hook was told: each state, with its lines in their order by name."""
    path = git.path / ".git" / "record"
    blocks: list[Block] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("state "):
            blocks.append((line, []))
        else:
            blocks[-1][1].append(line)
    return [(state, sorted(lines)) for state, lines in blocks]


def assert_told_the_same(ours: list[Block], theirs: list[Block]) -> None:
    """Compare what the hooks were told.

    Before it had the state "preparing", git also told of the symrefs on the way to a ref.
    """
    if ("state preparing" in dict(ours)) and ("state preparing" not in dict(theirs)):
        ours = [(state, lines) for state, lines in ours if state != "state preparing"]
        symrefs = tuple(" " + name.decode() for name in SYMREFS)
        for (_, mine), (_, lines) in zip(ours, theirs, strict=True):
            lines[:] = [line for line in lines if line in mine or not line.endswith(symrefs)]
    assert ours == theirs


STREAMS = {
    "nothing": "",
    "create": "create refs/heads/new {1}\n",
    "update": "update refs/heads/main {1}\nupdate refs/heads/topic {0} {1}\n",
    "update from nothing": "update refs/heads/new {1} {zero}\n",
    "update from what is not": "update refs/heads/main {1} {2}\n",
    "update HEAD": "update HEAD {1} {0}\n",
    "update HEAD itself": "option no-deref\nupdate HEAD {1}\n",
    "update symrefs": "update refs/heads/symsym {2}\nupdate refs/heads/dangling {2}\n",
    "update a symref itself": "option no-deref\nupdate refs/heads/sym {2}\n",
    "delete": "delete refs/heads/topic {1}\ndelete refs/heads/none\n",
    "verify": "verify refs/heads/main {0}\nverify refs/heads/none\n",
    "twice": "update refs/heads/main {1}\nupdate refs/heads/main {2}\n",
    "symrefs": "symref-create refs/heads/s refs/heads/x\noption no-deref\n"
    "symref-update refs/heads/sym refs/heads/main ref refs/heads/topic\n",
    "symref-delete": "option no-deref\nsymref-delete refs/heads/sym refs/heads/topic\n"
    "option no-deref\nsymref-verify refs/heads/symsym refs/heads/sym\n",
    "abort": "start\ncreate refs/heads/new {1}\nabort\n",
    "prepare, abort": "start\nupdate HEAD {1}\nprepare\nabort\n",
    "prepare, commit": "start\nupdate HEAD {1}\nprepare\ncommit\nstart\ncommit\n",
    "start and no end": "start\ncreate refs/heads/new {1}\n",
    "prepare and no end": "start\ncreate refs/heads/new {1}\nprepare\n",
    "unknown command": "create refs/heads/new {1}\nnonsense\n",
    "more after prepare": "start\nprepare\ncreate refs/heads/new {1}\n",
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
def test_what_the_hook_is_told(
    twins: tuple[Git, Git], pool_of: Callable[[str], ObjectPool], run: Run, stream: str
) -> None:
    oids = [oid.decode() for oid in pool_of("sha1").commits[:3]]
    text = stream.format(*oids, zero=ZERO).encode()
    theirs = twins[0].start(["update-ref", "--stdin"], text, None)
    done = run("update-ref", "-C", twins[1].path, "--stdin", stdin=text)
    assert bool(done.code) == bool(theirs.returncode)
    assert done.out == theirs.stdout
    assert_told_the_same(record(twins[1]), record(twins[0]))
    assert twins[1].raw_refs(SYMREFS) == twins[0].raw_refs(SYMREFS)


@pytest.mark.parametrize("state", ["preparing", "prepared", "committed", "aborted"])
def test_a_hook_that_refuses(
    twins: tuple[Git, Git], pool_of: Callable[[str], ObjectPool], run: Run, state: str
) -> None:
    new = pool_of("sha1").commits[2]
    for git in twins:
        (git.path / ".git" / f"refuse-{state}").touch()
    before = twins[1].raw_refs()
    with dr.Repo(str(twins[1].path)) as repo:
        logs = shown_reflogs(repo.refs)
    theirs = twins[0].start(["update-ref", "-m", "m", "HEAD", new], b"", None)
    done = run("update-ref", "-C", twins[1].path, "-m", "m", "HEAD", new)
    is_asked = state.startswith("prepar")
    assert bool(done.code) == is_asked
    if state != "preparing" or theirs.returncode:  # unless this git knows of no such state
        assert bool(theirs.returncode) == is_asked
        assert_told_the_same(record(twins[1]), record(twins[0]))
    assert (b"no\n" in done.err) == (state != "aborted")
    assert not is_asked or b"the hook reference-transaction refused" in done.err
    with dr.Repo(str(twins[1].path)) as repo:
        assert (shown_reflogs(repo.refs) == logs) == is_asked
    assert (twins[1].raw_refs() == before) == is_asked
    # No lock is left.
    (twins[1].path / ".git" / f"refuse-{state}").unlink()
    assert run("update-ref", "-C", twins[1].path, "refs/heads/after", new).code == 0


def test_where_hooks_are_and_run(
    twins: tuple[Git, Git], pool_of: Callable[[str], ObjectPool], run: Run, tmp_path: Path
) -> None:
    """In the work tree that is asked, the same as git's; core.hooksPath begins there, too."""
    new = pool_of("sha1").commits[2]
    for git in twins:
        git.run("worktree", "add", "-q", "--detach", str(git.path / "tree"))
        (git.path / ".git" / "where").unlink()
        (git.path / ".git" / "worktrees" / "tree" / "where").unlink(missing_ok=True)
    seen = []
    for git in twins:
        for root in (git.path, git.path / "tree"):
            if git is twins[0]:
                Git(root).run("update-ref", "HEAD", new)
            else:
                assert run("update-ref", "-C", root, "HEAD", new).code == 0
            where = set((Git(root).git_dir / "where").read_text().splitlines())
            seen.append({Path(path).relative_to(git.path) for path in where})
        (git.path / "own").mkdir()
        hooks = git.path / ".git" / "hooks"
        shutil.move(hooks / "reference-transaction", git.path / "own" / "reference-transaction")
        git.run("config", "core.hooksPath", "own")
        (git.path / ".git" / "where").unlink()
    assert seen == [{Path()}, {Path("tree")}] * 2
    twins[0].run("update-ref", "refs/heads/y", new)
    assert run("update-ref", "-C", twins[1].path, "refs/heads/y", new).code == 0
    for git in twins:
        assert (git.path / ".git" / "where").exists()
