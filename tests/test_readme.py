"""What the README promises: its examples run, and so does the quickstart."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.git import Git, requires_git

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def examples() -> dict[str, str]:
    found = re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```", README, re.DOTALL)
    return dict(found)


def run(*args: str, cwd: Path) -> str:
    command = [sys.executable, "-W", "error", *args]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_python_block_is_an_example() -> None:
    assert len(examples()) == README.count("```python") == 4


def test_the_examples_run_one_after_the_other(tmp_path: Path) -> None:
    printed = [run("-c", code, cwd=tmp_path) for code in examples().values()]
    assert "cannot update ref 'refs/heads/release'" in printed[1]


def sessions() -> list[tuple[str, str]]:
    """The commands of all sessions in a terminal, and what each prints."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    found = re.findall(r"^\$ (.*\n)((?:(?!\$ ).*\n)*)", "".join(blocks), re.MULTILINE)
    assert sum(block.count("$ ") for block in blocks) == len(found) > 5
    return found


def without_chance(printed: str) -> str:
    """Leave out the ends of tables' names, and what the version of zlib decides over."""
    printed = re.sub(r"-[0-9a-f]{8}\.ref\b", ".ref", printed)
    return re.sub(
        r"^.*(?:\.ref|bytes|footer|^log |in all).*$",
        lambda line: re.sub(r"\d+", "0", line[0]),
        printed,
        flags=re.MULTILINE,
    )


@requires_git
def test_the_sessions_print_what_they_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, in a repository of three commits, a branch and a tag."""
    git = Git.init(tmp_path / "project", ref_format="files")
    for word in ("one", "two", "three"):
        git.run("commit", "--quiet", "--allow-empty", "-m", word)
    git.run("branch", "topic", "HEAD~1")
    git.run("tag", "-a", "-m", "v1", "v1")
    command = tmp_path / "bin" / "dulwich-reftable"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m dulwich_reftable "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    for line, expected in sessions():
        done = subprocess.run(
            line, shell=True, cwd=git.path, capture_output=True, text=True, check=False
        )
        printed = (
            (done.stdout + done.stderr).replace(f"{git.path}/", "").replace(f"{git.path}", ".")
        )
        assert without_chance(printed) == without_chance(expected), line


@pytest.mark.parametrize("has_git", [True, False], ids=["with git", "without git"])
def test_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_git: bool) -> None:
    if not has_git:
        monkeypatch.setenv("PATH", str(tmp_path))
    printed = run(str(ROOT / "examples" / "quickstart.py"), cwd=tmp_path)
    assert "changes now: 1001" in printed
    assert "with a stale old value:   False" in printed
    assert "problems found: 0" in printed


def test_the_commands_name_files_that_exist() -> None:
    for path in re.findall(r"[\w/]+\.py\b", README):
        assert (ROOT / path).exists(), path
