"""What the documents promise: examples and sessions run, and what is named is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.git import Git, requires_git
from support.versions import needs_server

import dulwich_reftable as dr

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
PACKAGE = ROOT / "dulwich_reftable"


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


@needs_server
def test_two_servers_on_a_bucket(tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed")
    printed = run(str(ROOT / "examples" / "bucket_server.py"), cwd=tmp_path)
    assert "has the commit: True" in printed
    assert printed.count("at the same moment: accepted") == 1
    assert printed.count("at the same moment: rejected") == 1
    assert "show the winner's commit: True" in printed


def test_the_documents_name_files_that_exist() -> None:
    named = re.findall(r"[\w/.]*\w\.py\b|\.ci/\w+", README + CONTRIBUTING + CHANGELOG)
    assert len(named) > 30
    for path in named:
        places = (
            ROOT / path,
            PACKAGE / path,
            *PACKAGE.glob(f"*/*/{path}"),
            *PACKAGE.glob(f"*/{path}"),
        )
        assert any(place.is_file() for place in places), path
    modules = re.findall(r"python -m (tests[\w.]+)", README + CONTRIBUTING)
    assert len(modules) > 10
    for name in modules:
        path = ROOT.joinpath(*name.split("."))
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), name


def test_the_map_shows_the_house() -> None:
    """Every room is on the map, and every module that the map names is in its room."""
    rows = dict(re.findall(r"^\| `(\w[\w/]*)/` \| (.*) \|$", CONTRIBUTING, re.MULTILINE))
    rooms = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py")}
    assert {*rows} == rooms - {".", "engine"}
    for room, text in rows.items():
        for name in re.findall(r"`([a-z]\w*)`", text):
            assert (PACKAGE / room / f"{name}.py").exists(), f"{room}/{name}"


def test_variables_of_the_tests_are_told() -> None:
    told = {*re.findall(r"^\| `(DULWICH_REFTABLE_\w+)", CONTRIBUTING, re.MULTILINE)}
    read = r"environ(?:\.get)?[(\[]\"(DULWICH_REFTABLE_\w+)\""
    sources = (path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    assert told == {name for source in sources for name in re.findall(read, source)}


def test_the_changelog_tells_of_this_version() -> None:
    newest = re.findall(r"^## ([\d.]+)", CHANGELOG, re.MULTILINE)[0]
    assert dr.__version__.partition(".dev")[0] == newest
