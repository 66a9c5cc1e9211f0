"""``python -m tests.benchmarks --bucket``: refs in an object store whose requests take 10 ms.

The store is in memory, and each request of a client sleeps. Its bandwidth has no limit. What is
measured is how many requests an operation needs, one after the other, and what we do in between.
Servers that write are processes (:mod:`.bucket_writers`).
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from obstore.store import MemoryStore

from dulwich_reftable.bucket import Bucket, BucketRepo, open_store
from dulwich_reftable.engine.format.records import RefRecord

from .bucket_writers import measure_writers
from .datasets import object_id, ref_names
from .played_store import Delayed

__all__ = ["PARTS", "run"]

PARTS = "writers", "memory", "reads"

_DELAY = 0.01


def _open(store: MemoryStore) -> Bucket:
    bucket = open_store(store, deadline=60.0)
    bucket.client.module = Delayed(_DELAY)  # type: ignore[assignment]
    return bucket


def _memory(updates: int, threads: int = 64) -> str:
    """Update some refs again and again; tell by how much memory has grown in the second half."""
    store = MemoryStore()
    BucketRepo.init(store, default_branch=b"main", grace=0.0).close()
    used: list[int] = []
    with BucketRepo(store) as repo:

        def work(number: int) -> None:
            for turn in range(updates // threads // 2):
                repo.refs[b"refs/heads/%d" % number] = b"%040x" % (len(used) << 32 | (turn + 1))

        for _ in range(2):
            workers = [threading.Thread(target=work, args=(one,)) for one in range(threads)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            used.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
    return (
        f"{updates:,} updates: {used[0]:,} MiB after half of them, {used[1] - used[0]:,} MiB more"
    )


def _fill(store: MemoryStore, names: list[bytes], parts: int) -> None:
    """Write refs as tables, each half as large as the one before it."""
    with BucketRepo(store) as repo:
        stack = repo.refs.store.shared
        begin, left = 0, len(names)
        for part in range(parts):
            count = left if part == parts - 1 else (left + 1) // 2
            some = sorted(names[begin : begin + count])
            begin, left = begin + count, left - count
            with stack.addition(compacts=False) as addition:
                index = addition.next_update_index
                addition.write((RefRecord(name, index, object_id(name)) for name in some), ())
                addition.commit()


def _timed(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def _reads(names: list[bytes], parts: int) -> Iterator[str]:
    store = MemoryStore()
    BucketRepo.init(store, default_branch=b"main").close()
    _fill(store, names, parts)
    found = []
    for name in names[:: max(len(names) // 9, 1)]:
        with BucketRepo(_open(store)) as repo:
            found.append(_timed(lambda name=name, repo=repo: repo.refs[name]))
    found.sort()
    yield f"first lookup, {parts} tables: {found[len(found) // 2] * 1000:.0f} ms"
    with BucketRepo(_open(store)) as repo:
        yield f"scan, {parts} tables: {_timed(repo.refs.as_dict) * 1000:,.0f} ms"


def run(
    refs: int, only: Sequence[str] = (), *, seconds: float = 3.0, updates: int = 100_000
) -> None:
    """Measure and tell.

    Args:
      refs: in the sets that are read
      only: some of ``PARTS``; none for all
      seconds: for each way of writing
      updates: after which memory is looked at
    """
    print(f"every request takes {_DELAY * 1000:.0f} ms and more")
    parts_wanted = only or PARTS
    if "writers" in parts_wanted:
        for servers, threads in ((1, 1), (1, 8), (1, 64), (8, 8)):
            told = measure_writers(servers, threads, seconds, _DELAY)
            print(f"{servers} x {threads} writers: {told}", flush=True)
    if "memory" in parts_wanted:
        print(_memory(updates), flush=True)
    if "reads" in parts_wanted:
        names = ref_names(refs)
        for parts in (1, 8):
            for line in _reads(names, parts):
                print(f"{refs:,} refs: {line}", flush=True)
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10:,} MiB of memory")
