"""A server with workers under load: clones, pushes, deletions; workers and clients are killed.

``python -m tests.soak.server --seconds 180`` serves one repository over ``git://`` and HTTP, each
from two workers. Each writer owns a branch, so that it knows what the server must show: an update
that was acknowledged is there, one that was refused is not, and one whose client or worker was
killed is either. At the end ``git fsck`` is clean, and the workers hold as much memory as before.
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
from pathlib import Path

_ZERO = "0" * 40
_OURS = (sys.executable, "-m", "dulwich_reftable", "serve", "--quiet", "--enable=receive-pack")
_PAUSE = 1.0
_LEFT = 5.0
"""Seconds after which nobody who lives holds a lock."""
_TIMEOUT = 120


def _git(*args: str) -> str:
    done = subprocess.run(
        ["git", *args], check=True, timeout=_TIMEOUT, capture_output=True, text=True
    )
    return done.stdout.strip()


class _Servers:
    """The servers of a folder."""

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
                continue  # it was killed
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
    """The load, and what it has found."""

    def __init__(self, place: Path, servers: _Servers, seconds: float) -> None:
        self._place = place
        self._servers = servers
        self._ends = time.monotonic() + seconds
        self.counts = dict.fromkeys(("pushes", "clones", "broken", "kills", "reloads", "locks"), 0)
        self.falsehoods: list[str] = []
        self._guard = threading.Lock()

    def _count(self, what: str) -> None:
        with self._guard:
            self.counts[what] += 1

    def run(self) -> None:
        """Run until the time is over."""
        jobs = [(self._write, n) for n in range(4)] + [(self._clone, n) for n in range(2)]
        threads = [threading.Thread(target=job, args=[n]) for job, n in [*jobs, (self._kill, 0)]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _write(self, number: int) -> None:
        rng = random.Random(number)
        there = str(self._place / f"writer-{number}")
        _git("clone", "-q", "--bare", str(self._place / "root" / "d.git"), there)
        name = f"refs/heads/writer-{number}"
        possible = {_ZERO}
        tree = _git("-C", there, "rev-parse", "HEAD^{tree}")
        while time.monotonic() < self._ends:
            url = rng.choice(self._servers.urls)
            wanted = _ZERO
            if rng.random() < 0.8:
                message = f"{number} {rng.random()}"
                wanted = _git("-C", there, "commit-tree", "-p", "HEAD", "-m", message, tree)
            source = "" if wanted == _ZERO else wanted
            process = subprocess.Popen(
                ["git", "-C", there, "push", "-q", "--porcelain", url, f"+{source}:{name}"],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            if rng.random() < 0.1:
                time.sleep(rng.random() * 0.1)
                process.kill()
            out, _ = process.communicate(timeout=_TIMEOUT)
            if process.returncode == 0:
                possible = {wanted}
                self._count("pushes")
            elif f"!\t{source}:{name}\t[remote rejected]" not in out:
                # The answer was lost: the update is done, or not, or will be in a moment.
                possible |= {wanted}
                self._count("broken")
            shown = self._shown(name)
            if shown is None:
                continue
            if shown not in possible:
                self.falsehoods.append(f"{name} is {shown}, and should be one of {possible}")
            elif process.returncode == 0:
                possible = {shown}

    def _shown(self, name: str) -> str | None:
        for url in self._servers.urls:
            try:
                lines = _git("ls-remote", url, name).split()
            except subprocess.CalledProcessError:
                continue  # its worker was killed
            return lines[0] if lines else _ZERO
        return None

    def _clone(self, number: int) -> None:
        rng = random.Random(100 + number)
        there = self._place / f"clone-{number}"
        while time.monotonic() < self._ends:
            options = rng.choice(([], ["--depth=1"], ["--filter=blob:none"]))
            command = ["git", "clone", "-q", "--bare", *options]
            process = subprocess.Popen(
                [*command, rng.choice(self._servers.urls), str(there)], stderr=subprocess.DEVNULL
            )
            if rng.random() < 0.2:
                time.sleep(rng.random() * 0.3)
                process.kill()
            if process.wait(_TIMEOUT) == 0:
                self._count("clones")
                if not options:
                    _git("-C", str(there), "fsck", "--strict", "--no-dangling")
            else:
                self._count("broken")
            shutil.rmtree(there, ignore_errors=True)

    def _break_lock(self) -> None:
        """Remove the lock that a killed worker left, as an operator would: git never does so."""
        lock = self._place / "root" / "d.git" / "reftable" / "tables.list.lock"
        try:
            is_left = time.time() - lock.stat().st_mtime > _LEFT
        except FileNotFoundError:
            return
        if is_left:
            lock.unlink(missing_ok=True)
            self._count("locks")

    def _kill(self, number: int) -> None:
        rng = random.Random(1000 + number)
        while time.monotonic() < self._ends:
            time.sleep(_PAUSE + 3 * rng.random())
            self._break_lock()
            if rng.random() < 0.2:
                self._servers.reload()
                self._count("reloads")
                continue
            workers = self._servers.workers()
            if workers:
                try:
                    os.kill(rng.choice(workers), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self._count("kills")


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
        servers = _Servers(place / "root")
        try:
            soak = _Soak(place, servers, seconds)
            soak.run()
            memory = servers.memory()
        finally:
            statuses = servers.end()
        checked = subprocess.run(
            ["git", "-C", origin, "fsck", "--strict", "--no-dangling"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        left = [path.name for path in Path(origin, "objects").glob("incoming-*")]
    print(soak.counts, f"{memory} MB", f"left: {left}", f"statuses: {statuses}")
    print(*soak.falsehoods, checked.stderr, sep="\n")
    return len(soak.falsehoods) + (checked.returncode != 0) + sum(statuses)


if __name__ == "__main__":
    sys.exit(min(main(), 100))
