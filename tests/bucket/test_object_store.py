"""The object store of a bucket: what it answers, and what that costs."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from dulwich.errors import ChecksumMismatch
from dulwich.object_format import SHA256
from dulwich.object_store import peel_sha
from dulwich.objects import Blob, ObjectID
from dulwich.pack import write_pack_data
from support.waiting import GUARD

from bucket.histories import History, memory_store, pairs, thin_pack
from dulwich_reftable.bucket import Bucket, MissingObjectError
from dulwich_reftable.bucket.cache import Cache
from dulwich_reftable.bucket.object_store import BucketObjectStore
from dulwich_reftable.bucket.ranges import Range

ABSENT = ObjectID(b"12" * 20)

OpenStore = Callable[..., BucketObjectStore]


@pytest.fixture
def open_objects(bucket: Bucket) -> Iterator[OpenStore]:
    """Open the objects of a bucket as one more process would; an hour passes between listings."""
    opened: list[BucketObjectStore] = []

    def give(**options: object) -> BucketObjectStore:
        settings: dict[str, object] = {"max_age": 3600.0, **options}
        opened.append(BucketObjectStore(bucket, **settings))  # type: ignore[arg-type]
        return opened[-1]

    yield give
    for store in opened:
        store.close()


@contextmanager
def requests(bucket: Bucket, **expected: int) -> Iterator[None]:
    """Count the requests that are made."""
    before = bucket.requests.copy()
    yield
    assert dict(bucket.requests - before) == expected


@pytest.fixture
def history() -> History:
    history = History(3)
    history.grow(12)
    return history


@pytest.fixture
def filled(history: History, open_objects: OpenStore) -> BucketObjectStore:
    store = open_objects()
    store.add_objects(pairs(history.objects.values()))
    return store


def test_empty_store(bucket: Bucket, open_objects: OpenStore) -> None:
    store = open_objects()
    assert list(store) == []
    with requests(bucket):
        assert ABSENT not in store
        with pytest.raises(KeyError):
            store[ABSENT]
        assert list(store.iterobjects_subset([ABSENT], allow_missing=True)) == []
        with pytest.raises(KeyError):
            list(store.iterobjects_subset([ABSENT]))
        store.add_objects([])
    assert not store.packs


def test_what_one_process_adds_another_reads(
    history: History, filled: BucketObjectStore, open_objects: OpenStore, bucket: Bucket
) -> None:
    other = open_objects()
    with requests(bucket, list=1, get=2):
        for oid, obj in history.objects.items():
            assert other[oid].as_raw_string() == obj.as_raw_string()
            assert other.get_raw(bytes.fromhex(oid.decode())) == (
                obj.type_num,
                obj.as_raw_string(),
            )
            assert oid in other
            assert not other.contains_loose(oid)
    with requests(bucket, list=1):
        assert sorted(other) == sorted(history.objects)


def test_sha256(bucket: Bucket) -> None:
    history = History(5, SHA256)
    objects = history.grow(3)
    store = BucketObjectStore(bucket, object_format=SHA256)
    store.add_objects(pairs(objects))
    again = BucketObjectStore(bucket, object_format=SHA256)
    assert {oid: again[oid].as_raw_string() for oid in again} == {
        oid: obj.as_raw_string() for oid, obj in history.objects.items()
    }
    store.close()
    again.close()


def test_misses_cost_nothing_until_there_may_be_news(
    history: History, filled: BucketObjectStore, open_objects: OpenStore, bucket: Bucket
) -> None:
    other = open_objects()
    assert history.commits[0].id in other
    new = Blob.from_string(b"new")
    filled.add_object(new)
    with requests(bucket):
        assert new.id not in other
        assert other.determine_wants_all({b"refs/heads/x": ABSENT}) == [ABSENT]
    other.expect_news()
    with requests(bucket, list=1, get=1):
        assert new.id in other
        assert ABSENT not in other
    eager = open_objects(max_age=0.0)
    assert ABSENT not in eager
    late = Blob.from_string(b"late")
    filled.add_object(late)
    assert late.id in eager


def test_push_of_one_commit(history: History, bucket: Bucket, open_objects: OpenStore) -> None:
    filled = open_objects()
    filled.add_objects(pairs(history.objects.values()))
    history.grow(1)
    server = open_objects()
    old, new = history.commits[-2].id, history.commits[-1].id
    pack = thin_pack(memory_store(history.objects.values()), [old], [new])
    # A server that was just started: the list, an index, the bases, then pack and index.
    with requests(bucket, list=1, get=2, put=2):
        assert old in server
        server.add_thin_pack(pack.read, None)
    with requests(bucket):
        assert server[new] == history.commits[-1]
        assert server[history.commits[-1].tree] == history.objects[history.commits[-1].tree]
    history.grow(1)
    pack = thin_pack(memory_store(history.objects.values()), [new], [history.commits[-1].id])
    with requests(bucket, put=2):
        server.add_thin_pack(pack.read, None)
    filled.expect_news()
    assert filled[history.commits[-1].id] == history.commits[-1]


def test_pack_that_is_not_sound_is_not_uploaded(
    history: History, filled: BucketObjectStore, bucket: Bucket
) -> None:
    objects = memory_store(history.objects.values())
    pack = thin_pack(objects, [], [history.commits[-1].id]).getvalue()
    damaged = bytearray(pack)
    damaged[len(damaged) // 2] ^= 1
    with requests(bucket):
        for broken in (bytes(damaged), pack[:-1], pack[:-30]):
            with pytest.raises(Exception):  # noqa: B017, PT011 - dulwich has many kinds
                filled.add_thin_pack(io.BytesIO(broken).read, None)
            file, commit, _ = filled.add_pack()
            file.write(broken)
            with pytest.raises(Exception):  # noqa: B017, PT011
                commit()
        file, _, abort = filled.add_pack()
        file.write(pack)
        abort()
        _, commit, _ = filled.add_pack()
        commit()  # nothing was written


def test_add_pack_and_pack_data(history: History, bucket: Bucket, open_objects: OpenStore) -> None:
    source = memory_store(history.objects.values())
    store = open_objects()
    middle, last = history.commits[5].id, history.commits[-1].id
    file, commit, _ = store.add_pack()
    count, data = source.generate_pack_data([], [middle])
    write_pack_data(file.write, data, num_records=count, object_format=store.object_format)
    with requests(bucket, put=2):
        commit()
    count, data = source.generate_pack_data([middle], [last])
    with requests(bucket, put=2):
        store.add_pack_data(count, data)
    assert set(store) == set(history.objects) - {tag.id for tag in history.tags}


def test_batch_is_one_pack(bucket: Bucket, open_objects: OpenStore) -> None:
    history = History(1)
    store = open_objects()
    with requests(bucket, list=1, put=2), store.batch(), store.batch():
        for obj in history.grow(3):
            store.add_object(obj)
            assert obj.id in store
            assert store[obj.id] == obj
        assert list(store.iterobjects_subset(history.objects))


def test_batch_that_fails_uploads_nothing(bucket: Bucket, open_objects: OpenStore) -> None:
    store = open_objects()

    def fail() -> None:
        with store.batch():
            store.add_object(Blob.from_string(b"given up"))
            raise ZeroDivisionError

    with requests(bucket, list=1), pytest.raises(ZeroDivisionError):
        fail()
    assert Blob.from_string(b"given up").id not in store


def test_objects_that_are_there_are_not_uploaded_again(
    history: History, filled: BucketObjectStore, bucket: Bucket
) -> None:
    with requests(bucket):
        filled.add_objects(pairs(history.objects.values()))
        filled.add_object(history.commits[0])


def test_iter_prefix_and_peel_and_mtime(history: History, filled: BucketObjectStore) -> None:
    for prefix in (b"", b"a", b"ab", *[oid[:5] for oid in list(history.objects)[:5]]):
        assert list(filled.iter_prefix(prefix)) == sorted(
            oid for oid in history.objects if oid.startswith(prefix)
        )
    assert history.tags
    for tag in history.tags:
        assert peel_sha(filled, tag.id)[1].type_name == b"commit"
    assert filled.get_object_mtime(history.commits[0].id) > 1_700_000_000
    with pytest.raises(KeyError):
        filled.get_object_mtime(ABSENT)
    with pytest.raises(ValueError, match="not an object id"):
        filled.get_raw(b"abc")


# Large packs


def large_pack(store: BucketObjectStore, blobs: int, size: int) -> list[Blob]:
    made = [Blob.from_string(b"%d" % number + os.urandom(size)) for number in range(blobs)]
    store.add_objects(pairs(made))
    return made


def test_object_of_a_large_pack_is_read_by_a_range(bucket: Bucket, open_objects: OpenStore) -> None:
    made = large_pack(open_objects(), 40, 60_000)
    reader = open_objects()
    with requests(bucket, list=1, get=2):
        assert reader[made[20].id] == made[20]
    with requests(bucket):
        assert reader[made[20].id] == made[20]


def test_large_pack_is_fetched_whole_once_ranges_have_cost_as_much(
    bucket: Bucket, open_objects: OpenStore
) -> None:
    made = large_pack(open_objects(), 40, 60_000)
    reader = open_objects()
    before = bucket.requests["get"]
    assert [reader[blob.id].as_raw_string() for blob in made] == [
        blob.as_raw_string() for blob in made
    ]
    assert bucket.requests["get"] - before < 8
    several = open_objects()
    before = bucket.requests["get"]
    assert len(list(several.iter_unpacked_subset(blob.id for blob in made))) == 40
    assert len(list(several.iterobjects_subset(blob.id for blob in made))) == 40
    assert bucket.requests["get"] - before <= 3


def test_without_room_in_the_cache_all_is_read_by_ranges(
    bucket: Bucket, open_objects: OpenStore, tmp_path: Path
) -> None:
    made = large_pack(open_objects(), 20, 100_000)
    reader = open_objects(cache=Cache(tmp_path, limit=3_000_000))
    assert all(reader[blob.id] == blob for blob in made)
    assert {found.sha() for found in reader.iter_unpacked_subset(blob.id for blob in made)} == {
        bytes.fromhex(blob.id.decode()) for blob in made
    }
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.*")) < 3_000_000


# Damage, and packs that go


def keys(bucket: Bucket, suffix: str) -> list[str]:
    return sorted(info.key for info in bucket.list() if info.key.endswith(suffix))


def whole(bucket: Bucket, key: str) -> bytes:
    found = bucket.get(key)
    assert found is not None
    return found.data


@pytest.mark.parametrize("suffix", [".pack", ".idx"])
def test_damage_in_the_bucket_is_told(
    suffix: str, history: History, filled: BucketObjectStore, bucket: Bucket
) -> None:
    [key] = keys(bucket, suffix)
    data = whole(bucket, key)
    oids = list(history.objects)
    for at in range(9, len(data), len(data) // 20):
        for damaged in (data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :], data[:at]):
            bucket.put(key, damaged)
            reader = BucketObjectStore(bucket)
            with pytest.raises(ChecksumMismatch, match=key if suffix == ".idx" else "pack"):
                list(reader.iterobjects_subset(oids))
            reader.close()


def test_exchanged_objects_are_told(bucket: Bucket, open_objects: OpenStore) -> None:
    store = open_objects()
    blobs = [Blob.from_string(b"one"), Blob.from_string(b"two")]
    for blob in blobs:
        store.add_object(blob)
    for suffix in (".pack", ".idx"):
        one, other = keys(bucket, suffix)
        before = whole(bucket, one), whole(bucket, other)
        bucket.put(one, before[1])
        bucket.put(other, before[0])
        reader = open_objects()
        for blob in blobs:
            with pytest.raises(ChecksumMismatch):
                reader[blob.id]
        bucket.put(one, before[0])
        bucket.put(other, before[1])


def test_exchanged_objects_are_told_of_a_range(bucket: Bucket, open_objects: OpenStore) -> None:
    made = [large_pack(open_objects(), 20, 120_000)[10] for _ in range(2)]
    one, other = keys(bucket, ".pack")
    before = whole(bucket, one), whole(bucket, other)
    bucket.put(one, before[1])
    bucket.put(other, before[0])
    reader = open_objects()
    for blob in made:
        with pytest.raises(ChecksumMismatch):
            reader.get_raw(blob.id)


def test_object_does_not_vanish_with_its_index(bucket: Bucket, open_objects: OpenStore) -> None:
    store = open_objects()
    blobs = [Blob.from_string(b"one"), Blob.from_string(b"two")]
    for blob in blobs:
        store.add_object(blob)
    one, other = keys(bucket, ".idx")
    bucket.put(one, whole(bucket, other))
    reader = open_objects()
    found = 0
    for blob in blobs:
        try:
            found += blob.id in reader
        except ChecksumMismatch:
            continue
    assert found == 1
    with pytest.raises(ChecksumMismatch):
        ABSENT in reader  # noqa: B015 - nobody can tell


def test_copy_in_another_pack_stands_in_for_a_damaged_one(
    history: History, filled: BucketObjectStore, bucket: Bucket, open_objects: OpenStore
) -> None:
    [key] = keys(bucket, ".pack")
    data = whole(bucket, key)
    writer = open_objects()
    count, stream = memory_store(history.objects.values()).generate_pack_data(
        [], [history.commits[-1].id]
    )
    writer.add_pack_data(count, stream)
    bucket.put(key, data[:100] + bytes(len(data) - 100))
    reader = open_objects()
    for oid in set(history.objects) - {tag.id for tag in history.tags}:
        assert reader[oid] == history.objects[oid]
    assert len(list(reader.iter_unpacked_subset([history.commits[0].id]))) == 1


def test_damage_in_the_cache_is_mended(
    history: History, bucket: Bucket, tmp_path: Path, filled: BucketObjectStore
) -> None:
    cache = Cache(tmp_path)
    for store in (BucketObjectStore(bucket, cache=cache), BucketObjectStore(bucket, cache=cache)):
        assert store[history.commits[0].id] == history.commits[0]
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {path.suffix for path in files} == {".pack", ".idx"}
        for path in files:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.unlink()  # the first store maps it
            path.write_bytes(data)
    store = BucketObjectStore(bucket, cache=cache)
    assert all(store[oid] == obj for oid, obj in history.objects.items())


def test_file_that_is_damaged_while_it_is_mapped(
    history: History, bucket: Bucket, tmp_path: Path, filled: BucketObjectStore
) -> None:
    store = BucketObjectStore(bucket, cache=Cache(tmp_path))
    assert store[history.commits[0].id] == history.commits[0]
    [path] = tmp_path.rglob("*.pack")
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(12)
        file.write(bytes(before.st_size - 12))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a bad disk would
    assert all(store[oid] == obj for oid, obj in history.objects.items())


def test_pack_that_was_merged_meanwhile(
    history: History, filled: BucketObjectStore, bucket: Bucket, open_objects: OpenStore
) -> None:
    reader = open_objects()
    assert history.commits[0].id in reader
    old = keys(bucket, "")
    open_objects().add_pack_data(
        *memory_store(history.objects.values()).generate_pack_data(
            [], [history.commits[-1].id, *(tag.id for tag in history.tags)]
        )
    )
    bucket.delete(old)
    assert reader[history.commits[0].id] == history.commits[0]
    assert len(list(reader.iterobjects_subset(history.objects))) == len(history.objects)
    bucket.delete(keys(bucket, ".pack"))
    late = open_objects()
    with pytest.raises(KeyError):
        late[history.commits[0].id]


def test_pack_that_vanishes_between_list_and_read(
    history: History, filled: BucketObjectStore, bucket: Bucket, open_objects: OpenStore
) -> None:
    reader = open_objects()
    reader.pack_list.refresh()
    bucket.delete(keys(bucket, ""))
    with pytest.raises(KeyError):
        reader[history.commits[0].id]
    stubborn = open_objects()
    filled.add_object(Blob.from_string(b"x"))
    stubborn.pack_list.refresh()
    [key] = keys(bucket, ".pack")
    data = whole(bucket, key)
    bucket.delete([key])
    listed = stubborn.pack_list.refresh

    def refresh() -> bool:  # a listing that still has it
        bucket.put(key, data)
        try:
            return listed()
        finally:
            bucket.delete([key])

    stubborn.pack_list.refresh = refresh  # type: ignore[method-assign]
    with pytest.raises(MissingObjectError):
        stubborn[Blob.from_string(b"x").id]


def test_copies_of_a_pack_that_is_gone_are_not_used_for_ever(
    history: History,
    filled: BucketObjectStore,
    bucket: Bucket,
    open_objects: OpenStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = open_objects()
    assert reader[history.commits[0].id] == history.commits[0]
    bucket.delete(keys(bucket, ""))
    assert reader[history.commits[0].id] == history.commits[0]
    monkeypatch.setattr("dulwich_reftable.bucket.pack_list.TRUSTED_FOR", 0.0)
    assert history.commits[0].id not in reader
    with pytest.raises(KeyError):
        reader[history.commits[0].id]
    filled.add_objects(pairs(history.objects.values()))
    assert filled[history.commits[0].id] == history.commits[0]


def test_pack_without_its_index_is_not_there(
    history: History, filled: BucketObjectStore, bucket: Bucket, open_objects: OpenStore
) -> None:
    bucket.delete(keys(bucket, ".idx"))
    bucket.put("objects/pack/pack-of-somebody.idx", b"junk")
    bucket.put("objects/pack/junk", b"junk")
    reader = open_objects()
    assert history.commits[0].id not in reader
    assert list(reader) == []


def test_indexes_are_fetched_side_by_side(
    bucket: Bucket, open_objects: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one by itself: it may have the object."""
    packs = 6
    for number in range(packs):
        open_objects().add_objects([(Blob.from_string(b"%d" % number), None)])
    together = threading.Barrier(packs - 1)
    read, keys = Bucket.get_ranges, []

    def get_ranges(bucket: Bucket, key: str, ranges: Sequence[Range]) -> list[bytes]:
        keys.append(key)
        if len(keys) > 1:
            together.wait(GUARD)
        return read(bucket, key, ranges)

    monkeypatch.setattr(Bucket, "get_ranges", get_ranges)
    assert ABSENT not in open_objects()
    assert len(keys) == packs
