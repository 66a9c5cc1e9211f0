"""Python environments that a test may fill and enable."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from dulwich_reftable import __version__
from dulwich_reftable.automatic.site_files import SiteFiles

ROOT = Path(__file__).parents[2]

_OTHERS = {"PYTHONPATH", "PYTHONNOUSERSITE", "DULWICH_REFTABLE_AUTO"}
"""What the environment of the tests may have that is not meant for the programs."""

FAKES = {
    "dulwich/__init__.py": "",
    "dulwich/errors.py": "",
    "dulwich/repo.py": """
class Config:
    def __init__(self, root):
        self.ref_storage = {"files": b"files", "reftable": b"reftable"}[root]

    def __getitem__(self, section):
        assert section == (b"extensions",)
        return {b"refStorage": self.ref_storage}

class Repo:
    kind = "stock"
    tries = 0

    def __init__(self, root):
        self.root = root
        self.tries += 1
        self.get_config()

    def get_config(self):
        return Config(self.root)
""",
    "dulwich_reftable/__init__.py": "",
    "dulwich_reftable/patching/__init__.py": "",
    "dulwich_reftable/patching/installation.py": """
from dulwich.repo import Repo

def install_for_good():
    print("installing")
    stand_in = Repo.__init__
    original = stand_in.stands_in_for

    def construct(self, root):
        original.function(self, root)
        if root == "reftable":
            self.kind = "ours"

    Repo.__init__ = original.replacement = construct
""",
}
"""A dulwich and a package as small as can be: tests of how Python starts need many processes."""


class Environment:
    """A virtual environment.

    Args:
      root: its directory, which is made
      paths: what its programs can import beside its own site-packages
      users: whether its programs look at their user's site-packages
    """

    def __init__(self, root: Path, *paths: str | Path, users: bool = False) -> None:
        venv.create(root, symlinks=os.name != "nt", system_site_packages=users)
        scripts = root / ("Scripts" if os.name == "nt" else "bin")
        self.root = root
        self.python = scripts / Path(sys.executable).name
        if not self.python.exists():
            self.python = scripts / "python"
        program = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.site = Path(self.run("-c", program).stdout.strip())
        self.site.joinpath("_paths.pth").write_text("".join(f"{path}\n" for path in paths))

    def run(self, *args: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a program with no user but the one below the environment; return what it printed."""
        ours = {name: value for name, value in os.environ.items() if name not in _OTHERS}
        environ = {**ours, "PYTHONUSERBASE": str(self.root / "user"), **environ}
        command = [self.python, *args]
        return subprocess.run(
            command, cwd=self.root, env=environ, capture_output=True, text=True, check=False
        )

    def print_of(self, *args: str | Path, **environ: str) -> list[str]:
        """Run a program that must not complain; return what it printed, in lines."""
        done = self.run(*args, **environ)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()


@pytest.fixture(scope="session")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the fakes."""
    directory = tmp_path_factory.mktemp("fakes")
    for name, text in FAKES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


@pytest.fixture(scope="session")
def enabled(tmp_path_factory: pytest.TempPathFactory, fakes: Path) -> Environment:
    """An environment with the fakes, and the hook; not to be changed."""
    environment = Environment(tmp_path_factory.mktemp("enabled"), fakes)
    assert SiteFiles(str(environment.site), __version__).write()
    return environment


@pytest.fixture(scope="session")
def packages() -> list[str]:
    """What a program needs to import dulwich and this package, as the tests do."""
    return [*{sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(ROOT)}]
