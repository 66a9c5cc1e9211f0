"""Compaction keeps the stack small at little cost, gives way, and is never in the way."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.filesystems import moves_open_files, names_in, remove_tree
from support.git import EMAIL, NAME, TIMESTAMP, Git, requires_git
from support.pool import ObjectPool

from dulwich_reftable.engine.errors import LockError, StaleListError
from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, RefRecord
from dulwich_reftable.engine.stack import addition as addition_module
from dulwich_reftable.engine.stack import compaction as compaction_module
from dulwich_reftable.engine.stack import stack as stack_module
from dulwich_reftable.engine.stack.compaction import run_to_compact
from dulwich_reftable.engine.stack.directory import DirectoryStorage
from dulwich_reftable.engine.stack.stack import Stack

from . import scenes
from .scenes import MAIN, Scene, refs_at, state_of
from .syscalls import Call, intercepted


@pytest.mark.parametrize(
    ("sizes", "factor", "run"),
    [
        ([], 2, None),
        ([5], 2, None),
        ([64, 32, 16, 8, 4, 2, 1], 2, None),
        ([128, 32, 16, 8, 4, 3, 1], 2, (1, 5)),
        ([64, 32, 16, 8, 4, 3, 1], 2, (0, 5)),
        ([1, 1], 2, (0, 1)),
        ([512, 64, 17, 16, 9, 9, 9, 16, 2, 16], 2, (1, 9)),
        ([100, 10, 1], 10, None),
        ([100, 11, 2], 10, (0, 2)),
        ([10_000, 1, 1], 2, (1, 2)),
        ([100, 1, 1000], 2, (0, 2)),
    ],
)
def test_which_run(sizes: list[int], factor: int, run: tuple[int, int] | None) -> None:
    assert run_to_compact(sizes, factor) == run


class CountingStorage(DirectoryStorage):
    """Counts the bytes of all tables that are written, and of all lists."""

    def __init__(self, path: str) -> None:
        super().__init__(path, fsync=False)
        self.written = 0

    def new_table(self, min_update_index: int, max_update_index: int) -> Any:
        table = super().new_table(min_update_index, max_update_index)
        write = table.write

        def counted(data: bytes) -> None:
            self.written += len(data)
            write(data)

        table.write = counted  # type: ignore[method-assign]
        return table


def add(stack: Stack, name: bytes, value: bytes = b"x" * 20) -> None:
    """Update a ref, with an entry in its reflog."""
    with stack.addition() as addition:
        index = addition.next_update_index
        entry = LogUpdate(bytes(20), value, b"C O", b"c@example.com", index, 0, b"update\n")
        addition.write([RefRecord(name, index, value)], [LogRecord(name, index, entry)])
        addition.commit()


def test_thousand_updates(tmp_path: Path) -> None:
    """Each writes a table; there are never more than log2(n) of them, and O(n log n) bytes."""
    storage = CountingStorage(str(tmp_path / "reftable"))
    stack = Stack(storage)
    at: dict[int, int] = {}
    for number in range(1, 1001):
        add(stack, b"refs/heads/branch%04d" % number, b"%020d" % number)
        tables = len(scenes.listed(tmp_path / "reftable"))
        assert tables <= max(1, math.log2(number)), number
        at[number] = storage.written
    size = sum(path.stat().st_size for path in (tmp_path / "reftable").glob("*.ref"))
    assert at[1000] <= 2 * size * math.log2(1000)
    for number in (125, 250, 500):
        assert at[2 * number] <= 2 * at[number] * math.log2(2 * number) / math.log2(number) * 1.1


@requires_git
@pytest.mark.parametrize("most", [0, 2_000, addition_module._SMALL])
def test_same_shape_as_git(
    path: Path, pool: ObjectPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """After the same updates, both have tables of the same transactions, and of the same size.

    Whether tables are merged with the new one before it is listed, or after that.
    """
    monkeypatch.setattr(addition_module, "_SMALL", most)
    theirs = Git.init(tmp_path / "git")
    pool.lend(theirs.path / ".git")
    refs = refs_at(path)
    who = f"{NAME} <{EMAIL}>".encode()
    for start in range(0, 300, 25):
        orders = []
        for number in range(start, start + 25):
            name = b"refs/heads/branch%04d" % number
            orders += [b"start", b"create %s %s" % (name, pool.commits[number % 600]), b"commit"]
            assert refs.set_if_equals(
                name, None, pool.commits[number % 600], who, TIMESTAMP, 0, b"m"
            )
        theirs.update_ref_stdin(orders, b"m")
        ours = [shape(file) for file in Git(path).tables()]
        assert ours == [shape(file) for file in theirs.tables()]
        assert len(ours) <= math.log2(start + 25)
    assert refs.as_dict() == {name: ref.value for name, ref in theirs.for_each_ref().items()}


def shape(table: Path) -> tuple[str, int]:
    """The span of update indexes, and the size."""
    return table.name[:29], table.stat().st_size


# Under others' eyes


@pytest.mark.plain_filesystem("a table that others have mapped goes later", on=("windows",))
def test_others_write_while_tables_are_merged(stacked: Scene) -> None:
    """The list is not locked then; what they add stands behind what is merged."""
    directory = stacked.git_dir / "reftable"
    compacting, writing = (Stack(DirectoryStorage(str(directory), fsync=False)) for _ in "ab")
    writing.lock_timeout = 0
    locked: list[str] = []
    number = 0
    is_writing = True

    def hook(call: Call, done: Callable[[], Any]) -> Any:
        nonlocal number, is_writing
        if call.file.endswith(".ref.lock") and not number and not locked:
            is_writing = False  # from here on
        if not is_writing:
            is_writing = True
            try:
                add(writing, b"refs/heads/n%03d" % number)
                number += 1
            except LockError:
                locked.append(str(call))
            is_writing = False
        return done()

    with intercepted(stacked.git_dir, hook):
        compacting.compact()
    assert number > 5
    # Where it was locked: to claim the tables, and to put the merged one in their place.
    first, rest = locked[: len(locked) // 2], locked[len(locked) // 2 :]
    assert not any(call.startswith("write") and ".temp." in call for call in locked)
    assert any("ref.lock" in call for call in first)
    assert any(call == "replace reftable/tables.list.lock" for call in rest)
    names = [name for name, _ in pairs(compacting)]
    assert [name for name in names if name.startswith(b"refs/heads/n")] == [
        b"refs/heads/n%03d" % n for n in range(number)
    ]
    assert scenes.stray_files(stacked.git_dir) == []


def pairs(stack: Stack) -> Iterator[tuple[bytes, bytes]]:
    for names, values in stack.snapshot().ref_values():
        yield from zip(names, values, strict=True)


@pytest.mark.plain_filesystem("a table that others have mapped goes later", on=("windows",))
def test_two_compactions(stacked: Scene) -> None:
    """The second finds tables locked: it makes do with newer ones, or waits for its turn."""
    directory = stacked.git_dir / "reftable"
    first, second = (Stack(DirectoryStorage(str(directory), fsync=False)) for _ in "ab")
    second.lock_timeout = 0.05
    tables: list[int] = []
    is_first = True

    def hook(call: Call, done: Callable[[], Any]) -> Any:
        nonlocal is_first
        if is_first and call.kind == "write" and ".temp." in call.file:
            is_first = False
            with pytest.raises(LockError, match=r"\.ref\.lock' exists"):
                second.compact()
            for number in range(40):
                add(second, b"refs/heads/n%02d" % number)
                tables.append(len(scenes.listed(directory)))
        return done()

    with intercepted(stacked.git_dir, hook):
        first.compact()
    assert not is_first
    assert max(tables) <= 2 + 6, "what is added while tables are locked is compacted, too"
    assert len(scenes.listed(directory)) <= 1 + 6
    assert scenes.stray_files(stacked.git_dir) == []
    second.compact()
    assert len(list(pairs(second))) == 600 + 2 + 40 + 1


@moves_open_files
def test_lock_of_a_compaction_that_is_taken_by_another(stacked: Scene) -> None:
    """Somebody has removed the list's lock, and another writer holds it: his list is left alone."""
    directory = stacked.git_dir / "reftable"
    lock = directory / "tables.list.lock"
    stack = Stack(DirectoryStorage(str(directory), fsync=False))
    before, shown = scenes.listed(directory), list(pairs(stack))
    is_taken = False

    def hook(call: Call, done: Callable[[], Any]) -> Any:
        nonlocal is_taken
        result = done()
        if call.kind == "write" and call.file.endswith(lock.name) and not is_taken:
            is_taken = True
            lock.unlink()
            lock.write_bytes(b"")
        return result

    with intercepted(stacked.git_dir, hook), pytest.raises(StaleListError):
        stack.compact()
    assert is_taken
    assert lock.read_bytes() == b""
    assert scenes.listed(directory) == before
    lock.unlink()
    assert list(pairs(stack)) == shown
    stack.compact()
    assert list(pairs(stack)) == shown


def test_lock_that_nobody_holds(stacked: Scene) -> None:
    """A killed compaction has left the lock of the oldest table: all others stay few."""
    directory = stacked.git_dir / "reftable"
    stack = Stack(DirectoryStorage(str(directory), fsync=False), lock_timeout=0.05)
    oldest = scenes.listed(directory)[0]
    (directory / f"{oldest}.lock").touch()
    for number in range(100):
        add(stack, b"refs/heads/n%02d" % (number % 7), b"%020d" % number)
        assert scenes.listed(directory)[0] == oldest
        assert len(scenes.listed(directory)) <= 9
    with pytest.raises(LockError, match=f"{oldest}.lock"):
        stack.compact()
    os.unlink(directory / f"{oldest}.lock")
    stack.compact()
    assert len(scenes.listed(directory)) == 1


def uncompacted(directory: Path, number: int) -> Stack:
    """Make tables of the same size."""
    stack = Stack(DirectoryStorage(str(directory), fsync=False))
    stack.auto_compacts = False
    for i in range(number):
        add(stack, b"refs/heads/n%02d" % i)
    stack.auto_compacts = True
    return stack


@pytest.mark.parametrize(
    ("locked", "left"),
    [([], 1), ([9], 2), ([0], 2), ([5], 7), ([8, 9], 3), ([1, 8], 5), ([0, 2, 4, 6, 8], 10)],
)
def test_between_locked_tables(tmp_path: Path, locked: list[int], left: int) -> None:
    """Of the tables on both sides of those that others are at, the newer ones go first."""
    directory = tmp_path / "reftable"
    stack = uncompacted(directory, 10)
    names = scenes.listed(directory)
    before = state_of(stack)
    for number in locked:
        (directory / f"{names[number]}.lock").touch()
    assert stack.auto_compact() == (left < 10)
    assert len(scenes.listed(directory)) == left
    assert {names[number] for number in locked} <= set(scenes.listed(directory))
    assert state_of(stack) == before


@pytest.mark.parametrize("timeout", [0, 0.01, None])
def test_update_is_done_when_compaction_is_kept_out(
    stacked: Scene, monkeypatch: pytest.MonkeyPatch, timeout: float | None
) -> None:
    """Somebody takes the list's lock right after the update, and keeps it; even "for ever" ends."""
    monkeypatch.setattr(stack_module, "_PATIENCE", 0.01)
    monkeypatch.setattr(addition_module, "_SMALL", 0)
    directory = stacked.git_dir / "reftable"
    lock = directory / "tables.list.lock"
    stack = Stack(DirectoryStorage(str(directory), fsync=False), lock_timeout=timeout)

    def hook(call: Call, done: Callable[[], Any]) -> Any:
        result = done()
        if call.kind == "replace":
            lock.touch()
        return result

    with intercepted(stacked.git_dir, hook):
        add(stack, MAIN)
    assert len(scenes.listed(directory)) == 3
    assert scenes.stray_files(stacked.git_dir) == ["reftable/tables.list.lock"]
    lock.unlink()
    assert stack.auto_compact()
    assert len(scenes.listed(directory)) == 2


def test_update_is_done_when_compaction_fails(
    stacked: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """An old table is damaged where the update does not look."""
    directory = stacked.git_dir / "reftable"
    stack = Stack(DirectoryStorage(str(directory), fsync=False))
    table = directory / scenes.listed(directory)[1]
    contents = bytearray(table.read_bytes())
    contents[-100:-72] = bytes(28)  # log blocks are compressed, and at the end
    table.write_bytes(contents)
    for number in range(5):
        add(stack, b"refs/heads/n%d" % number)
        assert stack.snapshot().lookup_ref(b"refs/heads/n%d" % number) is not None
    assert "was not compacted" in caplog.text
    assert table.name in caplog.text
    assert scenes.stray_files(stacked.git_dir) == []


def test_update_is_done_although_what_it_would_merge_is_locked(stacked: Scene) -> None:
    """Then the new table is listed beside the others; and one that is too large is, too."""
    directory = stacked.git_dir / "reftable"
    stack = Stack(DirectoryStorage(str(directory), fsync=False))
    newest = scenes.listed(directory)[-1]
    (directory / f"{newest}.lock").touch()
    add(stack, MAIN)
    assert len(scenes.listed(directory)) == 3
    assert scenes.stray_files(stacked.git_dir) == [f"reftable/{newest}.lock"]
    (directory / f"{newest}.lock").unlink()
    add(stack, MAIN)
    assert len(scenes.listed(directory)) == 2


# Locks that others remove


def test_tables_replaced_under_a_compaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written since must not be lost, nor come back what is in the tables twice."""
    stack, other, lock = two_tables(path)
    merge = compaction_module.merge

    def meanwhile(*args: Any, **kwargs: Any) -> bool:
        patch.undo()
        for table_lock in lock.parent.glob("*.ref.lock"):
            table_lock.unlink()
        other.compact()
        add(other, b"refs/heads/new")
        return merge(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(compaction_module, "merge", meanwhile)
        with pytest.raises(StaleListError, match="in spite of their locks"):
            stack.compact()
    names = [name for names, _ in stack.snapshot().ref_values() for name in names]
    assert names == [b"refs/heads/n0", b"refs/heads/n1", b"refs/heads/new"]
    stack.compact()
    assert scenes.stray_files(path / ".git") == []


def two_tables(path: Path) -> tuple[Stack, Stack, Path]:
    """Make a stack of two tables; gives it twice, and the lock of its list."""
    directory = path / ".git" / "reftable"
    remove_tree(directory)
    stacks = [Stack(DirectoryStorage(str(directory), fsync=False)) for _ in range(2)]
    for number, stack in enumerate(stacks):
        stack.auto_compacts = False
        add(stack, b"refs/heads/n%d" % number)
    assert len(scenes.listed(directory)) == 2
    return stacks[0], stacks[1], directory / "tables.list.lock"


# What is merged


def test_log_messages_end_in_a_newline(path: Path) -> None:
    """As git sees to it when it compacts; some writers leave it out."""
    stack, _, _ = two_tables(path)
    entry = LogUpdate(bytes(20), b"x" * 20, b"C O", b"c@example.com", 1, 0, b"no newline")
    with stack.addition() as addition:
        addition.write([], [LogRecord(MAIN, addition.next_update_index, entry)])
        addition.commit()
    assert state_of(stack)[1][MAIN] == [entry]
    stack.compact()
    assert state_of(stack)[1][MAIN] == [entry._replace(message=b"no newline\n")]


@pytest.mark.parametrize("in_additions", [True, False])
def test_tombstones_go_with_the_oldest(
    path: Path, monkeypatch: pytest.MonkeyPatch, in_additions: bool
) -> None:
    """They stay while there is an older table in which they may hide something."""
    if not in_additions:
        monkeypatch.setattr(addition_module, "_SMALL", 0)  # so that tables are merged afterwards
    directory = path / ".git" / "reftable"
    refs = refs_at(path)
    with refs.transaction() as tx:
        for number in range(300):
            tx.create(b"refs/tags/t%03d" % number, b"%040x" % (number + 1))
    refs.compact()
    for number in range(6):
        del refs[b"refs/tags/t%03d" % number]
    assert len(scenes.listed(directory)) > 1
    refs_now = refs_at(path)
    assert len(refs_now.as_dict()) == 294
    tables = Stack(DirectoryStorage(str(directory))).snapshot().tables
    assert any(record.is_deletion for t in tables for _, rs in t.ref_records() for record in rs)
    refs.compact()
    (table,) = Stack(DirectoryStorage(str(directory))).snapshot().tables
    assert not any(record.is_deletion for _, rs in table.ref_records() for record in rs)
    assert refs.as_dict() == refs_now.as_dict()


def test_nothing_is_left(path: Path) -> None:
    """Everything was deleted: the list is empty, and so is the repository."""
    directory = path / ".git" / "reftable"
    stack = Stack(DirectoryStorage(str(directory), fsync=False))
    with stack.addition() as addition:
        addition.write([RefRecord(b"HEAD", addition.next_update_index)], [])
        addition.commit()
    assert (directory / "tables.list").read_bytes() == b""
    assert names_in(directory) == ["tables.list"]
    assert state_of(stack) == ({}, {})
    add(stack, MAIN)
    assert stack.snapshot().max_update_index == 1
    assert state_of(stack)[0] == {MAIN: b"78" * 20}
