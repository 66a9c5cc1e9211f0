"""Writers are killed again and again: is what they were told still there?

Run it from the project's directory::

    python -m tests.soak.kills --seconds 60

Three processes write to one repository until all of them are killed in the same moment, wherever
they are. Then every acknowledged change has to be in the reflogs, git has to find nothing wrong,
and the locks that were left are removed by hand, as the error message says, before the next round.
The exit status is 0 if there are no losses.
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from support.pool import fill_pool

from . import workload
from .workload import Arena, Change, Limit, Report

WRITERS = 3


def write(arena: Arena, acknowledged: Connection) -> None:
    """Change refs until the process is killed, and tell of each change that was acknowledged."""
    refs = arena.refs()

    def apply(changes: list[Change]) -> None:
        # What is on its way is told first: whether it happened, only the reflog knows.
        acknowledged.send((False, changes))
        workload.apply_ours(refs, changes)
        acknowledged.send((True, changes))

    read = workload.value_in(refs)
    workload.write(arena, apply, read, "killed", Limit(seconds=60), tokens=())


def one_round(arena: Arena, seconds: float) -> tuple[list[list[Change]], list[list[Change]]]:
    """Start writers and kill them; gives what was acknowledged, and what was under way."""
    context = get_context("fork")
    running = []
    for _ in range(WRITERS):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=write, args=(arena, theirs), daemon=True)
        process.start()
        theirs.close()
        running.append((process, ours))
    end = time.monotonic() + seconds
    told: list[tuple[bool, list[Change]]] = []
    last: dict[int, tuple[bool, list[Change]]] = {}

    def listen() -> None:
        for number, (_, connection) in enumerate(running):
            try:
                while connection.poll():
                    last[number] = connection.recv()
                    told.append(last[number])
            except (EOFError, pickle.UnpicklingError, OSError):
                continue  # killed in the middle of telling

    while time.monotonic() < end:
        listen()
        time.sleep(0.002)
    for process, _ in running:
        os.kill(process.pid or 0, signal.SIGKILL)
    for process, _ in running:
        process.join()
    listen()
    done = [changes for is_done, changes in told if is_done]
    open_ends = [changes for is_done, changes in last.values() if not is_done]
    return done, open_ends


def remove_locks(directory: Path) -> int:
    """Remove the locks by hand, as nobody is left who could hold them."""
    locks = list(directory.glob("*.lock"))
    for lock in locks:
        lock.unlink()
    return len(locks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (60)")
    parser.add_argument("--sync", action="store_true", help="sync every update to disk")
    parser.add_argument("--dir", type=Path, help="where the repository is made (a temporary place)")
    options = parser.parse_args(arguments)
    chance = random.Random()
    rounds = locks = 0
    report = Report("killed")
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
        pool = fill_pool(Path(scratch, "pool"), "sha1")
        arena = Arena.make(Path(scratch, "repo"), pool, synced=options.sync)
        end = time.monotonic() + options.seconds
        while time.monotonic() < end and not wrong:
            done, open_ends = one_round(arena, chance.uniform(0.01, 0.3))
            locks += remove_locks(arena.path / ".git" / "reftable")
            report.done += done
            report.done += [changes for changes in open_ends if has_happened(arena, changes)]
            rounds += 1
            # The next write works; and a table that was about to be listed is stale after it.
            arena.refs()[workload.MAIN] = arena.commits[rounds % 2]
            wrong = workload.losses(arena, [report])
    for text in wrong:
        print("WRONG:", text)
    print(f"{rounds} rounds of {WRITERS} kills, {len(report.done)} updates, {locks} locks left")
    print(f"losses: {len(wrong)}")
    return 1 if wrong else 0


def has_happened(arena: Arena, changes: list[Change]) -> bool:
    """Tell of a change that was under way whether the repository has it."""
    first = changes[0]
    return any(entry.message == first.message for entry in arena.refs().read_reflog(first.ref))


if __name__ == "__main__":
    sys.exit(main())
