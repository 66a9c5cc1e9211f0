"""Breezy: a version control system for git repositories, too; with the plugin in examples/."""

from __future__ import annotations

from pathlib import Path

from support.git import Git

from ..environment import TREE
from ..program import Program, job

__all__ = ["Breezy"]


class Breezy(Program):
    """``brz`` on git repositories. To enable us is not enough: its refs container is its own."""

    packages = ("breezy",)

    def start(self) -> None:
        self.env.update(
            BRZ_HOME=str(self.root / "home"),
            BRZ_EMAIL="A U Thor <author@example.com>",
            BRZ_PROGRESS_BAR="none",
        )
        if self.side.ours:
            self.env["BRZ_PLUGINS_AT"] = f"reftable@{TREE / 'examples' / 'breezy_plugin'}"

    def brz(self, *args: str | Path, cwd: Path | None = None) -> str:
        """Run it."""
        return self.run("brz", *args, cwd=cwd)

    def commit(self, path: Path, text: str) -> None:
        """Commit a change."""
        (path / "README.md").write_text(text)
        when = "--commit-time=2023-11-20 17:06:40 +0000"
        self.brz("commit", "-q", when, "-m", text, cwd=path)

    @job("brz log, branches, tags")
    def show(self) -> object:
        path = self.repository().path
        log = self.brz("log", "--line", "-n0", path)
        return log, self.brz("branches", path), self.brz("tags", "-d", path)

    @job("brz log of a branch")
    def log_branch(self) -> object:
        url = f"{self.repository().path.as_uri()},branch=topic%2Fdeep%2Fbelow"
        return self.brz("log", "--line", url)

    @job("brz commit, tag, and an update of it")
    def commits(self) -> object:
        path = self.repository("commits").path
        self.commit(path, "first by brz")
        self.brz("tag", "-q", "5.0.0", cwd=path)
        self.commit(path, "second by brz")
        self.brz("tag", "-q", "--force", "5.0.0", cwd=path)
        return self.refs(path), Git(path).run("status", "--porcelain")

    @job("brz branch, commit, push, pull")
    def push(self) -> object:
        origin = self.repository("origin").path
        first, second = self.root / "first", self.root / "second"
        for clone in (first, second):
            self.brz("branch", "-q", origin, clone)
        self.commit(first, "pushed by brz")
        self.brz("push", "-q", origin, cwd=first)
        self.brz("push", "-q", f"{origin.as_uri()},branch=new", cwd=first)
        self.brz("pull", "-q", origin, cwd=second)
        return self.refs(origin), self.brz("log", "--line", second)

    @job("brz remove-branch")
    def remove(self) -> object:
        path = self.repository("remove").path
        self.brz("remove-branch", f"{path.as_uri()},branch=feature%2F01")
        return self.refs(path)
