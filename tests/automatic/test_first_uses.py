"""The first use of a reftable repository installs, however a program comes to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dulwich import porcelain

import dulwich_reftable as dr
from dulwich_reftable.automatic.dulwich_reftable_stand_ins import TARGETS
from dulwich_reftable.automatic.site_files import SiteFiles
from dulwich_reftable.patching.table import AROUND_REPO, STOCK

from . import first_uses
from .conftest import Environment

WHO = b"Some One <one@example.com>"


def make(path: Path, ref_format: str) -> None:
    with dr.Repo.init(path, mkdir=True, ref_format=ref_format, default_branch=b"main") as repo:
        porcelain.commit(repo, message=b"one", author=WHO, committer=WHO)
        porcelain.branch_create(repo, "topic")
        porcelain.tag_create(repo, "v1", author=WHO, message=b"v1", annotated=True)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, packages: list[str]) -> Environment:
    """An enabled environment, with a repository in each format."""
    made = Environment(tmp_path_factory.mktemp("uses") / "environment", *packages)
    SiteFiles(str(made.site), dr.__version__).write()
    for ref_format in ("files", "reftable"):
        make(made.root / ref_format, ref_format)
    return made


def test_a_program_that_knows_nothing_of_us(
    environment: Environment, subtests: pytest.Subtests
) -> None:
    """One process does all: one each would be dear, and so would one a worker of pytest-xdist."""
    places = [environment.root / name for name in ("files", "reftable", "temporary")]
    places[-1].mkdir()
    *_, printed = environment.print_of(first_uses.__file__, *places)
    outcomes: dict[str, str] = json.loads(printed)
    assert outcomes.keys() == {"on_files", *first_uses.USES}
    for name, outcome in outcomes.items():
        with subtests.test(name):
            assert outcome == ""


def test_every_patch_is_stood_in_for() -> None:
    targets = {f"{module}:{path}" for module, paths in TARGETS.items() for path in paths}
    assert targets == {patch.target for patch in (*AROUND_REPO.patches, *STOCK.patches)}


def test_eight_threads_that_import_all_at_once(environment: Environment) -> None:
    """None sees a repository as dulwich sees it, whatever the others are importing."""
    program = """
import sys, threading
from importlib import import_module
modules = "cli porcelain client worktree stash bisect gc bundle".split()
kinds, gate = [], threading.Barrier(len(modules))
def work(name):
    gate.wait(60)
    import_module(f"dulwich.{name}")
    from dulwich.repo import Repo
    for _ in range(3):
        with Repo(sys.argv[1]) as repo:
            kinds.append(type(repo.refs).__name__)
threads = [threading.Thread(target=work, args=(name,)) for name in modules]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(kinds), *{*kinds})
"""
    printed = environment.print_of("-c", program, environment.root / "reftable")
    assert printed == ["24 ReftableRefsContainer"]
