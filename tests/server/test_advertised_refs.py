"""What a server works out from refs and history, without a client."""

from __future__ import annotations

import random
import re
from binascii import a2b_hex
from pathlib import Path

import pytest
from dulwich.protocol import Protocol
from dulwich.refs import DiskRefsContainer, Ref
from support.git import Git, requires_git
from support.memory import measured

import dulwich_reftable as dr
from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.objects.reader import ObjectReader
from dulwich_reftable.server.hidden_refs import HiddenRefs
from dulwich_reftable.server.history import History, is_ancestor, is_reachable
from dulwich_reftable.server.kept_listings import KeptListings
from dulwich_reftable.server.pinned_refs import pin_refs
from dulwich_reftable.server.ref_advertisement import advertise, list_refs
from dulwich_reftable.server.upload_pack.shallow import cut_by_depth, cut_by_revisions

pytestmark = requires_git


@pytest.fixture
def served() -> tuple[str, str]:
    """Serve nothing; refs are in reftables only."""
    return "", "reftable"


def test_listing_many_refs_takes_little_memory(
    origin: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than a few blocks, however many there are, if they are too many to be kept."""
    monkeypatch.setattr(KeptListings, "largest", 1 << 16)
    count = 12_000
    sizes = []
    with dr.Repo(str(origin.path)) as repo:
        tip = repo.refs[b"refs/heads/main"]
        with repo.refs.transaction() as transaction:
            for number in range(count):
                transaction.create(b"refs/changes/%02d/%d/1" % (number % 100, number), tip)
        for hidden in (HiddenRefs([]), HiddenRefs([b"refs/heads", b"!refs/heads/main"])):
            proto = Protocol(lambda size: b"", lambda data: sizes.append(len(data)))
            advertised = pin_refs(repo.refs, ObjectReader(repo.object_store), hidden)
            with measured() as memory:
                advertise(proto, advertised, [b"x"], peel=True, hex_size=40)
                list_refs(proto, advertised, [], peel=True, symrefs=True, unborn=True)
            assert sum(sizes) > 2 * count * 60
            assert max(sizes) < 1 << 17
            assert memory.peak < 1 << 20
            sizes.clear()


@pytest.mark.parametrize("ref_format", ["reftable", "files"])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_refs_are_looked_up_by_chunks(
    tmp_path: Path, ref_format: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of objects of all kinds, in packs and outside, the same is told as by git."""
    for room in ("snapshot_refs", "copied_refs"):
        monkeypatch.setattr(f"dulwich_reftable.server.{room}.CHUNK", size)
    monkeypatch.setattr("dulwich_reftable.repo.packed_refs._PIECE", size)
    git = Git.init(tmp_path / "mixed", ref_format=ref_format)
    git.run("commit", "--quiet", "--allow-empty", "-m", "one")
    git.run("tag", "-a", "-m", "packed", "b-packed")
    git.run("tag", "-a", "-m", "packed", "d-of-tag", "b-packed")
    git.run("update-ref", "refs/notes/tag", "refs/tags/d-of-tag")
    git.run("update-ref", "refs/changes/tree", "HEAD^{tree}")
    git.run("repack", "-adq")
    git.run("commit", "--quiet", "--allow-empty", "-m", "two")
    git.run("tag", "-a", "-m", "loose", "a-loose")
    git.run("tag", "c-light")
    git.run("symbolic-ref", "refs/tags/e-sym", "refs/tags/c-light")
    git.run("branch", "gone", git.run("commit-tree", "-m", "gone", "HEAD^{tree}").strip())
    gone = git.run("rev-parse", "gone").decode().strip()
    (git.path / ".git" / "objects" / gone[:2] / gone[2:]).unlink()
    written: list[bytes] = []
    proto = Protocol(lambda size: b"", written.append)
    with dr.Repo(str(git.path)) as repo, ObjectReader(repo.object_store) as objects:
        advertised = pin_refs(repo.refs, objects, HiddenRefs([b"refs/heads/nothing"]))
        advertise(proto, advertised, [b"x"], peel=True, hex_size=40)
    told = re.findall(rb"([0-9a-f]{40}) ([^\0\n]+)", b"".join(written))
    # git does not look whether the objects exist, and nobody can clone such a repository from it.
    listed = git.run("ls-remote", ".").splitlines()
    expected = [line for line in listed if not line.endswith(b"/gone")]
    assert len(expected) < len(listed)
    assert [b"%s\t%s" % pair for pair in told] == expected


def test_ref_in_files_that_is_deleted_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody deletes a ref after names are listed and before values are read."""
    git = Git.init(tmp_path / "files", ref_format="files")
    git.run("commit", "--quiet", "--allow-empty", "-m", "one")
    git.run("symbolic-ref", "refs/heads/sym", "refs/heads/main")
    with dr.Repo(str(git.path)) as repo:
        names = repo.refs.allkeys()
        monkeypatch.setattr(repo.refs, "allkeys", lambda: {*names, b"refs/heads/gone"})
        advertised = pin_refs(repo.refs, ObjectReader(repo.object_store), HiddenRefs([]))
        refs = [ref for chunk in advertised.refs() for ref in chunk]
    assert [(ref.name, ref.target) for ref in refs] == [
        (b"refs/heads/main", None),
        (b"refs/heads/sym", b"refs/heads/main"),
    ]


def test_symrefs_in_files_that_turn_in_a_circle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds even if the circle is closed while the refs are read."""
    git = Git.init(tmp_path / "files", ref_format="files")
    git.run("commit", "--quiet", "--allow-empty", "-m", "one")
    git.run("symbolic-ref", "refs/x/one", "refs/x/two")
    git.run("symbolic-ref", "refs/x/two", "refs/heads/main")
    with dr.Repo(str(git.path)) as repo:
        stored = DiskRefsContainer.read_loose_ref

        def read(refs: DiskRefsContainer, name: Ref) -> bytes | None:
            if name == b"refs/x/two":
                git.run("symbolic-ref", "refs/x/two", "refs/x/one")
            return stored(refs, name)

        monkeypatch.setattr(DiskRefsContainer, "read_loose_ref", read)
        advertised = pin_refs(repo.refs, ObjectReader(repo.object_store), HiddenRefs([]))
        assert [ref.name for chunk in advertised.refs() for ref in chunk] == [b"refs/heads/main"]
        assert advertised.find(b"refs/x/one") is None
        assert list(advertised.tips()) == [git.run("rev-parse", "main").strip()] * 2
        # The copy says what was read, even if the refs change afterwards.
        git.run("symbolic-ref", "HEAD", "refs/x/one")
        git.run("update-ref", "-d", "refs/heads/main")
        head = advertised.head()
        assert head is not None
        assert head.target == b"refs/heads/main"


def test_prefixes_are_sought(origin: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan reads neither refs that nobody asked for nor hidden ones."""
    with dr.Repo(str(origin.path)) as repo:
        tip = repo.refs[b"refs/heads/main"]
        names = [b"refs/%s/%04d" % (kind, i) for kind in (b"a", b"m", b"z") for i in range(2000)]
        with repo.refs.transaction() as transaction:
            for name in names:
                transaction.create(name, tip)
        repo.refs.compact()
        advertised = pin_refs(
            repo.refs, ObjectReader(repo.object_store), HiddenRefs([b"refs/m", b"refs/m/1"])
        )
        scanned: list[tuple[bytes, bytes | None]] = []
        snapshot = type(repo.refs.store.shared.snapshot())
        scan = snapshot.ref_records

        def noted(self: object, start: bytes, stop: bytes | None) -> object:
            scanned.append((start, stop))
            return scan(self, start, stop)  # type: ignore[arg-type]

        monkeypatch.setattr(snapshot, "ref_records", noted)
        found = [ref.name for chunk in advertised.refs(b"refs/z/01") for ref in chunk]
        assert found == [name for name in names if name.startswith(b"refs/z/01")]
        assert scanned == [(b"refs/z/01", b"refs/z/02")]
        scanned.clear()
        assert not [ref for chunk in advertised.refs(b"refs/m/") for ref in chunk]
        assert not [ref for chunk in advertised.refs(b"nothing") for ref in chunk]
        assert not scanned
        found = [ref.name for chunk in advertised.refs() for ref in chunk]
        assert len(found) == 4002
        assert scanned == [(b"refs/", b"refs/m/"), (b"refs/m0", b"refs0")]


def test_history(tmp_path: Path) -> None:
    """A random history with merges, and times that are in no order; git's walk is the judge."""
    git = Git.init(tmp_path / "r.git", bare=True)
    draw = random.Random(11)
    text = []
    for mark in range(1, 41):
        time = 10**9 + 1000 * mark + draw.randrange(3000)
        parents = sorted(draw.sample(range(1, mark), min(mark - 1, draw.choice((1, 1, 1, 2, 3)))))
        text.append(b"commit refs/heads/c%d\nmark :%d\ncommitter A <a> %d +0000\ndata 0\n" % (
            mark, mark, time,
        ))  # fmt: skip
        for role, parent in zip((b"from", b"merge", b"merge"), parents[::-1], strict=False):
            text.append(b"%s :%d\n" % (role, parent))
        text.append(b"\n")
    git.run("fast-import", "--quiet", stdin=b"".join(text))
    tips = [git.run("rev-parse", f"c{mark}").strip() for mark in range(1, 41)]
    below = {tip: set(git.run("rev-list", tip).split()) for tip in tips}
    with dr.Repo(str(git.path)) as repo:
        store = repo.object_store
        for _ in range(100):
            starts, goals = draw.sample(tips, draw.choice((1, 2))), draw.sample(tips, 2)
            assert is_ancestor(store, starts[0], goals[0]) == (starts[0] in below[goals[0]])
            assert is_reachable(store, starts, goals) == all(
                any(start in below[goal] for goal in goals) for start in starts
            )
        assert not is_reachable(store, [b"1" * 40], tips)
        assert not is_ancestor(store, b"1" * 40, tips[-1])
        for _ in range(30):
            wants, haves = draw.sample(tips, draw.choice((1, 2, 3))), draw.sample(tips, 2)
            since = draw.choice((None, 10**9 + draw.randrange(45_000)))
            listed, edges = History(store).newer(wants, haves, since)
            args = [f"^{oid.decode()}" for oid in haves] + [oid.decode() for oid in wants]
            if since is not None:
                args.append(f"--max-age={since}")
            assert set(listed) == set(git.run("rev-list", *args).split())
            assert len(listed) == len(set(listed))
            told = {parent for oid in listed for parent in History(store).parents(oid)}
            assert edges == told - set(listed)
        edge, inner = cut_by_revisions(History(store), tips[-1:], None, [tips[12]])
        assert edge | inner == below[tips[-1]] - below[tips[12]]
        assert edge.isdisjoint(inner)
        depths = {tips[-1]: 1}
        for tip in git.run("rev-list", "--topo-order", "--parents", tips[-1]).splitlines():
            child, *parents_of = tip.split()
            for above in parents_of:
                depths[above] = min(depths.get(above, 99), depths[child] + 1)
        for depth in range(1, 8):
            edge, inner = cut_by_depth(History(store), tips[-1:], depth)
            assert edge == {oid for oid in depths if depths[oid] == depth}
            assert inner == {oid for oid in depths if depths[oid] < depth}


def test_names_that_would_break_lines_are_not_shown(origin: Git) -> None:
    """A table that somebody made up; nobody can push such names."""
    with dr.Repo(str(origin.path)) as repo:
        stack = repo.refs.store.shared
        tip = a2b_hex(repo.refs[b"refs/heads/main"])
        with stack.addition() as addition:
            names = [b"refs/heads/a\nb", b"refs/heads/c\0d", b"refs/heads/e f"]
            index = addition.next_update_index
            addition.write([RefRecord(name, index, tip) for name in names], [])
            addition.commit()
        advertised = pin_refs(repo.refs, ObjectReader(repo.object_store), HiddenRefs([]))
        found = [ref.name for chunk in advertised.refs() for ref in chunk]
        assert found == [b"refs/heads/main", b"refs/tags/v1"]
        with stack.addition() as addition:
            index = addition.next_update_index
            addition.write([RefRecord(name, index) for name in names], [])
            addition.commit()
