"""A push to a bucket: it is received and judged on the local disk, then uploaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dulwich.objects import Blob, Commit, ObjectID
from dulwich.pack import full_unpacked_object, write_pack_data
from dulwich.refs import DictRefsContainer, Ref

from bucket.histories import History, memory_store, pairs, thin_pack
from dulwich_reftable.bucket import Bucket
from dulwich_reftable.bucket.cache import Cache
from dulwich_reftable.bucket.object_store import BucketObjectStore
from dulwich_reftable.objects.reader import ObjectReader
from dulwich_reftable.server.errors import PackError
from dulwich_reftable.server.receive_pack.connectivity import Connectivity
from dulwich_reftable.server.receive_pack.limits import Limits
from dulwich_reftable.server.receive_pack.quarantine import Quarantine

MAIN = Ref(b"refs/heads/main")


@pytest.fixture
def history() -> History:
    history = History(2)
    history.grow(8)
    return history


@pytest.fixture
def store(bucket: Bucket, history: History, tmp_path: Path) -> Iterator[BucketObjectStore]:
    """Open a server's store after somebody else has pushed some history."""
    other = BucketObjectStore(bucket)
    other.add_objects(pairs(history.objects.values()))
    other.close()
    store = BucketObjectStore(bucket, cache=Cache(tmp_path))
    yield store
    store.close()


def test_push_of_one_commit_is_few_requests(
    bucket: Bucket, history: History, store: BucketObjectStore
) -> None:
    old = history.commits[-1].id
    refs = DictRefsContainer({MAIN: old})
    for expected in ({"list": 1, "get": 2, "put": 2}, {"put": 2}):
        history.grow(1)
        new = history.commits[-1].id
        pack = thin_pack(memory_store(history.objects.values()), [old], [new])
        before = bucket.requests.copy()
        with Quarantine(store, fsync_objects=False, unpack_limit=100) as quarantine:
            received = quarantine.receive(pack.read, Limits())
            walk = Connectivity(received, ObjectReader(store), refs, [MAIN])
            assert walk.is_complete([new])
            quarantine.seal(walk.found)
            assert "put" not in bucket.requests - before
            quarantine.release()
            quarantine.secure()
            refs[MAIN] = old = new
        assert dict(bucket.requests - before) == expected
        assert store[new] == history.commits[-1]
    fresh = BucketObjectStore(bucket)
    reached = memory_store(history.objects.values()).generate_pack_data([], [old])[0]
    assert fresh.generate_pack_data([], [old])[0] == reached
    fresh.close()


def test_nothing_is_uploaded_of_a_push_that_is_refused(
    bucket: Bucket, history: History, store: BucketObjectStore, tmp_path: Path
) -> None:
    made = Commit.from_string(history.commits[-1].as_raw_string())
    made.tree = ObjectID(b"12" * 20)
    path = tmp_path / "pack"
    with path.open("wb") as file:
        write_pack_data(
            file.write,
            iter([full_unpacked_object(made)]),
            num_records=1,
            object_format=store.object_format,
        )
    refs = DictRefsContainer({MAIN: history.commits[-1].id})
    before = bucket.requests["put"]
    with (
        path.open("rb") as file,
        Quarantine(store, fsync_objects=False, unpack_limit=100) as quarantine,
    ):
        received = quarantine.receive(file.read, Limits())
        assert not Connectivity(received, ObjectReader(store), refs, [MAIN]).is_complete([made.id])
    blob = Blob.from_string(bytes(5000))
    with path.open("wb") as file:
        write_pack_data(
            file.write,
            iter([full_unpacked_object(blob)]),
            num_records=1,
            object_format=store.object_format,
        )
    with (
        path.open("rb") as file,
        Quarantine(store, fsync_objects=False, unpack_limit=100) as quarantine,
        pytest.raises(PackError),
    ):
        quarantine.receive(file.read, Limits(object_size=4000))
    assert bucket.requests["put"] == before
    assert made.id not in store
