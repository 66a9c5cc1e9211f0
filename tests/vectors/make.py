"""Make the tables in this directory, with git: ``python tests/vectors/make.py [directory]``.

The tables are kept so that the tests know what git really wrote, also where no git (or another one)
is installed. Each function below makes one; its body is the git commands, its docstring says
what the table is there for. Ids, dates and names are fixed: the same git gives the same bytes.

Made with git 2.47.3. ``tests/engine/test_vectors.py`` says what is in them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
WHO = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "A U Thor"), ("EMAIL", "author@example.com"))
}
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TEST_REFTABLE_AUTOCOMPACTION": "false",
    **WHO,
}


class Repository:
    """A bare repository; :meth:`git` runs a command in it, an hour after the one before."""

    def __init__(self, path: Path, *, object_format: str = "sha1", **config: str) -> None:
        self.path = path
        self.time = 1_700_000_000
        self.zone = "+0000"
        path.mkdir()
        self.git(
            "init", "--quiet", "--bare", "--initial-branch=main", "--ref-format=reftable",
            f"--object-format={object_format}",
        )  # fmt: skip
        for key, value in {"core.logAllRefUpdates": "false", **config}.items():
            self.git("config", key, value)
        self.time = 1_700_000_000
        tree = self.git("mktree")
        self.commits = [self.git("commit-tree", "-m", str(i), tree) for i in range(4)]
        header = f"object {self.commits[0]}\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\n"
        self.tag = self.git("mktag", stdin=header + "tag\n")

    def git(self, *args: str, stdin: str = "", **env: str) -> str:
        """Run git and return what it printed."""
        self.time += 3600
        date = f"@{self.time} {self.zone}"
        dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        done = subprocess.run(
            ["git", *args],
            cwd=self.path,
            env={**ENVIRONMENT, **dates, **env},
            input=stdin.encode(),
            stdout=subprocess.PIPE,
            check=True,
        )
        return done.stdout.decode().strip()

    def update(self, *lines: str, message: str = "") -> None:
        """One transaction of ``git update-ref --stdin``."""
        note = ["-m", message] if message else []
        self.git("update-ref", *note, "--stdin", stdin="\n".join(lines) + "\n")

    def newest_table(self) -> bytes:
        """The table that the last command wrote."""
        names = (self.path / "reftable" / "tables.list").read_text().split()
        return (self.path / "reftable" / names[-1]).read_bytes()

    def only_table(self) -> bytes:
        """The whole stack as one table."""
        self.git("pack-refs", "--all")
        return self.newest_table()


def _refs_of_all_types(repo: Repository) -> bytes:
    one, two, *_ = repo.commits
    repo.update(
        f"create refs/heads/main {one}",
        f"create refs/heads/topic {two}",
        f"create refs/tags/annotated {repo.tag}",
        f"create refs/tags/light {two}",
    )
    repo.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    return repo.only_table()


def v1(path: Path) -> bytes:
    """Version 1: a branch, a symref, a peeled tag; update indexes 1 to 3."""
    return _refs_of_all_types(Repository(path))


def v2(path: Path) -> bytes:
    """Version 2: the same with SHA-256."""
    return _refs_of_all_types(Repository(path, object_format="sha256"))


def deletions(path: Path) -> bytes:
    """A transaction that creates one ref and deletes two, one of which had a reflog."""
    repo = Repository(path, **{"core.logAllRefUpdates": "true"})
    one, two, *_ = repo.commits
    repo.update(f"create refs/heads/gone {one}", f"create refs/tags/gone {one}", message="made")
    repo.update(f"update refs/heads/gone {two}", message="moved")
    repo.update(
        "delete refs/heads/gone", "delete refs/tags/gone", f"create refs/heads/here {two}",
        message="changed",
    )  # fmt: skip
    return repo.newest_table()


def reflogs(path: Path) -> bytes:
    """Entries in several time zones, by several people, one of them without an address."""
    repo = Repository(path, **{"core.logAllRefUpdates": "true"})
    main = "refs/heads/main"
    for i, zone in enumerate(("+0000", "+0530", "-0330", "-1200")):
        repo.zone = zone
        repo.update(f"update {main} {repo.commits[i]}", message=f"move  to\n {i}")
    repo.git(
        "update-ref", main, repo.commits[0], GIT_COMMITTER_NAME="Zo\xeb", GIT_COMMITTER_EMAIL=""
    )
    repo.update(f"create refs/heads/other {repo.commits[1]}", message="branch: Created")
    return repo.only_table()


def log_only(path: Path) -> bytes:
    """What ``git reflog delete`` writes: the deletion of a log record, and no refs."""
    repo = Repository(path, **{"core.logAllRefUpdates": "true"})
    for commit in repo.commits:
        repo.update(f"update refs/heads/main {commit}", message="move")
    repo.git("reflog", "delete", "refs/heads/main@{1}")
    return repo.newest_table()


def existence_marker(path: Path) -> bytes:
    """What ``git reflog expire`` leaves of a reflog that has lost all entries."""
    repo = Repository(path, **{"core.logAllRefUpdates": "true"})
    for commit in repo.commits[:2]:
        repo.update(f"update refs/heads/main {commit}", message="move")
    repo.git("reflog", "expire", "--expire=all", "refs/heads/main")
    return repo.newest_table()


def _many(repo: Repository, count: int, pattern: str, *, message: str = "") -> None:
    lines = [f"create {pattern % i} {repo.commits[i % 4]}" for i in range(count)]
    repo.update(*lines, message=message)


def blocks(path: Path) -> bytes:
    """Several ref blocks, an index of one level, an obj block; block size 512, interval 4."""
    config = {"reftable.blockSize": "512", "reftable.restartInterval": "4"}
    repo = Repository(path, **config)
    _many(repo, 100, "refs/heads/%03d")
    return repo.only_table()


def levels(path: Path) -> bytes:
    """Indexes of several levels for refs and objects; block size 96."""
    repo = Repository(path, **{"reftable.blockSize": "96"})
    lines = []
    for i in range(450):
        blob = repo.git("hash-object", "-w", "--stdin", stdin=str(i))
        lines.append(f"create refs/b/{i:03d} {blob}")
    repo.update(*lines)
    return repo.only_table()


def log_blocks(path: Path) -> bytes:
    """Several log blocks and their index behind refs; block size 512."""
    repo = Repository(path, **{"reftable.blockSize": "512", "core.logAllRefUpdates": "true"})
    _many(repo, 60, "refs/heads/%02d", message="made")
    return repo.only_table()


def scan_all(path: Path) -> bytes:
    """An obj record without positions, since its object is in more blocks than it can name."""
    repo = Repository(path, **{"reftable.blockSize": "128"})
    repo.update(*(f"create refs/heads/{i:04d} {repo.commits[0]}" for i in range(400)))
    return repo.only_table()


def no_objects(path: Path) -> bytes:
    """An index, but no obj blocks."""
    repo = Repository(path, **{"reftable.blockSize": "512", "reftable.indexObjects": "false"})
    _many(repo, 100, "refs/heads/%03d")
    return repo.only_table()


VECTORS: dict[str, Callable[[Path], bytes]] = {
    "v1": v1,
    "v2": v2,
    "deletions": deletions,
    "reflogs": reflogs,
    "log-only": log_only,
    "existence-marker": existence_marker,
    "blocks": blocks,
    "levels": levels,
    "log-blocks": log_blocks,
    "scan-all": scan_all,
    "no-objects": no_objects,
}


def main() -> None:
    """Make all tables."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    with tempfile.TemporaryDirectory() as work:
        for name, make in VECTORS.items():
            table = make(Path(work) / name)
            (target / f"{name}.ref").write_bytes(table)
            print(f"{name}.ref: {len(table)} bytes")


if __name__ == "__main__":
    main()
