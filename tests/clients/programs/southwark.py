"""southwark: a library on top of dulwich."""

from __future__ import annotations

from support.git import Git

from ..program import Program, job

__all__ = ["Southwark"]

_TAGS = """
import json, sys, southwark
print(json.dumps(southwark.get_tags(sys.argv[1]), sort_keys=True))
"""
_LOG = """
import sys; from southwark.log import Log
print(Log(sys.argv[1]).log())
"""
_STATUS = """
import sys, southwark
print(southwark.status(sys.argv[1]), southwark.check_git_status(sys.argv[1]))
"""
_CLONE = """
import sys, southwark
with southwark.clone(*sys.argv[1:]) as repo:
    print(repo.head().decode(), sorted(repo.list_remotes()))
"""
_COMMIT = """
import sys; from southwark.repo import Repo
with Repo.init(sys.argv[1], mkdir=True) as repo:
    when = {"commit_timestamp": 1700500000, "commit_timezone": 0,
            "author_timestamp": 1700500000, "author_timezone": 0}
    first = repo.do_commit(b"first", b"A U Thor <author@example.com>", **when)
    repo.do_commit(b"second", b"A U Thor <author@example.com>", **when)
    repo.reset_to(first)
"""


class Southwark(Program):
    """Its functions."""

    packages = ("southwark",)

    @job("tags")
    def tags(self) -> object:
        return self.python(_TAGS, self.repository().path)

    @job("log")
    def log(self) -> object:
        return self.python(_LOG, self.repository().path)

    @job("status")
    def status(self) -> object:
        git = self.repository("changed")
        (git.path / "README.md").write_text("changed\n")
        return self.python(_STATUS, git.path)

    @job("clone")
    def clone(self) -> object:
        target = self.root / "clone"
        said = self.python(_CLONE, self.repository().path, target)
        return said, self.refs(target), Git(target).run("status", "--porcelain", "--branch")

    @job("init, two commits, reset")
    def commit(self) -> object:
        target = self.root / "new"
        self.python(_COMMIT, target)
        # Reflogs differ: on files, dulwich 0.25 writes a commit to that of HEAD or of the branch;
        # git and we write it to both.
        return self.refs(target)
