"""Processes that race for one ref in a bucket of a real server: is anything lost or doubled?

Run it from the project's directory::

    python -m tests.bucket --store radosgw --processes 8 --increments 1000

Each process adds one to a counter by compare-and-swaps, some of whose requests fail if
``--faults`` says so. In the end, the counter and its reflog have to be what the processes were
told. The exit status is 0 if they are; 2 if the server cannot be run here.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parents[1]))

from bucket.counting import Outcomes, check
from bucket.racing import open_bucket, work
from bucket.servers import NotHereError, run_server
from dulwich_reftable.bucket.storage import BucketStorage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--store", choices=["radosgw", "ministack"], default="ministack")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--increments", type=int, default=1000, help="of each process")
    parser.add_argument("--faults", type=float, default=0.0, help="part of the requests that fail")
    parser.add_argument("--seed", type=int, default=1, help="of the faults")
    parsed = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped, too
    try:
        with run_server(parsed.store) as options:
            return race(options, parsed)
    except NotHereError as error:
        print(f"{parsed.store} cannot be run here: {error}", file=sys.stderr)
        return 2


def race(options: dict[str, Any], parsed: argparse.Namespace) -> int:
    BucketStorage.create(open_bucket(options))
    begun = time.monotonic()
    jobs = [
        (options, process, parsed.increments, parsed.faults, parsed.seed)
        for process in range(parsed.processes)
    ]
    with multiprocessing.get_context("spawn").Pool(parsed.processes) as pool:
        results = pool.starmap(work, jobs, 1)
    seconds = time.monotonic() - begun
    total = Outcomes()
    requests: dict[str, int] = {}
    for outcomes, made in results:
        total.done += outcomes.done
        total.failed += outcomes.failed
        total.unknown += outcomes.unknown
        total.errors += outcomes.errors
        for kind, count in made.items():
            requests[kind] = requests.get(kind, 0) + count
    told = f"{len(total.done)} done, {len(total.failed)} failed, {len(total.unknown)} unknown"
    print(f"{parsed.store}: {told}; {seconds:.0f} s, {len(total.done) / seconds:.0f}/s")
    print("requests:", ", ".join(f"{count} {kind}" for kind, count in sorted(requests.items())))
    try:
        check(open_bucket(options), total)
        assert len(total.all) == parsed.processes * parsed.increments
    except AssertionError as error:
        print(f"wrong: {error}", file=sys.stderr)
        return 1
    print("the counter and its reflog are what the processes were told")
    return 0


if __name__ == "__main__":
    sys.exit(main())
