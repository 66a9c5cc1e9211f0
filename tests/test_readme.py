"""What the README promises: its examples run, and so does the quickstart."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

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
