"""Real ``git`` against two servers that know nothing of each other, on one store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from dulwich.errors import NotGitRepository
from server.pushing import push
from support.git import Git, requires_git
from support.stores import MakeBucket

from bucket.test_repo import add_commit, spent
from dulwich_reftable.bucket import Bucket, BucketRepo
from dulwich_reftable.engine.errors import OutcomeUnknownError
from dulwich_reftable.engine.stack.stack import Stack
from dulwich_reftable.refs.transaction import Transaction
from dulwich_reftable.server import Access, BucketFolder, GitServer, HTTPGitServer, Server
from dulwich_reftable.server.creation import UnbornRepo, UnfitNameError

MAIN = b"refs/heads/main"


class Forge(NamedTuple):
    """A store, as this test and as each server sees it, and the URLs of the servers."""

    bucket: Bucket
    stores: list[Bucket]
    one: str
    other: str


@contextmanager
def serving(bucket: Bucket, kind: type[GitServer] | type[HTTPGitServer]) -> Iterator[Server]:
    """Serve a bucket as a process of its own would."""
    folder = BucketFolder(bucket, create=True)
    server = kind(folder, "127.0.0.1", 0, access=Access(enable=["receive-pack"]))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        folder.close()


@pytest.fixture
def forge(make_buckets: MakeBucket) -> Iterator[Forge]:
    bucket, *stores = make_buckets(3)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(serving(stores[0], GitServer)),
            stack.enter_context(serving(stores[1], HTTPGitServer)),
        ]
        one, other = (server.url.rstrip("/") for server in servers)
        yield Forge(bucket, stores, one, other)


@pytest.fixture
def work(tmp_path: Path) -> Git:
    """Make a repository with one commit on main."""
    git = Git.init(tmp_path / "work")
    git.run("commit", "--quiet", "--allow-empty", "-m", "first")
    return git


def clone(url: str, path: Path) -> Git:
    Git(path.parent).run("clone", "--quiet", url, path)
    git = Git(path)
    git.run("fsck", "--strict")
    return git


def tip(git: Git, name: str = "HEAD") -> str:
    return git.run("rev-parse", name).decode().strip()


# Real git


@requires_git
def test_a_push_to_one_server_is_cloned_from_the_other(
    forge: Forge, work: Git, tmp_path: Path
) -> None:
    assert push(work, f"{forge.one}/a/x.git", "main")[1] == {"refs/heads/main": "*"}
    copy = clone(f"{forge.other}/a/x", tmp_path / "copy")
    assert tip(copy) == tip(work)
    assert copy.run("symbolic-ref", "HEAD").strip() == MAIN
    (copy.path / "file").write_text("text\n" * 1000)
    copy.run("add", "file")
    copy.run("commit", "--quiet", "-m", "second")
    copy.run("tag", "-a", "-m", "one", "v1")
    assert push(copy, "origin", "main", "v1")[0] == 0
    work.run("fetch", "--quiet", f"{forge.one}/a/x.git", "main", "refs/tags/v1:refs/tags/v1")
    assert tip(work, "FETCH_HEAD") == tip(copy)
    assert tip(work, "v1^{}") == tip(copy)
    with BucketRepo(forge.bucket.within("a/x.git")) as repo:
        assert list(repo.refs.verify()) == []
        assert [entry.message for entry in repo.read_reflog(MAIN)] == [b"push", b"push"]


@requires_git
def test_of_racing_pushes_one_wins_and_both_reports_are_true(
    forge: Forge, work: Git, tmp_path: Path
) -> None:
    push(work, f"{forge.one}/x", "main")
    copies = []
    for number, url in enumerate((forge.one, forge.other)):
        copy = clone(f"{url}/x", tmp_path / str(number))
        copy.run("commit", "--quiet", "--allow-empty", "-m", f"by {number}")
        copies.append(copy)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda copy: push(copy, "origin", "main"), copies))
    assert sorted(code for code, _, _ in done) == [0, 1]
    winner = copies[[code for code, _, _ in done].index(0)]
    assert work.run("ls-remote", f"{forge.one}/x", "main").split()[0].decode() == tip(winner)


@requires_git
def test_an_atomic_push_is_all_or_nothing_and_refs_are_deleted(forge: Forge, work: Git) -> None:
    url = f"{forge.one}/x"
    push(work, url, "main", "main:topic", "main:other")
    work.run("commit", "--quiet", "--amend", "--allow-empty", "-m", "another")
    code, outcomes, _ = push(work, "--atomic", url, "main:new", "main:topic")
    assert code
    assert {outcome[0] for outcome in outcomes.values()} == {"!"}
    assert push(work, "--atomic", url, "+main:topic", ":other")[0] == 0
    listed = work.run("ls-remote", f"{forge.other}/x").decode().split()[1::2]
    assert listed == ["HEAD", "refs/heads/main", "refs/heads/topic"]


@requires_git
def test_two_thousand_refs(forge: Forge, work: Git) -> None:
    url = f"{forge.one}/x"
    oid = tip(work).encode()
    names = [b"refs/heads/many/%04d" % number for number in range(2000)]
    work.update_ref_stdin(b"create %s %s" % (name, oid) for name in names)
    assert push(work, "--quiet", url, "refs/heads/*:refs/heads/*")[0] == 0
    listed = work.run("ls-remote", "--heads", f"{forge.other}/x").split()[1::2]
    assert listed == [MAIN, *names]
    work.update_ref_stdin(b"delete %s" % name for name in names)
    assert push(work, "--quiet", "--prune", url, "refs/heads/*:refs/heads/*")[0] == 0
    assert work.run("ls-remote", "--heads", f"{forge.other}/x").split()[1::2] == [MAIN]


@requires_git
def test_requests_of_a_push_and_of_a_fetch_are_few(forge: Forge, work: Git, tmp_path: Path) -> None:
    for url, store in zip((forge.one, forge.other), forge.stores, strict=True):
        # The first write of a process probes the store.
        assert push(work, f"{url}/x", "main", f"main:{store.requests.total()}")[0] == 0
        for text in ("a", "b"):
            (work.path / "file").write_text(text)
            work.run("add", "file")
            work.run("commit", "--quiet", "-m", text)
            before = {**store.requests}
            assert push(work, f"{url}/x", "main")[0] == 0
            spent_here = spent(store, before)
            assert spent_here["put"] == 3  # pack, index, refs
            assert sum(spent_here.values()) <= 8
        before = {**store.requests}
        assert work.run("ls-remote", f"{url}/x")
        assert sum(spent(store, before).values()) <= 4
    before = {**forge.stores[0].requests}
    clone(f"{forge.one}/x", tmp_path / "copy")
    assert sum(spent(forge.stores[0], before).values()) <= 8


@requires_git
def test_two_servers_create_one_repository(forge: Forge, work: Git, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        pushes = [(f"{forge.one}/new", "main:one"), (f"{forge.other}/new", "main:other")]
        done = list(pool.map(lambda args: push(work, *args), pushes))
    assert [code for code, _, _ in done] == [0, 0]
    with BucketRepo(forge.bucket.within("new.git")) as repo:
        assert repo.refs.subkeys(b"refs/heads") == {b"one", b"other"}


@requires_git
def test_a_refused_push_creates_nothing(forge: Forge, work: Git) -> None:
    assert push(work, "--atomic", f"{forge.one}/two", "main:a", "main:a/b")[0]
    with pytest.raises(NotGitRepository):
        BucketRepo(forge.bucket.within("two.git"))


@requires_git
def test_refs_of_a_server_that_died_before_it_published_are_shown(forge: Forge, work: Git) -> None:
    draft = BucketRepo.draft(forge.bucket.within("new.git"), default_branch=b"main")
    left = add_commit(draft)
    draft.refs[MAIN] = left
    code, outcomes, _ = push(work, f"{forge.one}/new", "main")
    assert code
    assert outcomes["refs/heads/main"].startswith("!")
    assert work.run("ls-remote", f"{forge.other}/new", "main").split()[0] == left
    assert push(work, f"{forge.one}/new", "+main")[0] == 0


@requires_git
def test_an_unknown_outcome_is_told_as_such(
    forge: Forge, work: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{forge.one}/x"
    push(work, url, "main")

    def commit(transaction: Transaction) -> None:
        raise OutcomeUnknownError("memory://x", "it does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "commit", commit)
        code, outcomes, _ = push(work, url, "main:topic")
    assert code
    assert outcomes["refs/heads/topic"].startswith("!")
    assert "outcome unknown" in outcomes["refs/heads/topic"]
    assert push(work, url, "main:topic")[0] == 0


@requires_git
def test_the_repository_s_configuration_rules(forge: Forge, work: Git) -> None:
    url = f"{forge.one}/x"
    push(work, url, "main")
    with BucketRepo(forge.bucket.within("x.git")) as repo:
        config = repo.get_config()
        config.set(b"receive", b"denyDeletes", b"true")
        config.set(b"transfer", b"hideRefs", b"refs/secret")
        config.write_to_path()
    with serving(forge.stores[1], GitServer) as server:
        code, outcomes, _ = push(work, f"{server.url}/x", ":main")
        assert code
        assert outcomes["refs/heads/main"].startswith("!")
        assert push(work, f"{server.url}/x", "main:refs/secret/a")[0]


# Without git


def test_what_is_not_there_and_what_must_not_be_there(bucket: Bucket) -> None:
    BucketRepo.init(bucket.within("a/x.git")).close()
    folder = BucketFolder(bucket)
    for path in ("a/x", b"/a/x.git", "/a//x/.git", "./a/x"):
        assert folder.find(path).path == f"{bucket.location}/a/x.git"
    for path in ("", "/", "a", "a/y", "../a/x", "a/../a/x", "a/x\n", "a/\xe4", "a/x/objects"):
        with pytest.raises(NotGitRepository):
            folder.find(path)
        with pytest.raises(NotGitRepository):
            folder.find_for_push(path)
    creating = BucketFolder(bucket, create=True)
    assert isinstance(creating.find_for_push("a/y"), UnbornRepo)
    for path in ("a/x.git/objects", "config", "a/.y"):
        with pytest.raises(UnfitNameError):
            creating.find_for_push(path)
    folder.close()
    creating.close()


def test_requests_share_a_repository_until_its_configuration_changes(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dulwich_reftable.server.bucket_folder._FILE_MAX_AGE", 0.0)
    with BucketRepo.init(bucket.within("x")) as made:
        folder = BucketFolder(bucket)
        first = folder.find("x")
        before = {**bucket.requests}
        assert folder.find("x") is first
        assert spent(bucket, before) == {"get": 2}  # the configuration, and the head
        config = made.get_config()
        config.set(b"reftable", b"blockSize", b"512")
        config.write_to_path()
        second = folder.find("x")
        assert second is not first
        assert second.refs.store.settings.write.block_size == 512
        bucket.delete(["x/config"])
        with pytest.raises(NotGitRepository):
            folder.find("x")
        folder.close()


def test_threads_that_open_a_repository_at_once_get_the_same(bucket: Bucket) -> None:
    BucketRepo.init(bucket.within("x")).close()
    folder = BucketFolder(bucket)
    with ThreadPoolExecutor(4) as pool:
        found: list[Stack] = list(pool.map(lambda _: folder.find("x").refs.store.shared, range(16)))
    assert len({*found}) == 1
    folder.close()
