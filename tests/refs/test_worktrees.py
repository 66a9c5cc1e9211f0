"""Linked work trees: HEAD, refs/bisect, refs/worktree and refs/rewritten are each one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.compare import assert_same_reflogs, assert_same_refs
from support.git import Git, requires_git
from support.pool import ObjectPool
from support.versions import SHA256

import dulwich_reftable as dr

pytestmark = requires_git

OWN = [b"refs/bisect/bad", b"refs/worktree/mark", b"refs/rewritten/onto"]


@dataclass
class Trees:
    """A repository with its main work tree and two linked ones, each of them opened."""

    git: dict[str, Git]
    refs: dict[str, dr.ReftableRefsContainer]
    repos: dict[str, dr.Repo]
    pool: ObjectPool

    def check(self) -> None:
        """Compare each work tree's view with git's in the same place."""
        for name, git in self.git.items():
            assert_same_refs(self.refs[name], git)
            assert_same_reflogs(self.refs[name], git)


@pytest.fixture(params=["sha1", SHA256])
def trees(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    open_repo: Callable[[Path], dr.Repo],
    pool_of: Callable[[str], ObjectPool],
) -> Trees:
    """Make them with git: ``one`` on a branch of its own, ``two`` with a detached HEAD."""
    pool = pool_of(request.param)
    main = Git.init(tmp_path / "main", object_format=request.param)
    pool.lend(main.git_dir)
    main.update_ref_stdin(
        [b"update HEAD %s" % pool.commits[0], b"create refs/heads/topic %s" % pool.commits[1]], b"m"
    )
    main.run("worktree", "add", "--quiet", "-b", "one", tmp_path / "one", "topic")
    main.run("worktree", "add", "--quiet", "--detach", tmp_path / "two", pool.commits[2])
    gits = {name: Git(tmp_path / name, request.param) for name in ("main", "one", "two")}
    for at, git in enumerate(gits.values()):
        lines = [b"create %s %s" % (name, pool.commits[10 + at]) for name in OWN]
        git.update_ref_stdin(lines, b"own", git.date(1_650_000_000 + at, 3600))
    gits["two"].run("update-ref", "-d", "refs/rewritten/onto")
    repos = {name: open_repo(git.path) for name, git in gits.items()}
    return Trees(gits, {name: repo.refs for name, repo in repos.items()}, repos, pool)


def test_each_sees_its_own(trees: Trees) -> None:
    trees.check()
    commits = trees.pool.commits
    assert trees.refs["main"].read_ref(b"HEAD") == b"ref: refs/heads/main"
    assert trees.refs["one"].read_ref(b"HEAD") == b"ref: refs/heads/one"
    assert trees.refs["two"].read_ref(b"HEAD") == commits[2]
    assert [trees.refs[name][b"refs/bisect/bad"] for name in trees.refs] == commits[10:13]
    assert b"refs/rewritten/onto" not in trees.refs["two"]
    for refs in trees.refs.values():
        assert refs[b"refs/heads/topic"] == commits[1]


def test_iterating_merges_both_stacks(trees: Trees) -> None:
    for refs in trees.refs.values():
        names = [name for name, _ in refs.iter_refs()]
        assert names == sorted(names)
        assert dict(refs.iter_refs(b"refs/")) == {
            name: refs.read_ref(name) for name in names if name.startswith(b"refs/")
        }
        assert refs.subkeys(b"refs/worktree") == {b"mark"}


def test_names_that_reach_across(trees: Trees) -> None:
    for place in trees.git:
        for target, prefix in [
            ("main", b"main-worktree/"),
            ("one", b"worktrees/one/"),
            ("two", b"worktrees/two/"),
        ]:
            for name in [b"HEAD", *OWN]:
                expected = trees.refs[target].read_ref(name)
                assert trees.refs[place].read_ref(prefix + name) == expected
            git_says = trees.git[place].run("rev-parse", prefix + b"HEAD").strip()
            assert trees.refs[place][prefix + b"HEAD"] == git_says
    for nowhere in (b"none", b"", b".", b".."):
        assert trees.refs["one"].read_ref(b"worktrees/" + nowhere + b"/HEAD") is None


def test_reflogs_across(trees: Trees) -> None:
    for target, prefix in [("main", b"main-worktree/"), ("two", b"worktrees/two/")]:
        there = list(trees.refs[target].read_reflog(b"HEAD"))
        assert there
        assert list(trees.refs["one"].read_reflog(prefix + b"HEAD")) == there


def test_objects_are_found_in_both_stacks(trees: Trees) -> None:
    commits = trees.pool.commits
    assert sorted(trees.refs["one"].refs_for_object(commits[11])) == sorted(OWN)
    assert sorted(trees.refs["two"].refs_for_object(commits[1])) == [
        b"refs/heads/one",
        b"refs/heads/topic",
    ]
    assert list(trees.refs["two"].refs_for_object(commits[2])) == [b"HEAD"]
    assert list(trees.refs["main"].refs_for_object(commits[2])) == []


def test_writing_where_it_belongs(trees: Trees) -> None:
    commits = trees.pool.commits
    about: dict[str, Any] = {
        "committer": b"W <w@example.com>",
        "timestamp": 1_660_000_000,
        "timezone": -3600,
    }
    one = trees.refs["one"]
    assert one.set_if_equals(b"HEAD", commits[1], commits[20], message=b"commit: x", **about)
    assert one.add_if_new(b"refs/worktree/new", commits[21], message=b"new", **about)
    assert one.remove_if_equals(b"refs/bisect/bad", commits[11])
    one.set_symbolic_ref(b"refs/worktree/link", b"refs/heads/topic", message=b"link", **about)
    trees.refs["two"][b"refs/heads/shared"] = commits[22]
    trees.check()
    assert trees.refs["main"][b"refs/heads/one"] == commits[20]
    assert trees.refs["two"][b"refs/heads/one"] == commits[20]
    assert b"refs/worktree/new" not in trees.refs["main"]
    assert trees.refs["main"][b"refs/bisect/bad"] == commits[10]
    # Its branch and its HEAD log the commit, the other work trees' HEADs do not.
    for name in (b"HEAD", b"refs/heads/one"):
        assert next(iter(one.read_reflog(name, newest_first=True))).message == b"commit: x"
    for other in ("main", "two"):
        head = trees.refs[other].read_reflog(b"HEAD")
        assert b"commit: x" not in [entry.message for entry in head]
    assert trees.git["one"].complaints() == b""


def test_transaction_over_both_stacks(trees: Trees) -> None:
    commits = trees.pool.commits
    one = trees.refs["one"]
    with one.transaction(message=b"both", committer=b"B <b@example.com>", timestamp=9) as both:
        both.update(b"refs/heads/one", commits[30], commits[1])
        both.create(b"refs/heads/fresh", commits[31])
        both.delete(b"refs/worktree/mark", commits[11])
        both.create(b"refs/bisect/good", commits[32])
        both.verify(b"refs/heads/topic", commits[1])
    trees.check()
    assert one[b"HEAD"] == commits[30]
    assert next(iter(one.read_reflog(b"HEAD", newest_first=True))).message == b"both"


def update_all(refs: dr.ReftableRefsContainer, new: bytes, expected: dict[bytes, bytes]) -> None:
    """Set all refs in one transaction that expects their old values."""
    with refs.transaction() as transaction:
        for name, old in expected.items():
            transaction.update(name, new, old)


@pytest.mark.parametrize("wrong", [b"refs/heads/one", b"refs/bisect/bad"])
def test_refused_in_one_stack_means_in_both(trees: Trees, wrong: bytes) -> None:
    commits = trees.pool.commits
    one = trees.refs["one"]
    before = dict(one.iter_refs())
    tables = [path for git in trees.git.values() for path in git.tables()]
    expected = {name: before[name] for name in (b"refs/heads/one", b"refs/bisect/bad")}
    expected[wrong] = commits[99]
    with pytest.raises(dr.TransactionError, match=wrong.decode()):
        update_all(one, commits[30], expected)
    assert dict(one.iter_refs()) == before
    assert [path for git in trees.git.values() for path in git.tables()] == tables


def test_git_moves_a_work_trees_head_under_us(trees: Trees) -> None:
    commits = trees.pool.commits
    for name, refs in trees.refs.items():
        refs.read_ref(b"HEAD")
        trees.git[name].run("symbolic-ref", "HEAD", f"refs/heads/of-{name}")
        trees.git[name].run("update-ref", "-m", "born", "HEAD", commits[40])
    trees.check()
    for name, refs in trees.refs.items():
        assert refs.follow(b"HEAD") == ([b"HEAD", b"refs/heads/of-" + name.encode()], commits[40])


@pytest.mark.parametrize("own", ["main", "one"])
def test_reflogs_of_all_worktrees_are_listed_by_their_names_in_this_one(
    trees: Trees, own: str
) -> None:
    found = list(trees.refs[own].reflogs(all_worktrees=True))
    assert len(found) == len(set(found))
    assert {*trees.refs[own].reflogs()} <= {*found}
    prefixes = {"main": b"main-worktree/", "one": b"worktrees/one/", "two": b"worktrees/two/"}
    for name, prefix in prefixes.items():
        at_hand = b"" if name == own else prefix
        heads = {at_hand + log for log in trees.refs[name].reflogs() if log == b"HEAD"}
        assert heads == {at_hand + b"HEAD"}
        assert heads <= {*found}
    for log in found:
        assert trees.refs[own].reflog_exists(log)
