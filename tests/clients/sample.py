"""The repository that programs work on: made by git, the same in both formats.

It has all that programs stumble over: branches with slashes, a merge, annotated and lightweight
tags, packed refs and newer ones, more refs than a block of a table holds, and in the reftable
format a stack of several tables. What is checked out is a package for Poetry, with release notes
for reno.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from support.git import TIMESTAMP, Git

__all__ = ["Sample"]

_PROJECT = """\
[project]
name = "demo"
version = "1.0"
requires-python = ">=3.8"

[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"
"""


class Sample:
    """The repository, in either format.

    Args:
      directory: where to keep the originals

    Attributes:
      commits: ids of its commits by their messages
    """

    def __init__(self, directory: Path) -> None:
        self._originals: dict[str, Path] = {}
        self.commits: dict[str, str] = {}
        for ref_format in ("files", "reftable"):
            git = Git.init(directory / ref_format, ref_format=ref_format, compacting=False)
            self._fill(git)
            self._originals[ref_format] = git.path

    def copy(self, path: Path, ref_format: str) -> Git:
        """Copy it to a path that is free."""
        shutil.copytree(self._originals[ref_format], path, symlinks=True)
        return Git(path)

    def _fill(self, git: Git) -> None:
        _write(git, "pyproject.toml", _PROJECT)
        _write(git, "demo/__init__.py", '"""A demonstration."""\n')
        _write(git, "README.md", "# Demo\n\nfirst\n")
        _write(git, "reno.yaml", "default_branch: main\n")
        self._note(git, "first", "features:\n  - |\n    The first feature.\n")
        git.run("tag", "-a", "-m", "the first release", "1.0.0")
        git.run("branch", "stable/1.0")
        self._note(git, "second", "fixes:\n  - |\n    A mistake is mended.\n")
        git.run("tag", "1.1.0")
        git.run("checkout", "-q", "-b", "topic/deep/below")
        self._note(git, "third", "upgrade:\n  - |\n    Look out.\n")
        many = [b"refs/heads/feature/%02d" % number for number in range(20)]
        many += [b"refs/changes/%02d/1%02d" % (number % 5, number) for number in range(200)]
        git.update_ref_stdin(b"create %s HEAD" % name for name in many)
        git.run("pack-refs", "--all")  # what is above this is packed, or one table
        git.run("checkout", "-q", "main")
        _write(git, "README.md", "# Demo\n\nfourth\n")
        self._note(git, "fourth", "features:\n  - |\n    A second feature.\n")
        self._merge(git, "topic/deep/below")
        git.run("tag", "-a", "-m", "the second release", "2.0.0")
        git.run("checkout", "-q", "stable/1.0")
        self._note(git, "back", "fixes:\n  - |\n    The mistake is mended here, too.\n")
        git.run("tag", "-a", "-m", "the old release", "1.0.1")
        git.run("checkout", "-q", "main")
        self._note(git, "last", "other:\n  - |\n    Not released yet.\n")
        git.run("symbolic-ref", "refs/heads/current", "refs/heads/main")
        git.run("update-ref", "refs/changes/09/1", self.commits["third"])

    def _note(self, git: Git, message: str, text: str) -> None:
        """Commit a release note, and what else was written."""
        unique = f"{self._turn(git):016x}"
        _write(git, f"releasenotes/notes/{message}-{unique}.yaml", f"---\n{text}")
        self._commit(git, message, "commit")

    @staticmethod
    def _turn(git: Git) -> int:
        return int(git.run("rev-list", "--all", "--count"))

    def _merge(self, git: Git, branch: str) -> None:
        self._commit(git, "merge", "merge", "--no-ff", branch)

    def _commit(self, git: Git, message: str, *command: str) -> None:
        # Later commits have later dates, the same in both formats.
        git.env.update(git.date(TIMESTAMP + self._turn(git) * 3600, 0))
        git.run("add", ".")
        git.run(*command[:1], "-q", "-m", message, *command[1:])
        self.commits[message] = git.run("rev-parse", "HEAD").decode().strip()


def _write(git: Git, name: str, text: str) -> None:
    file = git.path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
