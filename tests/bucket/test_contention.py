"""Many writers, each with its own client, on a store that fails: nothing is lost or doubled."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from obstore.store import MemoryStore

from bucket.counting import check, race
from bucket.faults import FaultyStore, LateWrites
from dulwich_reftable.bucket import Bucket, open_store
from dulwich_reftable.bucket.storage import BucketStorage

SEEDS = int(os.environ.get("DULWICH_REFTABLE_BUCKET_SEEDS", "3"))


def test_writers_that_race(bucket: Bucket) -> None:
    BucketStorage.create(bucket)
    store = bucket.client.store

    outcomes = race(lambda _: open_store(store, "prefix"), writers=4, increments=25)

    assert len(outcomes.done) == 100
    check(bucket, outcomes)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("deadline", [2.0, 0.02], ids=["patient", "impatient"])
def test_writers_that_race_on_a_store_that_fails(seed: int, deadline: float) -> None:
    store, late = MemoryStore(), LateWrites()
    BucketStorage.create(open_store(store))
    seen: Counter[str] = Counter()

    def open_faulty(writer: int) -> Bucket:
        faulty = FaultyStore((seed, writer), 0.25, late)
        faulty.seen = seen
        return faulty.into(open_store(store, deadline=deadline))

    outcomes = race(open_faulty, writers=4, increments=10)

    check(open_store(store), outcomes)
    late.apply()
    check(open_store(store), outcomes)
    assert len(outcomes.all) == 40
    assert len(seen) > 5  # kinds of faults
