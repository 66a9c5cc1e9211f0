"""A transaction over the shared stack and a worktree's: both or none, and nobody waits for ever."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.engine.errors import ReftableError, StorageError
from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.engine.stack.addition import Addition, commit_all
from dulwich_reftable.engine.stack.directory import DirectoryStorage
from dulwich_reftable.engine.stack.stack import Stack

from . import scenes
from .scenes import BISECT, MAIN, Scene, refs_at, stacks_at, state_of, worktree_refs_at
from .syscalls import Failure, recorded, struck

pytestmark = requires_git


def test_error_between_the_renames(linked: Scene) -> None:
    """The second list cannot be put in place: the first one is taken back."""
    linked.reset()
    before = [state_of(stack) for stack in stacks_at(linked.path)]
    with recorded(linked.git_dir) as calls:
        scenes.transaction(linked.path, linked.commits)
    replaces = [at for at, call in enumerate(calls) if call.kind == "replace"]
    assert [calls[at].file for at in replaces[:2]] == [
        "reftable/tables.list.lock",
        "worktrees/linked/reftable/tables.list.lock",
    ]
    linked.reset()
    with (
        pytest.raises(StorageError, match="worktrees/linked"),
        struck(linked.git_dir, Failure(errno.EIO), replaces[1]),
    ):
        scenes.transaction(linked.path, linked.commits)
    assert [state_of(stack) for stack in stacks_at(linked.path)] == before
    assert scenes.stray_files(linked.git_dir) == []
    scenes.transaction(linked.path, linked.commits)
    assert refs_at(linked.path)[MAIN] == linked.commits[2]
    assert worktree_refs_at(linked.path)[BISECT] == linked.commits[4]


def test_little_is_done_between_the_renames(linked: Scene) -> None:
    """Only a kill there can part the two; everything that takes long is done before or after."""
    linked.reset()
    with recorded(linked.git_dir) as calls:
        scenes.transaction(linked.path, linked.commits)
    first, second = [at for at, call in enumerate(calls) if call.kind == "replace"][:2]
    assert [str(call) for call in calls[first + 1 : second]] == []


def test_too_late_to_take_back(linked: Scene) -> None:
    """Somebody has built on the first before the second failed; then it is said what stands."""
    shared, worktree = stacks_at(linked.reset())
    others = Stack(DirectoryStorage(shared.storage.location))
    others.auto_compacts = False
    with shared.addition() as first, worktree.addition() as second:
        write(first, MAIN)
        write(second, BISECT)
        swap = second._swap

        def fail() -> None:
            with others.addition() as later:
                write(later, b"refs/heads/later")
                later.commit()
            second._swap = swap  # type: ignore[method-assign]
            raise StorageError(errno.EIO, "cannot rename", worktree.storage.location)

        second._swap = fail  # type: ignore[method-assign]
        with pytest.raises(ReftableError, match="an update stands although") as error:
            commit_all([first, second])
    assert shared.storage.location in str(error.value)
    assert shared.snapshot().lookup_ref(MAIN) == RefRecord(MAIN, first.next_update_index, b"x" * 20)
    assert worktree.snapshot().lookup_ref(BISECT) is None
    assert scenes.stray_files(linked.git_dir) == []


def write(addition: Addition, name: bytes) -> None:
    addition.write([RefRecord(name, addition.next_update_index, b"x" * 20)], [])


def test_everybody_locks_in_one_order(linked: Scene) -> None:
    """From each worktree the paths look different; who would go by that would wait for ever."""
    git = Git(linked.path)
    git.run("worktree", "add", "--quiet", "--detach", "--no-checkout", "../other", MAIN)
    orders = []
    for name in ("repo", "linked", "other"):
        with dr.Repo(str(linked.path.with_name(name))) as repo:
            transaction = repo.refs.transaction()
            for ref in (
                b"worktrees/linked/refs/worktree/" + name.encode(),
                b"worktrees/other/refs/worktree/" + name.encode(),
                b"refs/heads/" + name.encode(),
            ):
                transaction.update(ref, linked.commits[1])
            with recorded(linked.path) as calls:
                transaction.commit()
        locked = [call.args[0] for call in calls if is_list_lock(call.file) and call.kind == "open"]
        orders.append([str(Path(path).resolve()) for path in locked[:3]])
    assert orders[0] == orders[1] == orders[2]
    assert len(set(orders[0])) == 3


def is_list_lock(name: str) -> bool:
    return name.endswith("tables.list.lock")
