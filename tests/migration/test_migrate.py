"""What calling ``migrate`` is like: its result, dry runs, progress, open repositories."""

from __future__ import annotations

import os
import shutil
from hashlib import sha1
from pathlib import Path
from unittest.mock import ANY

import pytest
from dulwich.refs import DiskRefsContainer
from dulwich.repo import Repo as DulwichRepo
from engine.stack.syscalls import Call, recorded
from support.compare import file_states, shown_reflogs
from support.filesystems import remove_tree, syncs_directories
from support.git import Git, requires_git
from support.memory import measured

import dulwich_reftable as dr
from dulwich_reftable.config.settings import Settings
from dulwich_reftable.engine.table.table import Table
from dulwich_reftable.migration import MigrationError

from .scenes import DANGLING, Pools, Repository, make

pytestmark = requires_git


@pytest.fixture
def files(tmp_path: Path, pool_of: Pools) -> Repository:
    return make("worktrees", tmp_path / "made", pool_of, "files")


def test_formats(files: Repository) -> None:
    with pytest.raises(ValueError, match="unknown ref format 'reftables'"):
        files.migrate("reftables")
    with pytest.raises(MigrationError, match="is in the files format already"):
        files.migrate("files")
    with pytest.raises(MigrationError, match="is in the files format already"):
        files.migrate("files", dry_run=True)


def test_dry_run_to_reftable(files: Repository) -> None:
    top = str(files.git_dirs[0])
    before = file_states(files.git_dirs[0])
    done = files.migrate("reftable", dry_run=True)
    assert Path(done.path).parent == files.git_dirs[0]
    assert Path(done.path).name.startswith("ref_migration.")
    # It is laid out like a control directory, and opens like one.
    worktree = os.path.join(done.path, "worktrees", files.git_dirs[2].name)
    refs = dr.ReftableRefsContainer(done.path, worktree_path=worktree, settings=Settings())
    linked = files.linked[1]
    shown = {name: value for name, value in linked.raw_refs().items() if name[:5] == b"refs/"}
    assert {name: refs.read_ref(name) for name in shown} == shown
    assert refs.read_ref(b"HEAD") == linked.raw_refs()[b"HEAD"]
    assert shown_reflogs(refs).keys() == linked.reflogs().keys()
    remove_tree(done.path)
    assert {**before, top: ANY} == {**file_states(files.git_dirs[0]), top: ANY}


def test_dry_run_to_files(files: Repository) -> None:
    expected = files.seen()
    files.migrate("reftable")
    top = str(files.git_dirs[0])
    before = file_states(files.git_dirs[0])
    done = files.migrate("files", dry_run=True)
    result = Path(done.path)
    moved = result.rename(files.git.path.with_name("result"))
    assert {**before, top: ANY} == {**file_states(files.git_dirs[0]), top: ANY}
    # With the rest of the control directory, it is a repository.
    for name in ("objects", "config"):
        os.symlink(files.git_dirs[0] / name, moved / name)
    (moved / "config").unlink()
    (moved / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
    git = Git(moved)
    assert git.for_each_ref() == expected[0].refs
    assert git.reflogs() == expected[0].reflogs


def test_progress(files: Repository) -> None:
    for to in ("reftable", "files"):
        told: list[tuple[str, int, int | None]] = []
        done = files.migrate(to, progress=lambda *args, told=told: told.append(args))
        ends = [(phase, count) for phase, count, total in told if count == total and count]
        assert sum(count for phase, count in ends if phase == "refs") == done.refs
        if to == "reftable":
            assert sum(count for phase, count in ends if phase == "reflogs") == done.entries + 1
        assert told[0][:2] == ("refs", 0)


def test_open_repository_goes_on(files: Repository, pool_of: Pools) -> None:
    commits = pool_of("sha1").commits
    name = b"refs/heads/after"
    with dr.Repo(files.git.path) as repo:
        for at, to in enumerate(("reftable", "files", "reftable")):
            dr.migrate(repo, to)
            assert repo.ref_format == to
            assert isinstance(repo.refs, dr.ReftableRefsContainer) == (to == "reftable")
            repo.refs.set_if_equals(name, None, commits[at], message=b"on", committer=b"A <a@b>")
            assert files.git.raw_refs()[name] == commits[at]
            assert len(list(repo.read_reflog(name))) == at + 1
    with dr.Repo(files.git.path) as repo:
        assert len(list(repo.read_reflog(name))) == 3


def test_open_linked_worktree_goes_on(files: Repository, pool_of: Pools) -> None:
    linked = files.linked[0]
    head = linked.raw_refs()[b"HEAD"]
    with dr.Repo(linked.path) as repo:
        for to in ("reftable", "files"):
            assert dr.migrate(repo, to).worktrees == 3
            assert files.remains(to) == []
            assert repo.refs.read_ref(b"HEAD") == head
            assert repo.refs.read_ref(b"refs/bisect/bad") == pool_of("sha1").commits[30]


def test_repository_of_dulwich(files: Repository) -> None:
    """It stays dulwich's own; whoever wants it in its new format opens it again."""
    with DulwichRepo(str(files.git.path)) as repo:
        dr.migrate(repo, "reftable")
        assert isinstance(repo.refs, DiskRefsContainer)
    assert files.remains("reftable") == []
    with dr.installed(), DulwichRepo(str(files.git.path)) as repo:
        dr.migrate(repo, "files")
    assert files.remains("files") == []


def test_other_extension(tmp_path: Path) -> None:
    """The key of the original design goes with the format; refStorage is what is written."""
    path = tmp_path / "made"
    dr.Repo.init(path, mkdir=True, extension="reftable").close()
    dr.migrate(path, "files")
    git = Git(path)
    assert git.run("rev-parse", "--show-ref-format").strip() == b"files"
    assert b"reftable" not in (git.git_dir / "config").read_bytes()
    dr.migrate(path, "reftable")
    assert git.run("rev-parse", "--show-ref-format").strip() == b"reftable"


def test_modes_of_shared_repositories(files: Repository) -> None:
    files.git.run("config", "core.sharedRepository", "0660")
    for to in ("reftable", "files"):
        files.migrate(to)
        git_dir = files.git_dirs[0]
        tops = ["reftable"] if to == "reftable" else ["logs", "packed-refs"]
        for top in tops:
            for path in [git_dir / top, *(git_dir / top).rglob("*")]:
                assert path.stat().st_mode & 0o777 == (0o770 if path.is_dir() else 0o660), path


def test_the_configuration_stays_private(files: Repository) -> None:
    """It may have passwords in it, and is written anew."""
    path = files.git_dirs[0] / "config"
    for to, mode in (("reftable", 0o600), ("files", 0o600), ("reftable", 0o640)):
        path.chmod(mode)
        files.migrate(to)
        assert path.stat().st_mode & 0o7777 == mode


def test_remains_of_a_dead_migration_are_cleared(files: Repository) -> None:
    """Whatever stage it had reached: files of the other format mean nothing."""
    before = files.seen()
    (files.git_dirs[0] / "ref_migration" / "new").mkdir(parents=True)
    shutil.copytree(files.git_dirs[0] / "refs", files.git_dirs[0] / "reftable")
    done = files.migrate("files")
    assert done.notes == ("a migration that had been interrupted was finished",)
    assert files.remains("files") == []
    assert files.seen() == before
    files.migrate("reftable")
    (files.git_dirs[0] / "ref_migration").mkdir()
    (files.git_dirs[0] / "packed-refs").write_text("junk")
    (files.git_dirs[1] / "logs").mkdir()
    files.migrate("reftable")
    assert files.remains("reftable") == []
    assert files.seen() == before


@syncs_directories
@pytest.mark.skipif(not hasattr(os, "sync"), reason="syncs all files at once")
@pytest.mark.parametrize("to", ["reftable", "files"])
def test_all_is_on_disk_before_the_swap(
    to: str, tmp_path: Path, pool_of: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the swap is, before anything goes that it replaced."""
    made = make(
        "worktrees", tmp_path / "made", pool_of, "files" if to == "reftable" else "reftable"
    )
    synced: list[int] = []
    calls: list[Call]
    monkeypatch.setattr(os, "sync", lambda: synced.append(len(calls)))
    with recorded(made.git_dirs[0]) as calls:
        made.git.run("config", "core.fsync", "reference")
        made.migrate(to)
    kinds = [f"{call.kind} {call.file}" for call in calls]
    swap = kinds.index("replace config.lock")
    assert len(synced) == 1
    put = max(at for at, kind in enumerate(kinds[:swap]) if kind.startswith("rename ref_migration"))
    assert put < synced[0] <= swap
    assert "fsync config.lock" in kinds[:swap]
    # The directory of the configuration has no name below itself.
    after = next(at for at, kind in enumerate(kinds) if at > swap and kind.startswith("fsync"))
    gone = next(at for at, kind in enumerate(kinds) if at > swap and kind.startswith("rename"))
    assert after < gone


def test_tombstones_stay_behind(tmp_path: Path, pool_of: Pools) -> None:
    repository = make("plain", tmp_path / "made", pool_of, "reftable")
    git = repository.git
    git.env["GIT_TEST_REFTABLE_AUTOCOMPACTION"] = "false"
    git.run("update-ref", "-d", "refs/tags/v3")
    before = git.for_each_ref()
    tables = [Table(path.name, path.read_bytes()) for path in git.tables()]
    assert any(
        ref.is_deletion for table in tables for _, refs in table.ref_records() for ref in refs
    )
    done = repository.migrate("files")
    assert git.for_each_ref() == before
    assert done.refs == len(git.raw_refs([DANGLING]))
    assert not (git.git_dir / "refs" / "tags").exists() or not os.listdir(git.git_dir / "refs/tags")


def test_damaged_table(files: Repository) -> None:
    files.migrate("reftable")
    (table,) = files.git.tables()
    whole = table.read_bytes()
    table.write_bytes(whole[:-1])
    with pytest.raises(dr.CorruptTableError):
        files.migrate("files")
    table.write_bytes(whole)
    assert files.remains("reftable") == []
    files.migrate("files")


@pytest.mark.plain_filesystem("spellings are remembered", on=("windows", "caseless"))
def test_memory_does_not_grow_with_the_refs(tmp_path: Path) -> None:
    """Nor do the tables that are read count, which are mapped."""
    peaks: dict[str, list[int]] = {"reftable": [], "files": []}
    for refs in (3_000, 15_000):
        git = Git.init(tmp_path / str(refs), bare=True, ref_format="files")
        git.run("config", "core.fsync", "none")
        with (git.path / "packed-refs").open("wb") as file:
            file.write(b"# pack-refs with: peeled fully-peeled sorted \n")
            for i in range(refs):
                oid = sha1(b"%d" % (i % 100)).hexdigest()
                file.write(b"%s refs/changes/%08d/head\n" % (oid.encode(), i))
        for to, peak in peaks.items():
            with measured() as memory:
                assert dr.migrate(git.path, to).refs == refs + 1
            peak.append(memory.peak)
    for few, many in peaks.values():
        assert many - few < 1 << 20
