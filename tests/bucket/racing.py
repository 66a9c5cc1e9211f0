"""One of the processes that race in a bucket of a real server."""

from __future__ import annotations

from typing import Any

from bucket.counting import Outcomes, write
from bucket.faults import FaultyStore, LateWrites
from bucket.servers import BUCKET
from dulwich_reftable.bucket import Bucket, open_store
from dulwich_reftable.bucket.storage import BucketStorage
from dulwich_reftable.engine.stack.stack import Stack


def open_bucket(options: dict[str, Any]) -> Bucket:
    return open_store(f"s3://{BUCKET}/race", **options)


def work(
    options: dict[str, Any], process: int, increments: int, faults: float, seed: int
) -> tuple[Outcomes, dict[str, int]]:
    """Be one of the processes."""
    bucket = open_bucket(options)
    late = LateWrites()
    if faults:
        FaultyStore((seed, process), faults, late).into(bucket)
    outcomes = Outcomes()
    names = [b"%d-%d" % (process, number) for number in range(increments)]
    write(Stack(BucketStorage(bucket), lock_timeout=None), names, outcomes)
    late.apply()
    return outcomes, dict(bucket.requests)
