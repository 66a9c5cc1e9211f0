"""Repositories that git makes, of every kind, and all that git shows of one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.git import Git, ListedRef, LogEntry
from support.pool import ObjectPool

import dulwich_reftable as dr

DANGLING = b"refs/remotes/origin/HEAD"
EMPTY_LOG = b"refs/heads/expired"
STUB = b"ref: refs/heads/.invalid\n"

Pools = Callable[[str], ObjectPool]


@dataclass
class Seen:
    """What git shows of one work tree."""

    refs: dict[bytes, ListedRef]
    raw: dict[bytes, bytes]
    reflogs: dict[bytes, list[LogEntry]]


@dataclass
class Repository:
    """A repository with its linked worktrees."""

    git: Git
    linked: list[Git]

    @property
    def git_dirs(self) -> list[Path]:
        """The control directories, the repository's own first."""
        return [git.git_dir for git in (self.git, *self.linked)]

    def seen(self) -> list[Seen]:
        """All that git shows."""
        return [
            Seen(git.for_each_ref(), git.raw_refs([DANGLING, b"HEAD"]), git.reflogs())
            for git in (self.git, *self.linked)
        ]

    def migrate(self, to: str, **kwargs: Any) -> Any:
        """Let us migrate it."""
        return dr.migrate(self.git.path, to, **kwargs)

    def remains(self, ref_format: str) -> list[str]:
        """Name the files that do not belong to a format; there must be none."""
        wrong: list[str] = []
        for git_dir in self.git_dirs:
            refs = sorted(os.listdir(git_dir / "refs"))
            stubbed = refs == ["heads"] and (git_dir / "refs" / "heads").is_file()
            found = set(os.listdir(git_dir))
            wrong += [str(git_dir / name) for name in found if name.startswith("ref_migration")]
            wrong += [str(path) for path in git_dir.rglob("*.lock")]
            if ref_format == "reftable":
                others = {"packed-refs", "logs", "ORIG_HEAD", "BISECT_EXPECTED_REV"} & found
                wrong += [str(git_dir / name) for name in others]
                wrong += [] if stubbed else [f"{git_dir}/refs: {refs}"]
                wrong += [] if (git_dir / "HEAD").read_bytes() == STUB else [f"{git_dir}/HEAD"]
            else:
                wrong += [str(git_dir / "reftable")] if "reftable" in found else []
                wrong += [f"{git_dir}/refs/heads"] if (git_dir / "refs/heads").is_file() else []
                wrong += [f"{git_dir}/HEAD"] if (git_dir / "HEAD").read_bytes() == STUB else []
        return wrong


def fill(git: Git, pool: ObjectPool, *, logs: bool = True) -> None:
    """Make refs of all kinds, packed and loose ones, and reflogs."""
    pool.lend(git.git_dir)
    git.run("config", "core.logAllRefUpdates", "always" if logs else "false")
    commits, tags = pool.commits, list(pool.tags)
    names = [b"refs/heads/topic/%d" % i for i in range(12)]
    names += [b"refs/heads/topic-%d" % i for i in range(12)]  # "-" sorts before "/"
    names += [EMPTY_LOG, b"refs/heads/main", b"refs/heads/d/e/f", b"refs/changes/01/1/1"]
    names += [b"refs/notes/commits", b"refs/stash", b"refs/remotes/origin/main"]
    create = [b"create %s %s" % pair for pair in zip(names, commits, strict=False)]
    create += [b"create refs/tags/v%d %s" % pair for pair in enumerate(tags[:20])]
    create.append(b"create refs/tags/light " + commits[0])
    git.update_ref_stdin(create, b"first")
    git.run("pack-refs", "--all")
    later = Git.date(1_700_000_100, -12600)
    someone = Git.identity("Zoë Ünïcode", "zoë@example.org")
    moved = [b"update %s %s" % pair for pair in zip(names[::3], commits[50:], strict=False)]
    moved.append(b"delete refs/heads/topic/7")
    moved += [b"create refs/tags/loose%d %s" % pair for pair in enumerate(tags[20:25])]
    git.update_ref_stdin(moved, b"moved: on", {**later, **someone})
    git.run("update-ref", "-m", b"to main \t with blanks ", b"HEAD", commits[60])
    git.run("update-ref", "ORIG_HEAD", commits[3])
    symrefs = {b"refs/heads/sym": b"refs/heads/main", DANGLING: b"refs/remotes/origin/none"}
    git.set_symrefs(symrefs)
    for name in (b"refs/bisect/bad", b"refs/worktree/own", b"refs/rewritten/x"):
        git.run("update-ref", name, commits[7])
    if logs:
        git.run("reflog", "expire", "--expire=all", EMPTY_LOG)
    for pseudo_ref in ("FETCH_HEAD", "MERGE_HEAD"):
        (git.git_dir / pseudo_ref).write_bytes(commits[1] + b"\n")


def _plain(path: Path, pools: Pools, ref_format: str) -> Repository:
    git = Git.init(path, ref_format=ref_format)
    fill(git, pools("sha1"))
    return Repository(git, [])


def _bare(path: Path, pools: Pools, ref_format: str) -> Repository:
    git = Git.init(path, bare=True, ref_format=ref_format)
    fill(git, pools("sha1"))
    return Repository(git, [])


def _sha256(path: Path, pools: Pools, ref_format: str) -> Repository:
    git = Git.init(path, object_format="sha256", ref_format=ref_format)
    fill(git, pools("sha256"))
    return Repository(git, [])


def _worktrees(path: Path, pools: Pools, ref_format: str) -> Repository:
    git = Git.init(path, ref_format=ref_format)
    pool = pools("sha1")
    fill(git, pool)
    linked = []
    for at, args in enumerate((["-b", "one"], ["--detach"], ["-b", "dir/three"])):
        where = path.with_name(f"{path.name}-{at}")
        git.run("worktree", "add", "--no-checkout", *args, where, pool.commits[at])
        linked.append(Git(where))
    linked[0].run("update-ref", "-m", "here", "refs/bisect/bad", pool.commits[30])
    linked[0].run("update-ref", "-m", "here", "HEAD", pool.commits[31])
    linked[1].run("update-ref", "refs/worktree/own", pool.commits[32])
    linked[1].run("update-ref", "ORIG_HEAD", pool.commits[33])
    return Repository(git, linked)


def _detached(path: Path, pools: Pools, ref_format: str) -> Repository:
    git = Git.init(path, ref_format=ref_format)
    pool = pools("sha1")
    fill(git, pool)
    git.run("update-ref", "--no-deref", "-m", "detached", "HEAD", pool.commits[9])
    return Repository(git, [])


def _unborn(path: Path, pools: Pools, ref_format: str) -> Repository:
    git = Git.init(path, ref_format=ref_format)
    fill(git, pools("sha1"))
    git.run("symbolic-ref", "HEAD", "refs/heads/not/yet")
    return Repository(git, [])


def _empty(path: Path, pools: Pools, ref_format: str) -> Repository:
    return Repository(Git.init(path, ref_format=ref_format), [])


KINDS = {
    "plain": _plain,
    "bare": _bare,
    "sha256": _sha256,
    "worktrees": _worktrees,
    "detached": _detached,
    "unborn": _unborn,
    "empty": _empty,
}


def make(kind: str, path: Path, pools: Pools, ref_format: str) -> Repository:
    """Let git make a repository; nothing that we write there is synced."""
    made = KINDS[kind](path, pools, ref_format)
    made.git.run("config", "core.fsync", "none")
    return made


def delete_tags(git: Git) -> None:
    """Delete all annotated tags."""
    tags = [name for name, ref in git.for_each_ref().items() if ref.peeled]
    git.update_ref_stdin(b"delete " + name for name in tags)


def many(path: Path, pool: ObjectPool, refs: int, entries: int) -> Repository:
    """Let git make a repository with many refs and reflog entries, in files."""
    git = Git.init(path, bare=True, ref_format="files", config={"core.logAllRefUpdates": "always"})
    git.run("config", "core.fsync", "none")
    pool.lend(git.git_dir)
    commits, tags = pool.commits, list(pool.tags)
    names = [b"refs/changes/%02d/%d/1" % (i % 100, i) for i in range(refs)]
    left = entries
    logged: Iterable[bytes] = [b"refs/heads/l%d" % i for i in range(entries // 10)]
    turn = 0
    while left > 0:
        some = list(logged)[: min(left, entries // 10)]
        text = [b"update %s %s" % (name, commits[turn % len(commits)]) for name in some]
        git.update_ref_stdin(text, b"turn %d" % turn, Git.date(1_600_000_000 + turn, 3600))
        left -= len(some)
        turn += 1
    git.run("config", "core.logAllRefUpdates", "false")
    git.update_ref_stdin(
        b"create %s %s" % (name, commits[i % len(commits)]) for i, name in enumerate(names)
    )
    git.update_ref_stdin(
        b"create refs/tags/t%d %s" % (i, tags[i % len(tags)]) for i in range(refs // 100)
    )
    git.run("pack-refs", "--all")
    return Repository(git, [])
