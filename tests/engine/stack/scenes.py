"""What the tests of failures play on: prepared repositories, and orders to carry out in them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.filesystems import names_in, remove_tree
from support.git import Git
from support.pool import ObjectPool

import dulwich_reftable as dr
from dulwich_reftable.engine.format.records import LogUpdate
from dulwich_reftable.engine.stack.directory import DirectoryStorage
from dulwich_reftable.engine.stack.stack import Stack

MAIN, NEW, OTHER = b"refs/heads/main", b"refs/heads/new", b"refs/heads/other"
BISECT = b"refs/bisect/bad"
ABOUT: dict[str, Any] = {
    "committer": b"C O <c@example.com>",
    "timestamp": 1_700_000_000,
    "timezone": 0,
}

State = tuple[dict[bytes, bytes], dict[bytes, list[LogUpdate]]]
"""Refs as text, and reflog entries, newest first."""


def stacks_at(path: Path) -> list[Stack]:
    """Open a repository's stacks: the shared one, and that of each linked worktree."""
    git_dirs = [path / ".git", *sorted((path / ".git" / "worktrees").glob("*"))]
    return [Stack(DirectoryStorage(str(git_dir / "reftable"))) for git_dir in git_dirs]


def state_of(stack: Stack) -> State:
    """Read all of it."""
    snapshot = stack.snapshot()
    logs: dict[bytes, list[LogUpdate]] = {}
    for _, records in snapshot.log_records():
        for record in records:
            if record.update is not None:
                logs.setdefault(record.name, []).append(record.update)
    refs: dict[bytes, bytes] = {}
    for names, values in snapshot.ref_values():
        refs.update(zip(names, values, strict=True))
    return refs, logs


def set_config(path: Path, **values: str) -> None:
    """Append settings of section ``core`` to a repository's configuration."""
    with (path / ".git" / "config").open("a") as file:
        file.write("[core]\n" + "".join(f"\t{key} = {value}\n" for key, value in values.items()))


@dataclass
class Scene:
    """A repository whose stacks can be put back to how they were."""

    path: Path
    pool: ObjectPool
    name: str = "saved"

    def __post_init__(self) -> None:
        self.git_dir = self.path / ".git"
        self._saved = self.path.with_name(self.name)
        for directory in self._stacks(self.git_dir):
            shutil.copytree(directory, self._saved / directory.relative_to(self.git_dir))

    @staticmethod
    def _stacks(below: Path) -> list[Path]:
        return [*below.glob("reftable"), *below.glob("worktrees/*/reftable")]

    @property
    def commits(self) -> list[bytes]:
        """Objects for refs to point at."""
        return self.pool.commits

    def reset(self) -> Path:
        """Put the stacks back; gives the repository's path."""
        for directory in self._stacks(self.git_dir):
            remove_tree(directory)
        for directory in self._stacks(self._saved):
            shutil.copytree(directory, self.git_dir / directory.relative_to(self._saved))
        return self.path


def refs_at(path: Path) -> dr.ReftableRefsContainer:
    """Open a repository's refs as a process would that has just started."""
    return dr.ReftableRefsContainer(path / ".git")


def worktree_refs_at(path: Path) -> dr.ReftableRefsContainer:
    """Open the refs as the linked worktree sees them."""
    return dr.ReftableRefsContainer(
        path / ".git", worktree_path=path / ".git" / "worktrees" / "linked"
    )


def init(path: Path, pool: ObjectPool, *, synced: bool = True) -> None:
    """Make an empty repository that knows the pool's objects."""
    dr.Repo.init(str(path), mkdir=True, default_branch=b"main").close()
    pool.lend(path / ".git")
    if not synced:
        set_config(path, fsync="none")


def stack_files(path: Path) -> list[str]:
    """The names of all files in the stack's directory."""
    return names_in(path / ".git" / "reftable")


def listed(directory: Path) -> list[str]:
    """The names in a stack's list."""
    return (directory / "tables.list").read_text().split()


def stray_files(git_dir: Path) -> list[str]:
    """The files of all stacks that no list names."""
    found = []
    for directory in [git_dir / "reftable", *git_dir.glob("worktrees/*/reftable")]:
        if directory.is_dir():
            names = set(listed(directory)) if (directory / "tables.list").exists() else set()
            found += [
                str((directory / name).relative_to(git_dir))
                for name in names_in(directory)
                if name != "tables.list" and name not in names
            ]
    return found


def git_refs(path: Path) -> dict[bytes, bytes]:
    """What git lists."""
    return {name: ref.value for name, ref in Git(path).for_each_ref().items()}


Order = Callable[[Path, list[bytes]], object]


def update(path: Path, commits: list[bytes]) -> object:
    """Set a branch, by compare-and-swap."""
    return refs_at(path).set_if_equals(MAIN, commits[1], commits[2], message=b"order", **ABOUT)


def create(path: Path, commits: list[bytes]) -> object:
    """Make the first ref of a repository that has no stack yet."""
    return refs_at(path).add_if_new(NEW, commits[2], message=b"order", **ABOUT)


def transaction(path: Path, commits: list[bytes]) -> object:
    """Change refs of the shared stack and of the worktree's."""
    with worktree_refs_at(path).transaction(message=b"order", **ABOUT) as tx:
        tx.update(MAIN, commits[2], commits[1])
        tx.create(NEW, commits[3])
        tx.delete(OTHER, commits[0])
        tx.create(BISECT, commits[4])
    return True


def compact(path: Path, commits: list[bytes]) -> object:
    """Merge all tables."""
    refs_at(path).compact()
    return True


def clean(path: Path, commits: list[bytes]) -> object:
    """Remove what was left behind."""
    refs_at(path).clean()
    return True
