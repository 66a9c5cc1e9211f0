"""A crowd on one repository; `tests.soak.contention` is the same for longer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from soak import workload
from soak.workload import Arena, Limit, Report, Worker
from support.git import requires_git
from support.pool import ObjectPool

pytestmark = [
    requires_git,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="starts workers by fork"),
]


@pytest.fixture
def arena(tmp_path: Path, pool: ObjectPool) -> Arena:
    return Arena.make(tmp_path / "repo", pool)


def run(arena: Arena, rounds: dict[Worker, Sequence[int]]) -> list[Report]:
    """Let workers do so many rounds; nothing may be lost."""
    jobs = [(worker, Limit(rounds=n)) for worker, numbers in rounds.items() for n in numbers]
    reports = workload.run(arena, jobs)
    assert workload.losses(arena, reports) == []
    return reports


@pytest.mark.plain_filesystem("git finds no refs while a list is replaced", on=("nfs",))
def test_all_kinds(arena: Arena) -> None:
    reports = run(
        arena,
        {
            workload.ours: [60, 60],
            workload.threads: [12],
            workload.git: [25, 25],
            workload.reader: [300],
            workload.git_reader: [30],
            workload.keeper: [8],
        },
    )
    done = {report.kind: len(report.done) for report in reports}
    assert done["ours"] > 0
    assert done["thread"] > 0
    assert done["git"] > 0


@pytest.mark.parametrize("command", ["contention", "kills"])
def test_command(command: str, tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    arguments = ["--seconds", "1", "--dir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", f"tests.soak.{command}", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("losses: 0\n")


def test_losses_are_noticed(arena: Arena) -> None:
    """The book-keeping is worth nothing if it finds nothing."""
    (report,) = run(arena, {workload.ours: [12]})
    refs = arena.refs()
    done = next(changes for changes in report.done if changes[0].ref not in workload.TOKENS)
    assert workload.losses(arena, [report, Report("more", done=[done])])
    assert workload.losses(arena, [Report("less", done=report.done[1:])])
    left = workload.PAIRS[0][0]
    refs.set_if_equals(left, None, arena.next(refs[left]), message=b"torn", **workload.WHO)
    assert any("torn" in text for text in workload.losses(arena, [report]))
