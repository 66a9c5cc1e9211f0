"""``dulwich-reftable migrate`` and ``init``, as processes and in a pseudo-terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.compare import file_states
from support.git import Git, requires_git

from .scenes import Pools, Repository, make

pytestmark = requires_git

COMMAND = (sys.executable, "-m", "dulwich_reftable")


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *args], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def files(tmp_path: Path, pool_of: Pools) -> Repository:
    return make("worktrees", tmp_path / "made", pool_of, "files")


def test_migrate(files: Repository) -> None:
    before = files.seen()
    for to in ("reftable", "files"):
        done = run("migrate", "--to", to, files.git.path)
        assert (done.returncode, done.stderr) == (0, "")
        counts, result = done.stdout.splitlines()
        assert counts.endswith("reflog entries, 3 linked worktrees")
        assert result == f"{files.git_dirs[0]} is in the {to} format now"
        assert files.remains(to) == []
        assert files.seen() == before
    again = run("migrate", "--to", to, files.git.path)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith("dulwich-reftable: ")
    assert again.stderr.endswith("is in the files format already\n")


def test_dry_run(files: Repository) -> None:
    done = run("migrate", "--dry-run", "--to", "reftable", files.git.path)
    assert (done.returncode, done.stderr) == (0, "")
    (made,) = files.git_dirs[0].glob("ref_migration.*")
    assert done.stdout.splitlines()[1] == f"the repository is as it was; the result is in {made}"


def test_notes_and_broken_refs(files: Repository) -> None:
    log = files.git_dirs[0] / "logs" / "HEAD"
    log.write_bytes(log.read_bytes() + b"odd\n")
    done = run("migrate", "--to", "reftable", files.git.path)
    assert done.returncode == 0
    assert done.stderr.startswith(f"note: '{log}': 1 of ")
    run("migrate", "--to", "files", files.git.path)
    broken = files.git_dirs[0] / "refs" / "heads" / "broken"
    broken.write_bytes(b"odd\n")
    done = run("migrate", "--to", "reftable", files.git.path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"'{broken}'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "args", [("migrate",), ("migrate", "--to", "sqlite", "."), ("init",), ("init", "--odd", ".")]
)
def test_wrong_use(args: tuple[str, ...]) -> None:
    done = run(*args)
    assert done.returncode == 2
    assert "usage: dulwich-reftable" in done.stderr


def test_no_repository(tmp_path: Path) -> None:
    done = run("migrate", "--to", "files", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("dulwich-reftable: not a git repository")


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_progress_shows_on_a_terminal(files: Repository) -> None:
    import pty

    before = files.seen()
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "migrate", "--to", "reftable", os.fspath(files.git.path)],
        stdout=subprocess.PIPE,
        stderr=slave,
    ) as process:
        os.close(slave)
        shown = b""
        try:
            while data := os.read(master, 1 << 12):
                shown += data
        except OSError:
            pass  # how a terminal ends whose last process has
        os.close(master)
        assert process.stdout is not None
        printed = process.stdout.read()
    assert process.returncode == 0
    assert b"\rrefs: " in shown
    assert b"\rreflogs: [##############################] " in shown
    assert shown.endswith(b" \r")  # wiped out
    assert b"format now\n" in printed
    assert b"\r" not in printed
    assert files.seen() == before


@pytest.mark.parametrize("bare", [False, True], ids=["", "bare"])
@pytest.mark.parametrize("ref_format", ["reftable", "files"])
def test_init(bare: bool, ref_format: str, object_format: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "repository"
    options = [f"--object-format={object_format}", f"--ref-format={ref_format}"]
    done = run("init", *options, *(["--bare"] if bare else []), path)
    assert (done.returncode, done.stderr) == (0, "")
    git = Git(path, object_format)
    assert done.stdout == f"made a repository with {ref_format} refs in {git.git_dir}\n"
    assert git.run("rev-parse", "--show-ref-format").strip().decode() == ref_format
    assert git.run("rev-parse", "--show-object-format").strip().decode() == object_format
    assert git.run("rev-parse", "--is-bare-repository").strip() == (b"true" if bare else b"false")


def test_init_by_default(tmp_path: Path) -> None:
    assert run("init", tmp_path).returncode == 0
    assert Git(tmp_path).run("rev-parse", "--show-ref-format").strip() == b"reftable"


@pytest.mark.parametrize("bare", [False, True], ids=["", "bare"])
def test_init_leaves_a_repository_alone(bare: bool, tmp_path: Path) -> None:
    Git.init(tmp_path, bare=bare, object_format="sha256", ref_format="files")
    before = file_states(tmp_path)
    again = run("init", *(["--bare"] if bare else []), tmp_path)
    assert (again.returncode, again.stdout) == (1, "")
    assert "File exists" in again.stderr
    assert "Traceback" not in again.stderr
    assert file_states(tmp_path) == before
