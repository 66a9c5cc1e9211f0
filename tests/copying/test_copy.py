"""Copies between directories and buckets: equal, resumable, and never half a repository."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dulwich.errors import ChecksumMismatch, NotGitRepository
from dulwich.objects import Blob, Commit, Tag, Tree

pytest.importorskip("obstore", reason="obstore is not installed")

import obstore
from obstore.store import MemoryStore
from support.git import hermetic_environment, requires_git
from support.memory_refs import refs_on

import dulwich_reftable as dr
from dulwich_reftable.bucket import Bucket, BucketObjectStore, BucketRepo, open_store
from dulwich_reftable.bucket.storage import BucketStorage
from dulwich_reftable.copying import CopyError, copy_repository
from dulwich_reftable.copying.bucket import BucketSource
from dulwich_reftable.copying.refs_state import digest_of

MAIN, GONE = b"refs/heads/main", b"refs/heads/gone"
FORMATS = ("sha1", "sha256")
_numbers = itertools.count()


def place() -> str:
    return f"memory://copies-{next(_numbers)}/a/b.git"


def make(path: Path, ref_format: str = "reftable", object_format: str = "sha1") -> dr.Repo:
    """Make a repository with a pack, loose objects, a tag, reflogs and a detached past."""
    repo = dr.Repo.init_bare(path, mkdir=True, ref_format=ref_format, object_format=object_format)
    config = repo.get_config()
    config.set(b"core", b"logAllRefUpdates", b"true")
    config.set(b"receive", b"denyDeletes", b"true")
    config.set((b"remote", b"origin"), b"url", b"https://user:hunter2@example.com/x")
    config.write_to_path()
    repo.refs.set_symbolic_ref(b"HEAD", MAIN)
    commits = [commit(repo, number) for number in range(6)]
    repo.refs[GONE] = commits[0]
    for oid in commits[:5]:
        repo.refs.set_if_equals(MAIN, None, oid, message=b"move")
    repo.object_store.pack_loose_objects()
    repo.refs.set_if_equals(MAIN, None, commit(repo, 7), message=b"loose")
    tag = Tag()
    tag.name, tag.message, tag.object = b"v1", b"one", (Commit, commits[0])
    tag.tagger, tag.tag_time, tag.tag_timezone = b"T <t@example.com>", 1, 0
    repo.refs[b"refs/tags/v1"] = add(repo, tag)
    (path / "description").write_bytes(b"kept in many places\n")
    return repo


def add(repo: Any, obj: Any) -> bytes:
    repo.object_store.add_object(obj)
    oid: bytes = obj.get_id(repo.object_format)
    return oid


def commit(repo: Any, number: int) -> bytes:
    tree = Tree()
    tree.object_format = repo.object_format
    blob = Blob.from_string(b"%d" % number * 50)
    tree.add(b"file", 0o100644, add(repo, blob))
    made = Commit()
    made.tree = add(repo, tree)
    made.author = made.committer = b"C <c@example.com>"
    made.author_time = made.commit_time = number
    made.author_timezone = made.commit_timezone = 0
    made.message = b"number %d" % number
    return add(repo, made)


def state_of(location: str | Path) -> tuple[str, set[bytes]]:
    """Give the digest of refs and reflogs, and the ids of all objects."""
    if "://" in str(location):
        bucket = open_store(str(location))
        source = BucketSource(bucket)
        with_format = BucketObjectStore(bucket, object_format=source._format)
        try:
            return digest_of(source.refs()), {*with_format}
        finally:
            source.close()
            with_format.close()
    with dr.Repo(location) as repo:
        return digest_of(repo.refs.store.shared.snapshot()), {*repo.object_store}


@pytest.mark.parametrize("object_format", FORMATS)
def test_up_and_down_again(tmp_path: Path, object_format: str) -> None:
    with make(tmp_path / "source", object_format=object_format) as repo:
        first = {*repo.object_store}
    up, other = place(), place()
    done = copy_repository(tmp_path / "source", up)
    assert done.packs == 2
    assert (done.refs, done.reflogs) == (4, 2)
    copy_repository(up, other)
    copy_repository(other, tmp_path / "down")
    copy_repository(tmp_path / "down", tmp_path / "again")
    states = [state_of(one) for one in (tmp_path / "source", up, other, tmp_path / "down")]
    assert states == [states[0]] * 4
    assert states[0] == state_of(tmp_path / "again")
    assert states[0][1] == first
    with dr.Repo(tmp_path / "again") as copy:
        assert copy.get_description() == b"kept in many places\n"
        config = copy.get_config()
        assert config.get((b"receive",), b"denyDeletes") == b"true"
        assert not config.has_section((b"remote", b"origin"))
        assert copy.refs.verify() == []
        assert copy.refs[b"HEAD"] == copy.refs[MAIN]


def test_a_copy_in_a_bucket_is_a_repository_like_others(tmp_path: Path) -> None:
    with make(tmp_path / "source") as repo:
        main = repo.refs[MAIN]
    target, other = place(), place()
    copy_repository(tmp_path / "source", target)
    with BucketRepo(target) as copy:
        assert copy.refs[b"HEAD"] == main
        assert copy.get_description() == b"kept in many places\n"
        assert copy.get_config().get((b"receive",), b"denyDeletes") == b"true"
        assert copy.refs.verify() == []
        copy.refs.set_if_equals(MAIN, main, commit(copy, 40), message=b"further")
    with pytest.raises(CopyError, match="somebody has written"):
        copy_repository(tmp_path / "source", target, update=True)
    copy_repository(target, other)
    assert state_of(other) == state_of(target)


def test_an_empty_repository(tmp_path: Path) -> None:
    target = place()
    BucketRepo.init(target, default_branch=b"trunk").close()
    copy_repository(target, tmp_path / "down")
    with dr.Repo(tmp_path / "down") as copy:
        assert copy.refs.read_ref(b"HEAD") == b"ref: refs/heads/trunk"
        assert copy.get_refs() == {}


def test_what_stays_behind_is_told_without_its_value(tmp_path: Path) -> None:
    make(tmp_path / "source").close()
    hook = tmp_path / "source" / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\n")
    done = copy_repository(tmp_path / "source", place())
    assert any("remote.origin.url" in note for note in done.notes)
    assert any("hooks" in note for note in done.notes)
    assert "hunter2" not in repr(done)


@pytest.mark.parametrize("object_format", FORMATS)
def test_refs_in_files(tmp_path: Path, object_format: str) -> None:
    with make(tmp_path / "source", "files", object_format) as repo:
        refs = repo.refs.as_dict()
        entries = [*repo.read_reflog(MAIN)]
    target = place()
    done = copy_repository(tmp_path / "source", target)
    copy_repository(target, tmp_path / "down")
    with dr.Repo(tmp_path / "down") as copy:
        assert copy.refs.as_dict() == refs
        if object_format == "sha1":
            assert [*copy.read_reflog(MAIN)] == entries
        else:  # dulwich writes zeros of SHA-1 there, which is no entry to git
            assert any("are not reflog entries" in note for note in done.notes)
        assert copy.refs.get_peeled(b"refs/tags/v1") == refs[GONE]


def test_an_update_makes_the_copy_equal(tmp_path: Path) -> None:
    target, down = place(), tmp_path / "down"
    with make(tmp_path / "source") as repo:
        copy_repository(tmp_path / "source", target)
        copy_repository(target, down)
        with pytest.raises(CopyError, match="a copy already"):
            copy_repository(tmp_path / "source", target)
        del repo.refs[GONE]
        repo.refs.set_if_equals(b"refs/heads/new", None, commit(repo, 20), message=b"begin")
        repo.refs.set_if_equals(MAIN, None, commit(repo, 21), message=b"further")
        repo.refs.delete_reflog(b"HEAD")
        repo.refs.create_reflog(b"refs/heads/empty")
        repo.refs.drop_reflog_entry(b"refs/heads/new", 0)
        repo.refs.drop_reflog_entry(MAIN, 2)
    assert copy_repository(tmp_path / "source", target, update=True).packs == 1
    assert copy_repository(target, down, update=True).packs == 1
    assert state_of(tmp_path / "source") == state_of(target) == state_of(down)
    assert copy_repository(target, down, update=True).packs == 0


@pytest.mark.parametrize("where", ["bucket", "directory"])
def test_what_others_have_written_is_not_overwritten(tmp_path: Path, where: str) -> None:
    make(tmp_path / "source").close()
    first, second = place(), tmp_path / "copy"
    copy_repository(tmp_path / "source", first)
    if where == "directory":
        copy_repository(first, second)
        with dr.Repo(second) as repo:
            repo.refs[b"refs/heads/theirs"] = repo.refs[MAIN]
        with pytest.raises(CopyError, match="somebody has written"):
            copy_repository(first, second, update=True)
        return
    copy_repository(first, second)
    refs = refs_on(None, storage=BucketStorage(open_store(first)))
    refs[b"refs/heads/theirs"] = refs[MAIN]
    with pytest.raises(CopyError, match="somebody has written"):
        copy_repository(tmp_path / "source", first, update=True)
    assert refs.read_ref(b"refs/heads/theirs") is not None


def test_the_destination_has_to_be_free(tmp_path: Path) -> None:
    make(tmp_path / "source").close()
    make(tmp_path / "other").close()
    before = state_of(tmp_path / "other")
    for update in (False, True):
        with pytest.raises(CopyError, match="no copy"):
            copy_repository(tmp_path / "source", tmp_path / "other", update=update)
    assert state_of(tmp_path / "other") == before
    bucket = open_store(place())
    bucket.put("something", b"else")
    with pytest.raises(CopyError, match="something else"):
        copy_repository(tmp_path / "source", bucket)
    with pytest.raises(NotGitRepository):
        copy_repository(place(), tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(CopyError, match="to itself"):
        copy_repository(tmp_path / "source", tmp_path / "source")


def test_a_damaged_pack_is_not_sent(tmp_path: Path) -> None:
    make(tmp_path / "source").close()
    [pack] = (tmp_path / "source" / "objects" / "pack").glob("*.pack")
    os.chmod(pack, 0o644)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    bucket = open_store(place())
    with pytest.raises(ChecksumMismatch):
        copy_repository(tmp_path / "source", bucket)
    assert not [info for info in bucket.list() if info.key.endswith((".pack", ".idx"))]
    with pytest.raises(NotGitRepository):
        BucketSource(bucket)


def test_a_missing_object_is_told_before_refs_are_written(tmp_path: Path) -> None:
    with make(tmp_path / "source") as repo:
        repo.refs[b"refs/heads/broken"] = b"1" * 40
    bucket = open_store(place())
    with pytest.raises(CopyError, match="refs/heads/broken"):
        copy_repository(tmp_path / "source", bucket)
    assert "head" not in {info.key for info in bucket.list()}


class Killed(BaseException):
    """The process ends here."""


class Deadly:
    """The functions of obstore; one of the requests is not made, but kills."""

    exceptions = obstore.exceptions

    def __init__(self, at: int) -> None:
        self.at = at
        self.made = 0
        self.packs = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(obstore, name)

        def request(*args: Any, **options: Any) -> Any:
            self.made += 1
            if self.made >= self.at:
                raise Killed
            self.packs += name == "put" and args[1].endswith(".pack")
            return function(*args, **options)

        return request


def bucket_of(store: MemoryStore, deadly: Deadly | None = None) -> Bucket:
    bucket = open_store(store)
    bucket.client.keeps_conditions = True
    if deadly is not None:
        bucket.client.module = deadly  # type: ignore[assignment]
    return bucket


def test_killed_at_each_request(tmp_path: Path) -> None:
    make(tmp_path / "source").close()
    wanted = state_of(tmp_path / "source")
    for at in range(1, 60):
        store = MemoryStore()
        deadly = Deadly(at)
        try:
            copy_repository(tmp_path / "source", bucket_of(store, deadly))
        except Killed:
            pass
        else:
            break
        try:
            BucketSource(bucket_of(store)).close()
        except NotGitRepository:
            is_repository = False
        else:
            is_repository = True  # killed when all was done
        again = Deadly(1000)
        copy_repository(tmp_path / "source", bucket_of(store, again), update=is_repository)
        assert again.packs + deadly.packs == 2, "a pack was sent twice"
        source = BucketSource(bucket_of(store))
        assert digest_of(source.refs()) == wanted[0]
        assert {*BucketObjectStore(bucket_of(store))} == wanted[1]
        source.close()
    assert 15 < at < 59


def test_killed_at_each_request_of_an_update(tmp_path: Path) -> None:
    """The copy is the old one or the new one, and the next update makes it the new one."""
    with make(tmp_path / "source") as repo:
        old = state_of(tmp_path / "source")[0]
        copy_repository(tmp_path / "source", tmp_path / "kept")
        repo.refs.set_if_equals(MAIN, None, commit(repo, 30), message=b"further")
    new = state_of(tmp_path / "source")[0]
    prepared = MemoryStore()
    _copy_old(tmp_path, prepared)
    for at in range(1, 60):
        store = MemoryStore()
        for info in itertools.chain.from_iterable(obstore.list(prepared)):
            obstore.put(store, info["path"], obstore.get(prepared, info["path"]).bytes())
        try:
            copy_repository(tmp_path / "source", bucket_of(store, Deadly(at)), update=True)
        except Killed:
            pass
        else:
            break
        source = BucketSource(bucket_of(store))
        assert digest_of(source.refs()) in (old, new)
        source.close()
        copy_repository(tmp_path / "source", bucket_of(store), update=True)
        source = BucketSource(bucket_of(store))
        assert digest_of(source.refs()) == new
        source.close()
    assert 8 < at < 59


def _copy_old(tmp_path: Path, store: MemoryStore) -> None:
    """Make a copy as it was before the source went on."""
    bucket = bucket_of(store)
    copy_repository(tmp_path / "kept", bucket)
    marker = bucket.get("files/dulwich-reftable-copy")
    assert marker is not None
    kept = os.path.realpath(tmp_path / "kept").encode()
    source = os.path.realpath(tmp_path / "source").encode()
    bucket.put("files/dulwich-reftable-copy", marker.data.replace(kept, source))


def test_killed_while_it_comes_down(tmp_path: Path) -> None:
    make(tmp_path / "source").close()
    store = MemoryStore()
    copy_repository(tmp_path / "source", bucket_of(store))
    for at in range(1, 60):
        target = tmp_path / f"down-{at}"
        try:
            copy_repository(bucket_of(store, Deadly(at)), target)
        except Killed:
            with pytest.raises(NotGitRepository):
                dr.Repo(target)
            copy_repository(bucket_of(store), target)
        else:
            break
        assert state_of(target) == state_of(tmp_path / "source")
    assert 5 < at < 59


@requires_git
@pytest.mark.parametrize("object_format", FORMATS)
def test_git_reads_what_comes_down(tmp_path: Path, object_format: str) -> None:
    environment = hermetic_environment(os.environ)

    def git(where: str, *words: str) -> str:
        command = ["git", "-C", str(tmp_path / where), *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with make(tmp_path / "source", object_format=object_format) as repo:
        gone = repo.refs[GONE].decode()
    target = place()
    copy_repository(tmp_path / "source", target)
    copy_repository(target, tmp_path / "down")
    assert "error" not in git("down", "fsck", "--full", "--strict")
    assert git("down", "rev-parse", "v1^{}").strip() == gone
    for words in (
        ("for-each-ref",),
        ("reflog", "show", "main"),
        ("cat-file", "--batch-all-objects", "--batch-check"),
    ):
        assert git("down", *words) == git("source", *words)
    git("down", "update-ref", "refs/heads/more", gone)
