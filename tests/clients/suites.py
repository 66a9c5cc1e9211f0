"""The programs' own tests, from their source distributions: on reftables, the same ones fail.

A suite runs twice: without this package, and with it while ``GIT_DEFAULT_REF_FORMAT`` says
reftable, so that all repositories that the tests make, by git or by dulwich, have reftables. A test
may fail on both sides. One that fails on the second side only must be known to ask for a file of
refs, and say so here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from .environment import Environment, download_source
from .program import Program, ProgramError

__all__ = ["SUITES", "Suite", "Tally", "prepare_suite", "run_suite"]

_SECONDS = 1800


@dataclass(frozen=True)
class Suite:
    """How to run a program's tests.

    Attributes:
      needs: what pip installs for them
      tests: what to run, in the words of the command
      command: run in the directory of the source
      results: option that has the command write its results to a file, in the form of JUnit
      below: directory to run it in, below that of the source
      files_only: tests that ask for what only files have, and what that is
    """

    needs: Sequence[str]
    tests: Sequence[str]
    command: Sequence[str] = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    results: str = "--junitxml="
    below: str = "."
    files_only: Mapping[str, str] = field(default_factory=dict)


SUITES: Mapping[str, Suite] = {
    "reno": Suite(
        needs=("pytest", "fixtures", "testtools", "testscenarios", "sphinx"),
        tests=("reno/tests",),
    ),
    "xandikos": Suite(needs=("pytest", "vobject"), tests=("tests",)),
    "poetry": Suite(
        needs=("pytest", "pytest-mock", "pytest-xdist[psutil]", "responses", "jaraco-classes"),
        tests=("-n", "0", "tests/vcs/git", "tests/integration/test_utils_vcs_git.py"),
        files_only={"test_clone_existing_locked_tag": "looks for the file refs/tags/v1"},
    ),
    "hg-git": Suite(
        needs=("setuptools",),
        tests=("-j2", "--timeout=600"),
        command=("python", "run-tests.py", "--with-hg={bin}/hg"),
        results="--xunit=",
        below="tests",
    ),
}
"""By the names of the programs; the others' sources hold no tests."""


@dataclass(frozen=True)
class Tally:
    """The outcome of one run.

    Attributes:
      number: of tests that ran
      failed: names of those that failed
      excused: how many more failed that only files could pass
    """

    number: int
    failed: frozenset[str]
    excused: int = field(default=0, compare=False)

    def __str__(self) -> str:
        also = f" and {self.excused} that {'ask' if self.excused > 1 else 'asks'} for files"
        return f"{len(self.failed)} of {self.number} fail{also if self.excused else ''}"


def prepare_suite(name: str, environment: Environment, root: Path) -> Path:
    """Get what a program's tests need, with the program's own versions of all else.

    Returns: the directory of the source that the tests come with
    Raises:
      NotAvailableError: if pip cannot get it
    """
    environment.install("--constraint", environment.constraints, *SUITES[name].needs)
    return download_source(f"{name}=={environment.versions[name]}", root / "source")


def run_suite(suite: Suite, program: Program, source: Path) -> Tally:
    """Run a suite on one side.

    Raises:
      ProgramError: if it leaves no results
    """
    results = program.root / "results.xml"
    command = [*suite.command, f"{suite.results}{results}", *suite.tests]
    command = [word.replace("{bin}", str(program.environment.bin)) for word in command]
    temporary = program.root / "tmp"
    temporary.mkdir()
    program.env.update(TMPDIR=str(temporary), PYTHONDONTWRITEBYTECODE="1")
    said = ""
    try:
        program.run(*command, cwd=source / suite.below, seconds=_SECONDS)
    except ProgramError as error:  # some tests fail
        said = str(error)
    if not results.exists():
        raise ProgramError(said)
    number, failed, excused = 0, set(), 0
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        if case.find("skipped") is not None:
            continue
        number += 1
        if case.find("failure") is None and case.find("error") is None:
            continue
        if program.side.ref_format != "files" and case.get("name") in suite.files_only:
            excused += 1
        else:
            failed.add(f"{case.get('classname', '')} {case.get('name', '')}".strip())
    return Tally(number, frozenset(failed), excused)
