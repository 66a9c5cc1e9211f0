"""Whole repositories in an object store in memory."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dulwich import porcelain
from dulwich.errors import NoIndexPresent, NotGitRepository
from dulwich.objects import Blob, Commit, Tree
from support.stores import MakeBucket

import dulwich_reftable as dr
from dulwich_reftable.bucket import Bucket, BucketRepo, open_store
from dulwich_reftable.bucket.gc import collect_garbage
from dulwich_reftable.bucket.storage import BucketStorage
from dulwich_reftable.engine.errors import ConfigurationError, StaleListError, StorageError

MAIN = b"refs/heads/main"
OID = b"1" * 40


@pytest.fixture
def bucket(make_buckets: MakeBucket) -> Bucket:
    """Give an empty place in memory, or where ``--storage`` says."""
    return make_buckets(1)[0]


@pytest.fixture
def repo(bucket: Bucket) -> Iterator[BucketRepo]:
    """Make an empty repository."""
    with BucketRepo.init(bucket, default_branch=b"main") as made:
        yield made


def add_commit(repo: BucketRepo, text: bytes = b"text", parents: tuple[bytes, ...] = ()) -> bytes:
    """Add a commit with one file; gives its id."""
    blob = Blob.from_string(text)
    tree = Tree()
    tree.add(b"file", 0o100644, blob.id)
    commit = Commit()
    commit.tree = tree.id
    commit.author = commit.committer = b"A <a@example.com>"
    commit.author_time = commit.commit_time = 1
    commit.author_timezone = commit.commit_timezone = 0
    commit.message = text
    commit.parents = [*parents]
    repo.object_store.add_objects([(blob, None), (tree, None), (commit, None)])
    return commit.id


def spent(bucket: Bucket, before: dict[str, int]) -> dict[str, int]:
    """Count requests since a copy of the counter was made."""
    now = bucket.requests
    return {kind: now[kind] - before.get(kind, 0) for kind in now if now[kind] != before.get(kind)}


# Making and opening


@pytest.mark.parametrize(("name", "size"), [(None, 40), ("sha1", 40), ("sha256", 64)])
def test_a_new_repository_is_empty_and_has_a_head(
    bucket: Bucket, name: str | None, size: int
) -> None:
    made = BucketRepo.init(bucket, object_format=name, description=b"mine", default_branch=b"trunk")
    for repo in (made, BucketRepo(bucket)):
        with repo:
            assert repo.object_format.hex_length == size
            assert repo.refs.read_ref(b"HEAD") == b"ref: refs/heads/trunk"
            assert repo.get_refs() == {}
            assert repo.get_description() == b"mine"
            assert repo.get_shallow() == set()
            assert repo.bare
            assert repo.ref_format == "reftable"
            assert list(repo.refs.verify()) == []


def test_a_missing_repository_is_no_repository(bucket: Bucket) -> None:
    with pytest.raises(NotGitRepository, match=r"no repository at \w+://"):
        BucketRepo(bucket)


def test_refs_without_a_configuration_are_no_repository_and_not_in_the_way(bucket: Bucket) -> None:
    """So it is where somebody died who was making one."""
    BucketStorage.create(bucket, head=b"refs/heads/theirs")
    with pytest.raises(NotGitRepository):
        BucketRepo(bucket)
    with BucketRepo.init(bucket, default_branch=b"mine") as repo:
        assert repo.refs.read_ref(b"HEAD") == b"ref: refs/heads/theirs"


def test_remains_with_the_other_hash_are_refused(bucket: Bucket) -> None:
    BucketStorage.create(bucket, "s256")
    with pytest.raises(StorageError, match="repository already"):
        BucketRepo.init(bucket)


def test_a_repository_is_made_once(repo: BucketRepo) -> None:
    repo.refs[MAIN] = OID
    with pytest.raises(StorageError) as caught:
        BucketRepo.init(repo.bucket, description=b"other")
    assert caught.value.errno == errno.EEXIST
    with BucketRepo(repo.bucket) as again:
        assert again.refs[MAIN] == OID
        assert again.get_description() is None


def test_of_two_that_make_one_repository_one_succeeds(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = BucketStorage.create

    def create_late(*args: object, **kwargs: object) -> object:
        monkeypatch.undo()
        BucketRepo.init(bucket, default_branch=b"first").close()
        return create(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(BucketStorage, "create", create_late)
    with pytest.raises(StorageError, match="repository already"):
        BucketRepo.init(bucket, default_branch=b"second", description=b"second")
    with BucketRepo(bucket) as repo:
        assert repo.refs.read_ref(b"HEAD") == b"ref: refs/heads/first"
        assert repo.get_description() is None


@pytest.mark.parametrize(
    "bad", [{"object_format": "md5"}, {"default_branch": b"a..b"}], ids=["hash", "branch"]
)
def test_what_is_impossible_makes_nothing(bucket: Bucket, bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"unknown object format|no branch can have"):
        BucketRepo.init(bucket, **bad)  # type: ignore[arg-type]
    assert list(bucket.list()) == []


def test_a_url_and_options_open_a_repository() -> None:
    BucketRepo.init("memory://test-repo-url/a/b", description=b"here").close()
    with BucketRepo("memory://test-repo-url/a/b") as repo:
        assert repo.path == "memory://test-repo-url/a/b"
        assert repo.get_description() == b"here"
    with pytest.raises(NotGitRepository):
        BucketRepo("memory://test-repo-url/a")
    with pytest.raises(ConfigurationError):
        BucketRepo(open_store("memory://test-repo-url/a/b"), endpoint="x")


def test_a_configuration_that_is_none_is_an_error(repo: BucketRepo) -> None:
    repo.bucket.put("config", b"[core")
    with pytest.raises(ConfigurationError, match=r"://.*config"):
        BucketRepo(repo.bucket)
    repo.bucket.put("config", b"[core]\n\tbare = true\n")
    with pytest.raises(ConfigurationError, match="not in reftables"):
        BucketRepo(repo.bucket)


# Refs


def test_two_repositories_see_each_other(repo: BucketRepo) -> None:
    with BucketRepo(repo.bucket) as other:
        with repo.refs.transaction(message=b"why") as transaction:
            transaction.create(MAIN, OID)
        assert other.refs[MAIN] == OID
        assert [entry.message for entry in other.read_reflog(b"HEAD")] == [b"why"]
        assert not other.refs.set_if_equals(MAIN, b"2" * 40, b"3" * 40)
        assert other.refs.set_if_equals(MAIN, OID, b"3" * 40)
        assert repo.refs[MAIN] == b"3" * 40
        assert list(repo.refs.refs_for_object(b"3" * 40)) == [MAIN]
        other.refs.compact()
        repo.refs.clean()
        assert list(repo.refs.verify()) == []


def test_objects_of_others_are_found_as_soon_as_refs_tell_of_them(repo: BucketRepo) -> None:
    with BucketRepo(repo.bucket) as other:
        assert OID not in other.object_store  # which has listed the packs by now
        oid = add_commit(repo)
        repo.refs[MAIN] = oid
        assert other[other.refs[MAIN]].id == oid


# The configuration and other files


def test_the_configuration_is_changed_on_condition(repo: BucketRepo) -> None:
    mine, theirs = repo.get_config(), repo.get_config()
    theirs.set(b"receive", b"denyDeletes", b"yes")
    theirs.write_to_path()
    assert repo.get_config_stack().get_boolean(b"receive", b"denyDeletes")
    mine.set(b"receive", b"denyDeletes", b"no")
    with pytest.raises(StaleListError, match="config"):
        mine.write_to_path()
    assert repo.get_config().get(b"receive", b"denyDeletes") == b"yes"
    theirs.set(b"http", b"receivePack", b"true")
    theirs.write_to_path()  # what it wrote before is not somebody else's
    assert repo.get_config().get(b"http", b"receivePack") == b"true"
    assert not repo.is_current()


def test_there_are_no_files_to_include(repo: BucketRepo, tmp_path: Path) -> None:
    (tmp_path / "more").write_text("[receive]\n\tdenyDeletes = true\n")
    more = str(tmp_path / "more").encode()
    config = repo.get_config()
    config.set(b"include", b"path", more)
    with pytest.raises(ConfigurationError, match="config: there are no files to include"):
        config.write_to_path()
    assert not repo.get_config().has_section((b"include",))
    found = repo.bucket.get("config")
    assert found is not None
    repo.bucket.put("config", found.data + b"[include]\n\tpath = " + more)
    with BucketRepo(repo.bucket) as again:  # somebody has put it there by hand
        assert not again.get_config_stack().get_boolean(b"receive", b"denyDeletes", False)


def test_a_client_that_writes_nothing_else_can_change_the_configuration(
    make_buckets: MakeBucket,
) -> None:
    """Some servers want entity tags in their own form, which a client has to find out first."""
    one, other = make_buckets(2)
    BucketRepo.init(one).close()
    with BucketRepo(other) as repo:
        config = repo.get_config()
        config.set(b"receive", b"denyDeletes", b"yes")
        config.write_to_path()
        assert repo.get_config().get(b"receive", b"denyDeletes") == b"yes"


def test_settings_of_refs_are_those_of_the_configuration(repo: BucketRepo) -> None:
    config = repo.get_config()
    config.set(b"reftable", b"blockSize", b"512")
    config.set(b"reftable", b"lockTimeout", b"250")
    config.write_to_path()
    with BucketRepo(repo.bucket) as again:
        assert again.refs.store.settings.write.block_size == 512
        assert again.refs.store.shared.lock_timeout == 0.25
    assert repo.refs.store.shared.lock_timeout == 10


def test_shallow_commits_are_added_by_several_at_once(
    repo: BucketRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = b"1" * 40, b"2" * 40
    create = Bucket.create

    def create_late(bucket: Bucket, key: str, data: bytes) -> object:
        monkeypatch.undo()
        with BucketRepo(repo.bucket) as other:
            other.update_shallow({one}, None)
        return create(bucket, key, data)

    monkeypatch.setattr(Bucket, "create", create_late)
    repo.update_shallow({two}, None)
    assert repo.get_shallow() == {one, two}
    repo.update_shallow(None, {one})
    with BucketRepo(repo.bucket) as other:
        assert other.get_shallow() == {two}
    with pytest.raises(ValueError, match="shallow"):
        repo.update_shallow({b"x"}, None)


def test_named_files_are_objects_and_refs_have_the_names_of_files(repo: BucketRepo) -> None:
    assert repo.get_named_file("info/attributes") is None
    repo._put_named_file("info/attributes", b"* -text\n")
    found = repo.get_named_file(b"/info/attributes")
    assert found is not None
    assert found.read() == b"* -text\n"
    repo._del_named_file("info/attributes")
    assert repo.get_named_file("info/attributes") is None
    head = repo.get_named_file("HEAD")
    assert head is not None
    assert head.read() == b"ref: refs/heads/main\n"
    repo._put_named_file("ORIG_HEAD", OID + b"\n")
    assert repo.refs.read_ref(b"ORIG_HEAD") == OID
    repo._del_named_file("ORIG_HEAD")
    assert repo.get_named_file("ORIG_HEAD") is None
    for bad in ("../config", "a//b", "a\nb"):
        with pytest.raises(ConfigurationError):
            repo.get_named_file(bad)


def test_what_a_bucket_cannot_have_is_refused(repo: BucketRepo) -> None:
    with pytest.raises(NoIndexPresent):
        repo.open_index()
    for call in (repo.controldir, repo.commondir, repo.get_worktree):
        with pytest.raises(dr.ReftableError, match="in an object store"):
            call()


# dulwich's functions


def test_porcelain_takes_it(repo: Any) -> None:
    first = add_commit(repo)
    second = add_commit(repo, b"second", (first,))
    repo.refs[MAIN] = second
    porcelain.branch_create(repo, b"topic", objectish=first.decode())
    porcelain.tag_create(repo, b"v1", message=b"one", annotated=True, objectish=first.decode())
    assert {*porcelain.branch_list(repo)} == {b"main", b"topic"}
    assert porcelain.tag_list(repo) == [b"v1"]
    assert repo.get_peeled(b"refs/tags/v1") == first
    assert {name for _, _, name in porcelain.for_each_ref(repo)} == {
        b"refs/heads/main",
        b"refs/heads/topic",
        b"refs/tags/v1",
    }
    assert [entry.commit.id for entry in repo.get_walker()] == [second, first]
    porcelain.branch_delete(repo, b"topic")
    assert b"refs/heads/topic" not in repo.refs


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_it_is_fetched_from_and_into(bucket: Bucket, tmp_path: Path, object_format: str) -> None:
    source = BucketRepo.init(bucket.within("source"), object_format=object_format)
    target = BucketRepo.init(bucket.within("target"), object_format=object_format)
    disk = dr.Repo.init_bare(tmp_path / "disk", mkdir=True, object_format=object_format)
    with source, target, disk:
        if object_format == "sha1":
            oid = add_commit(source)
        else:
            blob = Blob.from_string(b"text")
            source.object_store.add_object(blob)
            oid = blob.sha(source.object_format).hexdigest().encode()
        source.refs[b"refs/tags/t"] = oid
        for end in (disk, target):
            refs = source.fetch(end)
            assert refs[b"refs/tags/t"] == oid
            assert end.object_store.get_raw(oid) == source.object_store.get_raw(oid)


def test_gc_keeps_what_refs_and_reflogs_reach(repo: BucketRepo) -> None:
    kept, lost = add_commit(repo), add_commit(repo, b"lost")
    repo.refs[MAIN] = kept
    for _ in range(2):  # retired, then removed; servers round their times
        collect_garbage(repo.object_store, repo.refs, grace=-60, full=True)
    with BucketRepo(repo.bucket) as again:
        assert again[kept].id == kept
        assert lost not in again.object_store


# Requests


def test_requests_of_refs_are_few(repo: BucketRepo) -> None:
    bucket = repo.bucket
    before = {**bucket.requests}
    with BucketRepo(bucket) as other:
        assert other.refs.read_ref(b"HEAD")
        assert sum(spent(bucket, before).values()) <= 3
        before = {**bucket.requests}
        assert other.refs.read_ref(MAIN) is None
        assert spent(bucket, before) == {"get": 1}
    repo.refs[MAIN] = OID
    for number in range(2, 6):
        before = {**bucket.requests}
        assert repo.refs.set_if_equals(MAIN, None, b"%d" % number * 40, message=b"why")
        assert spent(bucket, before) == {"put": 1}


def test_requests_within_an_age_are_none(repo: BucketRepo) -> None:
    repo.refs[MAIN] = OID
    with BucketRepo(repo.bucket, max_age=60) as other:
        assert other.refs[MAIN] == OID
        before = {**repo.bucket.requests}
        assert other.refs[MAIN] == OID
        assert other.get_config().get(b"core", b"bare") == b"true"
        assert spent(repo.bucket, before) == {}


def test_requests_of_a_large_table_are_few(repo: BucketRepo) -> None:
    bucket = repo.bucket
    names = [b"refs/heads/%08d" % number for number in range(20_000)]
    with repo.refs.transaction() as transaction:
        for name in names:
            transaction.create(name, OID)
    [table] = repo.refs.store.shared.snapshot().tables
    assert table.size > 384 << 10  # so it is read in pieces
    with BucketRepo(bucket) as other:
        before = {**bucket.requests}
        assert other.refs.read_ref(names[7_000]) == OID
        assert sum(spent(bucket, before).values()) <= 5  # the head, both ends, index and block
        before = {**bucket.requests}
        assert other.refs.read_ref(names[7_000]) == OID
        assert spent(bucket, before) == {"get": 1}
        before = {**bucket.requests}
        assert sum(1 for _ in other.refs.iter_refs(b"refs/heads/")) == len(names)
        assert sum(spent(bucket, before).values()) <= 10
