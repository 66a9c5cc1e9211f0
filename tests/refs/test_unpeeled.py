"""Tags that a table holds without what they point to: git 2.55's ``refs migrate`` writes such."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from dulwich.objects import Blob, Tag
from dulwich.refs import SymrefLoop
from support.git import GIT_VERSION, Git, requires_git
from support.pool import ObjectPool

import dulwich_reftable as dr
from dulwich_reftable.cli import main
from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.engine.table.table import Table
from dulwich_reftable.engine.table.writer import TableWriter, WriteOptions
from dulwich_reftable.refs.peeling import OneByOne
from dulwich_reftable.refs.unpeeled import UnpeeledTags

Pools = Callable[[str], ObjectPool]
OpenRepo = Callable[[Path], dr.Repo]

PLACES = [b"refs/tags/", b"refs/changes/", b"refs/remotes/o/", b"refs/a/"]


def fill(git: Git, pool: ObjectPool, *, seed: int) -> None:
    """Make refs to tags and commits with and without what they peel to, in several tables."""
    rng = random.Random(seed)
    peeling, blind = dr.Repo(str(git.path)), dr.ReftableRefsContainer(git.git_dir)
    for number in range(6):
        with (blind if number % 2 else peeling.refs).transaction() as transaction:
            for _ in range(8):
                name = rng.choice(PLACES) + b"%d" % rng.randrange(20)
                value = rng.choice([*list(pool.tags)[-4:], *list(pool.tags)[:6], *pool.commits[:6]])
                if name not in {*transaction._updates.names()}:
                    transaction.update(name, value)
    blind.close()
    peeling.close()


def check(git: Git, repo: dr.Repo, pool: ObjectPool) -> None:
    """Compare with git what refs peel to, and which point at objects, as we and our command say."""
    listed = git.for_each_ref()
    for name, ref in listed.items():
        assert repo.get_peeled(name) == (ref.peeled or ref.value), name
        assert repo.refs.get_peeled(name) in (ref.peeled, None), name
    tags = list(pool.tags)[-4:] + list(pool.tags)[:2]
    for oid in {*pool.commits[:4], *(pool.tags[tag] for tag in tags), *tags}:
        theirs = git.run("for-each-ref", "--points-at", oid, "--format=%(refname)").split()
        if oid in pool.commits:
            assert repo.refs.refs_for_object(oid) == theirs, oid
        else:  # git counts all tags on the way
            assert set(repo.refs.refs_for_object(oid)) <= set(theirs), oid
            for name in set(theirs) - set(repo.refs.refs_for_object(oid)):
                assert oid not in (listed[name].value, listed[name].peeled)


@requires_git
@pytest.mark.parametrize("compacted", [None, "ours", "git"])
def test_beside_git(
    tmp_path: Path, pool_of: Pools, open_repo: OpenRepo, object_format: str, compacted: str | None
) -> None:
    pool = pool_of(object_format)
    git = Git.init(tmp_path / "git", object_format=object_format, compacting=False)
    pool.lend(git.git_dir)
    fill(git, pool, seed=5)
    repo = open_repo(git.path)
    if compacted == "ours":
        repo.refs.compact()
    elif compacted == "git":
        git.run("pack-refs")
    if compacted == "git":  # what follows says the same of all three
        check(git, repo, pool)
    # What is stored anew, by a writer that peels, is found all the same.
    with repo.refs.transaction() as transaction:
        for name, value in repo.refs.iter_refs(b"refs/tags/"):
            transaction.delete(name)
            transaction.update(name.replace(b"tags", b"again"), value)
    check(git, repo, pool)


@requires_git
@pytest.mark.skipif(GIT_VERSION < (2, 46), reason="git refs migrate is of 2.46")
def test_migrated_by_git(tmp_path: Path, pool_of: Pools, open_repo: OpenRepo) -> None:
    pool = pool_of("sha1")
    git = Git.init(tmp_path / "git", bare=True, ref_format="files")  # without reflogs
    pool.lend(git.git_dir)
    values = [*list(pool.tags)[:5], *list(pool.tags)[-2:], *pool.commits[:3]]
    git.update_ref_stdin(
        b"create %s%d %s" % (place, at, value)
        for place in PLACES
        for at, value in enumerate(values)
    )
    git.run("refs", "migrate", "--ref-format=reftable")
    check(git, open_repo(git.path), pool)


@requires_git
def test_the_command_finds_tags_of_tags(
    tmp_path: Path, pool_of: Pools, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A tag on the way to the final object is no value and no peeled value, but git shows it."""
    pool = pool_of("sha1")
    git = Git.init(tmp_path / "git")
    pool.lend(git.git_dir)
    (outer,) = (tag for tag in pool.tags if git.run("cat-file", "tag", tag).split()[3] == b"tag")
    inner = git.run("cat-file", "tag", outer).split()[1]
    blind = dr.ReftableRefsContainer(git.git_dir)
    blind[b"refs/tags/outer"] = blind[b"refs/changes/outer"] = outer
    blind[b"refs/tags/inner"] = inner
    blind[b"refs/tags/other"] = next(tag for tag in pool.tags if tag not in (inner, outer))
    blind.close()
    for oid in (inner, outer, pool.tags[outer]):
        assert main(["show-ref", "-C", str(git.path), "--points-at", oid.decode()]) == 0
        ours = capsysbinary.readouterr().out
        assert ours == git.run(
            "for-each-ref", "--points-at", oid, "--format=%(objectname) %(refname)"
        )


# -- what is asked


def oid(number: int) -> bytes:
    return number.to_bytes(20, "big")


def table_of(records: list[RefRecord], last: int) -> Table:
    chunks: list[bytes] = []
    writer = TableWriter(chunks.append, 1, last, WriteOptions())
    writer.add_refs(sorted(records))
    writer.finish()
    return Table("t.ref", b"".join(chunks))


class Objects:
    """Objects of which those with low numbers are tags; counts how often they are asked for."""

    def __init__(self, tags: int) -> None:
        self.tags = tags
        self.asked: list[int] = []

    def peel(self, hex_id: bytes) -> bytes | None:
        number = int(hex_id, 16)
        self.asked.append(number)
        return b"%040x" % (number + 10_000_000) if number < self.tags else None


def test_objects_are_asked_once_a_table_and_never_for_branches() -> None:
    objects = Objects(tags=3)
    unpeeled = UnpeeledTags(OneByOne(objects.peel))
    table = table_of(
        [
            RefRecord(b"HEAD", 1, oid(10)),
            RefRecord(b"refs/changes/1", 1, oid(1)),
            RefRecord(b"refs/changes/2", 1),
            RefRecord(b"refs/heads/a", 1, oid(0)),
            RefRecord(b"refs/heads0", 1, oid(2)),
            RefRecord(b"refs/tags/a", 1, oid(11), oid(12)),
            RefRecord(b"refs/tags/s", 1, target=b"refs/tags/a"),
        ],
        1,
    )
    for _ in range(3):
        (found,) = unpeeled.pointing_at(table, oid(10_000_001))
        assert found.name == b"refs/changes/1"
        assert [r.name for r in unpeeled.pointing_at(table, oid(10_000_002))] == [b"refs/heads0"]
        assert list(unpeeled.pointing_at(table, oid(10_000_000))) == []
    assert sorted(objects.asked) == [1, 2, 10]


MANY = 12_000


@pytest.mark.parametrize("transactions", [1, 2])
def test_a_large_table_with_peeled_tags_asks_for_nothing(transactions: int) -> None:
    """But for the refs of a transaction that has peeled none."""
    objects = Objects(tags=MANY)
    unpeeled = UnpeeledTags(OneByOne(objects.peel))
    refs = [RefRecord(b"refs/changes/%05d" % at, 1, oid(at)) for at in range(MANY)]
    tags = [
        RefRecord(b"refs/tags/a", 1, oid(MANY), oid(MANY + 1)),
        RefRecord(b"refs/tags/b", transactions, oid(5)),
    ]
    table = table_of(refs + tags, transactions)
    found = [record.name for record in unpeeled.pointing_at(table, oid(10_000_005))]
    assert found == ([] if transactions == 1 else [b"refs/tags/b"])
    assert objects.asked == ([] if transactions == 1 else [5])


# -- what is stored


def tag_of(kind: type[Blob | Tag], target: bytes) -> Tag:
    tag = Tag()
    tag.object = (kind, target)
    tag.name = tag.message = b"t"
    tag.tagger, tag.tag_time, tag.tag_timezone = b"A <a@example.com>", 1, 0
    return tag


def test_a_tag_whose_type_line_lies_is_not_peeled(repo: dr.Repo) -> None:
    """And no tag of it is; git refuses to peel them, too."""
    blob = Blob.from_string(b"blob")
    true, lie = tag_of(Blob, blob.id), tag_of(Tag, blob.id)
    of_lie, of_true = tag_of(Tag, lie.id), tag_of(Tag, true.id)
    for made in (blob, true, lie, of_lie, of_true):
        repo.object_store.add_object(made)
    peeled = {}
    for tag in (true, lie, of_lie, of_true):
        repo.refs[b"refs/tags/t"] = tag.id
        peeled[tag.id] = repo.refs.get_peeled(b"refs/tags/t")
    assert peeled == {true.id: blob.id, of_true.id: blob.id, lie.id: None, of_lie.id: None}


def test_a_tag_whose_object_comes_later(repo: dr.Repo) -> None:
    """That it could not be peeled is not remembered."""
    blob = Blob.from_string(b"late")
    tag = tag_of(Blob, blob.id)
    repo.object_store.add_object(tag)
    repo.refs[b"refs/tags/before"] = tag.id
    repo.object_store.add_object(blob)
    repo.refs[b"refs/tags/after"] = tag.id
    assert repo.refs.get_peeled(b"refs/tags/before") is None
    assert repo.refs.get_peeled(b"refs/tags/after") == blob.id


def test_symrefs_are_followed_as_far_as_by_follow(repo: dr.Repo) -> None:
    tag = tag_of(Blob, Blob.from_string(b"blob").id)
    repo.object_store.add_object(Blob.from_string(b"blob"))
    repo.object_store.add_object(tag)
    repo.refs[b"refs/tags/0"] = tag.id
    for length in range(1, 9):
        name = b"refs/tags/%d" % length
        repo.refs.set_symbolic_ref(name, b"refs/tags/%d" % (length - 1))
        try:
            repo.refs.follow(name)
        except SymrefLoop:
            assert repo.refs.get_peeled(name) is None
            assert length > 4
        else:
            assert repo.refs.get_peeled(name) == tag.object[1]
            assert length <= 4
