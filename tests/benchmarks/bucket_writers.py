"""Servers that create refs in one bucket, each of which is a process, as in a fleet.

The store is one, too (:mod:`.played_store`). All share the processors of this machine.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

from dulwich_reftable import ReftableError
from dulwich_reftable.bucket import BucketRepo

from .played_store import PlayedStore, open_played, play

__all__ = ["measure_writers"]

_OID = b"1" * 40
_PATIENCE = 60.0


@dataclass
class _Told:
    """What a server tells.

    Attributes:
      times: seconds that each update took
      failures: of updates
      in_time: how many updates were done when the time was over
    """

    times: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    in_time: int = 0


def measure_writers(servers: int, threads: int, seconds: float, delay: float) -> str:
    """Let servers create refs for some seconds.

    Args:
      servers: how many processes
      threads: of each
      seconds: for how long
      delay: seconds that each request takes
    Returns: what to tell of it
    """
    context = get_context("spawn")
    barrier, results = context.Barrier(servers), context.Queue()
    with play() as store:
        bucket = open_played(store, 0)
        BucketRepo.init(bucket, default_branch=b"main").close()
        processes = [
            context.Process(
                target=_serve, args=(store, number, threads, seconds, delay, barrier, results)
            )
            for number in range(servers)
        ]
        for process in processes:
            process.start()
        all_told: list[_Told] = [results.get(timeout=2 * _PATIENCE) for _ in processes]
        for process in processes:
            process.join()
        with BucketRepo(bucket) as after:
            found = len(after.refs.keys()) - 1 - servers  # not HEAD, and not the first ones
    times = sorted(itertools.chain.from_iterable(one.times for one in all_told))
    failures = [failure for one in all_told for failure in one.failures]
    late = times[len(times) * 99 // 100] if times else math.inf
    rate = sum(one.in_time for one in all_told) / seconds
    told = f"{rate:,.0f} updates/s, 99% within {late * 1000:.0f} ms"
    if found < len(times) - len(failures):
        told += f"; LOST {len(times) - len(failures) - found}"
    return told + (f"; {len(failures)} failed: {failures[0]}" if failures else "")


def _serve(
    store: PlayedStore,
    number: int,
    threads: int,
    seconds: float,
    delay: float,
    barrier: Any,
    results: Any,
) -> None:
    """Be a server."""
    told = _Told()
    numbers = itertools.count()
    with BucketRepo(open_played(store, delay, deadline=_PATIENCE)) as repo:
        repo.refs.store.set_default_lock_timeout(_PATIENCE)
        repo.refs[b"refs/heads/first-%d" % number] = _OID
        barrier.wait(_PATIENCE)
        end = time.monotonic() + seconds

        def work() -> None:
            while (begun := time.monotonic()) < end:
                try:
                    repo.refs[b"refs/heads/%d/%d" % (number, next(numbers))] = _OID
                except ReftableError as error:
                    told.failures.append(str(error))
                done = time.monotonic()
                told.times.append(done - begun)
                told.in_time += done < end

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    results.put(told)
