"""Listings of refs that are kept for the next client: only what is still true, and only so much."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from dulwich.protocol import Protocol
from dulwich.refs import Ref
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.objects.reader import ObjectReader
from dulwich_reftable.repo import packed_refs
from dulwich_reftable.server import ref_advertisement
from dulwich_reftable.server.advertised_refs import AdvertisedRef
from dulwich_reftable.server.hidden_refs import HiddenRefs
from dulwich_reftable.server.kept_listings import KeptListings
from dulwich_reftable.server.pinned_refs import pin_refs


class Maker:
    """Makes listings, and counts them."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.begun = 0

    def __call__(self) -> Iterator[bytes]:
        self.begun += 1
        yield from self.pieces


def ask(kept: KeptListings, topic: object, state: object, make: Maker, keep: bool = True) -> None:
    """Ask for a listing, and check the answer."""
    assert tuple(kept.pieces(topic, state, make, lambda: keep)) == make.pieces


def test_a_listing_is_made_once_for_each_state() -> None:
    kept, make = KeptListings(), Maker(b"a", b"b")
    for state, begun in ((1, 1), (1, 1), (2, 2), (2, 2), (1, 3)):
        ask(kept, "topic", state, make)
        assert make.begun == begun
    ask(kept, "other", 1, make)
    assert make.begun == 4


def test_what_may_not_be_kept_is_made_anew() -> None:
    kept, make = KeptListings(), Maker(b"a")
    for begun in (1, 2):
        ask(kept, "topic", 1, make, keep=False)
        assert make.begun == begun


def test_a_large_listing_is_not_collected() -> None:
    kept = KeptListings()
    kept.largest = 10
    taken: list[int] = []

    def make() -> Iterator[bytes]:
        for number in range(9):
            taken.append(number)
            yield b"1234"

    pieces = iter(kept.pieces("topic", 1, make, lambda: True))
    next(pieces)
    assert len(taken) <= 4
    assert len(list(pieces)) == 8
    assert len(list(kept.pieces("topic", 1, make, lambda: True))) == 9
    assert kept._size == 0


def test_memory_is_bounded() -> None:
    kept = KeptListings()
    kept.most_bytes, kept.most = 100, 3
    large, small = Maker(b"1" * 40), Maker()
    for topic in (1, 2, 1, 3, 1):
        ask(kept, topic, 1, large)
    assert large.begun == 3  # 2 was asked for longest ago, and has gone
    assert (kept._size, set(kept._listings)) == (80, {1, 3})
    for topic in range(10, 20):
        ask(kept, topic, 1, small)
    assert (kept._size, set(kept._listings)) == (0, {17, 18, 19})


def test_an_error_is_not_kept() -> None:
    kept, make = KeptListings(), Maker(b"a")

    def fail() -> Iterator[bytes]:
        yield b"a"
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(kept.pieces("topic", 1, fail, lambda: True))
    ask(kept, "topic", 1, make)


def test_clients_at_once_wait_for_the_first() -> None:
    kept, make = KeptListings(), Maker(b"a", b"b")
    has_begun, may_end = threading.Event(), threading.Event()

    def slow() -> Iterator[bytes]:
        has_begun.set()
        assert may_end.wait(10)
        yield from make()

    answers: list[tuple[bytes, ...]] = []

    def client() -> None:
        answers.append(tuple(kept.pieces("topic", 1, slow, lambda: True)))

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert has_begun.wait(10)
    ask(kept, "other", 1, make)  # that one is not held up
    may_end.set()
    for thread in threads:
        thread.join(10)
    assert answers == [make.pieces] * 4
    assert make.begun == 2


@pytest.fixture(params=["reftable", "files"])
def git(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A repository, and no listings yet."""
    monkeypatch.setattr(ref_advertisement, "LISTINGS", KeptListings())
    monkeypatch.setattr(packed_refs, "_JUST_NOW", 0)
    git = Git.init(tmp_path / "git", ref_format=request.param)
    git.run("commit", "--quiet", "--allow-empty", "-m", "one")
    git.run("tag", "-a", "-m", "tag", "t")
    git.run("symbolic-ref", "refs/heads/sym", "refs/heads/main")
    return git


class Told:
    """Lists refs in all ways, each time as a client that comes anew."""

    def __init__(self, git: Git) -> None:
        self._path = str(git.path)
        self.is_kept = False

    def __call__(self, *hidden: bytes) -> bytes:
        """List them; sets :attr:`is_kept`."""
        written: list[bytes] = []
        proto = Protocol(lambda size: b"", written.append)
        with dr.Repo(self._path) as repo, ObjectReader(repo.object_store) as objects:
            refs = pin_refs(repo.refs, objects, HiddenRefs(hidden))
            scanned: list[bytes] = []
            scan = refs.refs

            def refs_below(prefix: bytes = b"") -> Iterator[list[AdvertisedRef]]:
                scanned.append(prefix)
                return scan(prefix)

            refs.refs = refs_below  # type: ignore[method-assign]
            for peel in (False, True):
                ref_advertisement.advertise(proto, refs, [b"x"], peel=peel, hex_size=40)
            for prefixes in ([], [b"refs/heads/", b"HEAD"], [b"refs/tags/"]):
                for peel, symrefs, unborn in product((False, True), repeat=3):
                    ref_advertisement.list_refs(
                        proto, refs, prefixes, peel=peel, symrefs=symrefs, unborn=unborn
                    )
            self.is_kept = not scanned
        return b"".join(written)


@requires_git
def test_what_is_kept_is_what_would_be_made(git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each change, the same is told as by a server that keeps nothing."""
    told = Told(git)
    changes = [
        (),
        ("tag", "light"),
        ("repack", "-adq"),
        ("symbolic-ref", "HEAD", "refs/heads/other"),  # unborn
        ("commit", "--quiet", "--allow-empty", "-m", "two"),
        ("pack-refs", "--all"),
        ("update-ref", "-d", "refs/tags/light"),
    ]
    for change in changes:
        if change:
            git.run(*change)
        for hidden in ((), (b"refs/heads",), (b"refs/heads", b"!refs/heads/main")):
            first = told(*hidden)
            if change[:1] != ("pack-refs",):  # which may find nothing to do
                assert not told.is_kept, change
            assert told(*hidden) == first
            assert told.is_kept, change
            with monkeypatch.context() as patch:
                patch.setattr(ref_advertisement, "LISTINGS", KeptListings())
                patch.setattr(KeptListings, "largest", -1)
                assert told(*hidden) == first


@requires_git
def test_a_ref_without_its_object_may_come_back(git: Git) -> None:
    told = Told(git)
    gone = git.run("commit-tree", "-m", "gone", "HEAD^{tree}").decode().strip()
    git.run("branch", "gone", gone)
    path = git.path / ".git" / "objects" / gone[:2] / gone[2:]
    content = path.read_bytes()
    path.unlink()
    assert b"gone" not in told()
    assert b"gone" not in told()
    path.write_bytes(content)
    assert b"gone" in told()


@requires_git
@pytest.mark.parametrize("git", ["reftable"], indirect=True)
def test_a_symref_into_another_worktree_is_not_kept(git: Git) -> None:
    other = git.path.parent / "other"
    git.run("worktree", "add", "--quiet", "--detach", str(other))
    with dr.Repo(str(git.path)) as repo:
        repo.refs.set_symbolic_ref(Ref(b"refs/heads/there"), Ref(b"worktrees/other/HEAD"))
    told = Told(git)
    before = told()
    git.run("-C", str(other), "commit", "--quiet", "--allow-empty", "-m", "there")
    tip = git.run("-C", str(other), "rev-parse", "HEAD").strip()
    assert tip not in before
    assert tip in told()


@requires_git
@pytest.mark.parametrize("git", ["files"], indirect=True)
def test_packed_refs_that_are_too_new_to_be_told_apart(
    git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    git.run("pack-refs", "--all")
    told = Told(git)
    for just_now, is_kept in ((1 << 62, False), (0, True)):
        monkeypatch.setattr(packed_refs, "_JUST_NOW", just_now)
        told()
        told()
        assert told.is_kept is is_kept


@requires_git
def test_what_nobody_else_asks_for_is_not_kept(git: Git) -> None:
    """These are refs hidden by the operator's rules, and many prefixes."""
    with dr.Repo(str(git.path)) as repo, ObjectReader(repo.object_store) as objects:
        hidden = HiddenRefs([]).beside({b"refs/heads/main"})
        assert pin_refs(repo.refs, objects, hidden).identity is None
        refs = pin_refs(repo.refs, objects, HiddenRefs([]))
        assert refs.identity is not None
        proto = Protocol(lambda size: b"", lambda data: None)
        for number in range(2, 50):
            prefixes = [b"%02d" % i + b"x" * 100 for i in range(number)]
            ref_advertisement.list_refs(proto, refs, prefixes, peel=True, symrefs=True, unborn=True)
    assert 10 < len(ref_advertisement.LISTINGS._listings) < 45
