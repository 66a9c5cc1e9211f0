"""Many writers on one repository for a while: how fast, and is anything lost?

Run it from the project's directory::

    python -m tests.soak.contention --seconds 60

Eleven processes work on one repository: three of ours with a container each, one with six threads
on two containers, three that start one git after the other, two readers of ours and one of git's,
and one that compacts and cleans up all the time, with us and with git in turn. Afterwards every
acknowledged change is looked for in the reflogs. The exit status is 0 if there are no losses.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from support.pool import fill_pool

from . import workload
from .workload import Arena, Limit, Report

CROWD = {
    "ours": workload.ours,
    "threads": workload.threads,
    "git": workload.git,
    "readers": workload.reader,
    "git-readers": workload.git_reader,
    "keepers": workload.keeper,
}
NUMBERS = {"ours": 3, "threads": 1, "git": 3, "readers": 2, "git-readers": 1, "keepers": 1}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (60)")
    parser.add_argument("--sync", action="store_true", help="sync every update to disk")
    parser.add_argument("--dir", type=Path, help="where the repository is made (a temporary place)")
    for name, number in NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, default=number, help=f"how many ({number})")
    options = parser.parse_args(arguments)
    workers = [
        worker
        for name, worker in CROWD.items()
        for _ in range(getattr(options, name.replace("-", "_")))
    ]
    with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
        pool = fill_pool(Path(scratch, "pool"), "sha1")
        arena = Arena.make(Path(scratch, "repo"), pool, synced=options.sync)
        begun = time.monotonic()
        limit = Limit(seconds=options.seconds)
        reports = workload.run(arena, [(worker, limit) for worker in workers])
        took = time.monotonic() - begun
        wrong = workload.losses(arena, reports)
        print_figures(reports, took, len(arena.tables()))
    for text in wrong:
        print("WRONG:", text)
    print(f"losses: {len(wrong)}")
    return 1 if wrong else 0


def print_figures(reports: Sequence[Report], seconds: float, tables: int) -> None:
    """Print a line for each kind of worker."""
    print(f"{seconds:.0f} s; {tables} tables in the end", end="")
    print(f", at most {max(report.most_tables for report in reports)} seen")
    row = "{:>11} {:>9} {:>10} {:>8} {:>13} {:>9} {:>8}"
    print(row.format("", "processes", "updates", "per s", "lock timeouts", "refusals", "reads"))
    for kind in dict.fromkeys(report.kind for report in reports):
        of_kind = [report for report in reports if report.kind == kind]
        done = sum(len(report.done) for report in of_kind)
        print(
            row.format(
                kind,
                len(of_kind),
                done,
                f"{done / seconds:.1f}",
                sum(report.timeouts for report in of_kind),
                sum(report.refusals for report in of_kind),
                sum(report.reads for report in of_kind),
            )
        )


if __name__ == "__main__":
    sys.exit(main())
