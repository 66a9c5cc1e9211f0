"""Packs are merged after pushes once there are many, by one server, unless that is switched off."""

from __future__ import annotations

import itertools
import threading

import pytest
from dulwich.config import ConfigFile
from support.git import Git, requires_git
from support.waiting import GUARD, wait_for

from bucket import test_server
from bucket.test_repo import add_commit
from dulwich_reftable.bucket import Bucket, BucketRepo, auto_gc
from dulwich_reftable.server import GitServer

MAIN = b"refs/heads/main"
_numbers = itertools.count()
forge, work = test_server.forge, test_server.work


def grow(repo: BucketRepo, commits: int) -> None:
    for _ in range(commits):
        parents = (repo.refs[MAIN],) if MAIN in repo.refs else ()
        repo.refs[MAIN] = add_commit(repo, b"%d" % next(_numbers), parents)


def in_use(repo: BucketRepo) -> list[str]:
    repo.object_store.pack_list.refresh()
    return [str(one.name) for one in repo.object_store.pack_list.known() if one.retired is None]


def limited(packs: int, **others: int) -> ConfigFile:
    config = ConfigFile()
    config.set(b"gc", b"autoPackLimit", b"%d" % packs)
    for name, value in others.items():
        config.set(b"gc", name.encode(), b"%d" % value)
    return config


def finish(repo: BucketRepo, config: ConfigFile) -> bool:
    """Wait for a run; tell whether one was begun."""
    thread = repo.auto_gc(config)
    if thread is not None:
        thread.join(GUARD)
        assert not thread.is_alive()
    return thread is not None


def test_many_packs_become_one(bucket: Bucket) -> None:
    with BucketRepo.init(bucket) as repo:
        grow(repo, 4)
        assert not finish(repo, limited(4))
        assert not finish(repo, limited(0))
        assert not finish(repo, limited(3, auto=0))
        before = {*repo.object_store}
        assert finish(repo, limited(3))
        assert len(in_use(repo)) == 1
        assert {*repo.object_store} == before
        assert len([*repo.get_walker([repo.refs[MAIN]])]) == 4
        with BucketRepo(bucket) as other:
            in_use(other)
            assert not finish(other, limited(3)), "retired packs do not count"
        grow(repo, 4)
        assert not finish(repo, limited(3)), "it has just been done"


def test_one_of_several_servers_does_it(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    with BucketRepo.init(bucket) as repo:
        grow(repo, 4)
        assert finish(repo, limited(3))
        grow(repo, 4)
        with BucketRepo(bucket) as other:
            packs = in_use(other)
            assert finish(other, limited(3))
            assert in_use(other) == packs, "the claim of the first one still counts"
        monkeypatch.setattr(auto_gc, "_PAUSE", 0.0)
        replaced = bucket.head("objects/auto-gc").version
        with BucketRepo(bucket) as other:
            in_use(other)
            assert finish(other, limited(3))
            assert len(in_use(other)) == 1
        assert bucket.head("objects/auto-gc").version != replaced


def test_a_failure_is_logged(bucket: Bucket, caplog: pytest.LogCaptureFixture) -> None:
    with BucketRepo.init(bucket) as repo:
        grow(repo, 2)
        repo.refs[b"refs/heads/broken"] = b"1" * 40
        assert finish(repo, limited(1))
        assert "1111 is missing; gc removes nothing" in caplog.text
        assert len(in_use(repo)) == 2


@requires_git
@pytest.mark.parametrize("is_off", [False, True], ids=["on", "off"])
def test_a_push_starts_it(forge: test_server.Forge, work: Git, is_off: bool) -> None:
    place = forge.bucket.within("x.git")
    with BucketRepo.init(place, default_branch=b"main") as repo:
        config = repo.get_config()
        config.set(b"gc", b"autoPackLimit", b"2")
        config.set(b"receive", b"autogc", b"%d" % (not is_off))
        config.write_to_path()
        with test_server.serving(forge.stores[0], GitServer) as server:
            for text in ("a", "b", "c"):
                work.run("commit", "--quiet", "--allow-empty", "-m", text)
                assert test_server.push(work, f"{server.url}/x", "main")[0] == 0
            if not is_off:
                wait_for(lambda: len(in_use(repo)) == 1)
        wait_for(lambda: "bucket-gc" not in {thread.name for thread in threading.enumerate()})
        assert len(in_use(repo)) == (3 if is_off else 1)
        assert len([*repo.get_walker([repo.refs[MAIN]])]) == 4
