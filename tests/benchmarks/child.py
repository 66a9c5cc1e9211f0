"""What is done in a process of its own, so that the peak of its memory can be told.

``python -m tests.benchmarks.child JOB ARGUMENTS`` does one job and prints what it took. Memory is
that of the whole process, interpreter and imports included (about 30 MB).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from .measure import Reading

__all__ = ["PROJECT_ROOT", "command", "run_job"]

PROJECT_ROOT = Path(__file__).resolve().parents[2]
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


def command(*args: str) -> list[str]:
    """Give the command line of a job; it has to be run in the root of the project."""
    return [sys.executable, "-m", f"{__package__}.child", *args]


def run_job(*args: str | Path) -> Reading:
    """Do a job.

    Args:
      *args: its name, and what it takes
    """
    done = subprocess.run(
        command(*(os.fspath(arg) for arg in args)),
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    told = json.loads(done.stdout)
    return Reading(told["seconds"], told["seconds"], told["peak"])


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# Jobs of Python: each imports what it needs, opens the repository and does one thing.


def _scan(kind: str, path: str, what: str) -> float:
    """Open the refs and list all of them."""
    if kind == "dulwich":
        from dulwich.refs import DiskRefsContainer as Container
    else:
        from dulwich_reftable import ReftableRefsContainer as Container  # type: ignore[assignment]
    if what == "iter_refs":
        return _timed(lambda: deque(Container(path).iter_refs(), maxlen=0))  # type: ignore[attr-defined]
    return _timed(lambda: getattr(Container(path), what)())


def _list(kind: str, path: str, prefix: str) -> float:
    """List the refs below a prefix, in a container that was just opened."""
    if kind == "dulwich":
        from dulwich.refs import DiskRefsContainer as Container
    else:
        from dulwich_reftable import ReftableRefsContainer as Container  # type: ignore[assignment]
    refs = Container(path)
    return _timed(lambda: refs.as_dict(os.fsencode(prefix)))


def _reflog(kind: str, path: str, name: str) -> float:
    """Read a reflog, in a repository that was just opened."""
    repo = _repository(kind, path)
    return _timed(lambda: deque(repo.read_reflog(os.fsencode(name)), maxlen=0))


def _expire(kind: str, path: str, name: str) -> float:
    """Drop the older half of the entries of a reflog."""
    from dulwich import porcelain

    repo = _repository(kind, path)
    entries = list(repo.read_reflog(os.fsencode(name)))
    limit = entries[len(entries) // 2].timestamp
    return _timed(
        lambda: porcelain.reflog_expire(repo, name, expire_time=limit, expire_unreachable_time=0)
    )


def _repository(kind: str, path: str) -> Any:
    if kind == "dulwich":
        from dulwich.repo import Repo
    else:
        from dulwich_reftable import Repo
    return Repo(path)


def _lookup(path: str, name: str) -> float:
    """Open the refs and look for one."""
    from dulwich_reftable import ReftableRefsContainer

    return _timed(lambda: ReftableRefsContainer(path)[os.fsencode(name)])


def _bulk(kind: str, path: str, source: str) -> float:
    """Write all refs in one transaction, reading them from a file meanwhile, as git does."""
    from .peers import Edit, writer

    def edits() -> Iterator[Edit]:
        with open(source, "rb") as file:
            for line in file:
                words = line.split()
                if words[0] == b"create":
                    yield Edit(words[1], words[2])

    target = writer(kind, Path(path))
    return _timed(lambda: target.many(edits()))


def _compact(path: str) -> float:
    """Merge all tables into one."""
    from dulwich_reftable import ReftableRefsContainer

    return _timed(ReftableRefsContainer(path).compact)


def _migrate(path: str) -> float:
    """Turn a files repository into a reftable one."""
    import dulwich_reftable

    return _timed(lambda: dulwich_reftable.migrate(path, "reftable"))


def _import(name: str) -> float:
    """Import a module."""
    return _timed(lambda: __import__(name))


_JOBS: dict[str, Callable[..., float]] = {
    "scan": _scan,
    "list": _list,
    "reflog": _reflog,
    "expire": _expire,
    "lookup": _lookup,
    "bulk": _bulk,
    "compact": _compact,
    "migrate": _migrate,
    "import": _import,
}


def _other(source: str, *arguments: str) -> tuple[float, int]:
    """Run another program as a whole; its output is thrown away.

    Returns: seconds, and peak of its memory
    """
    with open(source, "rb") as stdin:
        start = time.perf_counter()
        process = subprocess.Popen(arguments, stdin=stdin, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{arguments} ended with status {status}")
    process.returncode = 0
    return seconds, usage.ru_maxrss * _PEAK_UNIT


def _serve(kind: str, path: str) -> None:
    """Serve a repository; prints the port, ends with the input.

    Args:
      kind: ``"ours"``, ``"dulwich"`` with files, or ``"stock"``: dulwich's handlers with reftables
      path: of the repository
    """
    import socketserver
    import threading

    server: socketserver.TCPServer
    if kind in ("dulwich", "stock"):
        import dulwich_reftable

        if kind == "stock":
            dulwich_reftable.install()
        from dulwich.repo import Repo
        from dulwich.server import BackendRepo, DictBackend, TCPGitServer

        repos: dict[bytes, BackendRepo] = {b"/": Repo(path)}
        server = TCPGitServer(DictBackend(repos), "127.0.0.1", 0)
    else:
        from dulwich_reftable.server import Folder, GitServer

        server = GitServer(Folder(path), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
    server.shutdown()
    server.server_close()


def _own_peak() -> int:
    """Tell the most memory that this process had.

    ``ru_maxrss`` begins with what the process had that started this one; Linux tells better.
    """
    with suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT


def main(job: str, *arguments: str) -> None:
    """Do a job and print what it took."""
    if job == "serve":
        _serve(*arguments)
        return
    if job == "other":
        seconds, peak = _other(*arguments)
    else:
        seconds = _JOBS[job](*arguments)
        peak = _own_peak()
    print(json.dumps({"seconds": seconds, "peak": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
