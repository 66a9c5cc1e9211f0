"""Many threads on one container for a while, with or without a global interpreter lock.

Run it from the project's directory::

    python -m tests.soak.threads --seconds 60

The threads of one process share one :class:`~dulwich_reftable.Repo`. Writers change counters, pairs
and tokens (see `workload`); readers ask in every way there is; one thread compacts, cleans, expires
reflogs of tokens, and closes the container again and again, since a closed one opens anew. A thread
gives way as often as Python can make it. Afterwards every acknowledged change is looked for in the
reflogs. The exit status is 0 if there are no losses.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from support.pool import fill_pool

import dulwich_reftable as dr

from . import workload
from .workload import COUNTERS, PAIRS, TOKENS, Arena, Limit, Report

WRITERS, READERS = 4, 4
MANY = [b"refs/tags/m%04d" % number for number in range(1500)]  # several blocks, and an index
SWITCH_INTERVAL = 1e-5  # seconds


def has_gil() -> bool:
    """Tell whether only one thread of this Python runs at a time."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def read(refs: dr.ReftableRefsContainer, arena: Arena, limit: Limit) -> Report:
    """Ask in every way, and check what can be said of the answer."""
    report = Report("reader")
    chance = random.Random(threading.get_ident())
    first = arena.commits[0]

    def wrong(what: object) -> None:
        report.errors.append(f"reader: {what!r}")

    while limit.goes_on(report.reads) and not report.errors:
        report.reads += 1
        name = chance.choice(MANY)
        if refs[name] != first or name not in refs or refs.get_peeled(name) not in (None, first):
            wrong(name)
        if refs.read_ref(name + b"x") is not None:
            wrong(name + b"x")
        seen = dict((refs.snapshot() if report.reads % 2 else refs).iter_refs(b"refs/heads/pair"))
        if any(seen[left] != seen[right] for left, right in PAIRS):
            wrong(seen)
        entries = list(refs.read_reflog(chance.choice(COUNTERS)))
        if any(a.new_sha != b.old_sha for a, b in pairwise(entries)):
            wrong("a gap in a reflog")
        if report.reads % 8 == 0:
            if set(MANY) - set(refs.refs_for_object(first)):
                wrong("refs_for_object")
            if {b"refs/tags/" + tag for tag in refs.as_dict(b"refs/tags")} != set(MANY):
                wrong("as_dict")
    return report


def keep(refs: dr.ReftableRefsContainer, limit: Limit) -> Report:
    """Compact, clean up, expire, verify and close."""
    report = Report("keeper")
    jobs: list[Callable[[], object]] = [
        refs.compact,
        refs.clean,
        refs.close,
        refs.auto_compact,
        lambda: refs.expire_reflog(TOKENS[0]),
    ]
    round = 0
    while limit.goes_on(round):
        try:
            jobs[round % len(jobs)]()
        except dr.LockError:
            report.timeouts += 1
        round += 1
        time.sleep(0.005)
    return report


def work_together(arena: Arena, limit: Limit, writers: int, readers: int) -> list[Report]:
    """Let threads work on one container.

    Returns: their reports
    """
    with dr.Repo(str(arena.path)) as repo:
        refs = repo.refs

        def change() -> Report:
            apply = lambda changes: workload.apply_ours(refs, changes)  # noqa: E731
            return workload.write(arena, apply, workload.value_in(refs), "thread", limit)

        jobs: list[Callable[[], Report]] = [change] * writers
        jobs += [lambda: read(refs, arena, limit)] * readers
        jobs += [lambda: keep(refs, limit)]
        reports: list[Report] = []

        def guarded(job: Callable[[], Report]) -> None:
            try:
                reports.append(job())
            except BaseException:
                reports.append(Report("failed", errors=[traceback.format_exc()]))

        threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL)
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(before)
    return reports


def prepare(arena: Arena) -> None:
    """Make the refs that readers look for."""
    with arena.refs().transaction() as tx:
        for name in MANY:
            tx.create(name, arena.commits[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (60)")
    parser.add_argument("--writers", type=int, default=WRITERS, help=f"threads ({WRITERS})")
    parser.add_argument("--readers", type=int, default=READERS, help=f"threads ({READERS})")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        arena = Arena.make(Path(scratch, "repo"), fill_pool(Path(scratch, "pool"), "sha1"))
        prepare(arena)
        limit = Limit(seconds=options.seconds)
        reports = work_together(arena, limit, options.writers, options.readers)
        wrong = workload.losses(arena, reports)
    for text in wrong:
        print("WRONG:", text)
    print("with a global interpreter lock" if has_gil() else "free-threaded")
    print(f"{sum(len(report.done) for report in reports)} updates,", end=" ")
    print(f"{sum(report.reads for report in reports)} rounds of reads,", end=" ")
    print(f"{sum(report.timeouts for report in reports)} lock timeouts")
    print(f"losses: {len(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
