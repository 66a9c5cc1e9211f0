"""``dulwich-reftable dulwich ...``: dulwich's command line on reftable repositories."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dulwich import cli as dulwich_cli
from support.garbage import collect_repositories
from support.git import Git, requires_git

from dulwich_reftable import cli
from dulwich_reftable.patching.table import STOCK

from .sides import assert_no_strays, fix_identity

pytestmark = [
    requires_git,
    # dulwich's command line leaves it to the end of its process to close what it has opened.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Run = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A reftable repository with some commits, in the current directory."""
    fix_identity(monkeypatch)
    made = Git.init(tmp_path / "repo")
    for number in range(1, 6):
        (made.path / "a").write_text(f"{number}\n")
        made.run("add", "a")
        made.run("commit", "-q", "-m", f"c{number}", env=made.date(10**9 + number, 0))
    monkeypatch.chdir(made.path)
    return made


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[Run]:
    """Run a command and return its output, most of which is logged."""
    caplog.set_level(logging.INFO)

    def run_one(*args: str, code: int = 0) -> str:
        caplog.clear()
        streams = sys.stdout, sys.stderr
        try:
            assert cli.main(["dulwich", *args]) == code
        finally:
            sys.stdout, sys.stderr = streams  # dulwich puts its own in their place
        assert not STOCK.is_held
        return capsys.readouterr().out + "\n".join(caplog.messages)

    yield run_one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collect_repositories()


def test_as_a_module(git: Git) -> None:
    """The command, run in a process of its own."""
    command = [sys.executable, "-m", "dulwich_reftable", "dulwich"]
    root = str(Path(cli.__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run([*command, "for-each-ref"], env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"main" in done.stdout + done.stderr
    done = subprocess.run([*command, "nonsense"], env=env, capture_output=True, check=False)
    assert done.returncode == 1


def test_help(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    assert "dulwich" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        cli.main([])
    assert "usage: dulwich [" in run("--help", code=1)


def test_options_go_to_dulwich(git: Git, run: Run) -> None:
    (git.path / "a").write_text("changed\n")
    run("restore", "--", "a")
    assert (git.path / "a").read_text() == "5\n"
    assert "c5" in run("--no-pager", "log", "--reverse")


def test_a_session(git: Git, run: Run) -> None:
    run("branch", "topic")
    run("tag", "-a", "v1")
    (git.path / "a").write_text("stashed\n")
    run("stash", "push")
    assert "stash@{0}" in run("stash", "list")
    run("stash", "pop")
    run("add", "a")
    run("commit", "-m", "by dulwich")
    assert "by dulwich" in run("reflog")
    assert "refs/heads/main" in run("reflog", "--all")
    run("worktree", "add", "../tree", "topic")
    assert "tree" in run("worktree", "list")
    run("pack-refs", "--all")
    run("gc")
    run("fsck")
    assert "refs/tags/v1" in run("ls-remote", str(git.path))
    assert git.run("log", "-1", "--format=%s") == b"by dulwich\n"
    assert_no_strays(git.path / ".git")
    assert git.complaints() == b""


def test_bisect_tells_the_first_bad_commit(git: Git, run: Run) -> None:
    commits = git.run("log", "--format=%H", "--reverse").decode().split()
    run("bisect", "start", commits[4], commits[0])
    run("bisect", "good", commits[1])
    run("bisect", "good", commits[2])
    assert f"{commits[3]} is the first bad commit" in run("bisect", "bad", commits[3])
    assert git.for_each_ref()[b"refs/bisect/bad"].value.decode() == commits[3]
    run("bisect", "reset")
    assert_no_strays(git.path / ".git")


def test_bisect_on_files(git: Git, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Git(git.path.parent / "files")
    git.run("clone", "-q", "--ref-format=files", ".", str(files.path))
    monkeypatch.chdir(files.path)
    commits = git.run("log", "--format=%H", "--reverse").decode().split()
    run("bisect", "start", commits[1], commits[0])
    assert f"{commits[1]} is the first bad commit" in run("bisect", "bad", commits[1])
    assert (files.path / ".git" / "refs" / "bisect" / "bad").exists()


def test_bundle_create(git: Git, run: Run, tmp_path: Path) -> None:
    git.run("tag", "-a", "-m", "tag", "v1")
    run("bundle", "create", str(tmp_path / "bundle"), "--all")
    heads = git.run("bundle", "list-heads", str(tmp_path / "bundle"))
    assert git.run("rev-parse", "v1").strip() + b" refs/tags/v1\n" in heads


def test_init_and_clone(
    git: Git, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", "reftable")
    (tmp_path / "made").mkdir()
    run("init", str(tmp_path / "made"))
    run("clone", str(git.path), str(tmp_path / "cloned"))
    for name in ("made", "cloned"):
        assert_no_strays(tmp_path / name / ".git")
        assert Git(tmp_path / name).run("rev-parse", "--show-ref-format") == b"reftable\n"
    assert dulwich_cli.commands["init"] is dulwich_cli.cmd_init
