"""Worktrees made by git and by dulwich, seen and changed by the other one."""

from __future__ import annotations

from pathlib import Path

import pytest
from dulwich import porcelain
from dulwich.repo import Repo
from dulwich.worktree import WorkTreeInfo
from support.compare import assert_same_reflogs, assert_same_refs
from support.git import Git, requires_git

import dulwich_reftable as dr

from .sides import WHO, Side, assert_no_strays

pytestmark = requires_git


def listed(side: Side) -> dict[str, WorkTreeInfo]:
    """What dulwich lists, by the names of the directories."""
    return {Path(info.path).name: info for info in porcelain.worktree_list(side.repo)}


def listed_by_git(side: Side) -> dict[str, tuple[bytes, bytes | None]]:
    """What git lists: commit and branch."""
    shown = {}
    for part in side.git.run("worktree", "list", "--porcelain").split(b"\n\n"):
        lines = dict(line.partition(b" ")[::2] for line in part.splitlines())
        if lines:
            name = Path(lines[b"worktree"].decode()).name
            shown[name] = (lines[b"HEAD"], lines.get(b"branch"))
    return shown


def assert_same_lists(side: Side) -> None:
    ours = {name: (info.head, info.branch) for name, info in listed(side).items()}
    assert ours == listed_by_git(side)


def test_made_by_dulwich(side: Side) -> None:
    first = side.git.run("rev-parse", "HEAD~1").strip()
    porcelain.worktree_add(side.repo, str(side.root / "new"), branch="new")
    porcelain.worktree_add(side.repo, str(side.root / "old"), commit=first)
    porcelain.worktree_add(side.repo, str(side.root / "loose"), detach=True)
    assert_same_lists(side)
    texts = {"new": "two", "old": "one", "loose": "two"}
    for name, text in texts.items():
        git = Git(side.root / name)
        assert git.run("status", "--porcelain") == b""
        assert (git.path / "a").read_text() == text
        assert git.complaints() == b""
        control = side.path / ".git" / "worktrees" / name
        assert (control / "reftable" / "tables.list").exists()
    assert listed(side)["old"].detached
    assert not listed(side)["new"].detached


def test_a_branch_that_is_checked_out(side: Side) -> None:
    for branch in ("main", "refs/heads/main"):
        with pytest.raises(ValueError, match="already checked out"):
            porcelain.worktree_add(side.repo, str(side.root / "new"), branch=branch)
    porcelain.worktree_add(side.repo, str(side.root / "new"), branch="new")
    with pytest.raises(ValueError, match="already checked out"):
        porcelain.worktree_add(side.repo, str(side.root / "again"), branch="new")


def test_made_by_git(side: Side) -> None:
    side.git.run("worktree", "add", "-q", "-b", "new", str(side.root / "new"))
    side.git.run("worktree", "add", "-q", "--detach", str(side.root / "loose"), "HEAD~1")
    assert_same_lists(side)
    for name in ("new", "loose"):
        git = Git(side.root / name)
        kind = dr.Repo if isinstance(side.repo, Repo) else Repo
        with kind(str(git.path)) as repo:
            assert isinstance(repo.refs, dr.ReftableRefsContainer)
            assert_same_refs(repo.refs, git)
            assert_same_reflogs(repo.refs, git)
            (git.path / "b").write_text(name)
            porcelain.add(repo, [str(git.path / "b")])
            porcelain.commit(repo, message=b"here", author=WHO, committer=WHO)
            porcelain.branch_create(repo, f"from-{name}", repo.head())
            assert_same_refs(repo.refs, git)
            assert_same_reflogs(repo.refs, git)
            assert [info.branch for info in repo.worktrees.list()] == [
                b"refs/heads/new" if name == "new" else None
            ]
        assert git.complaints() == b""
    assert_same_lists(side)
    assert side.git.run("log", "-1", "--format=%s", "from-loose") == b"here\n"


def test_refs_of_ones_own(side: Side) -> None:
    """Bisecting in a worktree leaves the others alone."""
    side.git.run("worktree", "add", "-q", "-b", "new", str(side.root / "new"))
    git = Git(side.root / "new")
    kind = dr.Repo if isinstance(side.repo, Repo) else Repo
    with kind(str(git.path)) as repo:
        porcelain.bisect_start(repo, "HEAD", "main")
        assert b"refs/bisect/bad" in git.for_each_ref()
        assert b"refs/bisect/bad" not in side.git.for_each_ref()
        assert_no_strays(side.path / ".git")
        porcelain.bisect_reset(repo)
        assert b"refs/bisect/bad" not in git.for_each_ref()


def test_removing_and_pruning(side: Side) -> None:
    for name in ("a1", "a2", "a3"):
        porcelain.worktree_add(side.repo, str(side.root / name), branch=name)
    porcelain.worktree_remove(side.repo, str(side.root / "a1"))
    side.git.run("worktree", "remove", str(side.root / "a2"))
    assert sorted(listed(side)) == ["a3", "work"]
    porcelain.worktree_lock(side.repo, str(side.root / "a3"), reason="no")
    assert b"locked no" in side.git.run("worktree", "list", "--porcelain")
    porcelain.worktree_unlock(side.repo, str(side.root / "a3"))
    porcelain.worktree_move(side.repo, str(side.root / "a3"), str(side.root / "a4"))
    assert_same_lists(side)
    (side.root / "a4").rename(side.root / "lost")
    assert listed(side)["a4"].prunable
    assert porcelain.worktree_prune(side.repo) == ["a3"]
    assert_same_lists(side)
    # The same name again: a new stack in the place of the old one.
    porcelain.worktree_add(side.repo, str(side.root / "a3"), branch="a5")
    assert listed(side)["a3"].branch == b"refs/heads/a5"
    assert_same_lists(side)


def test_opening_a_listed_worktree(side: Side) -> None:
    porcelain.worktree_add(side.repo, str(side.root / "new"), branch="new")
    opened = listed(side)["new"].open()
    (side.root / "new" / "b").write_text("x")
    opened.stage(["b"])
    made = opened.commit(b"there", author=WHO, committer=WHO)
    opened._repo.close()
    assert Git(side.root / "new").run("rev-parse", "new").strip() == made


def test_temporary_worktree(side: Side) -> None:
    with side.opened() as repo:
        added = repo.worktrees.add(str(side.root / "tmp"), detach=True)
        assert isinstance(added.refs, dr.ReftableRefsContainer)
        assert added.refs.read_ref(b"HEAD") == repo.head()
        added.close()
        repo.worktrees.remove(str(side.root / "tmp"))
        assert [info.path for info in repo.worktrees] == [str(side.path)]
