"""Servers with workers under load: clones, fetches, pushes, deletions; workers and clients die.

``python -m tests.soak.server --seconds 1800`` serves one repository four times, each from two
workers: over ``git://`` and over HTTP, and each of these by a server whose workers are killed and
reloaded, and by one that is left in peace. Each writer owns a branch, so that it knows what the
servers must show: an update that was acknowledged is there, one that a server in peace refused is
not, and one whose client or worker was killed is either. A client that was not killed must be
served by a server in peace. Meanwhile ``git gc`` runs. At the end ``git fsck`` is clean, and the
workers in peace have in the last third of the time at most as much memory as in the one before, and
a little.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

_ZERO = "0" * 40
_OURS = (sys.executable, "-m", "dulwich_reftable", "serve", "--quiet", "--enable=receive-pack")
_PAUSE = 1.0
_GC_PAUSE = 60.0
_COUNTED = (
    "pushes", "refused", "clones", "fetches", "broken", "victims", "kills", "reloads", "locks",
    "gcs",
)  # fmt: skip
_LEFT = 10.0
"""Seconds that a lock is left; longer than anybody needs to open what he has created."""
_TOLD = 24
"""Lines of a writer's history that are told with a falsehood."""
_TIMEOUT = 120


def _git(*args: str) -> str:
    done = subprocess.run(
        ["git", *args], check=True, timeout=_TIMEOUT, capture_output=True, text=True
    )
    return done.stdout.strip()


_MORE = 12
"""MB by which memory may be larger in the last third of the time."""


class _Servers:
    """The servers of a folder, for TCP and HTTP.

    Args:
      root: the folder
    """

    def __init__(self, root: Path) -> None:
        self._processes = []
        self.urls = []
        for flags in ([], ["--http"]):
            process = subprocess.Popen(
                [*_OURS, "--workers", "2", "--port", "0", *flags, str(root)],
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert process.stdout is not None
            self.urls.append(process.stdout.readline().split()[-1] + "d.git")
            self._processes.append(process)

    def workers(self) -> list[int]:
        """Give the ids of the workers."""
        return [
            int(pid)
            for process in self._processes
            for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        ]

    def memory(self) -> int:
        """Give the resident memory of the largest worker, in MB."""
        sizes = [0]
        for pid in self.workers():
            try:
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:
                continue  # it has ended
            sizes.append(pages * os.sysconf("SC_PAGE_SIZE") >> 20)
        return max(sizes)

    def reload(self) -> None:
        """Start new workers."""
        for process in self._processes:
            process.send_signal(signal.SIGHUP)

    def end(self) -> list[int]:
        """End the servers; gives their exit statuses."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        return [process.wait(60) for process in self._processes]


class _Soak:
    """The load, and what it has found.

    Args:
      place: holds the folder that is served, and the clones
      disturbed: the servers whose workers are killed
      steady: the servers in peace
      seconds: how long to run
    """

    def __init__(self, place: Path, disturbed: _Servers, steady: _Servers, seconds: float) -> None:
        self._place = place
        self._disturbed = disturbed
        self._steady = steady
        self._urls = [*disturbed.urls, *steady.urls]
        self._began = time.monotonic()
        self._seconds = seconds
        self._ends = self._began + seconds
        self.counts = dict.fromkeys(_COUNTED, 0)
        self.falsehoods: list[str] = []
        self.memory: list[tuple[float, int]] = []
        self._broken: list[str] = []
        self._guard = threading.Lock()

    def _count(self, what: str) -> None:
        with self._guard:
            self.counts[what] += 1

    def _fails(self, url: str, what: str, was_killed: bool, said: str) -> None:
        """Count a client that was not served."""
        if was_killed:
            self._count("victims")
        elif url in self._steady.urls:
            self.falsehoods.append(f"{what} failed at {url}: {said[-400:]}")
        else:
            self._count("broken")

    def run(self) -> None:
        """Run until the time is over."""
        jobs = [(self._write, n) for n in range(4)] + [(self._clone, n) for n in range(2)]
        jobs += [(self._fetch, n) for n in range(2)]
        jobs += [(self._kill, 0), (self._measure, 0), (self._collect, 0)]
        threads = [threading.Thread(target=self._do, args=one) for one in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _do(self, job: Callable[[int], None], number: int) -> None:
        try:
            job(number)
        except Exception as error:  # the others go on; the run has failed
            self.falsehoods.append(f"{job.__name__} ended: {error!r}")

    def growth(self) -> int:
        """Give by how many MB memory has grown in the last third of the time."""
        early, late = 0, 0
        for at, size in self.memory:
            if at > self._seconds * 2 / 3:
                late = max(late, size)
            elif at > self._seconds / 3:
                early = max(early, size)
        return late - early

    def _measure(self, number: int) -> None:
        while time.monotonic() < self._ends:
            self.memory.append((time.monotonic() - self._began, self._steady.memory()))
            time.sleep(_PAUSE)

    def _collect(self, number: int) -> None:
        origin = str(self._place / "root" / "d.git")
        while time.monotonic() + _GC_PAUSE < self._ends:
            time.sleep(_GC_PAUSE)
            done = subprocess.run(
                ["git", "-C", origin, "gc", "-q"], capture_output=True, check=False
            )  # a lock that a killed worker has left makes it fail
            if done.returncode == 0:
                self._count("gcs")

    def _write(self, number: int) -> None:
        rng = random.Random(number)
        there = str(self._place / f"writer-{number}")
        _git("clone", "-q", "--bare", str(self._place / "root" / "d.git"), there)
        name = f"refs/heads/writer-{number}"
        possible = {_ZERO}
        late: set[str] = set()  # creations whose answers were lost: these can follow a deletion
        tree = _git("-C", there, "rev-parse", "HEAD^{tree}")
        told: deque[str] = deque(maxlen=_TOLD)
        while time.monotonic() < self._ends:
            url = rng.choice(self._urls)
            began = time.time()
            wanted = _ZERO
            if rng.random() < 0.8:
                message = f"{number} {rng.random()}"
                wanted = _git("-C", there, "commit-tree", "-p", "HEAD", "-m", message, tree)
            source = "" if wanted == _ZERO else wanted
            patience = rng.random() * 0.1 if rng.random() < 0.1 else None
            command = "push", "-q", "--porcelain", url, f"+{source}:{name}"
            status, out, said = _client("-C", there, *command, patience=patience)
            times = f"{began:.3f} to {time.time():.3f}, killed after {patience}"
            told.append(f"{times}: {wanted[:8]}: {status}, {url}: {(out + said).strip()[-200:]}")
            if status == 0:
                possible = {wanted}
                self._count("pushes")
            elif f"!\t{source}:{name}\t[remote rejected]" in out:
                self._count("refused")
                # If a connection breaks before the answer to a request, which is not the first one
                # that it takes, curl sends the request again. Then the first one may be done, and
                # the second one is refused for that reason, by git's server, too.
                if url in self._disturbed.urls:
                    possible |= {wanted}
            else:
                # The answer was lost: the update is done, or not, or will be in a moment.
                late |= {wanted} if _ZERO in possible else set()
                possible |= {wanted}
                self._fails(url, "push", patience is not None, said)
            shown = self._shown(name)
            if shown is None:
                continue
            told.append(f"{time.time():.3f}: {shown[:8]} is shown")
            if shown not in (possible | late if _ZERO in possible else possible):
                self.falsehoods += [
                    f"{name} is {shown}, and should be one of {possible}",
                    *told,
                    *self._evidence(name),
                ]
            possible = {shown} if status == 0 else possible | {shown}

    def _evidence(self, name: str) -> list[str]:
        """Tell what the repository knows of a ref, and which locks were broken."""
        origin = self._place / "root" / "d.git"
        log = _git(
            "-C", str(origin), "log", "-g", "-12", "--format=%h %gd %gs", "--date=unix", name
        )
        files = sorted(os.listdir(origin / "reftable"))
        tables = (origin / "reftable" / "tables.list").read_text().split()
        return [log, f"tables: {tables}", f"files: {files}", f"broken: {self._broken}"]

    def _shown(self, name: str) -> str | None:
        for url in self._steady.urls:
            try:
                lines = _git("ls-remote", url, name).split()
            except subprocess.CalledProcessError:
                continue  # it is told of by others
            return lines[0] if lines else _ZERO
        return None

    def _clone(self, number: int) -> None:
        rng = random.Random(100 + number)
        for attempt in count():
            if time.monotonic() > self._ends:
                return
            # A place of its own: what is left of a killed client still tidies up there.
            there = self._place / f"clone-{number}-{attempt}"
            options = rng.choice(([], ["--depth=1"], ["--filter=blob:none"]))
            url = rng.choice(self._urls)
            patience = rng.random() * 0.3 if rng.random() < 0.2 else None
            command = "clone", "-q", "--bare", *options, url, str(there)
            status, _, said = _client(*command, patience=patience)
            if status == 0:
                self._count("clones")
                if not options:
                    _git("-C", str(there), "fsck", "--strict", "--no-dangling")
            else:
                self._fails(url, "clone", patience is not None, said)
            shutil.rmtree(there, ignore_errors=True)

    def _fetch(self, number: int) -> None:
        """Keep a mirror up to date; its refs and objects are whole after each fetch."""
        rng = random.Random(200 + number)
        there = str(self._place / f"mirror-{number}")
        _git("init", "-q", "--bare", there)
        while time.monotonic() < self._ends:
            url = rng.choice(self._urls)
            done = subprocess.run(
                ["git", "-C", there, "-c", "gc.auto=0", "fetch", "-q", "--prune",
                 url, "+refs/heads/*:refs/heads/*"],
                capture_output=True, check=False, text=True, timeout=_TIMEOUT,
            )  # fmt: skip
            if done.returncode:
                self._fails(url, "fetch", False, done.stderr)
                continue
            self._count("fetches")
            if rng.random() < 0.1:
                _git("-C", there, "fsck", "--strict", "--no-dangling")

    def _break_lock(self) -> None:
        """Remove the lock that a killed worker left, as an operator would: git never does so."""
        lock = self._place / "root" / "d.git" / "reftable" / "tables.list.lock"
        try:
            found = lock.stat()
        except FileNotFoundError:
            return
        # Whoever holds it has it open.
        if time.time() - found.st_mtime > _LEFT and not _is_open(found):
            lock.unlink(missing_ok=True)
            self._broken.append(f"{time.time():.3f}, of {found.st_mtime:.3f}")
            self._count("locks")

    def _kill(self, number: int) -> None:
        rng = random.Random(1000 + number)
        while time.monotonic() < self._ends:
            time.sleep(_PAUSE + 3 * rng.random())
            self._break_lock()
            if rng.random() < 0.2:
                self._disturbed.reload()
                self._count("reloads")
                continue
            workers = self._disturbed.workers()
            if workers:
                try:
                    os.kill(rng.choice(workers), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self._count("kills")


def _is_open(found: os.stat_result) -> bool:
    """Tell whether a process has a file open."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for link in os.scandir(process / "fd"):
                with suppress(OSError):  # it was closed
                    if os.path.samestat(link.stat(), found):
                        return True
        except OSError:
            continue  # it has ended
    return False


def _client(*args: str, patience: float | None) -> tuple[int, str, str]:
    """Run git, and kill it after some seconds if it is a victim.

    Args:
      args: of git
      patience: the seconds; None to let it end
    Returns: its exit status, and what it has printed on both streams
    """
    process = subprocess.Popen(
        ["git", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if patience is not None:
        time.sleep(patience)
        process.kill()
    out, said = process.communicate(timeout=_TIMEOUT)
    return process.returncode, out, said


def main() -> int:
    """Run; returns how many falsehoods there were, or broken repositories."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.server", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    os.environ.update(
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL=os.devnull,
        GIT_TERMINAL_PROMPT="0",
        **{f"GIT_{who}_{what}": "soak@example.com" for who in ("AUTHOR", "COMMITTER")
           for what in ("NAME", "EMAIL")},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        origin = str(place / "root" / "d.git")
        _git("init", "-q", "--bare", "--ref-format=reftable", "-b", "main", origin)
        tree = _git("-C", origin, "hash-object", "-t", "tree", "-w", os.devnull)
        commit = _git("-C", origin, "commit-tree", "-m", "first", tree)
        _git("-C", origin, "update-ref", "refs/heads/main", commit)
        _git("-C", origin, "config", "uploadpack.allowFilter", "true")
        servers = (_Servers(place / "root"), _Servers(place / "root"))
        try:
            soak = _Soak(place, *servers, seconds)
            soak.run()
        finally:
            statuses = [status for each in servers for status in each.end()]
        checked = subprocess.run(
            ["git", "-C", origin, "fsck", "--strict", "--no-dangling"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        left = [path.name for path in Path(origin, "objects").glob("incoming-*")]
    sizes = [size for _, size in soak.memory]
    print(soak.counts, f"left: {left}", f"statuses: {statuses}")
    print("MB:", *sizes[:: max(1, len(sizes) // 20)], f"grown by {soak.growth()}")
    print(*soak.falsehoods, checked.stderr, sep="\n")
    has_grown = soak.growth() > _MORE
    return len(soak.falsehoods) + (checked.returncode != 0) + sum(statuses) + has_grown


if __name__ == "__main__":
    sys.exit(min(main(), 100))
