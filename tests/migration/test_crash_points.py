"""Every system call that changes something fails once, and once the process dies there.

Whatever happens: git opens the repository, in the old format or in the new one, and sees all that
was in it. After an error nothing is left behind; after a kill there may be locks, which are not
stolen, and the next migration clears the rest away.
"""

from __future__ import annotations

import errno
import gc
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from engine.stack.syscalls import Call, Failure, Fault, Interrupt, Kill, recorded, struck
from support.filesystems import remove_tree
from support.forking import exit_code_of, needs_fork
from support.git import Git, requires_git

import dulwich_reftable as dr

from .scenes import Pools, Repository

pytestmark = [requires_git, needs_fork]

CONFIG = {"core.fsync": "none", "reftable.lockTimeout": "0"}
ALL_FAULTS = bool(os.environ.get("DULWICH_REFTABLE_ALL_FAULTS"))
CHANGES = ("open", "write", "mkdir", "chmod", "unlink", "rename", "replace")


@dataclass
class Play:
    """A repository that is migrated again and again, and what git shows of it."""

    repository: Repository
    saved: Path
    before: str
    to: str

    def __post_init__(self) -> None:
        self.git_dir = self.repository.git_dirs[0]
        shutil.rmtree(self.git_dir / "hooks", ignore_errors=True)
        shutil.copytree(self.git_dir, self.saved, symlinks=True)
        self.seen = self.repository.seen()
        self.listed = self.list()
        with recorded(self.git_dir) as self.calls:
            self.migrate()
        assert self.repository.seen() == self.seen
        self.reset()

    def reset(self) -> None:
        remove_tree(self.git_dir)
        shutil.copytree(self.saved, self.git_dir, symlinks=True)

    def migrate(self) -> None:
        dr.migrate(self.repository.git.path, self.to)

    def strike(self, fault: Fault, at: int) -> None:
        """Migrate, and let the fault strike."""
        with struck(self.git_dir, fault, at):
            self.migrate()

    def list(self) -> list[Any]:
        """All refs that git shows, which is told faster than all that there is."""
        return [git.for_each_ref() for git in (self.repository.git, *self.repository.linked)]

    def ref_format(self) -> str:
        """The format that the configuration says."""
        config = (self.git_dir / "config").read_bytes().lower()
        return "reftable" if b"refstorage = reftable" in config else "files"

    def points(self, fault: Fault, every: int = 1) -> Iterator[tuple[int, Call]]:
        """The calls at which something changes, and which a fault can strike.

        Of the many in the preparation, which nobody sees, each ninth will do.
        """
        step = 1 if ALL_FAULTS else 2
        for at, call in enumerate(self.calls):
            is_unseen = call.file.startswith("ref_migration/new/") and call.kind != "rename"
            if at % (step * (9 if is_unseen else every)):
                continue
            is_change = call.kind in CHANGES and not (
                call.kind == "open" and not call.args[1] & (os.O_CREAT | os.O_WRONLY)
            )
            if is_change and fault.strikes(call):
                yield at, call

    def check_next(self, about: str) -> None:
        """Check that the migration can be done or finished, and that nothing is left behind."""
        self.migrate()
        assert self.ref_format() == self.to, about
        assert self.list() == self.listed, about
        assert self.repository.remains(self.to) == [], about


@pytest.fixture(params=["reftable", "files"])
def play(request: pytest.FixtureRequest, tmp_path: Path, pool_of: Pools) -> Play:
    """Refs of each kind, packed and loose, reflogs, and a linked worktree; few of each."""
    before = "files" if request.param == "reftable" else "reftable"
    git = Git.init(tmp_path / "made", ref_format=before, config=CONFIG)
    pool = pool_of("sha1")
    pool.lend(git.git_dir)
    tag = next(iter(pool.tags))
    text = [b"create refs/heads/main " + pool.commits[0], b"create refs/tags/v1 " + tag]
    git.update_ref_stdin(text, b"first")
    git.run("pack-refs", "--all")
    git.run("update-ref", "-m", "second", "HEAD", pool.commits[1])
    git.run("symbolic-ref", "refs/heads/sym", "refs/heads/main")
    git.run("update-ref", "ORIG_HEAD", pool.commits[2])
    git.run("worktree", "add", "--no-checkout", "-b", "side", tmp_path / "linked")
    linked = Git(tmp_path / "linked")
    linked.run("update-ref", "refs/bisect/bad", pool.commits[3])
    return Play(Repository(git, [linked]), tmp_path / "saved", before, request.param)


def test_process_is_killed(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    # So that what it removes is seen, too.
    monkeypatch.setattr(shutil, "_use_fd_functions", False)
    with recorded(play.git_dir) as play.calls:
        play.migrate()
    fault = Kill()
    was_new = False
    for at, call in play.points(fault, every=3):
        about = f"{fault.name} at call {at}, {call}"
        play.reset()
        assert exit_code_of(lambda at=at: play.strike(fault, at)) == Kill.CODE, about
        assert play.list() == play.listed, about
        if call.kind in ("rename", "replace") and call.file.count("/") < 2:
            assert play.repository.seen() == play.seen, about
        is_new = play.ref_format() == play.to
        assert is_new or not was_new, f"{about}: it was done before this"
        was_new = is_new
        locks = sorted(path for path in play.git_dir.rglob("*.lock"))
        if any(lock.name == "config.lock" for lock in locks):
            with pytest.raises(dr.LockError, match="remove the file by hand"):
                play.migrate()
        for lock in locks:
            lock.unlink()
        if is_new and not (play.git_dir / "ref_migration").exists():
            assert play.repository.remains(play.to) == [], about
        else:
            play.check_next(about)
    assert was_new


def test_call_fails(play: Play) -> None:
    fault = Failure(errno.EIO)
    for at, call in play.points(fault, every=5):
        about = f"{fault.name} at call {at}, {call}"
        play.reset()
        error = error_of(play, fault, at)
        if error is not None:
            assert isinstance(error, OSError), about
            assert str(play.git_dir) in str(error), about
            assert os.strerror(errno.EIO) in str(error), about
        failed = error is not None
        del error  # its traceback has tables open
        check_over(play, about, failed=failed)


def error_of(play: Play, fault: Fault, at: int) -> dr.ReftableError | None:
    """Migrate, and let the fault strike; no other errors than ours may come out."""
    try:
        play.strike(fault, at)
    except dr.ReftableError as error:
        return error
    return None


def test_call_is_interrupted(play: Play) -> None:
    fault = Interrupt()
    for at, call in play.points(fault, every=7):
        about = f"{fault.name} at call {at}, {call}"
        play.reset()
        with pytest.raises(KeyboardInterrupt):
            play.strike(fault, at)
        check_over(play, about, failed=True)


def check_over(play: Play, about: str, *, failed: bool) -> None:
    """Check what is there when an error has come out, or none."""
    gc.collect()  # an interrupt can leave a lock to its finalizer
    ref_format = play.ref_format()
    assert play.list() == play.listed, about
    assert ref_format == play.to or failed, about
    if not (play.git_dir / "ref_migration").exists():
        assert play.repository.remains(ref_format) == [], about
        if ref_format == play.to:
            return
    play.check_next(about)
