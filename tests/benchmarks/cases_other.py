"""Reflogs, serving, and what importing the package costs."""

from __future__ import annotations

import os
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dulwich.client import TCPGitClient
from dulwich.repo import Repo as DulwichRepo

import dulwich_reftable as dr

from .bench import DISK, Bench
from .child import PROJECT_ROOT, command, run_job
from .datasets import reflogs
from .measure import Case, Contender, Reading, Target, stopwatch
from .peers import git_command

__all__ = ["CASES"]

# Reflogs


def _logged(bench: Bench) -> list[bytes]:
    scale = bench.scale
    return [name for name, _ in reflogs(scale.log_refs, scale.log_entries, scale.commits)]


def _open_logs(bench: Bench, kind: str) -> DulwichRepo:
    if kind == "ours":
        return dr.Repo(bench.repositories.logs_reftable)
    return DulwichRepo(os.fspath(bench.repositories.logs_files))


def _one_log(kind: str) -> Contender:
    """Read all entries of refs drawn by lot."""

    def run(bench: Bench) -> Iterator[Reading]:
        names = _logged(bench)
        with _open_logs(bench, kind) as repo:
            while True:
                drawn = bench.drawn(names, 200)
                with stopwatch() as watch:
                    for name in drawn:
                        deque(repo.read_reflog(name), maxlen=0)
                yield watch.each(len(drawn))

    return run


def _last_entry(kind: str) -> Contender:
    """Read the newest entry of the longest reflog; files have to be read from their beginning."""

    def run(bench: Bench) -> Iterator[Reading]:
        name = _logged(bench)[0]
        with _open_logs(bench, kind) as repo:
            while True:
                with stopwatch() as watch:
                    for _ in range(10):
                        if isinstance(repo.refs, dr.ReftableRefsContainer):
                            next(repo.refs.read_reflog(name, newest_first=True))
                        else:
                            deque(repo.read_reflog(name), maxlen=1)
                yield watch.each(10)

    return run


def _all_logs(kind: str) -> Contender:
    """Read all entries of all refs."""

    def run(bench: Bench) -> Iterator[Reading]:
        names = _logged(bench)
        with _open_logs(bench, kind) as repo:
            while True:
                with stopwatch() as watch:
                    for name in names:
                        deque(repo.read_reflog(name), maxlen=0)
                yield watch.each()

    return run


def _git_log(*args: str, longest: bool = False) -> Contender:
    """Let a git process show the reflog of one ref, from its start to its end."""

    def run(bench: Bench) -> Iterator[Reading]:
        names = _logged(bench)
        while True:
            name = names[0] if longest else bench.drawn(names, 1)[0]
            shown = ("log", "-g", "--format=%gD %H %gs", *args, os.fsdecode(name), "--")
            yield run_job(
                "other", os.devnull, *git_command(bench.repositories.logs_reftable, *shown)
            )

    return run


# Serving


@contextmanager
def _served(bench: Bench, kind: str) -> Iterator[int]:
    """Serve all refs from another process; gives the port."""
    repositories = bench.repositories
    path = repositories.served_files if kind == "dulwich" else repositories.served_reftable
    process = subprocess.Popen(
        command("serve", kind, os.fspath(path)),
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def _ls_remote(kind: str) -> Contender:
    """List all refs of a server that has just been started; the client is git, or dulwich."""

    def run(bench: Bench) -> Iterator[Reading]:
        def by_git(port: int) -> int:
            url = f"git://127.0.0.1:{port}/"
            command = ["git", "-c", "protocol.version=0", "ls-remote", url]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            return done.stdout.count(b"\n")

        def by_dulwich(port: int) -> int:
            return len(TCPGitClient("127.0.0.1", port).get_refs(b"/").refs)

        client: Callable[[int], int] = by_dulwich if bench.git is None else by_git
        while True:
            with _served(bench, kind) as port, stopwatch() as watch:
                listed = client(port)
            if listed < bench.scale.refs:
                raise RuntimeError(f"the server told only {listed} refs")
            yield watch.each()

    return run


# Importing


def _import(name: str) -> Contender:
    """Import a module, in a new process, from byte code that has been compiled before."""

    def run(bench: Bench) -> Iterator[Reading]:
        cache = bench.places[DISK] / "bytecode"
        os.environ["PYTHONPYCACHEPREFIX"] = os.fspath(cache)
        kept = os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        run_job("import", name)
        if kept is not None:
            os.environ["PYTHONDONTWRITEBYTECODE"] = kept
        while True:
            yield run_job("import", name)

    return run


CASES = [
    Case(
        "reflog",
        "reflog of one ref, open repository (git: whole process)",
        {"ours": _one_log("ours"), "dulwich": _one_log("dulwich"), "git": _git_log()},
    ),
    Case(
        "reflog-last",
        "last entry of a long reflog (git: whole process)",
        {
            "ours": _last_entry("ours"),
            "dulwich": _last_entry("dulwich"),
            "git": _git_log("-1", longest=True),
        },
    ),
    Case(
        "reflog-all",
        "all {log_entries:,} reflog entries of {log_refs:,} refs",
        {"ours": _all_logs("ours"), "dulwich": _all_logs("dulwich")},
    ),
    Case(
        "ls-remote",
        "ls-remote of all, from our server (dulwich: from its own)",
        {"ours": _ls_remote("ours"), "dulwich": _ls_remote("dulwich")},
        Target("10x faster than dulwich", ratios={"dulwich": 1 / 10}),
    ),
    Case(
        "import",
        "import (dulwich: of dulwich.repo alone)",
        {"ours": _import("dulwich_reftable"), "dulwich": _import("dulwich.repo")},
    ),
]
