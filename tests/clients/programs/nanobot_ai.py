"""nanobot: an assistant that keeps what it remembers in a repository."""

from __future__ import annotations

import re

from support.git import Git

from ..program import Program, job

__all__ = ["NanobotAI"]

_STORE = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from nanobot.utils.gitstore import GitStore
place = Path(sys.argv[1])
store = GitStore(place, ["README.md", "demo/__init__.py"])
"""
_READ = f"""{_STORE}
log = store.log()
shown = store.show_commit_diff(log[-2].sha)
print([asdict(commit) for commit in log], asdict(shown[0]), shown[1])
print(store.diff_commits(log[-1].sha, log[0].sha))
"""
_WRITE = f"""{_STORE}
(place / "README.md").write_text("changed\\n")
print(store.summarize_working_tree(["README.md"]))
first = store.auto_commit("a memory")
(place / "README.md").write_text("changed again\\n")
second = store.auto_commit("another")
print(store.auto_commit("nothing"), store.revert(second) not in (None, first, second))
print((place / "README.md").read_text())
"""
_INIT = f"""{_STORE}
print(store.init(), store.init())
(place / "README.md").write_text("remembered\\n")
print(store.auto_commit("a memory") is not None, [commit.message for commit in store.log()])
"""


class NanobotAI(Program):
    """Its ``GitStore``. The ids of its commits hold the time, and are not compared."""

    packages = ("nanobot-ai",)

    @job("log, diff and commits of a repository that git made")
    def read(self) -> object:
        return self.python(_READ, self.repository().path)

    @job("commits, and a commit reverted")
    def write(self) -> object:
        git = self.repository("changed")
        said = self.python(_WRITE, git.path)
        return said, sorted(self.refs(git.path)), _history(git)

    @job("init and commit")
    def init(self) -> object:
        target = self.root / "new"
        target.mkdir()
        said = self.python(_INIT, target)
        return said, sorted(self.refs(target)), _history(Git(target))


def _history(git: Git) -> tuple[bytes, bytes]:
    """Give what git sees: trees and messages of all commits, without ids, and the files' state."""
    log = re.sub(rb"undo \w+", b"undo ID", git.run("log", "--format=%T %s"))
    return log, git.run("status", "--porcelain", "--branch")
