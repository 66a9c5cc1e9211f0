"""Stacks on other file systems, played by `support.filesystems`: nothing is lost, nothing stays.

``--filesystem`` runs whole rooms of tests there.
"""

from __future__ import annotations

import errno
import gc
import ntpath
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.filesystems import KINDS, Ghosts, needs_proc, nfs, playing

from dulwich_reftable.engine.errors import (
    CorruptTableError,
    LockError,
    RefsMovedError,
    StorageError,
)
from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.engine.stack.directory import DirectoryStorage
from dulwich_reftable.engine.stack.locks import LockFile
from dulwich_reftable.engine.stack.stack import Stack

pytestmark = [
    needs_proc,
    pytest.mark.plain_filesystem("plays its own"),
]

MANY = [b"refs/tags/t%04d" % number for number in range(900)]  # their table is mapped


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    gc.collect()  # files that other tests have left open
    with playing(request.param, monkeypatch):
        yield request.param


def stack_at(path: Path | str) -> Stack:
    return Stack(DirectoryStorage(str(path)), lock_timeout=1.0)


def add(stack: Stack, *names: bytes, value: int = 1) -> None:
    with stack.addition() as addition:
        index = addition.next_update_index
        addition.write([RefRecord(name, index, b"%020d" % value) for name in names], [])
        addition.commit()


def value_of(stack: Stack, name: bytes) -> int:
    record = stack.snapshot().lookup_ref(name)
    assert record is not None
    assert record.value is not None
    return int(record.value)


def files_in(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_writing_beside_readers(kind: str, tmp_path: Path) -> None:
    """Snapshots stay readable while their tables are replaced, and no file stays after them."""
    directory = tmp_path / "reftable"
    writer, reader = stack_at(directory), stack_at(directory)
    add(writer, *MANY, value=0)
    kept = []
    for number in range(1, 13):
        kept.append((number - 1, reader.snapshot()))
        add(writer, *(MANY if number % 4 == 0 else MANY[:1]), value=number)
        assert value_of(reader, MANY[0]) == number
    writer.compact()
    for number, snapshot in kept:
        record = snapshot.lookup_ref(MANY[0])
        assert record is not None
        assert record.value == b"%020d" % number
    kept.clear()
    del snapshot, record
    assert value_of(reader, MANY[0]) == 12
    reader.close()
    gc.collect()
    add(writer, MANY[1], value=13)
    writer.clean()
    listed = (directory / "tables.list").read_text().split()
    assert files_in(directory) == sorted([*listed, "tables.list"])


def test_what_could_not_be_removed_is_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows: a table that a reader has mapped goes with a later update, without a clean-up."""
    with playing("windows", monkeypatch):
        directory = tmp_path / "reftable"
        writer, reader = stack_at(directory), stack_at(directory)
        add(writer, *MANY)
        (large,) = set(files_in(directory)) - {"tables.list"}
        snapshot = reader.snapshot()
        add(writer, *MANY, value=2)
        assert large in files_in(directory)
        assert large not in (directory / "tables.list").read_text()
        assert snapshot.lookup_ref(MANY[0]) is not None
        reader.snapshot()
        del snapshot
        gc.collect()
        add(writer, MANY[0], value=3)
        assert large not in files_in(directory)


def test_locks_are_released(kind: str, tmp_path: Path) -> None:
    add(stack_at(tmp_path / "reftable"), *MANY)
    before = files_in(tmp_path / "reftable")
    for _ in range(2):
        stack_at(tmp_path / "reftable").addition().abort()
        addition = stack_at(tmp_path / "reftable").addition()
        addition.write([RefRecord(b"refs/heads/a", addition.next_update_index, b"x" * 20)], [])
        addition.abort()
        assert files_in(tmp_path / "reftable") == before
    lock = LockFile(str(tmp_path / "file"), 0)
    with pytest.raises(LockError):
        LockFile(str(tmp_path / "file"), 0)
    lock.release()
    assert not (tmp_path / "file.lock").exists()


def test_list_that_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows: somebody has the list open all the time. The update fails, and leaves nothing."""
    with playing("windows", monkeypatch):
        stack = stack_at(tmp_path / "reftable")
        add(stack, *MANY)
        before = files_in(tmp_path / "reftable")
        with (tmp_path / "reftable" / "tables.list").open("rb"):
            with pytest.raises(StorageError, match="in use"):
                add(stack, MANY[0], value=2)
            assert value_of(stack, MANY[0]) == 1
            assert files_in(tmp_path / "reftable") == before
        add(stack, MANY[0], value=2)
        assert value_of(stack_at(tmp_path / "reftable"), MANY[0]) == 2


def test_lock_that_is_being_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows denies access while somebody has the removed lock open; and where it always does."""
    denials = 5
    opened = os.open

    def denied(path: Any, *args: Any, **kwargs: Any) -> int:
        nonlocal denials
        if str(path).endswith(".lock") and denials:
            denials -= 1
            raise PermissionError(errno.EACCES, "Access is denied", path)
        return opened(path, *args, **kwargs)

    with playing("windows", monkeypatch), monkeypatch.context() as patch:
        opened = os.open
        patch.setattr(os, "open", denied)
        patch.setattr(time, "sleep", lambda seconds: None)
        LockFile(str(tmp_path / "file"), None).release()
        assert denials == 0
        denials = 1_000_000
        with pytest.raises(StorageError, match="Access is denied"):
            LockFile(str(tmp_path / "file"), None)
        with pytest.raises(StorageError, match="Access is denied"):
            LockFile(str(tmp_path / "file"), 0)
        (tmp_path / "file.lock").mkdir()
        with pytest.raises(LockError):
            LockFile(str(tmp_path / "file"), 0)


def test_names_that_differ_in_case(kind: str, tmp_path: Path) -> None:
    stack = stack_at(tmp_path / "reftable")
    for number, name in enumerate([b"refs/heads/Topic", b"refs/heads/topic", b"refs/heads/TOPIC"]):
        add(stack, name, value=number)
    assert [value_of(stack, b"refs/heads/" + name) for name in (b"Topic", b"topic", b"TOPIC")] == [
        *range(3)
    ]


def test_drives_and_backslashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "C:" + str(tmp_path / "reftable").replace("/", "\\")
    with playing("windows", monkeypatch), monkeypatch.context() as patch:
        patch.setattr(os, "path", ntpath)
        stack = stack_at(path)
        for number in range(9):
            add(stack, *MANY, value=number)
        stack.clean()
        assert value_of(stack_at(path), MANY[0]) == 8
        (tmp_path / "reftable" / "tables.list").write_text("..\\reftable\\evil.ref\n")
        with pytest.raises(CorruptTableError, match="cannot be a table"):
            stack_at(path).snapshot()


# Another host


@pytest.fixture
def ghosts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ghosts]:
    gc.collect()
    with nfs(monkeypatch) as ghosts:
        yield ghosts


@pytest.mark.parametrize("what", ["tables.list", ".ref"])
def test_removed_on_another_host(
    ghosts: Ghosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The list, or a table, goes stale between being opened and being read."""
    directory = tmp_path / "reftable"
    writer, reader = stack_at(directory), stack_at(directory)
    add(writer, *MANY)
    opened = os.open
    left = 3

    def open_too_late(path: str, flags: int, *args: int) -> int:
        nonlocal left
        fd = opened(path, flags, *args)
        if left and path.endswith(what) and flags & os.O_ACCMODE == os.O_RDONLY:
            left, now = 0, left
            with ghosts.elsewhere():
                add(writer, *MANY, value=now)
            left = now - 1
        return fd

    monkeypatch.setattr(os, "open", open_too_late)
    assert value_of(reader, MANY[0]) == 1
    assert left == 0


def test_list_is_missing_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS: between the two renames that replace an open list, a stack is neither empty nor gone."""
    directory = tmp_path / "reftable"
    known = stack_at(directory)
    add(known, *MANY)

    def late(original: Callable[..., Any], times: int) -> Callable[..., Any]:
        left = [FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))] * times

        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            if left and str(path).endswith("tables.list"):
                raise left.pop()
            return original(path, *args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", late(os.open, 2))
        assert value_of(stack_at(directory), MANY[0]) == 1
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", late(os.open, 1))
        patch.setattr(os, "stat", late(os.stat, 1))
        assert value_of(known, MANY[0]) == 1
    os.remove(directory / "tables.list")
    with pytest.raises(RefsMovedError):
        known.snapshot()


def test_list_that_stays_stale(
    ghosts: Ghosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = stack_at(tmp_path / "reftable")
    add(stack, *MANY)

    def read(fd: int, size: int) -> bytes:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read)
        with pytest.raises(StorageError, match=r"tables\.list"):
            stack_at(tmp_path / "reftable").snapshot()
    assert value_of(stack, MANY[0]) == 1


def test_ghosts_are_left_alone(ghosts: Ghosts, tmp_path: Path) -> None:
    directory = tmp_path / "reftable"
    writer = stack_at(directory)
    add(writer, *MANY)
    with (directory / (directory / "tables.list").read_text().split()[0]).open("rb"):
        add(writer, *MANY, value=2)
        assert ghosts.names()
        writer.clean()
        assert value_of(writer, MANY[0]) == 2
    assert ghosts.names() == []
