"""Fixtures for all tests. None of them lets a setting of the machine's user reach a test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.collecting import TestModule
from support.filesystems import KINDS, playing
from support.git import hermetic_environment
from support.pool import ObjectPool, fill_pool
from support.versions import SHA256

if TYPE_CHECKING:
    from support.stores import MakeBucket

    import dulwich_reftable as dr

USER_NAME = "U Ser"
USER_EMAIL = "user@example.com"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--filesystem",
        choices=("plain", *KINDS),
        default="plain",
        help="play this file system to the tests (see tests/support/filesystems.py)",
    )
    parser.addoption(
        "--storage",
        choices=("directory", "memory", "bucket", "radosgw", "ministack"),
        default="directory",
        help="where the refs of the fixture `repo` are (see tests/support/memory_storage.py), and "
        "the repositories of tests/bucket",
    )


def pytest_xdist_auto_num_workers() -> int | None:
    """Let more tests run at once than there are cores: many of them wait for disks and servers."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    cores = os.cpu_count() or 1
    return cores + min(cores, 4)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "plain_filesystem(reason): not for tests under another --filesystem"
    )
    config.addinivalue_line(
        "markers", "directory: not for tests under another --storage; it looks at files"
    )
    if config.getoption("--filesystem") == "windows":
        for name in ("fork", "mkfifo"):
            if hasattr(os, name):
                delattr(os, name)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> TestModule:
    return TestModule.from_parent(parent, path=module_path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kind = config.getoption("--filesystem")
    for item in items:
        for marker in item.iter_markers("plain_filesystem"):
            if kind != "plain" and kind in marker.kwargs.get("on", KINDS):
                item.add_marker(pytest.mark.skip(reason=marker.args[0]))
        if config.getoption("--storage") != "directory" and item.get_closest_marker("directory"):
            item.add_marker(pytest.mark.skip(reason="looks at files of the stack"))


@pytest.fixture(autouse=True)
def _filesystem(request: pytest.FixtureRequest) -> Iterator[None]:
    """Play the file system that the command line names."""
    if "tmp_path" in request.fixturenames:
        # First of all: so it is removed last, when functions of ``os`` are what they were.
        request.getfixturevalue("tmp_path")
    kind = request.config.getoption("--filesystem")
    if kind == "plain":
        yield
    else:
        with playing(kind, request.getfixturevalue("monkeypatch")):
            yield


@pytest.fixture(scope="session", autouse=True)
def _hermetic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give dulwich, too, a home that knows nothing but a user's name."""
    home = tmp_path_factory.mktemp("home")
    config = home / ".gitconfig"
    config.write_text(f"[user]\n\tname = {USER_NAME}\n\temail = {USER_EMAIL}\n")
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(
        hermetic_environment(before),
        HOME=str(home),
        XDG_CONFIG_HOME=str(home),
        GIT_CONFIG_GLOBAL=str(config),
    )
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def pool_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ObjectPool]:
    """Give the objects of a format; made at the first call."""

    @cache
    def give(object_format: str) -> ObjectPool:
        return fill_pool(tmp_path_factory.mktemp(f"pool-{object_format}"), object_format)

    return give


@pytest.fixture(params=["sha1", SHA256])
def object_format(request: pytest.FixtureRequest) -> str:
    """Run the test for both hashes."""
    return str(request.param)


@pytest.fixture
def open_repo() -> Iterator[Callable[[Path], dr.Repo]]:
    """Open repositories through the package, and close them after the test."""
    import dulwich_reftable as dr  # here, since the engine's tests need no dulwich

    opened: list[dr.Repo] = []

    def open_one(path: Path) -> dr.Repo:
        opened.append(dr.Repo(str(path)))
        return opened[-1]

    yield open_one
    for repo in opened:
        repo.close()


@pytest.fixture(scope="session")
def make_buckets(request: pytest.FixtureRequest) -> Iterator[MakeBucket]:
    """Give a function that makes places in an object store; see :mod:`support.stores`."""
    pytest.importorskip("obstore", reason="obstore is not installed")
    from support.stores import buckets_of

    with buckets_of(request.config.getoption("--storage")) as make:
        yield make


@pytest.fixture
def repo(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[dr.Repo]:
    """Make an empty reftable repository; nothing is synced to disk.

    With ``--storage memory``, its refs are in a place of :mod:`support.memory_storage`; with
    ``--storage bucket``, in an object store in memory; the other choices are servers.
    """
    import dulwich_reftable as dr

    with dr.Repo.init(str(tmp_path / "repo"), mkdir=True, default_branch=b"main") as made:
        config = made.get_config()
        config.set((b"core",), b"fsync", b"none")
        config.write_to_path()
    with dr.Repo(str(tmp_path / "repo")) as opened:
        if request.config.getoption("--storage") == "memory":
            from support.memory_refs import move_to_memory

            move_to_memory(opened)
        elif request.config.getoption("--storage") != "directory":
            from support.memory_refs import move_to_bucket

            move_to_bucket(opened, *request.getfixturevalue("make_buckets")(1))
        yield opened


@pytest.fixture
def refs(repo: dr.Repo) -> dr.ReftableRefsContainer:
    """Give the refs of an empty repository."""
    return repo.refs
