"""``git refs migrate`` and we make the same of one repository, to the byte."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.git import GIT_MISSING, GIT_VERSION, Git, requires_git
from support.pool import ObjectPool

from .scenes import Pools, Repository, delete_tags, fill, make, many

pytestmark = [
    requires_git,
    pytest.mark.skipif(
        not GIT_MISSING and GIT_VERSION < (2, 46), reason="needs git >= 2.46, with refs migrate"
    ),
]

with_reflogs = pytest.mark.skipif(
    not GIT_MISSING and GIT_VERSION < (2, 48),
    reason="needs git >= 2.48, which migrates reflogs, too",
)

PEELS = GIT_MISSING or GIT_VERSION < (2, 55)
"""git 2.55 forgets to peel tags when it migrates; git before it did not, and we do not."""


def twin(repository: Repository) -> Repository:
    """Copy a repository."""
    path = repository.git.path.with_name("twin")
    shutil.copytree(repository.git.path, path, symlinks=True)
    return Repository(Git(path, repository.git.object_format), [])


def table(repository: Repository) -> bytes:
    """The one table of a stack."""
    (path,) = repository.git.tables()
    return path.read_bytes()


def layout(repository: Repository) -> dict[str, bytes | None]:
    """The names of all files, and the contents of those that a migration changes."""
    git_dir = repository.git.git_dir
    found: dict[str, bytes | None] = {}
    for directory, _, files in os.walk(git_dir):
        inner = os.path.relpath(directory, git_dir)
        for name in files:
            if inner.split("/")[0] in ("hooks", "objects") or name.endswith(".ref"):
                continue
            path = Path(directory, name)
            found[f"{inner}/{name}"] = (
                None if name in ("tables.list", "index") else path.read_bytes()
            )
    return found


def migrate_both(repository: Repository, to: str, *args: str) -> Repository:
    """Let us migrate a repository, and git its twin, which is returned."""
    if not PEELS:
        delete_tags(repository.git)
    other = twin(repository)
    other.git.run("refs", "migrate", f"--ref-format={to}", *args)
    repository.migrate(to)
    return other


@pytest.fixture(params=["loose", "packed", "peeled", "unsorted", "repacked"])
def filled(
    request: pytest.FixtureRequest, tmp_path: Path, pool_of: Pools, object_format: str
) -> Repository:
    """A files repository without reflogs, its refs written in one of several ways."""
    git = Git.init(tmp_path / "made", object_format=object_format, ref_format="files")
    git.run("config", "core.fsync", "none")
    fill(git, pool_of(object_format), logs=False)
    if not PEELS:
        delete_tags(git)
    shutil.rmtree(git.git_dir / "logs", ignore_errors=True)
    packed = git.git_dir / "packed-refs"
    if request.param == "packed":
        git.run("pack-refs", "--all")
    elif request.param == "peeled":  # as dulwich writes it
        git.run("pack-refs", "--all")
        lines = packed.read_bytes().splitlines(keepends=True)
        packed.write_bytes(b"# pack-refs with: peeled\n" + b"".join(lines[1:]))
    elif request.param == "unsorted":  # as git of old wrote it
        git.run("pack-refs", "--all")
        lines = [line for line in packed.read_bytes().splitlines() if line[:1] not in b"#^"]
        packed.write_bytes(b"".join(line + b"\n" for line in reversed(lines)))
    elif request.param == "loose":
        text = packed.read_bytes().splitlines()
        packed.unlink()
        git.update_ref_stdin(
            b"create %s %s" % tuple(line.split()[::-1])
            for line in text
            if line[:1] not in b"#^" and not (git.git_dir / line.split()[1].decode()).exists()
        )
        assert not packed.exists()
    return Repository(git, [])


def test_table_of_refs(filled: Repository) -> None:
    other = migrate_both(filled, "reftable")
    assert table(filled) == table(other)
    assert layout(filled) == layout(other)


def test_dry_run(tmp_path: Path, pool_of: Pools) -> None:
    """Its result has the same files in it as git's."""
    repository = many(tmp_path / "made", pool_of("sha1"), 100, 0)
    other = twin(repository)
    other.git.run("refs", "migrate", "--ref-format=reftable", "--dry-run")
    ours = Path(repository.migrate("reftable", dry_run=True).path)
    (theirs,) = other.git.git_dir.glob("ref_migration.*")
    found = [
        sorted(str(path.relative_to(top)) for path in top.rglob("*")) for top in (ours, theirs)
    ]
    assert [[name for name in names if ".ref" not in name] for names in found] == [
        ["HEAD", "refs", "refs/heads", "reftable", "reftable/tables.list"]
    ] * 2


@pytest.mark.parametrize(
    "options",
    [
        {"blockSize": "512"},
        {"restartInterval": "3", "blockSize": "1024"},
        {"indexObjects": "false", "blockSize": "256"},
    ],
    ids=str,
)
def test_options_of_the_writer(
    options: dict[str, str], tmp_path: Path, pool_of: Callable[[str], ObjectPool]
) -> None:
    repository = many(tmp_path / "made", pool_of("sha1"), 900, 0)
    for key, value in options.items():
        repository.git.run("config", f"reftable.{key}", value)
    other = migrate_both(repository, "reftable")
    assert table(repository) == table(other)


def test_configuration(tmp_path: Path, pool_of: Pools) -> None:
    """There and back, with what a user may have written between the lines."""
    repository = make("empty", tmp_path / "made", pool_of, "files")
    with (repository.git.git_dir / "config").open("a") as file:
        file.write(
            '; mine\n[extensions] # odd\n\tworktreeConfig = true\n[a "b"]\n\tc = "d;\\n" ; e'
        )
    for to in ("reftable", "files"):
        other = migrate_both(repository, to)
        assert layout(repository)["./config"] == layout(other)["./config"]
        shutil.rmtree(other.git.path)


@pytest.mark.parametrize("kind", ["plain", "bare", "sha256", "detached", "unborn", "empty"])
@with_reflogs
def test_table_with_reflogs(kind: str, tmp_path: Path, pool_of: Pools) -> None:
    repository = make(kind, tmp_path / "made", pool_of, "files")
    # git forgets that there are reflogs without entries.
    for path in (repository.git.git_dir / "logs").rglob("*"):
        if path.is_file() and not path.stat().st_size:
            path.unlink()
    other = migrate_both(repository, "reftable")
    assert table(repository) == table(other)


@with_reflogs
def test_files(tmp_path: Path, pool_of: Pools) -> None:
    """Where no ref belongs to one worktree alone: git puts such refs where others see them."""
    repository = make("plain", tmp_path / "made", pool_of, "reftable")
    for name in (b"refs/bisect/bad", b"refs/worktree/own", b"refs/rewritten/x"):
        repository.git.run("update-ref", "-d", name)
    repository.git.run("update-ref", "-d", "refs/heads/expired")
    other = migrate_both(repository, "files")
    assert layout(repository) == layout(other)
