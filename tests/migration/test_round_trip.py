"""There and back: git shows the same all the time, and nothing of the other format is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.compare import assert_same_reflogs, assert_same_refs
from support.git import requires_git

import dulwich_reftable as dr

from .scenes import DANGLING, EMPTY_LOG, KINDS, Pools, Repository, make, many

pytestmark = requires_git

FULL = os.environ.get("DULWICH_REFTABLE_FULL_MIGRATION") == "1"
"""Set it to 1 for the repository of 100,000 refs and 150,000 reflog entries."""


def complaints(repository: Repository) -> list[bytes]:
    """What git's checkers say; they mind symrefs to nowhere, an unborn HEAD among them."""
    lines = sorted(repository.git.complaints().splitlines())
    assert all(
        b"points to" in line or b"HEAD" in line or b"exit" in line or b"notice" in line
        for line in lines
    )
    return lines


@pytest.mark.parametrize("first", ["files", "reftable"])
@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind: str, first: str, tmp_path: Path, pool_of: Pools) -> None:
    second = "files" if first == "reftable" else "reftable"
    repository = make(kind, tmp_path / "made", pool_of, first)
    before = repository.seen()
    odd = complaints(repository)
    config = (repository.git_dirs[0] / "config").read_bytes()
    for to in (second, first):
        done = repository.migrate(to)
        assert repository.seen() == before
        assert repository.remains(to) == []
        assert complaints(repository) == odd
        assert done.ref_format == to
        assert Path(done.path) == repository.git_dirs[0]
        assert done.worktrees == len(repository.linked)
        assert done.notes == ()
        listed = {name for seen in before for name in seen.raw}
        assert done.refs >= len(listed)
        with dr.Repo(repository.git.path) as repo:
            assert repo.ref_format == to
    assert sorted((repository.git_dirs[0] / "config").read_bytes().split()) == sorted(
        config.split()
    )


def test_what_is_migrated_is_all_that_we_see(tmp_path: Path, pool_of: Pools) -> None:
    repository = make("plain", tmp_path / "made", pool_of, "files")
    done = repository.migrate("reftable")
    with dr.Repo(repository.git.path) as repo:
        raw = assert_same_refs(repo.refs, repository.git, [DANGLING])
        reflogs = assert_same_reflogs(repo.refs, repository.git)
        assert repo.refs.reflog_exists(EMPTY_LOG)
        assert reflogs[EMPTY_LOG] == []
        assert {finding.check for finding in repo.refs.verify()} == {"symref"}  # to nowhere
    assert done.refs == len(raw)
    assert done.reflogs == len(reflogs)
    assert done.entries == sum(map(len, reflogs.values()))
    assert (repository.git.git_dir / "MERGE_HEAD").exists()
    assert (repository.git.git_dir / "FETCH_HEAD").exists()


def test_git_writes_on(tmp_path: Path, pool_of: Pools) -> None:
    """What git logs next comes behind what was imported, in either format."""
    repository = make("worktrees", tmp_path / "made", pool_of, "files")
    commits = pool_of("sha1").commits
    for at, to in enumerate(("reftable", "files")):
        before = repository.seen()
        repository.migrate(to)
        for git in (repository.git, *repository.linked):
            git.run("update-ref", "-m", "next", "HEAD", commits[70 + at])
        for then, now in zip(before, repository.seen(), strict=True):
            log = now.reflogs[b"HEAD"]
            assert log[:-1] == then.reflogs[b"HEAD"]
            assert (log[-1].new, log[-1].message) == (commits[70 + at], b"next")


def test_many_refs_and_entries(tmp_path: Path, pool_of: Pools) -> None:
    refs, entries = (100_000, 150_000) if FULL else (1_500, 1_500)
    repository = many(tmp_path / "made", pool_of("sha1"), refs, entries)
    before = repository.seen()
    assert len(before[0].raw) >= refs
    assert sum(map(len, before[0].reflogs.values())) == entries
    for to in ("reftable", "files"):
        done = repository.migrate(to)
        assert done.entries == entries
        assert repository.seen() == before
        assert repository.remains(to) == []
