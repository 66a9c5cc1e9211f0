"""A virtual environment for each program: the program as pip installs it, and then this package.

The program comes first, so that pip chooses its version without a look at us. Then a wheel of this
tree is installed beside it, which must leave the versions of everything else as they are. Where pip
cannot do that, the wheel is put there all the same: the program then shows how far it gets.
``DULWICH_REFTABLE_AUTO=0`` in the environment of a process keeps us out of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["TREE", "Environment", "NotAvailableError", "build_wheel", "download_source"]

TREE = Path(__file__).parents[2]
_PIP_SECONDS = 600


class NotAvailableError(Exception):
    """A program cannot be had here; the text says why."""


def _pip(*args: str | Path) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *args]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise NotAvailableError(f"pip took longer than {_PIP_SECONDS} s") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise NotAvailableError(f"pip: {(said or done.stderr.splitlines()[-1:] or ['failed'])[0]}")
    return done.stdout


def build_wheel(directory: Path) -> Path:
    """Build a wheel of this tree; what an earlier build may have left in the tree stays out.

    Args:
      directory: empty; it holds the wheel and what it was built from
    Raises:
      NotAvailableError: if pip cannot get what a build needs
    """
    source = directory / "source"
    unwanted = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__", "tests", ".*")
    shutil.copytree(TREE, source, ignore=unwanted, symlinks=True)
    _pip("wheel", "--quiet", "--no-deps", "--wheel-dir", directory, source)
    return next(directory.glob("*.whl"))


def download_source(package: str, directory: Path) -> Path:
    """Download a source distribution and unpack it.

    Args:
      package: in pip's words
      directory: to be made; it holds nothing else
    Returns: the directory of the source
    Raises:
      NotAvailableError: if pip cannot get it
    """
    _pip("download", "--quiet", "--no-binary=:all:", "--no-deps", "--dest", directory, package)
    archive = next(directory.iterdir())
    shutil.unpack_archive(archive, directory)
    return next(path for path in directory.iterdir() if path.is_dir())


class Environment:
    """The virtual environment of one program.

    Args:
      directory: where to make it
      packages: what to install, in pip's words

    Attributes:
      versions: of all packages before ours was installed
      constraints: a file of these versions, for pip
      refusal: what pip said if ours cannot be installed without a change of them, or nothing
    """

    def __init__(self, directory: Path, packages: Sequence[str]) -> None:
        self.directory = directory
        create = [sys.executable, "-m", "venv", "--without-pip", str(directory)]
        subprocess.run(create, check=True)
        self.bin = directory / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / ("python.exe" if os.name == "nt" else "python")
        self.install(*packages)
        self.versions = self._list()
        self.constraints = directory / "constraints.txt"
        pinned = (f"{name}=={version}\n" for name, version in self.versions.items())
        self.constraints.write_text("".join(pinned))
        self.refusal = ""

    def install(self, *packages: str | Path) -> None:
        """Install packages.

        Raises:
          NotAvailableError: if pip cannot
        """
        _pip("--python", self.python, "install", "--quiet", *packages)

    def _list(self) -> dict[str, str]:
        listed = _pip("--python", self.python, "list", "--format=freeze")
        pairs = (line.split("==") for line in listed.splitlines() if "==" in line)
        return {name.lower().replace("_", "-"): version for name, version in pairs}

    def add_ours(self, wheel: Path) -> None:
        """Install this package beside the program, and enable it.

        Raises:
          NotAvailableError: if pip cannot
        """
        try:
            self.install("--constraint", self.constraints, wheel)
        except NotAvailableError as error:
            self.refusal = str(error)
            self.install("--no-deps", wheel)
        done = subprocess.run(
            [self.bin / "dulwich-reftable", "enable"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            self.refusal = f"{self.refusal} {done.stderr or done.stdout}".strip()
