"""Copies of what git makes: symrefs, reflogs, worktrees, alternates, shallow and whole history."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.git import Git, requires_git

pytest.importorskip("obstore", reason="obstore is not installed")

from copying.test_copy import FORMATS, place
from dulwich_reftable.copying import copy_repository

pytestmark = requires_git

QUESTIONS = (
    ("for-each-ref", "--format=%(refname) %(objectname) %(symref) %(*objectname)"),
    ("reflog", "list"),
    ("reflog", "show", "--format=%gd %H %gs %gn %ge", "--date=raw", "main"),
    ("rev-list", "--objects", "--all"),
    ("symbolic-ref", "HEAD"),
)


def grow(git: Git, *messages: str) -> None:
    for message in messages:
        (git.path / "file").write_text(f"{message}\n" * 100)
        git.run("add", "file")
        git.run("commit", "--quiet", "-m", message)


def answers(git: Git) -> list[bytes]:
    return [git.run(*words) for words in QUESTIONS]


def copied(source: Path, tmp_path: Path) -> tuple[Git, list[str]]:
    """Copy up and down again; give what came down, and what was told on the way."""
    bucket = place()
    notes = copy_repository(source, bucket).notes
    copy_repository(bucket, tmp_path / "down")
    return Git(tmp_path / "down"), notes


@pytest.mark.parametrize("object_format", FORMATS)
def test_symrefs_reflogs_alternates_and_worktrees(tmp_path: Path, object_format: str) -> None:
    first = Git.init(tmp_path / "first", object_format=object_format)
    grow(first, "one", "two")
    Git(tmp_path).run("clone", "--quiet", "--shared", "--no-tags", first.path, tmp_path / "second")
    git = Git(tmp_path / "second")
    grow(git, "three")
    git.run("tag", "-a", "-m", "tagged", "v1", "main~1")
    git.run("tag", "-a", "-m", "twice", "v2", "v1")
    git.run("symbolic-ref", "refs/heads/alias", "refs/heads/main")
    git.run("symbolic-ref", "refs/heads/dangling", "refs/heads/nothing")
    git.run("worktree", "add", "--quiet", "-b", "side", tmp_path / "side")
    git.run("update-ref", "--create-reflog", "-m", "note", "refs/remotes/x/y", "main")
    down, notes = copied(git.path, tmp_path)
    assert answers(down) == answers(git)
    assert any("linked worktrees" in note for note in notes)
    assert not (down.path / "objects" / "info" / "alternates").exists()
    from_side = place()
    copy_repository(tmp_path / "side", from_side)
    copy_repository(from_side, tmp_path / "other")
    assert answers(Git(tmp_path / "other"))[0] == answers(git)[0]


def test_a_shallow_repository_and_then_its_whole_history(tmp_path: Path) -> None:
    first = Git.init(tmp_path / "first")
    grow(first, "one", "two", "three")
    url = first.path.as_uri()
    Git(tmp_path).run("clone", "--quiet", "--depth=1", url, tmp_path / "second")
    git = Git(tmp_path / "second")
    bucket = place()
    copy_repository(git.path, bucket)
    copy_repository(bucket, tmp_path / "down")
    down = Git(tmp_path / "down")
    assert answers(down) == answers(git)
    assert down.run("rev-parse", "--is-shallow-repository") == b"true\n"
    git.run("fetch", "--quiet", "--unshallow")
    copy_repository(git.path, bucket, update=True)
    copy_repository(bucket, tmp_path / "down", update=True)
    assert down.run("rev-parse", "--is-shallow-repository") == b"false\n"
    assert answers(down) == answers(git)
    assert len(down.run("rev-list", "main").split()) == 3
