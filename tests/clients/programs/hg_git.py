"""hg-git: Mercurial pulls from git and pushes to it; ``.hg/git`` is a git repository of its own."""

from __future__ import annotations

from pathlib import Path

from support.git import Git

from ..program import Program, job

__all__ = ["HgGit"]


class HgGit(Program):
    """``hg`` with the extension, on its own old dulwich."""

    packages = ("hg-git", "mercurial<7.2")  # hg-git 1.2.0 fails to load in 7.2

    def start(self) -> None:
        self.env.update(HGPLAIN="1", HGRCPATH=str(self.root / "hgrc"))
        settings = "[extensions]\nhggit =\n[ui]\nusername = A U Thor <author@example.com>\n"
        (self.root / "hgrc").write_text(settings)

    def hg(self, *args: str | Path, cwd: Path) -> str:
        """Run Mercurial."""
        return self.run("hg", *args, cwd=cwd)

    def cloned(self, name: str) -> tuple[Git, Path]:
        """Clone a copy of the sample by Mercurial."""
        git = self.repository(f"{name}-git")
        git.run("config", "receive.denyCurrentBranch", "ignore")
        self.hg("clone", "-q", git.path, self.root / name, cwd=self.root)
        return git, self.root / name

    def seen(self, path: Path) -> object:
        """What Mercurial shows of its repository, and git of the one within."""
        log = self.hg(
            "log", "-T", "{node} {bookmarks} {tags} {gitnode} {desc|firstline}\\n", cwd=path
        )
        return log, self.refs(path / ".hg" / "git")

    @job("hg clone")
    def clone(self) -> object:
        _, path = self.cloned("clone")
        return self.seen(path)

    @job("hg pull: an update, a new branch, a new tag")
    def pull(self) -> object:
        git, path = self.cloned("pull")
        git.run("commit", "-q", "--allow-empty", "-m", "pulled")
        git.run("branch", "new/branch", "topic/deep/below~1")
        git.run("tag", "-a", "-m", "pulled", "3.0.0")
        return self.hg("pull", cwd=path), self.seen(path)

    @job("hg push: an update and a new bookmark")
    def push(self) -> object:
        git, path = self.cloned("push")
        self.hg("update", "-q", "main", cwd=path)
        (path / "README.md").write_text("changed\n")
        self.hg("commit", "-m", "pushed", "-d", "1700500000 0", cwd=path)
        self.hg("bookmark", "-r", ".", "new-branch", cwd=path)
        said = self.hg("push", "-B", "new-branch", "-B", "main", cwd=path)
        return said, self.refs(git.path), self.seen(path)

    @job("hg push: a bookmark that was deleted, and an update")
    def delete(self) -> object:
        # With a deletion alone, dulwich 0.22 now and then finds the pipe broken: it sends an empty
        # pack, which git does not read.
        git, path = self.cloned("delete")
        self.hg("update", "-q", "stable/1.0", cwd=path)
        (path / "README.md").write_text("changed\n")
        self.hg("commit", "-m", "pushed", "-d", "1700500000 0", cwd=path)
        self.hg("bookmark", "-d", "feature/01", cwd=path)
        said = self.hg("push", "-B", "feature/01", "-B", "stable/1.0", cwd=path)
        return said, self.refs(git.path), self.seen(path)

    @job("hg init, commit, push into an empty repository")
    def first_push(self) -> object:
        git = Git.init(self.root / "empty.git", bare=True, ref_format=self.side.ref_format)
        path = self.root / "first"
        self.hg("init", path, cwd=self.root)
        (path / "file").write_text("text\n")
        self.hg("commit", "-q", "-A", "-m", "first", "-d", "1700500000 0", cwd=path)
        self.hg("bookmark", "main", cwd=path)
        said = self.hg("push", git.path, cwd=path)
        return said, self.refs(git.path), self.seen(path)

    @job("hg gexport, gimport")
    def export(self) -> object:
        _, path = self.cloned("export")
        self.hg("update", "-q", "main", cwd=path)
        self.hg("tag", "-m", "tagged", "-d", "1700500000 0", "4.0.0", cwd=path)
        return self.hg("gexport", cwd=path), self.hg("gimport", cwd=path), self.seen(path)
