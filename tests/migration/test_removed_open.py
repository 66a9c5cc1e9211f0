"""Migrating where a removed file stays while somebody has it open, as on NFS."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from support.filesystems import needs_proc, nfs
from support.git import requires_git

import dulwich_reftable as dr

from .scenes import Pools, Repository, make

pytestmark = [
    requires_git,
    needs_proc,
    pytest.mark.plain_filesystem("plays its own"),
]


@pytest.fixture
def files(tmp_path: Path, pool_of: Pools) -> Repository:
    return make("worktrees", tmp_path / "made", pool_of, "files")


def left_in(git_dir: Path) -> list[str]:
    """Name what a migration has left in a control directory."""
    return sorted(
        str(path.relative_to(git_dir))
        for path in git_dir.rglob("*")
        if "ref_migration" in path.name or path.name.startswith(".nfs")
    )


def test_nothing_of_ours_is_open(files: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is removed was closed before, also what the caller's repository had open."""
    before = files.seen()
    with nfs(monkeypatch) as ghosts:
        for to, by_repo in (("reftable", False), ("files", True)):
            if by_repo:
                with dr.Repo(str(files.git.path)) as repo:
                    repo.refs.as_dict()
                    done = dr.migrate(repo, to)
                    repo.refs.as_dict()
            else:
                done = files.migrate(to)
            assert not any("open" in note for note in done.notes)
            assert ghosts.names() == []
            assert left_in(files.git_dirs[0]) == []
            assert files.remains(to) == []
    assert files.seen() == before


def test_others_have_tables_open(files: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """The migration is over all the same; what stays is named, and the next one removes it."""
    files.migrate("reftable")
    before = files.seen()
    git_dir = files.git_dirs[0]
    with nfs(monkeypatch) as ghosts, ExitStack() as stack:
        readers = [
            stack.enter_context(path.open("rb")) for path in (git_dir / "reftable").iterdir()
        ]
        done = files.migrate("files")
        assert len(ghosts.names()) == len(readers)
        (note,) = [note for note in done.notes if "open" in note]
        (left,) = git_dir.glob("ref_migration*")
        assert f"'{left}'" in note
        assert [name for name in left_in(git_dir) if name.endswith(ghosts.names()[0])]
        assert files.seen() == before
        again = files.migrate("reftable")  # they are still open
        assert not any("interrupted" in note for note in again.notes)
        stack.close()
        files.migrate("files")
        assert left_in(git_dir) == []
    assert files.remains("files") == []
    assert files.seen() == before


def test_writing_beside_an_open_reader(repo: dr.Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ghosts in the directory of a stack are no reason to worry, and nobody removes them."""
    with nfs(monkeypatch) as ghosts, dr.Repo(repo.path) as reader:
        for at in range(12):
            reader.refs.as_dict()
            snapshot = reader.refs.snapshot()
            repo.refs[b"refs/heads/b%d" % at] = b"a" * 40
            assert b"refs/heads/b%d" % at not in snapshot
        assert ghosts.names()
        repo.refs.clean()
        found = repo.refs.verify()
        assert {finding.severity for finding in found} == {"info"}
        assert all("was removed" in str(finding) for finding in found)
