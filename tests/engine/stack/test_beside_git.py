"""git works on the same repository while we do: each respects the other's locks and tables."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from support.compare import assert_same_reflogs, assert_same_refs
from support.git import Git, GitError, requires_git
from support.pool import ObjectPool

import dulwich_reftable as dr

from . import scenes
from .scenes import ABOUT, MAIN, OTHER, Scene, refs_at, worktree_refs_at

pytestmark = requires_git


class Session:
    """A git that stays, ``update-ref --stdin`` for one, and is asked line by line."""

    def __init__(self, git: Git, *args: str) -> None:
        self.process = subprocess.Popen(
            ["git", *args],
            cwd=git.path,
            env=git.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe

    def tell(self, line: bytes) -> None:
        """Give an order."""
        self._pipe(self.process.stdin).write(line + b"\n")
        self._pipe(self.process.stdin).flush()

    def ask(self, line: bytes) -> bytes:
        """Give an order, and read a line."""
        self.tell(line)
        return self._pipe(self.process.stdout).readline().rstrip(b"\n")

    def end(self) -> bytes:
        """End it; gives what it complained of."""
        return self.process.communicate(timeout=60)[1]


@pytest.fixture
def updating(stacked: Scene) -> Iterator[Session]:
    session = Session(Git(stacked.path), "update-ref", "--stdin")
    yield session
    if session.process.returncode is None:
        session.process.kill()
        session.end()


def test_git_holds_the_lock(stacked: Scene, updating: Session) -> None:
    """Between ``prepare`` and ``commit`` it is git's: we read on, and cannot write."""
    refs = refs_at(stacked.path)
    refs.read_ref(MAIN)
    assert updating.ask(b"start") == b"start: ok"
    updating.tell(b"update %s %s" % (MAIN, stacked.commits[9]))
    assert updating.ask(b"prepare") == b"prepare: ok"
    assert refs[MAIN] == stacked.commits[1]
    with pytest.raises(dr.LockError, match=r"tables\.list\.lock' exists, held for"):
        refs[OTHER] = stacked.commits[9]
    for upkeep in (refs.compact, refs.clean):
        with pytest.raises(dr.LockError):
            upkeep()
    refs.auto_compact()
    assert updating.ask(b"commit") == b"commit: ok"
    assert refs[MAIN] == stacked.commits[9]
    refs[OTHER] = stacked.commits[9]
    assert updating.end() == b""


def test_git_goes_back(stacked: Scene, updating: Session) -> None:
    refs = refs_at(stacked.path)
    updating.ask(b"start")
    updating.tell(b"update %s %s" % (MAIN, stacked.commits[9]))
    assert updating.ask(b"prepare") == b"prepare: ok"
    assert updating.ask(b"abort") == b"abort: ok"
    assert refs[MAIN] == stacked.commits[1]
    refs[MAIN] = stacked.commits[8]
    updating.end()
    refs.clean()
    assert scenes.stray_files(stacked.git_dir) == []


def test_we_hold_the_lock(stacked: Scene) -> None:
    refs = refs_at(stacked.path)
    git = Git(stacked.path)
    with refs.store.shared.addition():
        with pytest.raises(GitError, match="lock"):
            git.run("update-ref", MAIN, stacked.commits[9])
        assert git.run("rev-parse", MAIN).strip() == stacked.commits[1]
    git.run("update-ref", MAIN, stacked.commits[9])
    assert refs[MAIN] == stacked.commits[9]


def test_git_waits_for_us(stacked: Scene) -> None:
    """As long as it is told to."""
    git = Git(stacked.path)
    refs = refs_at(stacked.path)
    with refs.store.shared.addition():
        session = Session(git, "-c", "reftable.lockTimeout=-1", "update-ref", "--stdin")
        session.tell(b"start")
        session.tell(b"update %s %s" % (MAIN, stacked.commits[9]))
        session.tell(b"commit")
        assert session.process.poll() is None
    assert session.end() == b""
    assert refs[MAIN] == stacked.commits[9]


def test_readers_that_stay(stacked: Scene) -> None:
    """A git that runs on sees our updates and compactions, and we see git's."""
    reader = Session(Git(stacked.path), "cat-file", "--batch-check=%(objectname)")
    git = Git(stacked.path)
    refs, watching = refs_at(stacked.path), refs_at(stacked.path)
    for number in range(12):
        refs[MAIN] = stacked.commits[number]
        assert reader.ask(MAIN) == stacked.commits[number]
        assert watching[MAIN] == stacked.commits[number]
        if number % 4 == 1:
            refs.pack_refs()
        elif number % 4 == 3:
            git.run("pack-refs", "--all")
        git.run("update-ref", OTHER, stacked.commits[number + 100])
        assert refs[OTHER] == watching[OTHER] == stacked.commits[number + 100]
        assert reader.ask(OTHER) == stacked.commits[number + 100]
    assert reader.end() == b""
    assert scenes.stray_files(stacked.git_dir) == []


def test_in_turn(path: Path, pool: ObjectPool) -> None:
    """Both add to one stack, and both keep it small; all of it is there in the end."""
    refs, git = refs_at(path), Git(path)
    most = 0
    for number in range(120):
        name, commit = b"refs/heads/b%03d" % number, pool.commits[number]
        if number % 2:
            git.update_ref_stdin([b"create %s %s" % (name, commit)], b"by git")
        else:
            assert refs.add_if_new(name, commit, message=b"by us", **ABOUT)
        most = max(most, len(git.tables()))
    assert most <= math.log2(120) + 1
    assert len(assert_same_refs(refs, git, [b"HEAD"])) == 121
    logs = assert_same_reflogs(refs, git)
    assert sorted(entry.message for log in logs.values() for entry in log) == [
        *[b"by git"] * 60,
        *[b"by us"] * 60,
    ]
    assert scenes.stray_files(path / ".git") == []


def test_update_index_goes_on(path: Path, pool: ObjectPool) -> None:
    """Each transaction takes the next one, whoever makes it."""
    refs, git = refs_at(path), Git(path)
    stack = refs.store.shared
    for number in range(10):
        before = stack.snapshot().max_update_index
        if number % 2:
            git.run("update-ref", MAIN, pool.commits[number])
        else:
            refs[MAIN] = pool.commits[number]
        assert stack.snapshot().max_update_index == before + 1


def test_git_compacts_what_we_compact(stacked: Scene) -> None:
    """Tables that we have locked for a compaction are not git's to merge: it gives way."""
    directory = stacked.git_dir / "reftable"
    git = Git(stacked.path)
    before = scenes.listed(directory)
    locks = [refs_at(stacked.path).store.shared.storage.claim([name]) for name in before]
    with pytest.raises(GitError):
        git.run("pack-refs", "--all")
    for number in range(5):
        git.run("update-ref", MAIN, stacked.commits[number])
    assert scenes.listed(directory)[:2] == before
    for lock in locks:
        lock.release()
    git.run("pack-refs", "--all")
    assert len(scenes.listed(directory)) == 1


def test_worktree_of_git(linked: Scene) -> None:
    """The worktree's stack is locked for itself."""
    path = linked.path
    refs = worktree_refs_at(path)
    git = Git(path.with_name("linked"))
    git.run("update-ref", "refs/bisect/good", linked.commits[3])
    assert refs[b"refs/bisect/good"] == linked.commits[3]
    with refs.store.current.addition():
        with pytest.raises(GitError, match="lock"):
            git.run("update-ref", "refs/bisect/bad", linked.commits[4])
        git.run("update-ref", MAIN, linked.commits[4])
    refs[b"refs/bisect/bad"] = linked.commits[5]
    assert git.run("rev-parse", "refs/bisect/bad").strip() == linked.commits[5]
    assert refs[MAIN] == linked.commits[4]


def test_lock_that_tells_its_holder(stacked: Scene) -> None:
    scenes.set_config(stacked.path, lockfilePid="true")
    session = Session(Git(stacked.path), "update-ref", "--stdin")
    session.ask(b"start")
    session.tell(b"update %s %s" % (MAIN, stacked.commits[9]))
    assert session.ask(b"prepare") == b"prepare: ok"
    session.process.kill()
    session.end()
    if "reftable/tables.list~pid.lock" not in scenes.stray_files(stacked.git_dir):
        pytest.skip("needs a git that knows core.lockfilePid")
    os.unlink(stacked.git_dir / "reftable" / "tables.list.lock")
    refs = refs_at(stacked.path)
    refs[MAIN] = stacked.commits[7]
    refs.clean()
    assert scenes.stray_files(stacked.git_dir) == []


def test_git_is_killed(stacked: Scene, updating: Session) -> None:
    """Its lock stays, and is not stolen; when it is removed by hand, all goes on."""
    updating.ask(b"start")
    updating.tell(b"update %s %s" % (MAIN, stacked.commits[9]))
    assert updating.ask(b"prepare") == b"prepare: ok"
    updating.process.kill()
    updating.end()
    refs = refs_at(stacked.path)
    assert refs[MAIN] == stacked.commits[1]
    with pytest.raises(dr.LockError, match="remove the file by hand") as refused:
        refs[MAIN] = stacked.commits[2]
    os.unlink(refused.value.lock_path)
    refs[MAIN] = stacked.commits[2]
    refs.clean()
    assert scenes.stray_files(stacked.git_dir) == []
    assert Git(stacked.path).complaints() == b""
