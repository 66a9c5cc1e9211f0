"""Clients that push and clone while others clear up: does anything get lost that was acknowledged?

Run it from the project's directory::

    python -m tests.soak.repack --seconds 60
    python -m tests.soak.repack --seconds 60 --full        # with a disk that is full now and then
    python -m tests.soak.repack --seconds 60 --root DIR    # the same, on a small file system

A repository of ours is served by two processes, over TCP and over HTTP. Clients push branches of a
few and of many objects, and clone. Meanwhile ``git repack -ad``, ``git gc --prune=now`` and our own
compaction run one after another without a pause. Every clone has to succeed, every branch that was
acknowledged has to be there with all its objects, and in the end git has to find nothing wrong.
With ``--full`` the processes of the server find the disk full at random, in every call that writes
a file. The exit status is 0 if all is well.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from server.pushing import push, refs_of
from support.git import Git

import dulwich_reftable as dr

from .pushes import server_process

_FULL_DISK = """
import builtins, errno, os, random, sys
chance = random.Random(os.getpid())
def maybe(call, writes=lambda *a, **k: True):
    def wrapped(*args, **kwargs):
        if writes(*args, **kwargs) and chance.random() < 0.02:
            raise OSError(errno.ENOSPC, "no space left on device")
        return call(*args, **kwargs)
    return wrapped
builtins.open = maybe(open, lambda file, mode="r", *a, **k: "w" in mode or "x" in mode)
os.fsync = maybe(os.fsync)
os.link = maybe(os.link)
os.mkdir = maybe(os.mkdir)
from dulwich_reftable.cli import main
sys.exit(main(sys.argv[1:]))
"""


class Results:
    """What clients saw."""

    def __init__(self) -> None:
        self.pushed: dict[bytes, bytes] = {}
        self.told: Counter[str] = Counter()
        self.wrong: list[str] = []


def pushes(git: Git, url: str, until: float, results: Results) -> None:
    """Push branches of a few and of many objects; now and then delete one."""
    name, turn = git.path.name, 0
    chance = random.Random(name)
    while time.monotonic() < until:
        turn += 1
        for number in range(chance.choice((1, 1, 150))):
            (git.path / f"file{number}").write_text(f"{name} {turn} {number}\n")
        git.run("add", ".")
        git.run("commit", "-q", "-m", f"{name} {turn}")
        tip = git.run("rev-parse", "HEAD").strip()
        ref = f"refs/heads/{name}-{turn}"
        code, told, said = push(git, url, f"HEAD:{ref}")
        results.told[told.get(ref, "no answer")[:60]] += 1
        if told.get(ref) == "*":
            results.pushed[ref.encode()] = tip
        elif code == 0:
            results.wrong.append(f"{ref}: {said}")
        if turn % 5 == 0 and chance.random() < 0.5:
            old = f"refs/heads/{name}-{turn - 3}"
            if push(git, url, f":{old}")[1].get(old) == "-":
                results.pushed.pop(old.encode(), None)


def clones(scratch: Path, url: str, until: float, results: Results, *, may_fail: bool) -> None:
    """Clone, again and again."""
    turn = 0
    while time.monotonic() < until:
        turn += 1
        path = scratch / f"clone-{threading.get_ident()}-{turn}"
        git = Git(scratch)
        done = git.start(["clone", "-q", "--bare", url, str(path)], b"", None)
        results.told["cloned" if done.returncode == 0 else "clone failed"] += 1
        if done.returncode and not may_fail:
            results.wrong.append(f"a clone failed: {done.stderr.decode(errors='replace')}")
        subprocess.run(["rm", "-rf", str(path)], check=True)


def clearing(origin: Git, until: float, results: Results) -> None:
    """Clear up, without a pause."""
    ways = (["repack", "-adq"], ["gc", "-q", "--prune=now"], ["repack", "-dq", "--geometric=2"])
    turn = 0
    while time.monotonic() < until:
        way = ways[turn % len(ways)]
        done = origin.start(way, b"", None)
        results.told[f"{' '.join(way)}: {done.returncode}"] += 1
        with dr.Repo(os.fspath(origin.path)) as repo:
            try:
                repo.refs.compact()
            except dr.LockError:
                results.told["compaction gave way"] += 1
            except dr.StorageError as error:
                results.told[f"compaction failed: {error.strerror}"] += 1
        turn += 1


def falsehoods(origin: Git, results: Results) -> list[str]:
    """Compare what was acknowledged with what is there."""
    wrong = list(results.wrong)
    refs = refs_of(origin)
    for name, tip in results.pushed.items():
        if refs.get(name) != tip:
            wrong.append(f"{name!r} was acknowledged as {tip!r} and is {refs.get(name)!r}")
    done = origin.start(["fsck", "--full", "--strict", "--no-dangling", "--no-progress"], b"", None)
    if done.returncode or done.stdout or done.stderr:
        wrong.append((done.stdout + done.stderr).decode(errors="replace")[:2000])
    litter = [*origin.path.rglob("incoming-*"), *origin.path.rglob("*.keep")]
    return wrong + [f"left behind: {path}" for path in litter]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (60)")
    parser.add_argument("--clients", type=int, default=2, help="how many push by each way (2)")
    parser.add_argument("--ref-format", choices=("reftable", "files"), default="reftable")
    parser.add_argument("--full", action="store_true", help="let the disk be full at random")
    parser.add_argument("--root", help="where the repository is served from; its disk may be full")
    options = parser.parse_args(arguments)
    results = Results()
    may_fail = options.full or options.root is not None
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory(dir=options.root) as served,
    ):
        scratch, root = Path(folder), Path(served)
        origin = Git.init(root / "origin.git", bare=True, ref_format=options.ref_format)
        tree = origin.run("hash-object", "-w", "-t", "tree", "--stdin").strip()
        first = origin.run("commit-tree", "-m", "first", tree).strip()
        origin.run("update-ref", "refs/heads/main", first)
        start = ["-c", _FULL_DISK] if options.full else ["-m", "dulwich_reftable"]
        with (
            server_process(root, start=start) as (tcp, _),
            server_process(root, "--http", start=start) as (http, _),
        ):
            until = time.monotonic() + options.seconds
            jobs = [threading.Thread(target=clearing, args=(origin, until, results))]
            for way, base in (("tcp", tcp), ("http", http)):
                url = base + "origin.git"
                for number in range(options.clients):
                    git = Git.init(scratch / f"{way}{number}")
                    jobs.append(threading.Thread(target=pushes, args=(git, url, until, results)))
                jobs.append(
                    threading.Thread(
                        target=clones,
                        args=(scratch, url, until, results),
                        kwargs={"may_fail": may_fail},
                    )
                )
            for job in jobs:
                job.start()
            for job in jobs:
                job.join()
        wrong = falsehoods(origin, results)
    for what, count in results.told.most_common():
        print(f"{count:>6} x {what}")
    for text in wrong:
        print("WRONG:", text)
    print(f"acknowledged: {len(results.pushed)}, falsehoods: {len(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
