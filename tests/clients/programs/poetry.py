"""Poetry: dependencies that are git repositories, cloned by its own backend."""

from __future__ import annotations

import json

from support.git import Git
from support.git_remotes import serving

from ..program import Program, job

__all__ = ["Poetry"]

_CLONE = """
import json, sys
from pathlib import Path
from poetry.vcs.git.backend import Git
url, root, options = sys.argv[1:]
with Git.clone(url=url, name="clone", source_root=Path(root), **json.loads(options)) as repo:
    print(repo.head().decode(), Git.info(Path(repo.path)).origin)
"""
_PROJECT = """\
[project]
name = "user-of-demo"
version = "0.1"
requires-python = ">=3.10"

[tool.poetry]
package-mode = false

[tool.poetry.dependencies]
"""
_DEPENDENCY = 'demo = {{ git = "{url}", {which} }}\n'


class Poetry(Program):
    """Its git backend, and its command line; nothing is asked of a package index."""

    packages = ("poetry",)

    def start(self) -> None:
        self.env.update(
            PYTHON_KEYRING_BACKEND="keyring.backends.null.Keyring",
            POETRY_CACHE_DIR=str(self.root / "cache"),
            POETRY_VIRTUALENVS_CREATE="false",
        )

    def clone(self, where: str, url: str = "", **options: str) -> object:
        """Clone a repository of the side's format into a new one."""
        url = url or self.repository().path.as_uri()
        where = f"clone-{where}"
        said = self.python(_CLONE, url, self.root / where, json.dumps(options))
        git = Git(self.root / where / "clone")
        return said, self.refs(git.path), git.run("status", "--porcelain", "--branch")

    @job("clone of the default branch")
    def clone_default(self) -> object:
        return self.clone("default")

    @job("clone by branch")
    def clone_branch(self) -> object:
        return self.clone("branch", branch="topic/deep/below")

    @job("clone by lightweight tag")
    def clone_tag(self) -> object:
        return self.clone("tag", tag="1.1.0")

    @job("clone by annotated tag")
    def clone_annotated_tag(self) -> object:
        return self.clone("annotated-tag", tag="1.0.0")

    @job("clone by short id")
    def clone_short_id(self) -> object:
        return self.clone("short", revision=self.sample.commits["second"][:9])

    @job("clone by id of a branch, and again by another")
    def clone_ids(self) -> object:
        first = self.clone("ids", revision=self.sample.commits["third"])
        return first, self.clone("ids", revision=self.sample.commits["back"])

    @job("clones of a repository of the other format, by branch, tags, and ids")
    def clone_other(self) -> object:
        # Without us only files can be read: the right answers come from files to files.
        files = self.side.ref_format == "reftable" or not self.side.ours
        remote = self.sample.copy(self.root / "other", "files" if files else "reftable")
        url = remote.path.as_uri()
        commit = self.sample.commits["second"]
        return [
            self.clone("other-branch", url, branch="topic/deep/below"),
            self.clone("other-tag", url, tag="1.1.0"),
            self.clone("other-annotated-tag", url, tag="1.0.0"),
            self.clone("other-short", url, revision=commit[:9]),
            self.clone("other-id", url, revision=commit),
        ]

    @job("clone from git daemon, by branch and by tag")
    def clone_remote(self) -> object:
        path = self.repository().path
        options = ["--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--base-path={self.root}"]
        port = self.serve("git", "daemon", "--port={port}", *options)
        url = f"git://127.0.0.1:{port}/{path.name}"
        answers = [self.clone("remote-tag", url, tag="2.0.0")]
        answers.append(self.clone("remote-branch", url, branch="stable/1.0"))
        return json.loads(json.dumps(answers, default=bytes.decode).replace(url, "URL"))

    @job("poetry lock, by branch, tag and id")
    def lock(self) -> object:
        locks: list[list[str]] = []
        url = self.repository().path.as_uri()
        commit = self.sample.commits["second"][:10]
        for which in ('branch = "stable/1.0"', 'tag = "1.0.0"', f'rev = "{commit}"'):
            dependency = _DEPENDENCY.format(url=url, which=which)
            locks.append(self.locked(f"project-{len(locks)}", "lock", dependency=dependency))
        return locks

    @job("poetry add from git http-backend, by branch and tag")
    def add(self) -> object:
        locks: list[list[str]] = []
        with serving(self.repository(), "http") as url:
            for which in ("stable/1.0", "1.0.0"):
                command = "add", "--lock", f"git+{url}#{which}"
                locks.append(self.locked(f"adding-{len(locks)}", *command))
        return json.loads(json.dumps(locks).replace(url, "URL"))

    def locked(self, name: str, *command: str, dependency: str = "") -> list[str]:
        """Have a command make the lock file of a new project; returns its lines."""
        project = self.root / name
        project.mkdir()
        (project / "pyproject.toml").write_text(_PROJECT + dependency)
        self.run("poetry", *command, "--no-interaction", cwd=project)
        lines = self.neutral((project / "poetry.lock").read_text()).splitlines()
        return [line for line in lines if "content-hash" not in line]  # it has the path
