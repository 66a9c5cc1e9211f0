"""Readers lock nothing, write nothing, look once, and see one state or another, never a part."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.compare import file_states
from support.filesystems import moves_open_files
from support.garbage import collect
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.engine.stack import files
from dulwich_reftable.engine.stack.directory import DirectoryStorage
from dulwich_reftable.engine.stack.stack import Stack
from dulwich_reftable.engine.stack.storage import MissingTableError

from . import scenes
from .scenes import MAIN, OTHER, Scene, refs_at, stacks_at, state_of
from .syscalls import Call, intercepted, recorded

pytestmark = requires_git


def test_one_look_a_read(stacked: Scene) -> None:
    refs = refs_at(stacked.path)
    refs.read_ref(MAIN)
    with recorded(stacked.git_dir) as calls:
        for _ in range(3):
            assert refs.read_ref(MAIN) == stacked.commits[1]
        assert refs[b"refs/tags/t0001"] == stacked.commits[1]
    assert [str(call) for call in calls] == ["stat reftable/tables.list"] * 4


def test_one_look_after_an_update(stacked: Scene) -> None:
    """What was written needs not be read; nor does what was there before."""
    refs = refs_at(stacked.path)
    refs.compact()
    refs.read_ref(MAIN)
    refs[MAIN] = stacked.commits[7]
    with recorded(stacked.git_dir) as calls:
        assert refs[MAIN] == stacked.commits[7]
        assert refs[OTHER] == stacked.commits[0]
    assert [str(call) for call in calls] == ["stat reftable/tables.list"] * 2


def test_known_tables_are_not_opened_again(stacked: Scene) -> None:
    refs, other = refs_at(stacked.path), refs_at(stacked.path)
    refs.compact()
    refs.read_ref(MAIN)
    other[MAIN] = stacked.commits[7]
    with recorded(stacked.git_dir) as calls:
        assert refs[MAIN] == stacked.commits[7]
    opened = [call.file for call in calls if call.kind == "open"]
    names = scenes.listed(stacked.git_dir / "reftable")
    assert opened == ["reftable/tables.list", f"reftable/{names[-1]}"]


def test_reading_writes_nothing(stacked: Scene) -> None:
    before = file_states(stacked.path)
    refs = refs_at(stacked.path)
    assert len(refs.as_dict()) > 600
    assert refs.snapshot().get_peeled(MAIN) == stacked.commits[1]
    assert list(refs.read_reflog(MAIN))
    assert refs.verify() == []
    refs.close()
    assert file_states(stacked.path) == before


def test_no_stack_yet(unborn: Scene) -> None:
    before = file_states(unborn.path)
    refs = refs_at(unborn.path)
    assert refs.as_dict() == {}
    assert refs.snapshot().allkeys() == set()
    assert file_states(unborn.path) == before
    refs_at(unborn.path)[MAIN] = unborn.commits[0]
    assert refs[MAIN] == unborn.commits[0]


def test_snapshots_survive_everything(stacked: Scene) -> None:
    refs, other = refs_at(stacked.path), refs_at(stacked.path)
    snapshot = refs.snapshot()
    expected = snapshot.as_dict()
    other[MAIN] = stacked.commits[9]
    del other[b"refs/tags/t0001"]
    Git(stacked.path).run("pack-refs", "--all")
    other[OTHER] = stacked.commits[9]
    other.compact()
    other.clean()
    assert len(scenes.stack_files(stacked.path)) == 2
    refs.close()
    assert snapshot.as_dict() == expected
    assert snapshot[b"refs/tags/t0001"] == stacked.commits[1]
    assert [e.new_sha for e in snapshot.read_reflog(MAIN)] == [stacked.commits[1]]
    assert refs.as_dict() == other.as_dict()


@pytest.mark.parametrize("times", [1, 5])
def test_tables_vanish_while_the_list_is_followed(stacked: Scene, times: int) -> None:
    """Between reading the list and opening a table, somebody has compacted; more than once."""
    directory = stacked.git_dir / "reftable"
    other = Stack(DirectoryStorage(str(directory), fsync=False))
    left = times

    def hook(call: Call, done: Callable[[], Any]) -> Any:
        nonlocal left
        if call.kind == "open" and call.file.endswith(".ref") and left:
            left -= 1
            now, left = left, 0  # what happens now is not hooked
            add(other, MAIN, now)
            other.compact()
            left = now
        return done()

    refs = refs_at(stacked.path)
    with intercepted(stacked.git_dir, hook):
        assert refs[MAIN] == b"00" * 19 + b"00"
    assert left == 0


def add(stack: Stack, name: bytes, number: int) -> None:
    with stack.addition() as addition:
        value = number.to_bytes(20, "big")
        addition.write([RefRecord(name, addition.next_update_index, value)], [])
        addition.commit()


def test_missing_table_is_told_of(stacked: Scene) -> None:
    """If the list has not changed, nobody compacts: the stack is damaged."""
    directory = stacked.git_dir / "reftable"
    name = scenes.listed(directory)[0]
    (directory / name).unlink()
    with pytest.raises(MissingTableError, match=name):
        refs_at(stacked.path).as_dict()


def test_never_half_a_transaction(stacked: Scene) -> None:
    """Look after each system call of a writer, with a reader who keeps up and a new one."""
    directory = stacked.git_dir / "reftable"
    keeping_up = Stack(DirectoryStorage(str(directory)))
    before = state_of(keeping_up)
    seen = []
    is_looking = False

    def hook(call: Call, done: Callable[[], Any]) -> Any:
        nonlocal is_looking
        result = done()
        if not is_looking:
            is_looking = True
            state = state_of(keeping_up)
            assert state == state_of(Stack(DirectoryStorage(str(directory)))), str(call)
            seen.append(state)
            is_looking = False
        return result

    tx = refs_at(stacked.path).transaction(message=b"m", **scenes.ABOUT)
    tx.update(MAIN, stacked.commits[2])
    tx.delete(OTHER)
    for number in range(50):
        tx.create(b"refs/heads/n%d" % number, stacked.commits[number])
    with intercepted(stacked.git_dir, hook):
        tx.commit()
    after = state_of(keeping_up)
    assert len(seen) > 30
    assert before != after
    at = seen.index(after)
    assert seen == [before] * at + [after] * (len(seen) - at)


# Telling one list from another


def replace_list(directory: Path, contents: bytes) -> None:
    (directory / "new").write_bytes(contents)
    os.replace(directory / "new", directory / "tables.list")


@pytest.mark.plain_filesystem("NTFS numbers its files for good", on=("windows",))
def test_same_inode_cannot_come_back(path: Path) -> None:
    """Lists of the same length, at the same time: files are told apart by inode all the same."""
    directory = path / ".git" / "reftable"
    stack = stacks_at(path)[0]
    for number in range(3):
        add(stack, b"refs/heads/n%d" % number, number)
    listing = stack.storage.refresh(None)
    state = os.stat(directory / "tables.list")
    contents = (directory / "tables.list").read_bytes()
    for _ in range(50):
        replace_list(directory, contents)
        os.utime(directory / "tables.list", ns=(state.st_atime_ns, state.st_mtime_ns))
        assert stack.storage.refresh(listing) is not listing


@moves_open_files
def test_list_written_in_place(stacked: Scene) -> None:
    """No writer of refs does it; who restores a backup may."""
    directory = stacked.git_dir / "reftable"
    saved = (directory / "tables.list").read_bytes()
    refs = refs_at(stacked.path)
    for name in scenes.listed(directory):
        os.link(directory / name, directory / f"kept-{name}")
    refs[MAIN] = stacked.commits[8]
    for kept in list(directory.glob("kept-*")):
        os.replace(kept, directory / kept.name[len("kept-") :])
    inode = os.stat(directory / "tables.list").st_ino
    with (directory / "tables.list").open("r+b") as file:
        file.truncate()
        file.write(saved)
    assert os.stat(directory / "tables.list").st_ino == inode
    assert refs[MAIN] == stacked.commits[1]


# Descriptors

needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks in /proc")


def open_states() -> list[os.stat_result]:
    """What is known of all files that are open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the listing's own
            found.append(os.fstat(int(number)))
    return found


def open_files(below: Path) -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return [name for name in found if name.startswith(str(below))]


@pytest.mark.plain_filesystem("the list is closed", on=("windows",))
@needs_proc
@pytest.mark.plain_filesystem("the replaced list stays as a ghost, with a link", on=("nfs",))
def test_a_list_that_is_known_stays_open(path: Path) -> None:
    """So its inode cannot come back, whatever the file system does with inodes."""
    directory = path / ".git" / "reftable"
    stack = stacks_at(path)[0]
    add(stack, b"refs/heads/main", 1)
    listing = stack.storage.refresh(None)
    inode = os.stat(directory / "tables.list").st_ino
    replace_list(directory, (directory / "tables.list").read_bytes())
    assert any(state.st_ino == inode and not state.st_nlink for state in open_states())
    assert stack.storage.refresh(listing) is not listing


@needs_proc
def test_no_descriptor_is_lost(stacked: Scene) -> None:
    refs = refs_at(stacked.path)
    reader = refs_at(stacked.path)
    for number in range(20):
        refs[b"refs/heads/n%d" % number] = stacked.commits[number]
        refs.set_if_equals(MAIN, b"1" * 40, stacked.commits[3])
        with pytest.raises(dr.RefConflictError):
            refs[b"refs/heads/main/sub"] = stacked.commits[3]
        assert reader[b"refs/heads/n%d" % number]
        reader.snapshot()
    gc.collect()  # the errors
    lists = [name for name in open_files(stacked.path) if "tables.list" in name]
    assert len(lists) <= 2  # each knows one
    assert (
        len(open_files(stacked.path)) < 10
    )  # before Python 3.13, maps have descriptors of their own
    refs.close()
    reader.close()
    collect()
    assert open_files(stacked.path) == []


@needs_proc
def test_where_open_files_cannot_be_replaced(
    stacked: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows: neither the list nor its lock may be open when the one replaces the other."""
    gc.collect()  # the containers that made the scene
    monkeypatch.setattr(files, "IS_WINDOWS", True)
    replaced = 0

    def hook(call: Call, done: Callable[[], Any]) -> Any:
        nonlocal replaced
        if call.kind == "replace":
            replaced += 1
            assert not [name for name in open_files(stacked.path) if "tables.list" in name]
        return done()

    refs, reader = refs_at(stacked.path), refs_at(stacked.path)
    with intercepted(stacked.git_dir, hook):
        for number in range(5):
            assert reader[MAIN] == refs[MAIN]
            refs[MAIN] = stacked.commits[number + 10]
            assert reader[MAIN] == refs[MAIN] == stacked.commits[number + 10]
    assert replaced == 5
