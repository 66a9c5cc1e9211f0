"""Fixtures: a repository that is served, and one that pushes to it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.git import Git

if TYPE_CHECKING:
    from dulwich_reftable.server import Server

    from .serving import Start


@pytest.fixture(params=["tcp-reftable", "http-reftable", "tcp-files"])
def served(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The transport and the ref format; files are served over TCP only, since HTTP adds nothing."""
    kind, ref_format = request.param.split("-")
    return kind, ref_format


@pytest.fixture
def kind(served: tuple[str, str]) -> str:
    """The server: over TCP or HTTP."""
    return served[0]


@pytest.fixture
def ref_format(served: tuple[str, str]) -> str:
    """The format of the refs that are served."""
    return served[1]


@pytest.fixture
def object_format() -> str:
    """The hash of the object ids."""
    return "sha1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that is served."""
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture(scope="session")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Give the repositories that all tests begin with; made once a run, to be copied."""

    @cache
    def working_tree(object_format: str) -> Git:
        git = Git.init(tmp_path_factory.mktemp("work"), object_format=object_format)
        for number in range(3):
            (git.path / f"file{number}").write_text(f"{number}\n")
            git.run("add", ".")
            git.run("commit", "-q", "-m", f"c{number}", env=git.date(10**9 + number, 0))
        git.run("tag", "-a", "-m", "a tag", "v1", "HEAD~1")
        return git

    @cache
    def give(object_format: str, ref_format: str) -> Path:
        work = working_tree(object_format)
        if not ref_format:
            return work.path
        path = tmp_path_factory.mktemp("origin")
        Git.init(path, bare=True, ref_format=ref_format, object_format=object_format)
        work.run("push", "-q", str(path), "main", "v1")
        return path

    return give


@pytest.fixture
def work(tmp_path: Path, object_format: str, seeds: Callable[[str, str], Path]) -> Git:
    """A working tree with three commits, and a tag."""
    shutil.copytree(seeds(object_format, ""), tmp_path / "work")
    return Git(tmp_path / "work", object_format)


@pytest.fixture
def origin(
    root: Path, ref_format: str, object_format: str, seeds: Callable[[str, str], Path]
) -> Iterator[Git]:
    """A bare repository in the folder, with ``main`` and ``v1`` of the working tree."""
    shutil.copytree(seeds(object_format, ref_format), root / "origin.git")
    git = Git(root / "origin.git", object_format)
    yield git
    assert git.complaints() == b""
    left = [*(git.path / "objects").glob("incoming-*"), *git.path.rglob("tmp_*")]
    assert not left, "left in quarantine"
    assert not list(git.path.glob("reftable/*.lock"))


@pytest.fixture
def server(root: Path, kind: str) -> Iterator[Server]:
    """Serve the folder."""
    from .serving import running  # not above: an old dulwich cannot import it

    with running(root, kind) as server:
        yield server


@pytest.fixture
def url(server: Server, origin: Git) -> str:
    """The URL of the served repository."""
    return server.url + "origin.git"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server in a process of its own; gives the process and the address."""
    started = []

    def run(*args: str) -> tuple[subprocess.Popen[bytes], str]:
        with open(tmp_path / "log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", *args], stdout=subprocess.PIPE, stderr=log
            )
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert line.startswith("serving "), (tmp_path / "log").read_text()
        return process, line.split()[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
