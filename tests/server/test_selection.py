"""Which objects a fetch sends, without a client."""

from __future__ import annotations

import random
from binascii import b2a_hex
from pathlib import Path

import pytest
from dulwich.objects import Commit, ObjectID, Tag
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.objects.reader import ObjectReader
from dulwich_reftable.server.history import History
from dulwich_reftable.server.upload_pack.filters import Filter
from dulwich_reftable.server.upload_pack.packing import Fetch
from dulwich_reftable.server.upload_pack.selection import Selection

from .fetching import World

pytestmark = requires_git


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(Git.init(tmp_path_factory.mktemp("git"), bare=True), random.Random(8))
    world.grow(40, 5)
    return world


def ids(selection: Selection) -> set[bytes]:
    return {b2a_hex(oid) for oid in selection.objects}


def closure(git: Git, *revisions: bytes) -> set[bytes]:
    listed = git.run("rev-list", "--objects", "--stdin", stdin=b"\n".join(revisions))
    return {line.split()[0] for line in listed.splitlines()}


def test_what_is_missing_is_sent(world: World) -> None:
    """Only wanted objects are sent, and all that the client lacks are."""
    git, draw = world.git, random.Random(2)
    commits = git.run("rev-list", "--all").split()
    spared = 0
    with dr.Repo(str(git.path)) as repo:
        store = ObjectReader(repo.object_store)
        for _ in range(15):
            wants, haves = draw.sample(commits, 2), draw.sample(commits, 2)
            selection = Selection(store, History(store), Filter(), lambda line: None)
            selection.add(wants, haves)
            sent = ids(selection)
            whole = closure(git, *wants)
            missing = whole - closure(git, *haves)
            assert missing <= sent <= whole
            spared += len(whole) - len(sent)
    assert spared > 100


def test_bitmaps_tell_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone of all that some commits reach is the same with bitmaps, and reads few commits."""
    git, draw = Git.init(tmp_path / "git", bare=True), random.Random(4)
    world = World(git, draw)
    world.grow(120, 5)
    git.run("repack", "-Adbq")  # what no ref reaches becomes loose
    world.grow(20, 3)  # since the bitmaps were written
    tree = git.run("rev-parse", "main:").strip()
    base = git.run("commit-tree", "-m", "base", tree).strip()
    side = git.run("commit-tree", "-m", "side", "-p", base, tree).strip()
    merge = git.run("commit-tree", "-m", "merge", "-p", base, "-p", side, tree).strip()
    listed = git.run("cat-file", "--batch-all-objects", "--batch-check").splitlines()
    kinds = {line.split()[0]: line.split()[1] for line in listed}
    commits = [oid for oid, kind in kinds.items() if kind == b"commit"]
    clones = [git.run("for-each-ref", "--format=%(objectname) %(*objectname)").split()]
    clones += [[merge], *(draw.sample(commits, 2) for _ in range(4))]
    with dr.Repo(str(git.path)) as repo:
        store = ObjectReader(repo.object_store)
        assert store.bitmap() is not None
        reads: list[bytes] = []
        read = store.get_raw
        monkeypatch.setattr(store, "get_raw", lambda oid: reads.append(oid) or read(oid))
        for wants in clones:
            whole = closure(git, *wants)
            for keep in (Filter(), Filter(frozenset([1, 2, 4])), Filter(frozenset([3]))):
                selection = Selection(store, History(store), keep, lambda line: None)
                selection.add(wants, [])
                names = {Commit.type_name: 1, b"tree": 2, b"blob": 3, Tag.type_name: 4}
                kept = {oid for oid in whole if names[kinds[oid]] in keep.kinds}
                assert ids(selection) == kept | set(wants)
            if wants is clones[0]:
                assert sum(kinds[oid] == b"commit" for oid in reads) < 2 * len(commits)
        # Where history is cut, or the client has some of it, bitmaps tell nothing.
        tip, parent = git.run("rev-parse", "main", "main^").split()
        for history, haves in ((History(store, {tip}), []), (History(store), [parent])):
            selection = Selection(store, history, Filter(), lambda line: None)
            selection.add([tip], haves)
            assert parent not in ids(selection)


def test_old_wants_that_the_client_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With bitmaps, fetches of old commits send the same or less, and nothing is missing."""
    git, draw = Git.init(tmp_path / "git", bare=True), random.Random(5)
    world = World(git, draw)
    world.grow(150, 5)
    git.run("repack", "-Adbq")
    world.grow(20, 3)
    commits = git.run("rev-list", "--all").split()
    tip, *_, root = git.run("rev-list", "--first-parent", "main").split()
    cases = [(draw.sample(commits, 3), draw.sample(commits, 3)) for _ in range(12)]
    cases += [([tip], [root]), ([root], [tip]), ([root, *draw.sample(commits, 9)], [tip])]
    with dr.Repo(str(git.path)) as repo:
        store = ObjectReader(repo.object_store)
        assert store.bitmap() is not None
        reads: list[bytes] = []
        read = store.get_raw
        monkeypatch.setattr(store, "get_raw", lambda oid: reads.append(oid) or read(oid))
        for wants, haves in cases:
            sent, cost = [], []
            for far in (len(commits) + 1, 2):
                monkeypatch.setattr("dulwich_reftable.server.upload_pack.selection._FAR", far)
                reads.clear()
                selection = Selection(store, History(store), Filter(), lambda line: None)
                selection.add(wants, haves)
                sent.append(ids(selection))
                cost.append(len(reads))
            assert closure(git, *wants) - closure(git, *haves) <= sent[1] <= sent[0]
            if (wants, haves) == ([root], [tip]):
                assert sent[1] == set()
                assert cost[1] < cost[0] / 3


def test_no_more_than_has_changed(tmp_path: Path) -> None:
    """An object at the same path in a commit of the client is not sent again."""
    git = Git.init(tmp_path / "git")
    for name in ("a/x/1", "a/x/2", "a/y/1", "b/z/1", "c"):
        (git.path / name).parent.mkdir(parents=True, exist_ok=True)
        (git.path / name).write_text(name)
    git.run("add", ".")
    git.run("commit", "-q", "-m", "one")
    (git.path / "a/x/1").write_text("changed")
    git.run("commit", "-q", "-a", "-m", "two")
    changed = ("main", "main:", "main:a", "main:a/x", "main:a/x/1")
    with dr.Repo(str(git.path)) as repo:
        store = ObjectReader(repo.object_store)
        selection = Selection(store, History(store), Filter(), lambda line: None)
        one, two = git.run("rev-parse", "main~1", "main").split()
        selection.add([two], [one])
        assert ids(selection) == set(git.run("rev-parse", *changed).split())


def test_history_that_ends_at_the_client(world: World) -> None:
    """The history of the client ends where it is shallow, even if we have more of it."""
    git = world.git
    tip, *_, oldest = git.run("rev-list", "--first-parent", "main").split()
    parent = git.run("rev-parse", tip + b"^1").strip()
    with dr.Repo(str(git.path)) as repo:
        fetch = Fetch(wants={oldest: None}, haves={parent: None}, client_shallow={parent})
        assert fetch.cut(repo, ObjectReader(repo.object_store)) == ([], [])
        store = ObjectReader(repo.object_store)
        selection = Selection(store, History(store, fetch.roots), Filter(), lambda line: None)
        selection.add(fetch.wants, fetch.haves)
        assert oldest in ids(selection)


def test_an_empty_selection_brings_no_tags(world: World, tmp_path: Path) -> None:
    """As in git, tags come only with other objects."""
    git = world.git
    tag, of = git.run("rev-parse", "t0", "t0^{}").split()
    with dr.Repo(str(git.path)) as repo:
        store = ObjectReader(repo.object_store)
        selection = Selection(store, History(store), Filter(), lambda line: None)
        selection.add_tags([(tag, of)])
        assert not selection.objects
        selection.add([of], [])
        selection.add_tags([(tag, of), (of, of)])
        assert tag in ids(selection)


def test_a_long_chain_of_tags_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read once, however many of them a client asks for."""
    git = Git.init(tmp_path / "git")
    git.run("commit", "-q", "--allow-empty", "-m", "one")
    commit = git.run("rev-parse", "main").strip()
    with dr.Repo(str(git.path)) as repo:
        tags = []
        before: bytes = commit
        kind: type[Commit | Tag] = Commit
        for number in range(40):
            tag = Tag()
            tag.name = b"t%d" % number
            tag.object = (kind, ObjectID(before))
            tag.message = b"x"
            repo.object_store.add_object(tag)
            tags.append(tag.id)
            before, kind = tag.id, Tag
        reads: list[bytes] = []
        store = ObjectReader(repo.object_store)
        read = store.get_raw

        def count(oid: bytes) -> tuple[int, bytes]:
            reads.append(oid)
            return read(oid)

        monkeypatch.setattr(store, "get_raw", count)
        for order in (tags, tags[::-1]):
            history = History(store)
            assert {history.peel(tag) for tag in order} == {commit}
            assert len(reads) <= 3 * len(tags)
            reads.clear()
            selection = Selection(store, History(store), Filter(), lambda line: None)
            selection.add([commit], [])
            selection.add_tags((tag, commit) for tag in order)
            assert set(tags) < ids(selection)
            assert len(reads) <= 3 * len(tags)
            reads.clear()
