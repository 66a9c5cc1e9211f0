"""Prepared repositories."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.git import Git
from support.pool import ObjectPool

from .scenes import ABOUT, MAIN, OTHER, Scene, init, refs_at


@pytest.fixture(scope="session")
def pool(pool_of: Callable[[str], ObjectPool]) -> ObjectPool:
    return pool_of("sha1")


@pytest.fixture
def path(tmp_path: Path, pool: ObjectPool) -> Path:
    """An empty repository, whose refs are not synced to disk."""
    init(tmp_path / "repo", pool, synced=False)
    return tmp_path / "repo"


@pytest.fixture
def stacked(tmp_path: Path, pool: ObjectPool) -> Scene:
    """A repository with a stack of two tables: one large enough to be mapped, one small.

    One more small one, and the two are merged.
    """
    return Scene(make_stacked(tmp_path / "repo", pool), pool)


def make_stacked(path: Path, pool: ObjectPool) -> Path:
    init(path, pool)
    refs = refs_at(path)
    with refs.transaction() as tx:
        for i, commit in enumerate(pool.commits):
            tx.create(b"refs/tags/t%04d" % i, commit)
    refs.compact()
    with refs.transaction(message=b"begin", **ABOUT) as tx:
        tx.create(MAIN, pool.commits[1])
        tx.create(OTHER, pool.commits[0])
    assert len(Git(path).tables()) == 2
    assert Git(path).tables()[0].stat().st_size > 1 << 14
    return path


@pytest.fixture
def linked(tmp_path: Path, pool: ObjectPool) -> Scene:
    """The same, with a linked worktree."""
    path = make_stacked(tmp_path / "repo", pool)
    Git(path).run("worktree", "add", "--quiet", "--detach", "--no-checkout", "../linked", MAIN)
    return Scene(path, pool)


@pytest.fixture
def unborn(tmp_path: Path, pool: ObjectPool) -> Scene:
    """A repository without a stack."""
    init(tmp_path / "repo", pool)
    shutil.rmtree(tmp_path / "repo" / ".git" / "reftable")
    return Scene(tmp_path / "repo", pool)
