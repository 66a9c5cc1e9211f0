"""Random histories: a bucket's store answers as one in memory does, and git accepts its packs."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from dulwich.object_store import BaseObjectStore, MissingObjectFinder
from dulwich.objects import ObjectID
from dulwich.pack import write_pack_from_container
from dulwich.repo import MemoryRepo
from support.git import Git, requires_git

from bucket.histories import History, memory_store, pairs, thin_pack
from dulwich_reftable.bucket import Bucket, open_store
from dulwich_reftable.bucket.cache import Cache
from dulwich_reftable.bucket.object_store import BucketObjectStore

ROUNDS = int(os.environ.get("DULWICH_REFTABLE_ROUNDS", "50"))


def closure(store: BaseObjectStore, have: list[ObjectID], want: list[ObjectID]) -> set[ObjectID]:
    return {oid for oid, _ in MissingObjectFinder(store, have, want)}


@pytest.mark.parametrize("seed", range(max(1, ROUNDS // 25)))
def test_same_answers_as_a_store_in_memory(seed: int, tmp_path: Path) -> None:
    """Several servers push in turn, each by another way; now and then one is started afresh."""
    rnd = random.Random(seed)
    bucket = open_store(f"memory://histories-{seed}")
    cache = Cache(tmp_path, limit=200_000)

    def start() -> BucketObjectStore:
        return BucketObjectStore(bucket, cache=cache if rnd.random() < 0.7 else None)

    servers = [start(), start()]
    history = History(seed)
    known = memory_store([])
    for _ in range(12):
        before = [commit.id for commit in history.commits]
        tags = len(history.tags)
        new = history.grow(rnd.randint(1, 4))
        server = rnd.choice(servers)
        server.expect_news()
        everything = memory_store(history.objects.values())
        haves, wants = before[-1:], [history.commits[-1].id]
        wants += [tag.id for tag in history.tags[tags:]]
        way = rnd.randint(0, 3)
        if way == 0:
            server.add_objects(pairs(new))
        elif way == 1:
            pack = thin_pack(everything, haves, wants)
            server.add_thin_pack(pack.read, pack.read)
        elif way == 2:
            server.add_pack_data(*everything.generate_pack_data(haves, wants))
        else:
            with server.batch():
                for obj in new:
                    server.add_object(obj)
        for obj in new:
            known.add_object(obj)
        if rnd.random() < 0.3:
            server.close()
            servers[servers.index(server)] = start()
        reader = rnd.choice(servers)
        reader.expect_news()
        some = rnd.sample(sorted(history.objects), min(5, len(history.objects)))
        some.append(ObjectID(b"%040x" % rnd.getrandbits(160)))
        for oid in some:
            assert (oid in reader) == (oid in known)
            if oid in known:
                assert reader[oid] == known[oid]
        have = [commit.id for commit in rnd.sample(history.commits, 1)]
        want = [commit.id for commit in rnd.sample(history.commits, 1)]
        assert closure(reader, have, want) == closure(known, have, want)
        count, data = reader.generate_pack_data(have, want)
        copy = memory_store(known[oid] for oid in closure(known, [], have))
        copy.add_pack_data(count, data)
        assert set(copy) >= closure(known, have, want)
    for server in servers:
        server.expect_news()
        assert set(server) == set(known)
        assert {obj.id for obj in server.iterobjects_subset(known)} == set(known)
        server.close()


@requires_git
def test_git_accepts_what_comes_out(tmp_path: Path, bucket: Bucket) -> None:
    history = History(7)
    store = BucketObjectStore(bucket)
    for _ in range(6):
        before = [commit.id for commit in history.commits[-1:]]
        history.grow(3)
        everything = memory_store(history.objects.values())
        pack = thin_pack(everything, before, [history.commits[-1].id])
        store.add_thin_pack(pack.read, None)
    git = Git.init(tmp_path / "git", bare=True, ref_format="files")
    folder = tmp_path / "git" / "objects" / "pack"
    for info in bucket.list("objects/pack"):
        found = bucket.get(info.key)
        assert found is not None
        (folder / info.key.rpartition("/")[2]).write_bytes(found.data)
    for path in folder.glob("*.pack"):
        index = tmp_path / f"{path.stem}.idx"
        git.run("index-pack", "--strict", "-o", index, path)
        assert index.read_bytes() == path.with_suffix(".idx").read_bytes()
    git.run("update-ref", "refs/heads/main", history.commits[-1].id.decode())
    git.run("fsck", "--strict", "--full")
    listed = git.run("rev-list", "--objects", "--all").split(b"\n")
    reached = closure(memory_store(history.objects.values()), [], [history.commits[-1].id])
    assert {line[:40] for line in listed if line} == reached
    # A clone, with the deltas that there are.
    clone = Git.init(tmp_path / "clone", bare=True, ref_format="files")
    with (tmp_path / "out.pack").open("wb") as file:
        fresh = BucketObjectStore(bucket)
        hints = [(oid, None) for oid in sorted(reached)]
        write_pack_from_container(file.write, fresh, hints, fresh.object_format)
        fresh.close()
    clone.run("index-pack", "--strict", "--stdin", stdin=(tmp_path / "out.pack").read_bytes())
    clone.run("update-ref", "refs/heads/main", history.commits[-1].id.decode())
    clone.run("fsck", "--strict", "--full")
    store.close()


def test_dulwich_works_on_it(bucket: Bucket) -> None:
    """A repository of dulwich with these objects: commits, walks, shallow history."""
    history = History(9)
    history.grow(6)
    repo = MemoryRepo()
    repo.object_store = store = BucketObjectStore(bucket)
    store.add_objects(pairs(history.objects.values()))
    repo.refs[b"refs/heads/main"] = history.commits[-1].id
    walked = [entry.commit.id for entry in repo.get_walker([history.commits[-1].id])]
    assert set(walked) == {commit.id for commit in history.commits}
    repo.update_shallow({history.commits[3].id}, set())
    assert repo.get_shallow() == {history.commits[3].id}
    repo.close()
    store.close()
