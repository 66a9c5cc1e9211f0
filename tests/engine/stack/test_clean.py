"""What is left behind is removed, and nothing that a live writer is about to list."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.filesystems import names_in
from support.git import Git, requires_git

from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.engine.stack.directory import DirectoryStorage
from dulwich_reftable.engine.stack.stack import Stack
from dulwich_reftable.engine.stack.stale_files import find_stale_files

from . import scenes
from .scenes import MAIN, OTHER, Scene, refs_at
from .syscalls import Call, intercepted

LISTED = "0x000000000001-0x000000000002-00000001.ref"
OLD = "0x000000000001-0x000000000001-0000000a.ref"

STALE = [
    OLD,
    "000000000001-000000000001-0000000a.ref",  # JGit's name for it
    OLD + ".lock",
    OLD + "~pid.lock",
    LISTED + "~pid.lock",
    "tables.list~pid.lock",
]
MAYBE_LIVE = [  # stale only if no listed table is locked
    "0x000000000001-0x000000000002-c0ffee00.temp.Ab12_x",  # git's
    "0x000000000001-0x000000000002.temp.0123456789ab",  # ours
    "0x000000000001-0x000000000002.temp.0123456789ab.ref",
    "000000000001-000000000002_1234567890.ref",  # JGit's
]
KEPT = ["tables.list", "tables.list.lock", LISTED, "README", "notes.lock", "a.reference"]


def names(found: list[str]) -> list[str]:
    return sorted(name for name, _ in find_stale_files(found, [LISTED]))


def test_stale_files() -> None:
    assert names([*STALE, *MAYBE_LIVE, *KEPT]) == sorted([*STALE, *MAYBE_LIVE])


def test_stale_files_during_a_compaction() -> None:
    stale = [name for name in STALE if name != LISTED + "~pid.lock"]
    assert names([*STALE, *MAYBE_LIVE, *KEPT, LISTED + ".lock"]) == sorted(stale)


def test_lock_of_an_unlisted_table_is_no_compaction() -> None:
    assert names([OLD + ".lock", *MAYBE_LIVE, LISTED]) == sorted([OLD + ".lock", *MAYBE_LIVE])


pytestmark = requires_git


def litter(directory: Path) -> set[str]:
    """Leave behind one file of each kind; gives the names of those that stay."""
    listed = scenes.listed(directory)[-1]
    table = (directory / listed).read_bytes()
    for name in STALE + MAYBE_LIVE:
        (directory / name.replace(LISTED, listed)).write_bytes(table)
    (directory / "0x000000000001-0x000000000001-0000000b.ref").write_bytes(table[:50])
    (directory / "0x000000000001-0x000000000001-0000000c.ref").touch()
    for name in ("README", "notes.lock"):
        (directory / name).write_text(name)
    (directory / "0x000000000009-0x000000000009-0000000d.ref").mkdir()
    return {"README", "notes.lock", "0x000000000009-0x000000000009-0000000d.ref"}


def test_clean(stacked: Scene) -> None:
    directory = stacked.git_dir / "reftable"
    before = set(names_in(directory))
    kept = litter(directory)
    stack = Stack(DirectoryStorage(str(directory)))
    removed = set(stack.clean())
    assert set(names_in(directory)) == before | kept
    assert removed.isdisjoint(before | kept)
    assert len(removed) == len(STALE) + len(MAYBE_LIVE) + 2
    assert stack.clean() == []
    assert Git(stacked.path).complaints() == b""


def test_by_the_container(stacked: Scene) -> None:
    litter(stacked.git_dir / "reftable")
    refs = refs_at(stacked.path)
    refs.pack_refs()
    assert scenes.stray_files(stacked.git_dir) == [
        "reftable/0x000000000009-0x000000000009-0000000d.ref",
        "reftable/README",
        "reftable/notes.lock",
    ]
    assert refs[MAIN] == stacked.commits[1]


def test_tables_beyond_the_stack_are_kept(stacked: Scene) -> None:
    """An older list was put back: the newer tables may be all there is of some updates."""
    directory = stacked.git_dir / "reftable"
    older = (directory / "tables.list").read_bytes()
    refs = refs_at(stacked.path)
    refs[MAIN] = stacked.commits[5]
    refs.compact()
    newer = (directory / "tables.list").read_bytes()
    (directory / "tables.list").write_bytes(older)
    stacked.reset()
    for line in newer.split():
        (directory / os.fsdecode(line)).write_bytes(b"")  # not even readable
    assert refs_at(stacked.path)[MAIN] == stacked.commits[1]
    refs_at(stacked.path).clean()
    for line in newer.split():
        assert (directory / os.fsdecode(line)).exists()
    refs_at(stacked.path)[MAIN] = stacked.commits[6]
    refs_at(stacked.path).clean()
    assert scenes.stray_files(stacked.git_dir) == []


def test_table_that_cannot_be_removed(stacked: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where somebody has mapped it: the next clean-up gets it."""
    directory = stacked.git_dir / "reftable"
    refs = refs_at(stacked.path)
    merged = scenes.listed(directory)
    unlink = os.unlink

    def refuse(path: Any, *args: Any, **kwargs: Any) -> None:
        if str(path).endswith(".ref"):
            raise PermissionError(13, "The process cannot access the file", path)
        unlink(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        refs.compact()
        assert len(scenes.listed(directory)) == 1
        assert sorted(scenes.stray_files(stacked.git_dir)) == [f"reftable/{n}" for n in merged]
        refs.clean()
        refs[OTHER] = stacked.commits[3]
        assert refs[OTHER] == stacked.commits[3]
        assert Git(stacked.path).complaints() == b""
    refs.clean()
    assert scenes.stray_files(stacked.git_dir) == []


@pytest.mark.parametrize("by", ["ours", "git"])
def test_clean_at_each_step_of_writers(stacked: Scene, by: str) -> None:
    """Somebody cleans up after each system call of an update and its compaction."""
    directory = stacked.git_dir / "reftable"
    cleaner = Stack(DirectoryStorage(str(directory)), lock_timeout=0)
    git = Git(stacked.path)
    is_cleaning = False
    cleaned = 0

    def hook(call: Call, done: Callable[[], Any]) -> Any:
        nonlocal is_cleaning, cleaned
        result = done()
        lock = directory / "tables.list.lock"
        if not is_cleaning and not lock.exists() and call.kind not in ("close", "stat", "lstat"):
            is_cleaning = True
            if by == "ours":
                cleaner.clean()
            else:
                git.run("pack-refs", "--auto")
            cleaned += 1
            is_cleaning = False
        return result

    stack = Stack(DirectoryStorage(str(directory)))
    with intercepted(stacked.git_dir, hook), stack.addition() as addition:
        addition.write([RefRecord(MAIN, addition.next_update_index, b"x" * 20)], [])
        addition.commit()
    assert cleaned >= 4
    record = cleaner.snapshot().lookup_ref(MAIN)
    assert record is not None
    assert record.value == b"x" * 20
    cleaner.clean()
    assert scenes.stray_files(stacked.git_dir) == []
