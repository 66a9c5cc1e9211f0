"""Stores that do not keep their word are refused, and forms of entity tags are found out."""

from __future__ import annotations

from typing import Any

import obstore
import pytest
from obstore.exceptions import PreconditionError
from obstore.store import MemoryStore

from bucket.faults import FaultyStore, LateWrites
from dulwich_reftable.bucket import Bucket, UnfitStoreError, open_store
from dulwich_reftable.bucket.probe import check_conditions
from dulwich_reftable.bucket.storage import BucketStorage


class Lax(FaultyStore):
    """A store that ignores some conditions."""

    def __init__(self, *ignored: str) -> None:
        super().__init__(0, 0, LateWrites())
        self.ignored = ignored

    def put(self, *args: Any, mode: Any = "overwrite", **options: Any) -> Any:
        kind = mode if isinstance(mode, str) else "update"
        if kind in self.ignored:
            mode = "overwrite"
        return obstore.put(*args, mode=mode, **options)


class Unquoted(FaultyStore):
    """A store that gives entity tags in quotes, and matches only those without."""

    def put(self, *args: Any, mode: Any = "overwrite", **options: Any) -> Any:
        if isinstance(mode, dict):
            if '"' in mode["e_tag"]:
                raise PreconditionError("status code: 412 Precondition Failed: ")
            mode = {"e_tag": f'"{mode["e_tag"]}"'}
        return obstore.put(*args, mode=mode, **options)


class Never(FaultyStore):
    """A store to which no condition is ever met."""

    def put(self, *args: Any, mode: Any = "overwrite", **options: Any) -> Any:
        if isinstance(mode, dict):
            raise PreconditionError("status code: 412 Precondition Failed: ")
        return obstore.put(*args, mode=mode, **options)


@pytest.mark.parametrize(
    ("store", "message"),
    [
        (Lax("create", "update"), "creates an object that exists"),
        (Lax("create"), "creates an object that exists"),
        (Lax("update"), "replaces an object that has changed"),
        (Never(0, 0, LateWrites()), "under a condition that is met"),
    ],
)
def test_a_store_that_ignores_conditions_is_refused(store: FaultyStore, message: str) -> None:
    bucket = store.into(open_store(MemoryStore(), "prefix"))
    with pytest.raises(UnfitStoreError, match=message):
        BucketStorage.create(bucket)
    assert list(bucket.list()) == []  # neither a head, nor what was tried


def test_a_store_is_looked_at_before_the_first_write_of_a_process() -> None:
    store = MemoryStore()
    BucketStorage.create(open_store(store))
    storage = BucketStorage(Lax("update").into(open_store(store)))
    storage.refresh(None)
    assert storage.bucket.requests == {"get": 1}
    change = storage.begin(0)
    change.prepare((), storage.refresh(None))
    with pytest.raises(UnfitStoreError):
        change.swap()
    assert not change.may_be_swapped
    change.release()


def test_it_is_looked_at_once(bucket: Bucket) -> None:
    check_conditions(bucket)
    before = bucket.requests.copy()
    check_conditions(bucket.within("deeper"))
    assert bucket.requests == before
    assert not bucket.client.strips_quotes


def test_the_form_of_entity_tags_is_found_out() -> None:
    bucket = Unquoted(0, 0, LateWrites()).into(open_store(MemoryStore()))
    check_conditions(bucket)
    assert bucket.client.strips_quotes
    version = bucket.put("a", b"1")
    bucket.replace("a", b"2", version)


@pytest.mark.parametrize("seed", range(10))
def test_a_store_that_only_fails_is_not_refused(seed: int) -> None:
    late = LateWrites()
    bucket = FaultyStore(seed, 0.3, late).into(open_store(MemoryStore(), deadline=10.0))
    check_conditions(bucket)
    assert not bucket.client.strips_quotes
