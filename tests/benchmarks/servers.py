"""Servers beside git's and dulwich's: ``python -m tests.benchmarks --server``.

One repository is served by each server in turn, and git is the client. Each figure is the median
of some runs, in wall seconds. Of the server, ``/proc`` tells two more, on Linux only: the processor
seconds of a run, which depend less on what else the machine does; and the most memory that all
processes had at a time, seen by looking now and then. A page that several processes have mapped, as
those of a pack, counts once (the "proportional set size").
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

__all__ = ["compare"]

_COMMITS = 12_500
_REFS = 100_000
_TIMEOUT = 1800
_SHARE = re.compile(r"^Pss: +([0-9]+) kB$", re.MULTILINE)
_PEERS = ("-m", "tests.benchmarks.server_peers")
_OURS = ("-m", "dulwich_reftable", "serve", "--quiet", "--enable=receive-pack")
_SERVERS: dict[str, tuple[str, Callable[[Path, int], list[str]]]] = {
    "ours, TCP": ("git", lambda root, port: [
        sys.executable, *_OURS, "--port", str(port), str(root),
    ]),
    "git daemon": ("git", lambda root, port: [
        "git", "daemon", "--export-all", "--enable=receive-pack", "--reuseaddr",
        "--listen=127.0.0.1", f"--port={port}", f"--base-path={root}", str(root),
    ]),
    "ours, HTTP": ("http", lambda root, port: [
        sys.executable, *_OURS, "--http", "--port", str(port), str(root),
    ]),
    "git http-backend": ("http", lambda root, port: [
        sys.executable, *_PEERS, "cgi", str(root), str(port),
    ]),
    "dulwich, WSGI": ("http", lambda root, port: [
        sys.executable, *_PEERS, "dulwich", str(root), str(port),
    ]),
}  # fmt: skip


def compare(directory: Path, repository: Path | None, repeat: int, only: list[str]) -> int:
    """Measure all servers, and print a table.

    Args:
      directory: to write in; repositories that are made stay there
      repository: to serve; None for one that is made
      repeat: runs of each measurement
      only: beginnings of the names of the cases; all if empty
    Returns: how many measurements failed
    """
    directory.mkdir(parents=True, exist_ok=True)
    source = repository or _made(directory / "server-history.git", _write_history)
    many = _made(directory / "server-many-refs.git", _write_refs)
    root = directory / "served"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    _git("clone", "-q", "--bare", "--no-local", str(source), str(root / "d.git"))
    _git("-C", str(root / "d.git"), "repack", "-adq", "--write-bitmap-index")
    _git("-C", str(root / "d.git"), "config", "http.receivePack", "true")
    shutil.copytree(many, root / "many.git")
    results: dict[str, dict[str, str]] = {}
    failed = 0
    for server, (scheme, command) in _SERVERS.items():
        for case, work in _CASES.items():
            if only and not any(case.startswith(name) for name in only):
                continue
            print(f"{server}: {case}", file=sys.stderr, flush=True)
            try:
                cell = _measure(root, directory / "client", scheme, command, work, repeat)
            except (OSError, subprocess.SubprocessError) as error:
                cell, failed = "failed", failed + 1
                print(f"  {error}", file=sys.stderr)
            results.setdefault(case, {})[server] = cell
    print("| wall seconds (the server's processor seconds, MB) | " + " | ".join(_SERVERS) + " |")
    print("| --- |" + " --- |" * len(_SERVERS))
    for case, cells in results.items():
        print(f"| {case} | " + " | ".join(cells[server] for server in _SERVERS) + " |")
    return failed


def _measure(
    root: Path,
    client: Path,
    scheme: str,
    command: Callable[[Path, int], list[str]],
    work: Callable[[str, Path], Callable[[], None]],
    repeat: int,
) -> str:
    times = []
    with _serving(root, command) as (port, watch):
        spent = watch().seconds
        for number in range(repeat):
            shutil.rmtree(client, ignore_errors=True)
            client.mkdir()
            timed = work(f"{scheme}://127.0.0.1:{port}/", client / str(number))
            began = time.monotonic()
            timed()
            times.append(time.monotonic() - began)
        server = watch()
    spent = (server.seconds - spent) / repeat
    return f"{statistics.median(times):.2f} ({spent:.2f}, {server.memory >> 20})"


class _Usage(NamedTuple):
    """What the processes of a server have used.

    Attributes:
      seconds: of processors, those of processes that have ended included
      memory: bytes that are resident, each page counted once
    """

    seconds: float
    memory: int


@contextmanager
def _serving(
    root: Path, command: Callable[[Path, int], list[str]]
) -> Iterator[tuple[int, Callable[[], _Usage]]]:
    """Run a server; gives its port, and a function that tells its usage, with the peak memory."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        command(root, port), start_new_session=True, stdout=subprocess.DEVNULL
    )
    ended = threading.Event()
    peak = 0

    def look() -> None:
        nonlocal peak
        while not ended.wait(0.1):
            peak = max(peak, _usage(process.pid).memory)

    def tell() -> _Usage:
        return _Usage(_usage(process.pid).seconds, peak)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        _wait_for(port, process)
        yield port, tell
    finally:
        ended.set()
        watcher.join()
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _usage(session: int) -> _Usage:
    """Sum what the processes of a session use."""
    ticks = memory = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) != session:
                continue
            ticks += sum(map(int, fields[11:15]))
            pages = (entry / "smaps_rollup").read_text()
        except OSError:
            continue  # it has ended
        if found := _SHARE.search(pages):
            memory += int(found[1]) << 10
    if not ticks:
        return _Usage(0, 0)
    return _Usage(ticks / os.sysconf("SC_CLK_TCK"), memory)


def _git(*args: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(
        ["git", *args], input=stdin, stdout=subprocess.PIPE, check=True, timeout=_TIMEOUT
    )
    return done.stdout


def _made(path: Path, write: Callable[[Path], None]) -> Path:
    if not path.exists():
        unfinished = path.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        _git("init", "-q", "--bare", "-b", "main", str(unfinished))
        write(unfinished)
        unfinished.rename(path)
    return path


def _write_history(path: Path) -> None:
    """Write commits that each change a file in a folder: four objects each."""
    pieces = []
    for number in range(_COMMITS):
        name = f"d{number * 7 % 61}/f{number * 13 % 47}"
        text = "".join(f"line {line} of {name}, {number // 500}\n" for line in range(40))
        text += f"{number}\n"
        pieces.append(
            f"commit refs/heads/main\ncommitter A <a@example.com> {10**9 + number} +0000\n"
            f"data <<END\nchange {number}\nEND\nM 644 inline {name}\ndata {len(text)}\n{text}\n"
        )
    _git("-C", str(path), "fast-import", "--quiet", stdin="".join(pieces).encode())
    _git("-C", str(path), "repack", "-adfq")


def _write_refs(path: Path) -> None:
    _git(
        "-C", str(path), "fast-import", "--quiet",
        stdin=b"commit refs/heads/main\ncommitter A <a@example.com> 1 +0000\ndata 0\n",
    )  # fmt: skip
    oid = _git("-C", str(path), "rev-parse", "main").decode().strip()
    # git would write a file for each ref before it packs them.
    names = sorted(f"refs/changes/{n % 100:02}/{n}/1" for n in range(_REFS))
    lines = ["# pack-refs with: peeled fully-peeled sorted ", *(f"{oid} {n}" for n in names), ""]
    (path / "packed-refs").write_text("\n".join(lines))
    _git("-C", str(path), "repack", "-adq")


def _clone(*options: str) -> Callable[[str, Path], Callable[[], None]]:
    def prepare(url: str, place: Path) -> Callable[[], None]:
        return lambda: _discard("clone", "-q", "--bare", *options, url + "d.git", str(place))

    return prepare


def _discard(*args: str) -> None:
    _git(*args)


def _fetch(back: int) -> Callable[[str, Path], Callable[[], None]]:
    """A fetch into a clone that lacks the last commits of the default branch, and nothing else."""

    def prepare(url: str, place: Path) -> Callable[[], None]:
        served = place.parent.parent / "served" / "d.git"
        there = str(place)
        _git("init", "-q", "--bare", there)
        _git("-C", str(served), "push", "-q", there, f"HEAD~{back}:refs/heads/main")
        return lambda: _discard("-C", there, "fetch", "-q", url + "d.git", "HEAD:refs/heads/new")

    return prepare


def _push(url: str, place: Path) -> Callable[[], None]:
    served = place.parent.parent / "served" / "d.git"
    there = str(place)
    _git("clone", "-q", "--bare", "--shared", str(served), there)
    tree = _git("-C", there, "rev-parse", "HEAD^{tree}").decode().strip()
    who = ("-c", "user.name=B", "-c", "user.email=b@example.com")
    made = _git(*who, "-C", there, "commit-tree", "-p", "HEAD", "-m", there, tree)
    commit = made.decode().strip()
    target = f"{commit}:refs/heads/bench-{time.time_ns()}"
    return lambda: _discard("-C", there, "push", "-q", url + "d.git", target)


def _list_refs(url: str, place: Path) -> Callable[[], None]:
    return lambda: _discard("ls-remote", url + "many.git")


def _at_once(
    number: int, work: Callable[[str, Path], Callable[[], None]]
) -> Callable[[str, Path], Callable[[], None]]:
    def prepare(url: str, place: Path) -> Callable[[], None]:
        each = [work(url, place.with_name(f"{place.name}-{n}")) for n in range(number)]

        def together() -> None:
            errors: list[Exception] = []

            def run(one: Callable[[], None]) -> None:
                try:
                    one()
                except (OSError, subprocess.SubprocessError) as error:
                    errors.append(error)

            threads = [threading.Thread(target=run, args=[one]) for one in each]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if errors:
                raise errors[0]

        return together

    return prepare


_CASES: dict[str, Callable[[str, Path], Callable[[], None]]] = {
    "clone": _clone(),
    "clone --depth=1": _clone("--depth=1"),
    "fetch of one commit": _fetch(1),
    "fetch of nothing": _fetch(0),
    "push of one commit": _push,
    "ls-remote, 100,000 refs": _list_refs,
    "16 clones at once": _at_once(16, _clone()),
    "16 ls-remotes at once": _at_once(16, _list_refs),
}
