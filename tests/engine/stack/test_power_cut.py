"""What fsync is for: a model of a disk that keeps only what was synced, and of the rest any part.

The model is as strict as POSIX allows. The contents of a file are safe when the file was synced; a
name (created, renamed, removed) when its directory was. After each system call every disk that a
power cut could leave is laid out, and must show the old state or the new one; what was acknowledged
must be on all of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
from support.filesystems import syncs_directories
from support.git import requires_git

import dulwich_reftable.engine.stack.directory
from dulwich_reftable.engine.errors import ReftableError
from dulwich_reftable.engine.stack.directory import DirectoryStorage
from dulwich_reftable.engine.stack.files import WriteRules
from dulwich_reftable.engine.stack.stack import Stack

from . import scenes
from .scenes import Order, Scene, State, refs_at, state_of
from .syscalls import Call, intercepted, recorded

pytestmark = requires_git

Names = dict[str, int | None]


@dataclass
class Disk:
    """One directory on a disk."""

    written: dict[int, bytes] = field(default_factory=dict)
    safe: dict[int, bytes] = field(default_factory=dict)  # contents by file
    names: Names = field(default_factory=dict)
    safe_names: Names = field(default_factory=dict)
    unsafe_names: list[Names] = field(default_factory=list)  # changes to them
    descriptors: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, directory: Path) -> Disk:
        """Begin with files that are safe."""
        disk = cls()
        for number, path in enumerate(sorted(directory.iterdir())):
            disk.written[number] = disk.safe[number] = path.read_bytes()
            disk.names[path.name] = disk.safe_names[path.name] = number
        return disk

    def change(self, change: Names) -> None:
        """Change names."""
        self.names.update(change)
        self.unsafe_names.append(change)

    def note(self, call: Call, result: Any) -> None:
        """Note what a call has done."""
        name = os.path.basename(call.file)
        if call.kind == "open":
            if call.args[1] & os.O_CREAT:
                number = len(self.written)
                self.written[number], self.safe[number] = b"", b""
                self.change({name: number})
            number_of = self.names.get(name)
            self.descriptors[result] = -1 if number_of is None else number_of
        elif call.kind == "write":
            self.written[self.descriptors[call.args[0]]] += bytes(call.args[1])
        elif call.kind == "fsync":
            number = self.descriptors[call.args[0]]
            if number >= 0:
                self.safe[number] = self.written[number]
            else:
                self.safe_names = dict(self.names)
                self.unsafe_names.clear()
        elif call.kind in ("rename", "replace"):
            self.change({name: None, os.path.basename(call.args[1]): self.names[name]})
        elif call.kind == "unlink":
            self.change({name: None})

    def after_power_cut(self) -> Iterator[dict[str, bytes]]:
        """Give every directory that a power cut could leave, but for lock files."""
        changes = self.unsafe_names
        for some in chain.from_iterable(combinations(changes, n) for n in range(len(changes) + 1)):
            names = dict(self.safe_names)
            for change in some:
                names.update(change)
            yield {
                name: self.safe[number]
                for name, number in names.items()
                if number is not None and not name.endswith(".lock")
            }


@dataclass
class PowerCuts:
    """Cuts the power after each call of an order."""

    scene: Scene
    scratch: Path
    known: dict[tuple[tuple[str, bytes], ...], State | str] = field(default_factory=dict)

    def states(self, disk: Disk) -> list[State | str]:
        """Give what a power cut now would leave."""
        found = []
        for files in disk.after_power_cut():
            key = tuple(sorted(files.items()))
            if key not in self.known:
                self.known[key] = self.read(files)
            found.append(self.known[key])
        return found

    def read(self, files: dict[str, bytes]) -> State | str:
        """Lay out a directory and read it; gives the error if it cannot be read."""
        directory = self.scratch / str(len(self.known))
        directory.mkdir()
        for name, contents in files.items():
            (directory / name).write_bytes(contents)
        try:
            return state_of(Stack(DirectoryStorage(str(directory))))
        except ReftableError as error:
            return str(error)

    def check(self, order: Order) -> int:
        """Carry out an order; gives how many different disks were looked at."""
        directory = self.scene.reset() / ".git" / "reftable"
        before = state_of(Stack(DirectoryStorage(str(directory))))
        disk = Disk.of(directory)
        cuts: list[tuple[Call, list[State | str]]] = []

        def hook(call: Call, done: Callable[[], Any]) -> Any:
            result = done()
            disk.note(call, result)
            if call.kind in ("open", "write", "fsync", "rename", "replace", "unlink"):
                cuts.append((call, self.states(disk)))
            return result

        with intercepted(directory.parent, hook):
            order(self.scene.path, self.scene.commits)
        after = state_of(Stack(DirectoryStorage(str(directory))))
        for call, states in cuts:
            assert all(state in (before, after) for state in states), call
        assert all(state == after for state in self.states(disk)), "acknowledged, but not safe"
        return len(self.known)


@pytest.fixture
def cuts(stacked: Scene, tmp_path: Path) -> PowerCuts:
    (tmp_path / "disks").mkdir()
    return PowerCuts(stacked, tmp_path / "disks")


@pytest.fixture
def cuts_of_one_table(stacked: Scene, tmp_path: Path) -> PowerCuts:
    """An update of this stack is not followed by a compaction."""
    refs_at(stacked.path).compact()
    (tmp_path / "disks").mkdir()
    return PowerCuts(Scene(stacked.path, stacked.pool, "compacted"), tmp_path / "disks")


@syncs_directories
@pytest.mark.parametrize("order", [scenes.update, scenes.compact], ids=["update", "compact"])
def test_every_disk_shows_old_or_new(cuts: PowerCuts, order: Order) -> None:
    assert cuts.check(order) > 3


@syncs_directories
@pytest.mark.parametrize(
    ("setting", "synced"),
    [
        (None, True),
        ("none", False),
        ("default", False),
        ("objects", False),
        ("reference", True),
        ("committed", True),
        ("-reference", False),
        ("all,-reference", True),  # git takes away first, whatever the order, and adds then
    ],
)
def test_setting(stacked: Scene, setting: str | None, synced: bool) -> None:
    """``core.fsync`` decides; without it, refs are synced: table, list, names, and the swap."""
    refs_at(stacked.path).compact()
    if setting is not None:
        scenes.set_config(stacked.path, fsync=setting)
    with recorded(stacked.git_dir) as calls:
        scenes.update(stacked.path, stacked.commits)
    kinds = ("fsync", "rename", "replace")
    done = [re.sub(r"0x\S+\.temp\.\w+", "TABLE", str(call)) for call in calls if call.kind in kinds]
    assert done == [
        *["fsync reftable/TABLE"] * synced,
        "rename reftable/TABLE",
        *["fsync reftable/tables.list.lock", "fsync reftable"] * synced,
        "replace reftable/tables.list.lock",
        *["fsync reftable"] * synced,
    ]


def leave_out(number: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Leave out one sync; gives a function that tells how many there were."""
    count = 0

    def all_but_one(sync: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any) -> None:
            nonlocal count
            count += 1
            if count != number:
                sync(*args)

        return call

    module = dulwich_reftable.engine.stack.directory
    monkeypatch.setattr(WriteRules, "sync", all_but_one(WriteRules.sync))
    monkeypatch.setattr(module, "sync", all_but_one(module.sync))
    return lambda: count


@pytest.mark.parametrize("number", [1, 2, 3, 4], ids=["table", "list", "names", "swap"])
def test_every_sync_of_an_update_is_needed(
    cuts_of_one_table: PowerCuts, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    count = leave_out(number, monkeypatch)
    with pytest.raises(AssertionError):
        cuts_of_one_table.check(scenes.update)
    assert count() == 4


@pytest.mark.parametrize("number", [1, 2, 3, 4], ids=["table", "list", "names", "swap"])
def test_every_sync_of_a_compaction_is_needed(
    cuts: PowerCuts, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    count = leave_out(number, monkeypatch)
    with pytest.raises(AssertionError):
        cuts.check(scenes.compact)
    assert count() == 4
