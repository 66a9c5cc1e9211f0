"""comet_ml: what it logs of the repository that an experiment runs in."""

from __future__ import annotations

from ..program import Program, job

__all__ = ["CometML"]

_METADATA = """
import json, sys
from comet_ml import git_logging
with git_logging.find_git_repo(sys.argv[1]) as repo:
    found = git_logging.get_git_metadata(repo)
    found["status"] = git_logging.git_status(repo)
    found["patch"] = (git_logging.get_git_patch(repo) or b"").decode()
print(json.dumps(found, sort_keys=True))
"""


class CometML(Program):
    """Its functions that ask the repository."""

    packages = ("comet_ml",)

    def start(self) -> None:
        self.env["COMET_ERROR_TRACKING_ENABLE"] = "false"

    @job("metadata of a branch with changes")
    def on_branch(self) -> object:
        git = self.repository("on-branch")
        git.run("remote", "add", "origin", "https://example.com/demo.git")
        (git.path / "README.md").write_text("changed\n")
        (git.path / "new").write_text("new\n")
        git.run("add", "new")
        return self.python(_METADATA, git.path / "demo")

    @job("metadata of a branch with slashes, and of a detached HEAD")
    def elsewhere(self) -> object:
        git = self.repository("elsewhere")
        git.run("checkout", "-q", "topic/deep/below")
        on_branch = self.python(_METADATA, git.path)
        git.run("checkout", "-q", "1.0.0")
        return on_branch, self.python(_METADATA, git.path)
