"""dulwich's clients and git's servers: clone, fetch and push, both repositories on reftables.

It asks for nothing that the oldest dulwich does not have.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from dulwich import porcelain
from dulwich.repo import Repo
from support.compare import assert_same_reflogs, assert_same_refs
from support.git import Git, requires_git
from support.git_remotes import KINDS, many_refs, serving

import dulwich_reftable as dr

pytestmark = [requires_git, pytest.mark.usefixtures("installed")]

WHO = b"U Ser <user@example.com>"
MAIN = b"refs/heads/main"


@pytest.fixture
def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A repository that git made."""
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", "reftable")
    return many_refs(tmp_path / "origin.git")


def check(repo: Repo) -> None:
    """Compare a repository with what git sees of it."""
    assert isinstance(repo.refs, dr.ReftableRefsContainer)
    git = Git(Path(repo.path))
    assert_same_refs(repo.refs, git)
    assert_same_reflogs(repo.refs, git)
    assert git.complaints() == b""


def test_stock_dulwich_sees_what_git_sees(origin: Git, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    origin.run("worktree", "add", "-q", "--detach", tree, "v1")
    with Repo(str(origin.path)) as repo:
        assert len(repo.refs.as_dict()) == 34
        assert repo.get_peeled(b"refs/tags/v2") == origin.run("rev-parse", "v2^{}").strip()
        check(repo)
    with Repo(str(tree)) as linked:
        assert linked.head() == origin.run("rev-parse", "v1^{}").strip()
        assert linked.refs[MAIN] == origin.run("rev-parse", "main").strip()


@pytest.mark.parametrize("kind", KINDS)
def test_clone_push_fetch(origin: Git, kind: str, tmp_path: Path) -> None:
    with (
        serving(origin, kind) as address,
        porcelain.clone(address, str(tmp_path / "clone")) as made,
    ):
        there = origin.for_each_ref()
        branches = {
            name.removeprefix(b"refs/heads/"): ref.value
            for name, ref in there.items()
            if name.startswith(b"refs/heads/")
        }
        found = made.refs.as_dict(b"refs/remotes/origin")
        found.pop(b"HEAD", None)
        assert found == branches
        assert made.refs[b"refs/tags/v2"] == there[b"refs/tags/v2"].value
        check(made)

        (tmp_path / "clone" / "file").write_text("text\n")
        porcelain.add(made, [str(tmp_path / "clone" / "file")])
        ours = porcelain.commit(made, b"ours", author=WHO, committer=WHO)
        made.refs[b"refs/tags/light"] = ours
        porcelain.push(made, address, ["refs/heads/main", "refs/tags/light"])
        porcelain.push(made, address, [":refs/heads/topic-07"])
        there = origin.for_each_ref()
        assert there[MAIN].value == there[b"refs/tags/light"].value == ours
        assert b"refs/heads/topic-07" not in there
        assert origin.complaints() == b""

        theirs = origin.run("commit-tree", "-m", "t", "-p", ours, f"{ours.decode()}^{{tree}}")
        origin.run("update-ref", MAIN, theirs.strip())
        porcelain.fetch(made, address)
        assert theirs.strip() in made.object_store
        check(made)
