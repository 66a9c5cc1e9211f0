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
from .repositories import REFTABLE_OR_FILES

__all__ = ["CASES"]

# Reflogs

_LONG = 1000  # entries of one ref
_MANY = 200, 2000  # refs, and entries of all of them


def _logged(refs: int, entries: int, bench: Bench) -> list[bytes]:
    return [name for name, _ in reflogs(refs, entries, bench.scale.commits)]


def _open_logs(bench: Bench, kind: str, refs: int, entries: int) -> DulwichRepo:
    path = bench.repositories.logs(REFTABLE_OR_FILES[kind], refs, entries)
    return dr.Repo(path) if kind == "ours" else DulwichRepo(os.fspath(path))


def _of_many(kind: str) -> Contender:
    """Read all entries of refs drawn by lot; the files and tables have been read before."""

    def run(bench: Bench) -> Iterator[Reading]:
        names = _logged(*_MANY, bench)
        with _open_logs(bench, kind, *_MANY) as repo:
            while True:
                drawn = bench.drawn(names, 200)
                with stopwatch() as watch:
                    for name in drawn:
                        deque(repo.read_reflog(name), maxlen=0)
                yield watch.each(len(drawn))

    return run


def _long(kind: str) -> Contender:
    """Read the entries of one ref again and again."""

    def run(bench: Bench) -> Iterator[Reading]:
        (name,) = _logged(1, _LONG, bench)
        with _open_logs(bench, kind, 1, _LONG) as repo:
            deque(repo.read_reflog(name), maxlen=0)
            while True:
                with stopwatch() as watch:
                    for _ in range(5):
                        deque(repo.read_reflog(name), maxlen=0)
                yield watch.each(5)

    return run


def _log_job(job: str, kind: str, refs: int, entries: int) -> Contender:
    """Open a repository and deal with the reflog of a ref, in a process that does nothing else."""

    def run(bench: Bench) -> Iterator[Reading]:
        name, *_ = _logged(refs, entries, bench)
        made = bench.repositories.logs(REFTABLE_OR_FILES[kind], refs, entries)
        while True:
            path = made
            if job == "expire":
                path = bench.repositories.copy(made, bench.places[DISK])
            yield run_job(job, kind, path, os.fsdecode(name))

    return run


def _git_log(*args: str, entries: int = _LONG) -> Contender:
    """Let a git process show the reflog of one ref, from its start to its end."""

    def run(bench: Bench) -> Iterator[Reading]:
        (name,) = _logged(1, entries, bench)
        shown = ("log", "-g", "--format=%gD %H %gs", *args, os.fsdecode(name), "--")
        path = bench.repositories.logs("reftable", 1, entries)
        while True:
            yield run_job("other", os.devnull, *git_command(path, *shown))

    return run


def _git_expire(bench: Bench) -> Iterator[Reading]:
    """Let a git process drop the older half of the entries, from its start to its end."""
    ((name, log),) = reflogs(1, _LONG, bench.scale.commits)
    half = f"--expire=@{log[_LONG // 2].time}"
    while True:
        path = bench.repositories.copy(
            bench.repositories.logs("reftable", 1, _LONG), bench.places[DISK]
        )
        command = ("reflog", "expire", half, "--expire-unreachable=never", os.fsdecode(name))
        yield run_job("other", os.devnull, *git_command(path, *command))


def _last_entry(kind: str) -> Contender:
    """Read the newest entry of a long reflog; files have to be read from their beginning."""

    def run(bench: Bench) -> Iterator[Reading]:
        (name,) = _logged(1, _LONG, bench)
        with _open_logs(bench, kind, 1, _LONG) as repo:
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
        size = bench.scale.log_refs, bench.scale.log_entries
        names = _logged(*size, bench)
        with _open_logs(bench, kind, *size) as repo:
            while True:
                with stopwatch() as watch:
                    for name in names:
                        deque(repo.read_reflog(name), maxlen=0)
                yield watch.each()

    return run


# Serving


@contextmanager
def _served(bench: Bench, kind: str) -> Iterator[int]:
    """Serve all refs from another process; gives the port."""
    repositories = bench.repositories
    path = repositories.files if kind == "dulwich" else repositories.one
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


def _ls_remote_git(bench: Bench) -> Iterator[Reading]:
    """Let git list all refs of its own upload-pack."""
    path = os.fspath(bench.repositories.one)
    while True:
        yield run_job("other", os.devnull, "git", "-c", "protocol.version=0", "ls-remote", path)


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
        "reflog-cold",
        f"reflog of {_LONG:,} entries, repository just opened (git: whole process)",
        {kind: _log_job("reflog", kind, 1, _LONG) for kind in ("ours", "dulwich")}
        | {"git": _git_log()},
        Target("under 3 ms", 3e-3),
    ),
    Case(
        "reflog-hot",
        f"reflog of {_LONG:,} entries, open repository (git: whole process)",
        {kind: _long(kind) for kind in ("ours", "dulwich")} | {"git": _git_log()},
        Target("under 2 ms", 2e-3),
    ),
    Case(
        "reflog-of-many",
        f"reflog of one of {_MANY[0]} refs, open repository",
        {kind: _of_many(kind) for kind in ("ours", "dulwich")},
        Target("under 50 us", 50e-6),
    ),
    Case(
        "reflog-last",
        f"last entry of {_LONG:,}, open repository (git: whole process)",
        {"ours": _last_entry("ours"), "dulwich": _last_entry("dulwich"), "git": _git_log("-1")},
    ),
    Case(
        "reflog-all",
        "all {log_entries:,} reflog entries of {log_refs:,} refs",
        {"ours": _all_logs("ours"), "dulwich": _all_logs("dulwich")},
    ),
    Case(
        "expire",
        f"expire half of {_LONG:,} reflog entries (git: whole process)",
        {kind: _log_job("expire", kind, 1, _LONG) for kind in ("ours", "dulwich")}
        | {"git": _git_expire},
        Target("under 5 ms", 5e-3),
    ),
    Case(
        "ls-remote",
        "ls-remote of all, from our server (dulwich, git: from their own)",
        {"ours": _ls_remote("ours"), "dulwich": _ls_remote("dulwich"), "git": _ls_remote_git},
        Target("under 4 s", 4.0),
    ),
    Case(
        "ls-remote-stock",
        "ls-remote of all, from dulwich's handlers under install()",
        {"ours": _ls_remote("stock"), "dulwich": _ls_remote("dulwich"), "git": _ls_remote_git},
        Target("under 4 s", 4.0),
    ),
    Case(
        "import",
        "import (dulwich: of dulwich.repo alone)",
        {"ours": _import("dulwich_reftable"), "dulwich": _import("dulwich.repo")},
    ),
]
