"""gc: it merges and removes, and nothing that is needed is ever gone, wherever it dies."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from dulwich.object_format import SHA256
from dulwich.objects import Blob, Commit, ObjectID, ShaFile
from dulwich.refs import DictRefsContainer, Ref

from bucket.histories import History, pairs
from dulwich_reftable import ReftableRefsContainer
from dulwich_reftable.bucket import Bucket, ObjectInfo, UnavailableError
from dulwich_reftable.bucket.gc import IncompleteRepositoryError, Report, collect_garbage
from dulwich_reftable.bucket.object_store import BucketObjectStore

MAIN = Ref(b"refs/heads/main")
OTHER = Ref(b"refs/heads/other")
DAY = 86_400.0
ROUNDS = int(os.environ.get("DULWICH_REFTABLE_ROUNDS", "50"))


class TimedBucket(Bucket):
    """A bucket whose clock can be put forward, and whose requests can end in a kill."""

    def __init__(self, bucket: Bucket) -> None:
        prefix = bucket.locate("").strip("/").rpartition("://")[2]
        super().__init__(bucket.client, prefix, "memory://timed")
        self.ahead = 0.0
        self.left: int | None = None
        self.times: dict[str, float] = {}

    def _count(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise UnavailableError(self.location, "the process was killed")
            self.left -= 1

    def put(self, key: str, data: bytes | bytearray | memoryview) -> Any:
        self._count()
        done = super().put(key, data)
        self.times[key] = super().head(key).modified + self.ahead
        return done

    def put_file(self, key: str, path: str) -> Any:
        with open(path, "rb") as file:
            return self.put(key, file.read())

    def head(self, key: str) -> ObjectInfo:
        self._count()
        return super().head(key)._replace(modified=self.times[key])

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self._count()
        for info in super().list(prefix):
            yield info._replace(modified=self.times[info.key])

    def get_ranges(self, key: str, ranges: Any) -> Any:
        self._count()
        return super().get_ranges(key, ranges)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects one by one: a kill may come after each."""
        for key in keys:
            self._count()
            super().delete([key])


class RoundingBucket(TimedBucket):
    """A store that is asked for an object's time gives whole seconds; its listings are exact."""

    def head(self, key: str) -> ObjectInfo:
        found = super().head(key)
        return found._replace(modified=math.floor(found.modified))


class Place:
    """A repository of a bucket, its refs, and what they need."""

    def __init__(self, bucket: Bucket, seed: int = 1, object_format: Any = None) -> None:
        self.bucket = TimedBucket(bucket)
        self.refs: Any = DictRefsContainer({})
        self.history = History(seed, object_format)
        self.format = object_format
        self.opened: list[BucketObjectStore] = []

    def open(self) -> BucketObjectStore:
        self.opened.append(BucketObjectStore(self.bucket, object_format=self.format, max_age=0.0))
        return self.opened[-1]

    def upload(self, objects: list[ShaFile]) -> list[ObjectID]:
        self.open().add_objects(pairs(objects))
        return [self.history.id_of(obj) for obj in objects]

    def push(self, commits: int = 1) -> list[ObjectID]:
        """Push some commits in one pack."""
        oids = self.upload(self.history.grow(commits))
        self.refs[MAIN] = self.history.id_of(self.history.commits[-1])
        for tag in self.history.tags:
            self.refs[Ref(b"refs/tags/" + tag.name)] = self.history.id_of(tag)
        return oids

    def push_half(self) -> list[ObjectID]:
        """Push a commit as somebody who dies before the ref is written."""
        return self.upload(self.history.grow_aside(1))

    def point_at(self, oids: list[ObjectID]) -> None:
        """Write a ref that reaches objects of :meth:`push_half`."""
        made = self.history.aside
        [self.refs[OTHER]] = [oid for oid in oids if isinstance(made[oid], Commit)]

    def gc(self, grace: float = DAY, **options: Any) -> Report:
        store = self.open()
        return collect_garbage(store, self.refs, grace=grace, **options)

    def pass_time(self, seconds: float) -> None:
        self.bucket.ahead += seconds

    def packs(self) -> list[str]:
        return sorted(info.key for info in Bucket.list(self.bucket, "objects/pack"))

    def check(self, oids: Iterable[ObjectID]) -> None:
        store, made = self.open(), {**self.history.objects, **self.history.aside}
        for oid in oids:
            assert store[oid].as_raw_string() == made[oid].as_raw_string()

    def check_exactly(self, oids: Iterable[ObjectID]) -> None:
        assert sorted(self.open()) == sorted(oids)
        self.check(oids)

    def close(self) -> None:
        for store in self.opened:
            store.close()


@pytest.fixture
def place(bucket: Bucket) -> Iterator[Place]:
    made = Place(bucket)
    yield made
    made.close()


def test_merges_and_removes_the_old_packs_after_the_grace_period(place: Place) -> None:
    needed = [oid for _ in range(4) for oid in place.push()]
    assert len(place.packs()) == 8
    report = place.gc()
    assert (report.kept, report.copied) == (len(needed), len(needed))
    assert len(report.retired) == 4
    assert not report.removed
    place.check_exactly(needed)
    place.pass_time(DAY - 60)
    assert not place.gc().removed
    place.pass_time(61)
    report = place.gc()
    assert len(report.removed) == 4
    assert not report.copied
    assert [key.rpartition(".")[2] for key in place.packs()] == ["idx", "pack"]
    place.check_exactly(needed)
    assert place.gc() == Report(kept=len(needed), packs=report.packs)


def test_sha256(bucket: Bucket) -> None:
    place = Place(bucket, object_format=SHA256)
    needed = [*place.push(3), *place.push(2)]
    place.gc(0.0)
    place.gc(0.0)
    assert len(place.packs()) == 2
    place.check_exactly(needed)
    place.close()


def test_small_packs_are_merged_beside_a_large_one(place: Place) -> None:
    needed = place.push(40)
    large = place.packs()
    for _ in range(3):
        needed += place.push()
    report = place.gc(0.0)
    assert {*large} < {*place.packs()}
    assert len(report.packs) == 2
    assert 0 < report.copied < 30
    place.gc(0.0)
    assert len(place.packs()) == 4
    place.check_exactly(needed)
    report = place.gc(0.0, full=True)
    assert report.copied == len(needed)
    place.gc(0.0, full=True)
    assert len(place.packs()) == 2
    assert place.gc(0.0, full=True).copied == 0
    place.check_exactly(needed)


def test_what_no_ref_reaches_stays_for_the_grace_period(place: Place) -> None:
    needed = place.push(2)
    garbage = place.push_half()
    place.gc()
    place.check_exactly([*needed, *garbage])
    place.pass_time(DAY)
    report = place.gc()  # now it is old: the pack is retired
    assert len(report.retired) == 1
    place.check([*needed, *garbage])
    place.pass_time(DAY)
    place.gc()
    place.check_exactly(needed)


def test_ref_that_is_late_is_in_time(place: Place) -> None:
    """A push that took nearly the whole grace period after its objects were retired."""
    needed = place.push(2)
    late = place.push_half()
    place.pass_time(DAY)
    assert place.gc().retired
    place.pass_time(DAY - 60)
    place.point_at(late)
    place.pass_time(120)
    report = place.gc()
    assert report.copied
    assert report.removed
    place.check([*needed, *late])


def test_ref_that_comes_while_gc_runs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expired pack stays if a ref needs one of its objects at the last moment."""
    needed = place.push(2)
    late = place.push_half()
    place.pass_time(DAY)
    place.gc()
    place.pass_time(DAY)
    store = place.open()
    refresh = store.pack_list.refresh

    def push() -> bool:  # after the refs were read
        place.point_at(late)
        return refresh()

    monkeypatch.setattr(store.pack_list, "refresh", push)
    assert not collect_garbage(store, place.refs, grace=DAY).removed
    place.check([*needed, *late])
    place.gc()
    place.check_exactly([*needed, *late])


def test_objects_of_a_retired_pack_are_uploaded_again(place: Place) -> None:
    place.push(2)
    garbage = place.push_half()
    place.pass_time(DAY)
    place.gc()
    store = place.open()
    objects = [place.history.aside[oid] for oid in garbage]
    assert garbage[0] in store
    before = len(place.packs())
    store.add_objects(pairs(objects))
    assert len(place.packs()) == before + 2
    place.pass_time(DAY - 60)
    place.point_at(garbage)
    place.pass_time(120)
    place.gc()
    place.check(oid for oid in garbage if place.history.aside[oid].type_name != b"tag")


def test_dead_uploads_are_removed(place: Place) -> None:
    needed = place.push(2)
    before = place.packs()
    place.push_half()
    [index, _] = [key for key in place.packs() if key not in before]
    Bucket.delete(place.bucket, [index])
    place.gc()
    assert len(place.packs()) == 3
    place.pass_time(DAY)
    place.gc()
    assert len(place.packs()) == 2
    place.check_exactly(needed)


def test_missing_object_stops_it(place: Place) -> None:
    place.push(2)
    place.push_half()
    place.refs[OTHER] = ObjectID(b"12" * 20)
    before = place.packs()
    with pytest.raises(IncompleteRepositoryError, match=r"object (12){20} is missing"):
        place.gc(0.0)
    assert place.packs() == before


def test_shallow_repository(place: Place) -> None:
    needed = place.push(2)
    shallow = place.history.commits[1].id
    store = place.open()
    store.add_objects(pairs(place.history.objects[oid] for oid in needed))
    parts = {oid for oid in needed if oid != place.history.commits[0].id}
    report = place.gc(0.0, shallow=[shallow])
    assert report.kept < len(needed)
    place.check(parts & {shallow, place.history.commits[1].tree})


def test_reflogs_keep_objects(place: Place, refs: ReftableRefsContainer) -> None:
    needed = place.push(2)
    first, last = (place.history.commits[at].id for at in (0, 1))
    refs.set_if_equals(MAIN, None, last, message=b"made")
    refs.set_if_equals(MAIN, last, first, message=b"reset")
    refs.set_if_equals(OTHER, None, ObjectID(b"12" * 20), message=b"gone")
    refs.remove_if_equals(OTHER, None)
    refs.set_if_equals(MAIN, first, ObjectID(b"34" * 20), message=b"broken")
    refs.set_if_equals(MAIN, None, first, message=b"mended")
    garbage = place.push_half()
    place.refs = refs
    for _ in range(2):
        place.gc(0.0)
    assert not {*garbage} & {*place.open()}
    place.check(oid for oid in needed if place.history.objects[oid].type_name != b"tag")


@contextmanager
def killed(place: Place, requests: int) -> Iterator[None]:
    place.bucket.left = requests
    try:
        yield
    except UnavailableError:
        pass
    finally:
        place.bucket.left = None


def build(bucket: Bucket) -> tuple[Place, list[ObjectID], list[ObjectID]]:
    """Make a repository with packs of all kinds: needed, old, retired, expired, young."""
    place = Place(bucket)
    needed = [*place.push(3), *place.push(1)]
    place.push_half()
    place.pass_time(DAY)
    place.gc()
    place.pass_time(DAY)
    needed += place.push(1)
    young = place.push_half()
    return place, needed, young


def test_killed_at_each_request(bucket: Bucket) -> None:
    """Whatever is left, a second run brings about what one run would have, and nothing is lost."""
    at = 0
    while True:
        place, needed, young = build(bucket.within(f"{at}"))
        with killed(place, at):
            place.gc()
            break
        place.check([*needed, *young])
        for _ in range(2):
            place.gc()
            place.check([*needed, *young])
            place.pass_time(DAY)
        for _ in range(2):
            place.gc()
            place.pass_time(DAY)
        place.check_exactly(needed)
        assert all(key.endswith((".idx", ".pack")) for key in place.packs())
        place.close()
        at += 1
    place.close()
    assert at > 12


def test_killed_pusher_at_each_request(place: Place) -> None:
    needed = place.push(2)
    for at in range(3):
        with killed(place, at):
            place.push_half()
        place.check(needed)
    place.pass_time(DAY)
    for _ in range(2):
        place.gc()
        place.pass_time(DAY)
    place.check_exactly(needed)


@pytest.mark.parametrize("seed", range(max(1, ROUNDS // 25)))
def test_runs_beside_each_other_and_beside_pushes(bucket: Bucket, seed: int) -> None:
    """Runs that are stopped between any two requests while others run; time passes."""
    place = Place(bucket, seed)
    rnd = random.Random(seed)
    needed = place.push(2)
    for _ in range(30):
        what = rnd.randint(0, 4)
        if what == 0:
            place.pass_time(rnd.choice((60.0, DAY / 2)))
        elif what == 1:
            with killed(place, rnd.randint(0, 20)):
                place.gc()
        elif what == 2:
            nested(place, rnd, needed)
        elif what == 3:
            place.push_half()
        else:
            needed += place.push()
        place.check(rnd.sample(needed, 5))
    place.check(needed)
    for _ in range(3):
        place.pass_time(DAY)
        place.gc()
    place.check_exactly(needed)
    place.close()


def nested(place: Place, rnd: random.Random, needed: list[ObjectID]) -> None:
    """Run gc and, between two of its requests, another gc or a push as a whole."""
    at = rnd.randint(0, 15)
    counted = place.bucket._count

    def count() -> None:
        nonlocal at
        at -= 1
        if at == 0:
            if rnd.random() < 0.5:
                place.gc()
            else:
                needed.extend(place.push())
        counted()

    place.bucket._count = count  # type: ignore[method-assign]
    try:
        place.gc()
    finally:
        place.bucket._count = counted  # type: ignore[method-assign]


def test_says_what_it_does(place: Place) -> None:
    said: list[str] = []
    place.push(1)
    place.push(1)
    place.gc(progress=said.append)
    assert said[0] == "finding what is needed"
    assert said[1].startswith("copying ")


def test_refs_are_read_before_the_packs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push that ends between the two must be in the list."""
    needed = place.push(2)
    read: Callable[[], dict[Ref, ObjectID]] = place.refs.as_dict
    done = False

    def as_dict() -> dict[Ref, ObjectID]:
        nonlocal done
        found = read()
        if not done:
            done = True
            needed.extend(place.push(1))
        return found

    monkeypatch.setattr(place.refs, "as_dict", as_dict)
    place.gc()
    place.check(needed)


def test_nothing_is_uploaded_if_there_is_nothing(place: Place) -> None:
    assert place.gc() == Report()
    place.open().add_object(Blob.from_string(b"lonely"))
    place.pass_time(DAY)
    place.gc()
    place.pass_time(DAY)
    place.gc()
    assert place.packs() == []


def test_no_grace_at_all_on_a_store_that_rounds_times(place: Place) -> None:
    place.bucket = RoundingBucket(place.bucket)
    kept = place.push()
    place.push_half()
    place.gc(grace=0.0)
    place.gc(grace=0.0)
    place.check_exactly(kept)
