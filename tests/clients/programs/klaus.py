"""klaus: a web front end, which also serves repositories over smart HTTP."""

from __future__ import annotations

import hashlib
import io
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from support.git import Git

from ..program import Program, ProgramError, job

__all__ = ["Klaus"]

_USER, _REALM, _PASSWORD = "ada", "klaus", "secret"


class Klaus(Program):
    """A server for all jobs."""

    packages = ("klaus",)
    url = ""

    def start(self) -> None:
        digest = hashlib.md5(f"{_USER}:{_REALM}:{_PASSWORD}".encode()).hexdigest()
        users = self.root / "users"
        users.write_text(f"{_USER}:{_REALM}:{digest}\n")
        demo = self.repository().path
        options = ["--port={port}", "--site-name=here", "--smarthttp", f"--htdigest={users}"]
        self.url = f"http://127.0.0.1:{self.serve('klaus', *options, demo)}"

    def page(self, path: str) -> list[bytes]:
        """Get the lines of a page, sorted: klaus shows branches of one age in no certain order."""
        return sorted(self.get(path).splitlines())

    def get(self, path: str) -> bytes:
        """Get what is at a path."""
        if not self.url:
            raise ProgramError("the server has not started")
        try:
            with urllib.request.urlopen(self.url + path, timeout=60) as answer:
                content: bytes = answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            raise ProgramError(f"{path}: HTTP {error.code} {error.reason}") from error
        except OSError as error:
            raise ProgramError(f"{path}: {error}") from error
        return content.replace(self.url.encode(), b"URL")

    @property
    def authorized(self) -> str:
        """The repository's address, for one who may push."""
        return self.url.replace("http://", f"http://{_USER}:{_PASSWORD}@") + "/demo"

    @job("list of repositories")
    def front(self) -> object:
        return self.page("/")

    @job("page of the repository")
    def index(self) -> object:
        return self.page("/demo/")

    @job("logs of branches and tags")
    def logs(self) -> object:
        names = ["main", "topic/deep/below", "stable/1.0", "1.0.0", "1.1.0"]
        return [self.page(f"/demo/tree/{name}/") for name in names]

    @job("files by branch and by tag, blame")
    def files(self) -> object:
        pages = ["blob/main/README.md", "blob/1.0.0/README.md", "raw/2.0.0/README.md"]
        pages.append("blame/main/README.md")
        return [self.page(f"/demo/{page}") for page in pages]

    @job("a commit, and as a patch")
    def commit(self) -> object:
        commit = self.sample.commits["fourth"]
        return [self.page(f"/demo/commit/{commit}{end}") for end in ("/", ".patch", ".diff")]

    @job("tarball of an annotated tag")
    def tarball(self) -> object:
        with tarfile.open(fileobj=io.BytesIO(self.get("/demo/tarball/1.0.0/"))) as tar:
            return sorted((member.name, member.size, member.mode) for member in tar)

    @job("git ls-remote")
    def ls_remote(self) -> object:
        return self.run("git", "ls-remote", "--symref", f"{self.url}/demo")

    @job("git clone")
    def clone(self) -> object:
        target = self.root / "clone"
        self.run("git", "clone", "-q", "--mirror", f"{self.url}/demo", target)
        return self.refs(target)

    @job("git push: a branch, an update, an annotated tag")
    def push(self) -> object:
        git = self._pusher()
        self.run("git", "commit", "-q", "--allow-empty", "-m", "pushed", cwd=git, env=_DATE)
        self.run("git", "tag", "-a", "-m", "pushed", "3.0.0", cwd=git, env=_DATE)
        what = ["HEAD:refs/heads/new/one", "HEAD:refs/heads/stable/1.0", "3.0.0"]
        said = self.run("git", "push", "--porcelain", "--force", self.authorized, *what, cwd=git)
        return said.splitlines()[1:], self.refs(self.repository().path), self.page("/demo/")

    @job("git push --delete")
    def delete(self) -> object:
        what = ["topic/deep/below", "1.1.0"]
        git = self._pusher()
        said = self.run("git", "push", "--porcelain", "--delete", self.authorized, *what, cwd=git)
        return said.splitlines()[1:], self.refs(self.repository().path), self.page("/demo/")

    def _pusher(self) -> Path:
        """A repository to push from, which is none of klaus's."""
        git: Git = self.repository("pusher")
        return git.path


_DATE = Git.date(1_700_500_000, 0)
