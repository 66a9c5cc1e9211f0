"""errbot: a chat bot that installs its plugins from git, and updates them."""

from __future__ import annotations

from support.git import Git

from ..program import Program, job

__all__ = ["Errbot"]

_CLONE = """
import sys; from errbot.utils import git_clone
git_clone(*sys.argv[1:])
"""
_PULL = """
import sys; from errbot.utils import git_pull
git_pull(sys.argv[1])
"""


class Errbot(Program):
    """The functions that its plugin manager uses."""

    packages = ("errbot",)

    @job("clone a plugin")
    def clone(self) -> object:
        target = self.root / "plugin"
        said = self.python(_CLONE, self.repository().path.as_uri(), target)
        return said, self.refs(target), Git(target).run("status", "--porcelain", "--branch")

    @job("update a plugin")
    def update(self) -> object:
        origin = self.repository("origin")
        target = self.root / "updated"
        self.run("git", "clone", "-q", origin.path, target)
        (origin.path / "README.md").write_text("changed\n")
        origin.run("commit", "-q", "-a", "-m", "changed")
        said = self.python(_PULL, target)
        return said, self.refs(target), Git(target).run("status", "--porcelain", "--branch")
