"""Every system call of everything that writes fails once, and once the process dies there.

Whatever happens: git and we see the old state or the new one, nothing that was acknowledged is
lost, and the next write works. After an error nothing is left behind; after a kill there may be a
lock, which is not stolen, and files that clean-up knows.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from operator import contains
from pathlib import Path

import pytest
from support.forking import exit_code_of, needs_fork
from support.garbage import collect
from support.git import requires_git

import dulwich_reftable as dr
from dulwich_reftable.engine.errors import LockError
from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.engine.stack import addition as addition_module
from dulwich_reftable.engine.stack.directory import DirectoryStorage
from dulwich_reftable.engine.stack.stack import Stack

from . import scenes
from .scenes import Order, Scene, git_refs, stacks_at, state_of
from .syscalls import Call, Failure, Fault, Interrupt, Kill, recorded, struck

pytestmark = [requires_git, needs_fork]

LATER = b"refs/heads/later"


ALL_FAULTS = bool(os.environ.get("DULWICH_REFTABLE_ALL_FAULTS"))


@dataclass
class Play:
    """An order, the scene it is carried out in, and what can be seen before and after."""

    scene: Scene
    order: Order

    def __post_init__(self) -> None:
        path = self.scene.reset()
        self.before = [state_of(stack) for stack in stacks_at(path)]
        with recorded(path / ".git") as self.calls:
            self.order(path, self.scene.commits)
        self.after = [state_of(stack) for stack in stacks_at(path)]
        assert len(self.calls) > 10

    @property
    def is_linked(self) -> bool:
        return len(self.before) > 1

    def points(self, fault: Fault) -> Iterator[tuple[int, Call]]:
        """Give the calls at which a fault can strike."""
        return ((at, call) for at, call in enumerate(self.calls) if fault.strikes(call))

    def strike(self, fault: Fault, at: int) -> None:
        """Carry out the order, and let the fault strike."""
        with struck(self.scene.git_dir, fault, at):
            assert self.order(self.scene.path, self.scene.commits)

    def check(self, about: str, *, may_be_parted: bool = False, with_git: bool = True) -> bool:
        """Check that git and we see one of the two states, the same; tells whether the new one."""
        seen = [state_of(stack) for stack in stacks_at(self.scene.path)]
        if may_be_parted:
            assert all(map(contains, zip(self.before, self.after, strict=True), seen)), about
        else:
            assert seen in (self.before, self.after), about
        if with_git:
            ours = {name: value for name, value in seen[0][0].items() if name != b"HEAD"}
            theirs = git_refs(self.scene.path)
            theirs.pop(b"HEAD", None)
            assert ours == theirs, about
        return seen == self.after

    def check_next_write(self, about: str) -> None:
        """Check that others can write, and clean up, when all is over."""
        with recorded(self.scene.path):  # which spares the syncing
            for stack in stacks_at(self.scene.path):
                with stack.addition() as addition:
                    index = addition.next_update_index
                    addition.write([RefRecord(LATER, index, bytes(20))], [])
                    addition.commit()
                assert stack.snapshot().lookup_ref(LATER) is not None, about
                stack.clean()
        assert scenes.stray_files(self.scene.git_dir) == [], about

    def check_left(self, about: str, is_new: bool) -> None:
        """Check that nothing was left behind, but tables that were merged and not removed."""
        if self.order is not scenes.clean:
            left = scenes.stray_files(self.scene.git_dir)
            assert all(name.endswith(".ref") and is_new for name in left), (about, left)


@pytest.fixture(
    params=["update", "update, then compact", "create", "transaction", "compact", "clean"]
)
def play(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Play:
    if request.param == "update, then compact":
        monkeypatch.setattr(addition_module, "_SMALL", 0)  # what is larger is merged afterwards
    if request.param.startswith("update"):
        return Play(request.getfixturevalue("stacked"), scenes.update)
    if request.param == "create":
        return Play(request.getfixturevalue("unborn"), scenes.create)
    if request.param == "transaction":
        return Play(request.getfixturevalue("linked"), scenes.transaction)
    scene: Scene = request.getfixturevalue("stacked")
    if request.param == "compact":
        return Play(scene, scenes.compact)
    leave_behind(scene.git_dir / "reftable")
    return Play(Scene(scene.path, scene.pool, "littered"), scenes.clean)


def leave_behind(directory: Path) -> None:
    """Leave behind what a killed writer and a killed compaction would."""
    table = (directory / scenes.listed(directory)[-1]).read_bytes()
    (directory / "0x000000000001-0x000000000002-0123abcd.ref").write_bytes(table)
    (directory / "0x000000000001-0x000000000002-0123abcd.ref.lock").touch()
    (directory / "0x000000000003-0x000000000003.temp.0123").write_bytes(table[:20])


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EACCES], ids=errno.errorcode.get)
def test_call_fails(play: Play, number: int) -> None:
    if play.is_linked and number != errno.EIO:
        pytest.skip("EIO strikes everywhere; the others take the same ways as in an update")
    fault = Failure(number)
    step = 1 if number == errno.EIO or ALL_FAULTS else 2  # they take the same ways
    for at, call in play.points(fault):
        if at % step:
            continue
        about = f"{fault.name} at call {at}, {call}"
        play.scene.reset()
        error = error_of(play, fault, at)
        if error is not None:
            assert isinstance(error, OSError), about
            assert str(play.scene.git_dir) in str(error), about
            assert os.strerror(number) in str(error), about
        is_new = play.check(about, with_git=at % 2 == 0)
        assert is_new or error is not None, about
        play.check_left(about, is_new)
        play.check_next_write(about)


def error_of(play: Play, fault: Fault, at: int) -> dr.ReftableError | None:
    """Carry out the order; no other errors than ours may come out."""
    try:
        play.strike(fault, at)
    except dr.ReftableError as error:
        return error
    return None


def test_call_is_interrupted(play: Play) -> None:
    fault = Interrupt()
    for at, call in play.points(fault):
        about = f"{fault.name} at call {at}, {call}"
        play.scene.reset()
        with pytest.raises(KeyboardInterrupt):
            play.strike(fault, at)
        collect()  # a lock may have been interrupted before anybody had it
        is_new = play.check(about, with_git=False)
        play.check_left(about, is_new)
        play.check_next_write(about)


def test_process_is_killed(play: Play) -> None:
    fault = Kill()
    replaces = [at for at, call in enumerate(play.calls) if call.kind == "replace"]
    was_new = False
    for at, call in play.points(fault):
        about = f"{fault.name} at call {at}, {call}"
        play.scene.reset()
        assert exit_code_of(lambda at=at: play.strike(fault, at)) == Kill.CODE, about
        # Between the renames of two lists, and nowhere else, a kill can part the two stacks.
        is_between = play.is_linked and replaces[0] < at <= replaces[1]
        assert not is_between or call.kind in ("close", "replace"), about
        is_new = play.check(
            about, may_be_parted=is_between, with_git=at % (2 if ALL_FAULTS else 4) == 0
        )
        assert is_new or not was_new, f"{about}: it was done before this"
        was_new = is_new
        remove_locks(play.scene.git_dir, about)
        play.check_next_write(about)
    assert was_new or play.before == play.after


def remove_locks(git_dir: Path, about: str) -> None:
    """Do what the error says: remove the locks by hand, each of which keeps us from writing."""
    for directory in [git_dir / "reftable", *git_dir.glob("worktrees/*/reftable")]:
        lock = directory / "tables.list.lock"
        if lock.exists():
            stack = Stack(DirectoryStorage(str(directory)), lock_timeout=0)
            with pytest.raises(LockError, match="remove the file by hand") as refused:
                stack.clean()
            assert refused.value.lock_path == str(lock), about
            assert str(lock) in str(refused.value), about
            assert refused.value.age is not None, about
            lock.unlink()
        for lock in directory.glob("*.lock"):
            lock.unlink()
