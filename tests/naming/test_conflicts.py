"""Refs in each other's way are found, whatever stands between them, and at a bounded cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.naming.conflicts import ListedRefs, existing_conflicts

A, B = b"a" * 40, b"b" * 40
ZERO = b"0" * 40

# Bytes that sort around the slash, so that neighbours stand between a ref and what is below it.
parts = st.text("a-/0", min_size=1, max_size=6).map(str.encode)
names = parts.map(lambda part: b"refs/" + part).filter(
    lambda name: b"//" not in name and not name.endswith(b"/")
)


def collide(one: bytes, other: bytes) -> bool:
    """Tell whether one of two refs would be a directory of the other."""
    return one.startswith(other + b"/") or other.startswith(one + b"/")


def expected(new: Sequence[bytes], standing: Sequence[bytes]) -> list[tuple[bytes, bool]]:
    """Tell of each new ref whether it collides."""
    return [(name, any(collide(name, other) for other in standing)) for name in new]


class Counting(ListedRefs):
    """A list of refs that counts the seeks."""

    seeks = 0

    def first_in(self, start: bytes, stop: bytes) -> bytes | None:
        self.seeks += 1
        return super().first_in(start, stop)


@given(st.sets(names, max_size=12), st.sets(names, max_size=12))
def test_all_that_collide_are_found(new: set[bytes], others: set[bytes]) -> None:
    created, standing = sorted(new - others), sorted(others)
    found = dict(existing_conflicts(created, ListedRefs(standing)))
    assert [(name, name in found) for name in created] == expected(created, standing)
    for name, other in found.items():
        assert other in others
        assert collide(name, other)


@given(st.sets(names, max_size=12), st.sets(names, max_size=12))
def test_those_that_exist_are_found(new: set[bytes], others: set[bytes]) -> None:
    standing = {name for name in others if not any(collide(name, other) for other in others)}
    found = dict(existing_conflicts(sorted(new | standing), ListedRefs(sorted(standing))))
    assert {name for name, other in found.items() if name == other} == standing
    collides = dict(expected(sorted(new), sorted(standing)))
    assert {name for name in found if name not in standing} == {
        name for name in new if collides[name]
    }


@given(st.sets(names, max_size=8), st.sets(names, max_size=20), st.data())
def test_deep_names_cost_no_more_than_what_is_there(
    new: set[bytes], others: set[bytes], data: st.DataObject
) -> None:
    """A seek for a name passes over at least one ref, or is the last one for it."""
    depth = data.draw(st.integers(0, 500))
    created = sorted(name + b"/a" * depth for name in new - others)
    counting = Counting(sorted(others))
    assert len(list(existing_conflicts(created, counting))) <= len(created)
    assert counting.seeks <= len(created) * (len(others) + 1)


def test_long_names_that_have_nothing_in_their_way() -> None:
    created = sorted(b"refs/%d" % at + b"/a" * 30_000 for at in range(20))
    counting = Counting([b"refs/heads/main", b"refs/5/a/a/a!", b"refs/5/a/a0"])
    assert list(existing_conflicts(created, counting)) == []
    assert counting.seeks <= 3 * len(created)


def test_random_stacks(refs: dr.ReftableRefsContainer) -> None:
    """Refs that are there, in one of several tables, deleted before, or deleted by the same."""

    @settings(max_examples=40, deadline=None)
    @given(st.sets(names, max_size=8), st.sets(names, max_size=8), st.sets(names, max_size=8))
    def check(kept: set[bytes], gone: set[bytes], new: set[bytes]) -> None:
        kept = {a for a in kept if not any(collide(a, b) for b in kept)}
        before = {a for a in gone - kept if not any(collide(a, b) for b in kept | gone)}
        created = sorted(new - kept - before)
        with refs.transaction() as transaction:
            for name in {name for name, _ in refs.iter_refs()} - kept - {b"HEAD"}:
                transaction.delete(name)
            for name in kept:
                transaction.update(name, A)
        with refs.transaction() as transaction:
            for name in before:
                transaction.create(name, A)
        transaction = refs.transaction()
        for name in before:
            transaction.delete(name)
        for name in created:
            transaction.create(name, B)
        among = any(collide(a, b) for a in created for b in created)
        if among or any(collides for _, collides in expected(created, sorted(kept))):
            with pytest.raises(dr.RefConflictError) as caught:
                transaction.commit()
            assert collide(caught.value.ref, caught.value.other)
            assert caught.value.ref in created
        else:
            transaction.commit()
            assert set(created) <= refs.allkeys()

    check()


@pytest.mark.parametrize("block_size", [200, 4096])
def test_the_first_ref_of_the_next_block_is_in_the_way(tmp_path: Path, block_size: int) -> None:
    """Where a block ends between a name and what is below it, the next one has to be asked."""
    made = dr.Repo.init_bare(tmp_path / "repo", mkdir=True)
    config = made.get_config()
    config.set((b"reftable",), b"blockSize", str(block_size).encode())
    config.set((b"core",), b"fsync", b"none")
    config.write_to_path()
    made.close()
    with dr.Repo(str(tmp_path / "repo")) as repo:
        directories = [b"refs/heads/q%02d" % at for at in range(20)]
        with repo.refs.transaction() as transaction:
            for name in directories:
                transaction.create(name + b"/deep", A)
        for name in directories:
            with pytest.raises(dr.RefConflictError):
                repo.refs[name] = A
            with pytest.raises(dr.RefConflictError):
                repo.refs[name + b"/deep/er"] = A


@pytest.mark.parametrize("many", [3, 200])
def test_many_that_do_not_count(refs: dr.ReftableRefsContainer, many: int) -> None:
    """Deleted refs, however many they are, hide neither what is there nor that nothing is."""
    below = [b"refs/heads/dir/%03d" % at for at in range(many)]
    with refs.transaction() as transaction:
        for name in below:
            transaction.create(name, A)
    refs[b"refs/heads/dir/z"] = A
    with refs.transaction() as transaction:
        for name in below[::2]:
            transaction.delete(name)
    transaction = refs.transaction()
    for name in below[1::2]:
        transaction.delete(name)
    transaction.create(b"refs/heads/dir", B)
    with pytest.raises(dr.RefConflictError) as caught:
        transaction.commit()
    assert caught.value.other == b"refs/heads/dir/z"
    with refs.transaction() as transaction:
        for name in (*below[1::2], b"refs/heads/dir/z"):
            transaction.delete(name)
        transaction.create(b"refs/heads/dir", B)
    assert refs[b"refs/heads/dir"] == B


# -- what a worktree sees

LINKED, MAIN = "linked", "main"


SEEN = [
    [(LINKED, b"refs/worktree/w1"), (LINKED, b"refs/worktree")],
    [(LINKED, b"refs/worktree"), (LINKED, b"refs/worktree/w1")],
    [(LINKED, b"refs/bisect/bad"), (LINKED, b"refs/bisect")],
    [(MAIN, b"refs/worktree/w1"), (LINKED, b"refs/worktree/w1/x")],
    [(MAIN, b"refs/worktree/w1"), (MAIN, b"refs/worktree")],
    [(MAIN, b"refs/worktree/w1"), (LINKED, b"refs/worktree")],
    [(LINKED, b"refs/worktree/w1"), (MAIN, b"refs/worktree")],
    [(LINKED, b"refs/rewritten/a"), (LINKED, b"refs/rewritten/a/b")],
    [(LINKED, b"refs/rewritten/a"), (LINKED, b"refs/rewritten-a/b")],
    [(LINKED, b"refs/heads/x"), (LINKED, b"refs/heads/x/y"), (MAIN, b"refs/heads/x/z")],
    [(LINKED, b"main-worktree/refs/worktree/a"), (LINKED, b"refs/worktree/a/b")],
]


@requires_git
def test_worktrees_as_git_sees_them(tmp_path: Path, open_repo: Callable[[Path], dr.Repo]) -> None:
    git = Git.init(tmp_path / "git")
    git.run("commit", "-q", "--allow-empty", "-m", "one")
    commit = git.run("rev-parse", "HEAD").strip()
    git.run("worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    gits = {MAIN: git, LINKED: Git(tmp_path / "linked")}
    repos = {side: open_repo(one.path) for side, one in gits.items()}

    def by_git(side: str, name: bytes) -> bool:
        return gits[side].start(["update-ref", name, commit], b"", None).returncode == 0

    def by_us(side: str, name: bytes) -> bool:
        try:
            repos[side].refs[name] = commit
        except dr.RefConflictError:
            return False
        return True

    for steps in SEEN:
        outcomes = []
        for create in (by_git, by_us):
            outcomes.append([create(side, name) for side, name in steps])
            for repo in repos.values():
                for name in repo.refs.allkeys() - {b"HEAD", b"refs/heads/main"}:
                    del repo.refs[name]
        assert outcomes[0] == outcomes[1], steps


def test_one_transaction_in_both_stacks_of_a_worktree(repo: dr.Repo, tmp_path: Path) -> None:
    git_dir = Path(repo.commondir()) / "worktrees" / "linked"
    git_dir.mkdir(parents=True)
    refs = dr.ReftableRefsContainer(repo.commondir(), worktree_path=str(git_dir))
    transaction = refs.transaction()
    transaction.create(b"refs/worktree", A)
    transaction.create(b"refs/worktree/a", A)
    with pytest.raises(dr.RefConflictError):
        transaction.commit()
    refs[b"refs/worktree/a"] = A
    with refs.transaction() as transaction:
        transaction.create(b"refs/worktree", A)
        transaction.delete(b"refs/worktree/a")
    assert refs.subkeys(b"refs") == {b"worktree"}
    with pytest.raises(dr.RefConflictError):
        refs[b"refs/worktree/b"] = A
    refs.close()
