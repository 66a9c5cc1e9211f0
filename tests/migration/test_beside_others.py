"""Others who write while a migration is under way: they are kept out, or they are noticed.

The progress is told while the new format is prepared, which is when others get their turn here.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.git import Git, GitError, requires_git

import dulwich_reftable as dr
from dulwich_reftable.migration import MigrationError, run

from .scenes import Pools, Repository, make

pytestmark = requires_git


class Meanwhile:
    """Does something once, when the first refs have been read."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action
        self.is_done = False

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        if not self.is_done:
            self.is_done = True
            self.action()


@pytest.fixture
def files(tmp_path: Path, pool_of: Pools) -> Repository:
    return make("plain", tmp_path / "made", pool_of, "files")


@pytest.fixture
def reftable(tmp_path: Path, pool_of: Pools) -> Repository:
    return make("plain", tmp_path / "made", pool_of, "reftable")


@pytest.fixture
def linked(request: pytest.FixtureRequest, tmp_path: Path, pool_of: Pools) -> Repository:
    """One with linked worktrees, in the format that is asked for."""
    return make("worktrees", tmp_path / "made", pool_of, request.param)


WRITES: dict[str, Callable[[Git, bytes], object]] = {
    "create": lambda git, oid: git.run("update-ref", "refs/heads/fresh", oid),
    "update": lambda git, oid: git.run("update-ref", "refs/heads/topic-3", oid),
    "own ref": lambda git, oid: git.run("update-ref", "refs/worktree/fresh", oid),
    "symref": lambda git, oid: git.run("symbolic-ref", "refs/heads/sym", "refs/heads/topic-2"),
    "root ref": lambda git, oid: git.run("update-ref", "OTHER_HEAD", oid),
    "log": lambda git, oid: git.run("reflog", "expire", "--expire=all", "refs/heads/topic-1"),
    "worktree": lambda git, oid: git.run(
        "worktree", "add", "--no-checkout", "--detach", git.path.with_name("fresh"), oid
    ),
}


@pytest.mark.parametrize("write", WRITES)
def test_update_of_files_is_noticed(write: str, files: Repository, pool_of: Pools) -> None:
    oid = pool_of("sha1").commits[99]
    before = files.seen()
    meanwhile = Meanwhile(lambda: WRITES[write](files.git, oid))
    with pytest.raises(MigrationError, match=r"written to .*meanwhile"):
        files.migrate("reftable", progress=meanwhile)
    if write == "worktree":
        files.linked.append(Git(files.git.path.with_name("fresh")))
    after = files.seen()
    assert after != before
    assert files.remains("files") == []
    # The update stands, and the migration can be done.
    files.migrate("reftable")
    assert files.remains("reftable") == []
    assert files.seen() == after


@pytest.mark.parametrize("linked", ["files"], indirect=True)
def test_update_in_a_linked_worktree_is_noticed(linked: Repository, pool_of: Pools) -> None:
    worktree = linked.linked[1]
    oid = pool_of("sha1").commits[99]
    meanwhile = Meanwhile(lambda: worktree.run("update-ref", "refs/bisect/bad", oid))
    with pytest.raises(MigrationError, match="meanwhile"):
        linked.migrate("reftable", progress=meanwhile)
    assert worktree.raw_refs()[b"refs/bisect/bad"] == oid
    assert linked.remains("files") == []


@pytest.mark.parametrize(
    "command",
    [
        ("update-ref", "-m", "moved", "HEAD"),
        ("update-ref", "-d", "refs/heads/topic-3"),
        ("pack-refs", "--all"),
        ("symbolic-ref", "HEAD", "refs/heads/topic-2"),
        ("config", "a.b", "c"),
    ],
    ids=str,
)
def test_locks_keep_out_who_heeds_them(
    command: tuple[str, ...], files: Repository, pool_of: Pools
) -> None:
    """Commits, deletions and packing are kept out while files are read; config edits always."""
    before = files.seen()
    oid = [pool_of("sha1").commits[99]] if command[-1] == "HEAD" else []
    refused: list[GitError] = []

    def write() -> None:
        try:
            files.git.run(*command, *oid)
        except GitError as error:
            refused.append(error)

    files.migrate("reftable", progress=Meanwhile(write))
    assert len(refused) == 1
    assert files.remains("reftable") == []
    assert files.seen() == before


@pytest.mark.parametrize("write", [name for name in WRITES if name != "worktree"])
def test_reftables_are_locked(write: str, reftable: Repository, pool_of: Pools) -> None:
    before = reftable.seen()
    refused: list[str] = []

    def attempt() -> None:
        try:
            WRITES[write](reftable.git, pool_of("sha1").commits[99])
        except GitError as error:
            refused.append(str(error))

    reftable.migrate("files", progress=Meanwhile(attempt))
    assert len(refused) == 1
    assert reftable.remains("files") == []
    assert reftable.seen() == before


@pytest.mark.parametrize("name", ["heads/topic-3", "heads/fresh", "tags/fresh", "bisect/bad"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_update_in_the_moment_of_the_swap_is_noticed(
    name: str, when: str, files: Repository, pool_of: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a process that opened the repository before it, and comes before or after the files go."""
    oid = pool_of("sha1").commits[99]
    before = files.seen()
    path = files.git_dirs[0] / "refs" / name
    real = run.settle

    def write() -> None:
        # As git does it: not in place.
        path.parent.mkdir(exist_ok=True)
        lock = path.with_name(f"{path.name}.lock")
        lock.write_bytes(oid + b"\n")
        lock.replace(path)

    def settle(*args: Any) -> list[str]:
        monkeypatch.setattr(run, "settle", real)
        if when == "before":
            write()
        left = real(*args)
        if when == "after":
            write()
        return left

    monkeypatch.setattr(run, "settle", settle)
    if when == "after" and name.startswith("heads"):
        with pytest.raises((FileExistsError, dr.StorageError)):
            files.migrate("reftable")  # it is the writer who fails
        files.migrate("reftable")
    else:
        with pytest.raises(MigrationError, match="during the swap") as noticed:
            files.migrate("reftable")
        (kept,) = files.git_dirs[0].glob("ref_migration.*")
        assert str(kept) in str(noticed.value)
        found = [path for path in kept.rglob("*") if path.is_file()]
        assert oid + b"\n" in [path.read_bytes() for path in found]
        shutil.rmtree(kept)
    assert files.remains("reftable") == []
    assert files.seen() == before


def test_new_worktree_of_reftables_is_noticed(reftable: Repository, pool_of: Pools) -> None:
    oid = pool_of("sha1").commits[99]

    def add() -> None:
        # Its branch would be a ref of the shared stack, which is locked.
        where = reftable.git.path.with_name("fresh")
        reftable.git.run("worktree", "add", "--no-checkout", "--detach", where, oid)

    with pytest.raises(MigrationError, match="meanwhile"):
        reftable.migrate("files", progress=Meanwhile(add))
    reftable.linked.append(Git(reftable.git.path.with_name("fresh")))
    assert reftable.remains("reftable") == []
    assert reftable.seen()[-1].raw[b"HEAD"] == oid
    reftable.migrate("files")
    assert reftable.seen()[-1].raw[b"HEAD"] == oid


def test_lock_of_a_stack_is_broken(reftable: Repository, pool_of: Pools) -> None:
    oid = pool_of("sha1").commits[99]

    def break_in() -> None:
        (reftable.git_dirs[0] / "reftable" / "tables.list.lock").unlink()
        reftable.git.run("update-ref", "refs/heads/fresh", oid)

    with pytest.raises(MigrationError, match="meanwhile"):
        reftable.migrate("files", progress=Meanwhile(break_in))
    assert reftable.git.raw_refs()[b"refs/heads/fresh"] == oid
    assert reftable.remains("reftable") == []


@pytest.mark.parametrize("to", ["reftable", "files"])
def test_second_migration_is_kept_out(to: str, request: pytest.FixtureRequest) -> None:
    repository: Repository = request.getfixturevalue("files" if to == "reftable" else "reftable")
    refused: list[dr.LockError] = []

    def migrate_too() -> None:
        with pytest.raises(dr.LockError, match=r"config\.lock") as error:
            repository.migrate(to)
        refused.append(error.value)

    repository.migrate(to, progress=Meanwhile(migrate_too))
    assert len(refused) == 1
    assert repository.remains(to) == []


@pytest.mark.parametrize(
    "lock", ["config.lock", "packed-refs.lock", "HEAD.lock", "refs/heads/topic/1.lock"]
)
def test_lock_is_respected(lock: str, files: Repository) -> None:
    """Be it that of somebody who is at work, or was killed at it: it is named, and not broken."""
    before = files.seen()
    path = files.git_dirs[0] / lock
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with pytest.raises(dr.LockError, match="remove the file by hand") as refused:
        files.migrate("reftable")
    assert refused.value.lock_path == str(path)
    path.unlink()
    assert files.remains("files") == []
    assert files.seen() == before


@pytest.mark.parametrize("linked", ["reftable"], indirect=True)
def test_lock_of_a_linked_stack_is_respected(linked: Repository) -> None:
    lock = linked.git_dirs[2] / "reftable" / "tables.list.lock"
    lock.touch()
    with pytest.raises(dr.LockError) as refused:
        linked.migrate("files")
    assert refused.value.lock_path == str(lock)
    lock.unlink()
    assert linked.remains("reftable") == []
