"""The user's interrupt, or an exception from a signal handler: it can come between any two lines.

Then no lock and no temporary file stays behind, nobody is kept from the lock, and no table that is
listed was removed.
"""

from __future__ import annotations

import linecache
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from support.forking import exit_code_of, needs_fork
from support.garbage import collect
from support.git import requires_git

import dulwich_reftable.engine as engine
from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.engine.stack.directory import DirectoryStorage
from dulwich_reftable.engine.stack.stack import Stack

from . import scenes
from .scenes import MAIN, Scene, state_of

pytestmark = requires_git

HERE = os.path.dirname(engine.__file__)
TRACED = {
    os.path.join(HERE, "stack", name + ".py")
    for name in (
        *("stack", "compaction", "directory", "table_list", "table_file"),
        *("files", "locks", "lock_queue", "storage"),
    )
}
UNTRACED = {"__del__", "merge", "run_to_compact", "_weights", "read_all"}


@contextmanager
def interrupted_at(line: int) -> Iterator[Callable[[], int]]:
    """Interrupt before a line is carried out; gives a function that tells how many there were."""
    count = 0
    entered: set[tuple[FrameType, int]] = set()

    def trace_line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if event == "line" and not is_end_of_with(frame):
            count += 1
            if count == line:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace_line

    def is_end_of_with(frame: FrameType) -> bool:
        """Tell of the one place where no signal is looked at, and an exception would do harm."""
        place = (frame, frame.f_lineno)
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
        if text.startswith("with ") and place not in entered:
            entered.add(place)
            return False
        return place in entered

    def trace_call(frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if code.co_filename not in TRACED or code.co_name in UNTRACED:
            return None
        finding: FrameType | None = frame
        while finding is not None:
            if finding.f_code.co_name == "__del__":
                return None  # from there, no exception gets out
            finding = finding.f_back
        return trace_line

    before = sys.gettrace()
    sys.settrace(trace_call)
    try:
        yield lambda: count
    finally:
        sys.settrace(before)
        entered.clear()


def update(directory: Path, value: bytes = b"v" * 20) -> None:
    """Update a ref, on the engine's level; a compaction follows."""
    stack = Stack(DirectoryStorage(str(directory), fsync=False), lock_timeout=1.0)
    with stack.addition() as addition:
        addition.write([RefRecord(MAIN, addition.next_update_index, value)], [])
        addition.commit()


def test_between_any_two_lines(stacked: Scene) -> None:
    directory = stacked.reset() / ".git" / "reftable"
    before = state_of(Stack(DirectoryStorage(str(directory))))
    with interrupted_at(0) as count:
        update(directory)
    lines = count()
    assert lines > 300
    after = state_of(Stack(DirectoryStorage(str(directory))))
    assert before != after
    was_new = False
    for line in range(1, lines + 1):
        stacked.reset()
        with suppress(KeyboardInterrupt), interrupted_at(line):
            update(directory)
        collect()
        left = scenes.stray_files(stacked.git_dir)
        assert not [name for name in left if not name.endswith(".ref")], line
        seen = state_of(Stack(DirectoryStorage(str(directory))))
        assert seen in (before, after), line
        assert seen == after or not was_new, line
        was_new = seen == after
        update(directory, b"w" * 20)
    assert was_new


@needs_fork
@pytest.mark.plain_filesystem("a signal strikes what plays the file system, too")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_signals(stacked: Scene) -> None:
    """The real thing: a timer that strikes anywhere, in C functions too."""
    coverage: Any = sys.modules.get("coverage")
    if coverage is not None and coverage.Coverage.current() is not None:
        pytest.skip("a signal inside of coverage's own lock would hang the child")
    assert exit_code_of(lambda: write_under_fire(stacked.git_dir / "reftable")) == 0
    left = scenes.stray_files(stacked.git_dir)
    assert not [name for name in left if not name.endswith(".ref")]


def write_under_fire(directory: Path) -> int:
    """Update a ref again and again; gives 0 if nothing that was acknowledged is lost."""

    def strike(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, strike)
    sys.unraisablehook = lambda unraisable: None
    chance = random.Random(1)
    struck = 0
    stack = Stack(DirectoryStorage(str(directory), fsync=False), lock_timeout=1.0)
    for number in range(400):
        value = number.to_bytes(20, "big")
        acknowledged = False
        try:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, 4e-3))
            update(directory, value)
            acknowledged = True
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            struck += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        record = stack.snapshot().lookup_ref(MAIN)
        if record is None or (acknowledged and record.value != value):
            return 2
    return 0 if struck > 20 else 3
