"""Running tests in a copy of the tree, which a mutation was put into."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from .mutation import Mutation

_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")
_PYTEST_OPTIONS = ("-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--tb=line")
_TESTS_FAILED = 1  # pytest's exit code; others say that the tests could not be run
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


class Outcome(Enum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "SURVIVED"
    UNFIT = "does not apply"
    BROKEN = "CANNOT BE RUN"


class Tree:
    """A copy of the project, which mutations are put into; they never get into the project itself.

    Args:
      original: the project
      to: the copy's directory
    """

    def __init__(self, original: Path, to: Path) -> None:
        shutil.copytree(original, to, ignore=_LEFT_OUT)
        self.root = to
        self._process: subprocess.Popen[str] | None = None

    def stop(self) -> None:
        """End the tests that run, and all that they have started."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def judge(self, mutation: Mutation, timeout: float) -> tuple[Outcome, str]:
        """Run a mutation's tests against the mutant.

        Args:
          mutation: the fault
          timeout: seconds; a mutant for which the tests take longer counts as killed
        Returns: the outcome, and a word about it
        """
        misfit = mutation.misfit(self.root)
        if misfit is not None:
            return Outcome.UNFIT, misfit
        path = mutation.path(self.root)
        original = path.read_bytes()
        # Compiled code is told by size and time of its source, which can be those of the mutant.
        compiled = Path(importlib.util.cache_from_source(str(path)))
        try:
            compiled.unlink(missing_ok=True)
            mutation.apply(self.root)
            code, said = self._run([f"tests/{test}" for test in mutation.tests], timeout)
        finally:
            path.write_bytes(original)
            compiled.unlink(missing_ok=True)
        if code is None:
            return Outcome.KILLED, f"the tests take more than {timeout:.0f} s"
        if code == 0:
            return Outcome.SURVIVED, "all tests pass"
        failed = _FAILED.search(said)
        if code != _TESTS_FAILED or failed is None:
            return Outcome.BROKEN, f"pytest ends with {code}:\n{said[-2000:]}"
        # A test that fails anyway kills nothing.
        code, _ = self._run([failed[1]], timeout)
        if code != 0:
            return Outcome.BROKEN, f"{failed[1]} fails without the mutation, too"
        return Outcome.KILLED, f"by {failed[1]}"

    def _run(self, tests: Sequence[str], timeout: float) -> tuple[int | None, str]:
        """Run tests; gives pytest's exit code, None if they take too long, and what it prints."""
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *_PYTEST_OPTIONS, *tests],
            cwd=self.root,
            # Before what is installed; processes that tests start find the copy in this way, too.
            env={**os.environ, "PYTHONPATH": str(self.root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        with process:
            try:
                said, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                self.stop()
                return None, ""
        return process.returncode, said
