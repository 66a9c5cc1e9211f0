"""What our container offers beyond dulwich's API, and how it behaves among threads."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dulwich.objects import Blob, Commit, Tag, Tree
from dulwich.refs import RefsContainer
from support.compare import file_states, shown_reflogs
from support.filesystems import names_in
from support.waiting import GUARD

import dulwich_reftable as dr

ZERO = b"0" * 40
A, B, C = (digit * 40 for digit in (b"a", b"b", b"c"))
HEAD, MAIN, OTHER = b"HEAD", b"refs/heads/main", b"refs/heads/other"


def reftable(repo: dr.Repo) -> Path:
    """The directory of the stack."""
    return Path(repo.commondir()) / "reftable"


def add_objects(repo: dr.Repo) -> dict[str, bytes]:
    """Put one object of each kind into the repository, and tags of them all; return the ids."""
    blob = Blob.from_string(b"blob")
    tree = Tree()
    commit = Commit()
    commit.tree = tree.id
    commit.author = commit.committer = b"A <a@example.com>"
    commit.author_time = commit.commit_time = 1
    commit.author_timezone = commit.commit_timezone = 0
    commit.message = b"commit"
    made: dict[str, Blob | Tree | Commit | Tag] = {"blob": blob, "tree": tree, "commit": commit}
    for name, target in [*made.items(), ("tag", None)]:
        tag = Tag()
        tagged = made["tag of commit"] if target is None else target
        tag.object = (type(tagged), tagged.id)
        tag.name = tag.message = name.encode()
        tag.tagger, tag.tag_time, tag.tag_timezone = b"A <a@example.com>", 1, 0
        made["tag of " + name] = tag
    for one in made.values():
        repo.object_store.add_object(one)
    return {name: one.id for name, one in made.items()}


# -- peeled values


def test_peeled(repo: dr.Repo) -> None:
    """A tag's object is stored beside it, so that reading needs no object store."""
    ids = add_objects(repo)
    for kind in ("blob", "tree", "commit"):
        name = b"refs/tags/of-" + kind.encode()
        repo.refs[name] = ids["tag of " + kind]
        assert repo.refs.get_peeled(name) == ids[kind]
        assert repo.get_peeled(name) == ids[kind]
    repo.refs[b"refs/tags/of-tag"] = ids["tag of tag"]
    assert repo.refs.get_peeled(b"refs/tags/of-tag") == ids["commit"]  # to the very end
    repo.refs[b"refs/changes/1"] = ids["tag of commit"]
    assert repo.refs.get_peeled(b"refs/changes/1") == ids["commit"]


def test_not_peeled(repo: dr.Repo) -> None:
    ids = add_objects(repo)
    repo.refs[MAIN] = repo.refs[b"refs/tags/light"] = ids["commit"]
    repo.refs[b"refs/changes/1"] = A  # no such object
    assert repo.refs.get_peeled(MAIN) == ids["commit"]  # known not to be a tag
    assert repo.refs.get_peeled(b"refs/changes/1") is None  # it may be one
    assert repo.refs.get_peeled(b"refs/tags/light") is None  # ask the object store
    assert repo.get_peeled(b"refs/tags/light") == ids["commit"]
    assert repo.refs.get_peeled(b"refs/tags/none") is None


def test_a_tag_that_comes_after_its_ref(repo: dr.Repo) -> None:
    """That an object is not there is not remembered."""
    bare = dr.Repo.init_bare(Path(repo.path) / "other", mkdir=True)
    ids = add_objects(bare)
    tag = ids["tag of commit"]
    repo.refs[b"refs/tags/before"] = tag
    add_objects(repo)
    repo.refs[b"refs/tags/after"] = tag
    assert repo.refs.get_peeled(b"refs/tags/before") is None
    assert repo.refs.get_peeled(b"refs/tags/after") == ids["commit"]


def test_every_writer_peels(repo: dr.Repo) -> None:
    ids = add_objects(repo)
    refs, tag = repo.refs, ids["tag of commit"]
    names = [b"refs/tags/%d" % at for at in range(6)]
    refs.set_if_equals(names[0], None, tag)
    refs.add_if_new(names[1], tag)
    refs.add_packed_refs({names[2]: tag})
    refs.import_refs(b"refs/tags", {b"3": tag})
    with refs.transaction() as transaction:
        transaction.create(names[4], tag)
    refs.rename(names[4], names[5])
    refs.copy(names[5], names[4])
    assert [refs.get_peeled(name) for name in names] == [ids["commit"]] * 6
    refs.compact()
    assert [refs.get_peeled(name) for name in names] == [ids["commit"]] * 6


def test_each_ref_of_a_transaction_is_peeled_by_itself(repo: dr.Repo) -> None:
    """Tags of everything, what is no tag, and what does not exist; symrefs and branches, too."""
    ids = add_objects(repo)
    refs = repo.refs
    refs.set_symbolic_ref(b"refs/heads/alias", b"refs/changes/alias")
    final = {ids["tag of " + kind]: ids[kind] for kind in ("blob", "tree", "commit")}
    final[ids["tag of tag"]] = ids["commit"]
    values = {b"refs/changes/%d" % at: oid for at, oid in enumerate([*ids.values(), A])}
    values[b"refs/heads/alias"] = ids["tag of tree"]
    values[b"refs/heads/tag"] = ids["tag of blob"]  # git refuses that, dulwich does not
    with refs.transaction() as transaction:
        for name, oid in values.items():
            transaction.update(name, oid)
        transaction.set_symbolic_ref(b"refs/remotes/o/HEAD", b"refs/changes/0")
    values[b"refs/changes/alias"] = values.pop(b"refs/heads/alias")
    del values[b"refs/heads/tag"]
    for name, oid in values.items():
        assert (refs.read_ref(name), refs.get_peeled(name)) == (oid, final.get(oid)), name


# -- finding


def test_refs_for_object(repo: dr.Repo) -> None:
    ids = add_objects(repo)
    refs = repo.refs
    refs[MAIN] = refs[OTHER] = ids["commit"]
    refs[b"refs/tags/v1"] = ids["tag of commit"]
    assert sorted(refs.refs_for_object(ids["commit"])) == [MAIN, OTHER, b"refs/tags/v1"]
    assert sorted(refs.refs_for_object(ids["tag of commit"])) == [b"refs/tags/v1"]
    refs[MAIN] = A  # a newer table hides the older one
    del refs[OTHER]
    assert sorted(refs.refs_for_object(ids["commit"])) == [b"refs/tags/v1"]
    assert sorted(refs.refs_for_object(A)) == [MAIN]  # and HEAD's value is its target's name
    for never in (B, ZERO, b"short"):
        assert list(refs.refs_for_object(never)) == []


def test_iter_refs(repo: dr.Repo) -> None:
    refs = repo.refs
    below = {b"refs/%s/%d" % (kind, at): A for kind in (b"a", b"ab", b"b") for at in range(300)}
    refs.add_packed_refs(below)
    expected = sorted({**below, HEAD: b"ref: " + MAIN}.items())
    assert list(refs.iter_refs()) == expected
    for prefix in (b"refs/a", b"refs/a/", b"refs/a/1", b"refs/b/299", b"refs/b/2999", b"r", b"H"):
        assert list(refs.iter_refs(prefix)) == [p for p in expected if p[0].startswith(prefix)]
    some = random.Random(7)
    for _ in range(50):
        exclude = [name[: some.randint(5, len(name))] for name in some.sample(sorted(below), 3)]
        prefix = some.choice([b"", b"refs/", b"refs/a", b"refs/ab/"])
        assert list(refs.iter_refs(prefix, exclude)) == [
            (name, value)
            for name, value in expected
            if name.startswith(prefix) and not name.startswith(tuple(exclude))
        ]


def test_prefixes_of_highest_bytes(repo: dr.Repo) -> None:
    names = [b"refs/heads/" + end for end in (b"a", b"\xfe", b"\xff", b"\xff\xff", b"\xffz")]
    repo.refs.add_packed_refs(dict.fromkeys(names, A))
    for prefix in (b"refs/heads/\xff", b"refs/heads/\xff\xff", b"\xff"):
        expected = [name for name in names if name.startswith(prefix)]
        assert [name for name, _ in repo.refs.iter_refs(prefix)] == sorted(expected)
        left = [name for name, _ in repo.refs.iter_refs(b"refs/heads/", [prefix])]
        assert left == sorted(set(names) - set(expected))


@pytest.mark.directory
def test_one_directory_by_two_paths(repo: dr.Repo, tmp_path: Path) -> None:
    """It is no linked worktree, whose refs would be in another stack."""
    (tmp_path / "link").symlink_to(repo.controldir())
    refs = dr.ReftableRefsContainer(repo.controldir(), worktree_path=tmp_path / "link")
    with refs.transaction() as transaction:
        transaction.create(b"refs/heads/shared", A)
        transaction.create(b"refs/worktree/own", A)
    assert refs.as_dict() == repo.refs.as_dict()


def test_iterating_while_somebody_writes(repo: dr.Repo) -> None:
    """An iteration shows the moment at which it began."""
    refs = repo.refs
    refs.add_packed_refs({b"refs/heads/%05d" % at: A for at in range(5000)})
    iteration = refs.iter_refs(b"refs/")
    first = next(iteration)
    refs.add_packed_refs({b"refs/heads/%05d" % at: None for at in range(2500, 5000)})
    refs.compact()
    assert len([first, *iteration]) == 5000
    assert len(list(refs.iter_refs(b"refs/"))) == 2500


# -- snapshots


def test_snapshot(repo: dr.Repo) -> None:
    refs = repo.refs
    refs.set_if_equals(MAIN, None, A, message=b"first")
    refs[OTHER] = B
    before = dict(refs.iter_refs()), list(refs.read_reflog(MAIN))
    pinned = refs.snapshot()  # of this moment, though nothing is read yet
    refs.set_if_equals(MAIN, None, C, message=b"second")
    del refs[OTHER]
    refs.compact()  # the tables of the snapshot are gone from the directory
    assert refs[MAIN] == C
    assert (dict(pinned.iter_refs()), list(pinned.read_reflog(MAIN))) == before
    assert pinned.as_dict() == {HEAD: A, MAIN: A, OTHER: B}
    assert pinned.follow(HEAD) == ([HEAD, MAIN], A)
    assert pinned.get_packed_refs() == {MAIN: A, OTHER: B}
    assert sorted(pinned.refs_for_object(B)) == [OTHER]
    assert pinned.subkeys(b"refs/heads") == {b"main", b"other"}
    assert refs.snapshot()[MAIN] == C


def test_a_snapshot_is_read_only(repo: dr.Repo) -> None:
    pinned = repo.refs.snapshot()
    before = file_states(reftable(repo))
    for write in (
        lambda: pinned.set_if_equals(MAIN, None, A),
        lambda: pinned.add_if_new(MAIN, A),
        lambda: pinned.remove_if_equals(HEAD, None),
        lambda: pinned.set_symbolic_ref(HEAD, OTHER),
        lambda: pinned.__setitem__(MAIN, A),
        lambda: pinned.add_packed_refs({MAIN: A}),
        *([pinned.pack_refs] if hasattr(RefsContainer, "pack_refs") else []),
    ):
        with pytest.raises(NotImplementedError):
            write()
    assert file_states(reftable(repo)) == before


# -- upkeep


def test_compact(repo: dr.Repo) -> None:
    refs = repo.refs
    for at in range(20):
        refs.set_if_equals(b"refs/heads/b%d" % (at % 7), None, A if at % 2 else B, message=b"m")
    del refs[b"refs/heads/b3"]
    before = dict(refs.iter_refs()), shown_reflogs(refs)
    refs.compact()
    assert len((reftable(repo) / "tables.list").read_text().split()) == 1
    assert (dict(refs.iter_refs()), shown_reflogs(refs)) == before


def test_the_stack_stays_short(repo: dr.Repo) -> None:
    """Each addition is followed by compaction: tables form a geometric sequence."""
    for at in range(200):
        repo.refs[b"refs/heads/b%03d" % at] = A
    assert len((reftable(repo) / "tables.list").read_text().split()) <= 8
    listed = (reftable(repo) / "tables.list").read_text().split()
    assert set(names_in(reftable(repo))) == {"tables.list", *listed}


@pytest.mark.directory
def test_clean(repo: dr.Repo) -> None:
    """What a writer left when it died goes; nothing else does."""
    repo.refs[MAIN] = A
    directory = reftable(repo)
    before = set(names_in(directory))
    left = directory / "0x000000000001-0x000000000001-00c0ffee.ref"
    left.write_bytes(next(directory.glob("*.ref")).read_bytes())
    repo.refs.clean()
    assert set(names_in(directory)) == before
    assert repo.refs[MAIN] == A


def test_verify(repo: dr.Repo) -> None:
    repo.refs.set_if_equals(MAIN, None, A, message=b"m")
    assert not repo.refs.verify()
    table = max(reftable(repo).glob("*.ref"))
    damaged = bytearray(table.read_bytes())
    damaged[-1] ^= 1  # the check sum
    os.chmod(table, 0o644)
    table.write_bytes(damaged)
    with dr.Repo(repo.path) as afresh:
        findings = afresh.refs.verify()
    assert table.name in str(findings)


def test_close(repo: dr.Repo) -> None:
    """Closing twice is fine, and what is used again opens again."""
    repo.refs[MAIN] = A
    repo.refs.close()
    repo.refs.close()
    assert repo.refs[MAIN] == A


# -- one container, many threads


@pytest.fixture
def patient_refs(refs: dr.ReftableRefsContainer) -> dr.ReftableRefsContainer:
    """Wait for a lock longer than git's tenth of a second: a busy machine stops whoever has it."""
    refs.store.set_default_lock_timeout(GUARD)
    return refs


def test_threads_write(patient_refs: dr.ReftableRefsContainer) -> None:
    refs = patient_refs

    def work(worker: int) -> int:
        done = 0
        for at in range(25):
            refs[b"refs/heads/w%d/%d" % (worker, at)] = A
            done += refs.add_if_new(b"refs/heads/shared/%d" % at, B, message=b"mine")
        return done

    with ThreadPoolExecutor(4) as threads:
        added = list(threads.map(work, range(4)))
    assert sum(added) == 25  # of four that try, one makes the ref
    assert len(refs.subkeys(b"refs/heads")) == 4 * 25 + 25
    assert sum(map(len, shown_reflogs(refs).values())) == 25
    assert not refs.verify()


def test_threads_count_together(patient_refs: dr.ReftableRefsContainer) -> None:
    """Compare-and-swap: no increment of a shared counter is lost."""
    refs = patient_refs
    refs[MAIN] = b"%040x" % 1

    def increment(_: int) -> None:
        while True:
            there = refs[MAIN]
            if refs.set_if_equals(MAIN, there, b"%040x" % (int(there, 16) + 1)):
                return

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(increment, range(60)))
    assert int(refs[MAIN], 16) == 61


def test_threads_read_while_one_writes(patient_refs: dr.ReftableRefsContainer) -> None:
    """Two refs that always move together are never seen apart in one listing."""
    refs = patient_refs
    refs.add_packed_refs({b"refs/heads/x%04d" % at: A for at in range(2000)})
    values = [A, B, C]

    def write(count: int) -> None:
        for at in range(count):
            with refs.transaction() as both:
                both.update(b"refs/heads/x0000", values[at % 3])
                both.update(b"refs/heads/x1999", values[at % 3])

    def read(see: Callable[[], dict[bytes, bytes]]) -> bool:
        seen = [see() for _ in range(30)]
        return all(s[b"refs/heads/x0000"] == s[b"refs/heads/x1999"] for s in seen)

    ways = [refs.as_dict, lambda: dict(refs.iter_refs()), refs.get_packed_refs]
    with ThreadPoolExecutor(4) as threads:
        writing = threads.submit(write, 60)
        assert all(threads.map(read, ways))
        writing.result()
