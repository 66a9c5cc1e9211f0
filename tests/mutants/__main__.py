"""Run the tests against each mutant; all have to be killed.

Exit code 0 if they are; 1 if one survives, does not apply or cannot be judged; 2 if there is none
of that name.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from .mutation import Mutation
from .mutations import MUTATIONS
from .run import Outcome, Tree

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    add = parser.add_argument
    add("--only", action="append", default=[], metavar="NAME", help="those with this in their name")
    add("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="mutants at a time")
    add("--timeout", type=float, default=300.0, metavar="SECONDS", help="for each mutant's tests")
    add("--list", action="store_true", help="list the mutations and run none")
    options = parser.parse_args(arguments)
    chosen = [
        mutation
        for mutation in MUTATIONS
        if not options.only or any(part in mutation.name for part in options.only)
    ]
    if options.list:
        for mutation in chosen:
            print(f"{mutation.name:40} {mutation.file}: {mutation.why}")
        return 0
    if not chosen:
        print("there is no such mutation", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        jobs = max(1, min(options.jobs, len(chosen)))
        trees = [Tree(ROOT, Path(directory) / str(number)) for number in range(jobs)]
        return run_all(chosen, trees, options.timeout)


def run_all(mutations: Sequence[Mutation], trees: Sequence[Tree], timeout: float) -> int:
    """Judge all mutants, as many at a time as there are trees; gives the exit code."""
    free: SimpleQueue[Tree] = SimpleQueue()
    for tree in trees:
        free.put(tree)

    def judge(mutation: Mutation) -> tuple[Mutation, Outcome, str, float]:
        tree = free.get()
        begun = time.monotonic()
        try:
            return mutation, *tree.judge(mutation, timeout), time.monotonic() - begun
        finally:
            free.put(tree)

    alive = 0
    with ThreadPoolExecutor(len(trees)) as pool:
        try:
            for mutation, outcome, said, seconds in pool.map(judge, mutations):
                print(f"{outcome.value:14} {mutation.name:44} {seconds:5.1f} s  {said}", flush=True)
                if outcome is not Outcome.KILLED:
                    alive += 1
                    print(f"    {mutation.file}: {mutation.why}", flush=True)
        except BaseException:  # an interrupt
            pool.shutdown(wait=False, cancel_futures=True)
            for tree in trees:
                tree.stop()
            raise
    print(f"{len(mutations)} mutants, {len(mutations) - alive} killed")
    return 1 if alive else 0


if __name__ == "__main__":
    raise SystemExit(main())
