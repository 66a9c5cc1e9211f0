"""Packs that are made to sink a server: what they cost ours, and git's receive-pack.

Run it from the project's directory::

    python -m tests.soak.attacks
    python -m tests.soak.attacks --unlimited    # with receive.maxObjectSize and its like at 0

Each attack is pushed to a server of ours, which is one process for everybody, and to git's, which
loses a child. Beside the verdict stand the highest memory that a process had and the time. Of ours
it is also measured whether memory comes back, whether anything is left on disk, how long an honest
client then waits, and, if the push was accepted, what the next clone costs. The exit status is 0 if
memory came back within 100 MB, nothing was left, and honest clients waited less than a second.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from server import making as make
from server import wire
from server.making import COMMIT, TREE, Object
from support.git import Git

from .pushes import server_process

MB = 1 << 20


class Attack(NamedTuple):
    """A pack, and the commit that a branch shall point to."""

    tip: bytes
    pack: bytes


def under(*objects: Object, mode: bytes = b"100644") -> Attack:
    """Let a commit lead to the last of some objects."""
    tree = make.tree((mode, b"it", objects[-1].oid))
    commit = make.commit(tree.oid)
    return Attack(commit.oid, make.pack(*objects, tree, commit))


def zeros() -> Attack:
    """A blob of 483 MB of zeros."""
    return under(make.blob(bytes(483 * MB)))


def _copies(count: int, size: int) -> bytes:
    """Instructions that copy the beginning of the base again and again."""
    return (b"\xf0" + size.to_bytes(3, "little")) * count


def delta() -> Attack:
    """A delta of a few hundred bytes that makes 1 GB of 16 MB."""
    size = 16 * MB - 1
    base = make.blob(bytes(size))
    tree = make.tree((b"100644", b"base", base.oid))
    commit = make.commit(tree.oid)
    big = make.delta(base, 64 * size, _copies(64, size))
    return Attack(commit.oid, make.pack(base, big, tree, commit))


def delta_that_lies() -> Attack:
    """A delta that announces ten bytes, and would make 16 GB."""
    size = 16 * MB - 1
    base = make.blob(bytes(size))
    tree = make.tree((b"100644", b"base", base.oid))
    commit = make.commit(tree.oid)
    return Attack(
        commit.oid, make.pack(base, make.delta(base, 10, _copies(1000, size)), tree, commit)
    )


def chain() -> Attack:
    """A chain of 500 deltas, each of 8 MB."""
    size = 8 * MB
    zeros = bytes(size - 8)
    last = make.blob(b"%08d" % 0 + zeros)
    objects = [last]
    for number in range(1, 500):
        # Eight bytes of its own, then the base from its eighth byte on.
        change = b"\x08%08d\xf1\x08" % number + (size - 8).to_bytes(3, "little")
        objects.append(make.delta(last, size, change))
        last = make.blob(b"%08d" % number + zeros)
    tree = make.tree((b"100644", b"it", last.oid))
    commit = make.commit(tree.oid)
    return Attack(commit.oid, make.pack(*objects, tree, commit))


def _raw(oid: bytes) -> bytes:
    return bytes.fromhex(oid.decode())


def entries() -> Attack:
    """A tree of a million entries."""
    blob = make.blob(b"x")
    raw = _raw(blob.oid)
    tree = Object(TREE, b"".join(b"100644 %07d\0%s" % (n, raw) for n in range(1_000_000)))
    commit = make.commit(tree.oid)
    return Attack(commit.oid, make.pack(blob, tree, commit))


def garbage_tree() -> Attack:
    """A tree of 50 MB that is none."""
    tree = Object(TREE, b"7 " * (25 * MB))
    return Attack(make.commit(tree.oid).oid, make.pack(tree, make.commit(tree.oid)))


def parents() -> Attack:
    """A commit with 100,000 parents."""
    lines = b"".join(b"parent %040x\n" % number for number in range(1, 100_001))
    tree = make.tree()
    data = b"tree %s\n%sauthor %s\ncommitter %s\n\nx\n" % (tree.oid, lines, make.WHO, make.WHO)
    commit = Object(COMMIT, data)
    return Attack(commit.oid, make.pack(tree, commit))


def objects() -> Attack:
    """A pack of 100,000 tiny objects."""
    tree = make.tree()
    commit = make.commit(tree.oid)
    blobs = (make.blob(b"%d" % number) for number in range(100_000))
    return Attack(commit.oid, make.pack(tree, commit, *blobs))


def tags() -> Attack:
    """A chain of 20,000 tags."""
    tree = make.tree()
    commit = make.commit(tree.oid)
    made = [make.tag(commit.oid, b"commit")]
    for _ in range(20_000):
        made.append(make.tag(made[-1].oid, b"tag"))
    return Attack(made[-1].oid, make.pack(tree, commit, *made))


def deep_trees() -> Attack:
    """Trees in trees, 20,000 deep."""
    made = [make.tree()]
    for _ in range(20_000):
        made.append(make.tree((b"40000", b"a", made[-1].oid)))
    return under(*made, mode=b"40000")


def many_trees() -> Attack:
    """Trees that name the next one ten times: 10^12 paths."""
    made = [make.tree((b"100644", b"x", make.blob(b"x").oid))]
    for _ in range(12):
        made.append(make.tree(*((b"40000", b"%d" % n, made[-1].oid) for n in range(10))))
    return under(make.blob(b"x"), *made, mode=b"40000")


def announcement() -> Attack:
    """A pack that announces four billion objects, and has none."""
    return Attack(b"1" * 40, b"PACK\0\0\0\2\xff\xff\xff\xff" + bytes(100))


ATTACKS: list[Callable[[], Attack]] = [
    zeros,
    delta,
    delta_that_lies,
    chain,
    entries,
    garbage_tree,
    parents,
    objects,
    tags,
    deep_trees,
    many_trees,
    announcement,
]


def made(attack: Callable[[], Attack]) -> Attack:
    """Make an attack in another process: or git would inherit its memory."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(attack)


class Cost(NamedTuple):
    """What a push did: the verdict, the highest memory in MB, and seconds."""

    verdict: str
    memory: float
    seconds: float


def memory_of(process: int, what: str) -> float:
    """Give the memory of a process in MB: ``VmRSS`` for now, ``VmHWM`` for the highest."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def forget_highest(process: int) -> None:
    """Measure the highest memory from now on."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


def verdict(report: bytes) -> str:
    said = make.outcomes(report)
    if not said:
        return "no report"
    return next(iter(said.values())).decode() or "ok"


def push_to_git(git: Git, command: bytes, pack: bytes) -> Cost:
    """Push to git's receive-pack; the memory is that of its largest process."""
    body = wire.line(command + b"\0 report-status") + b"0000" + pack
    with tempfile.TemporaryFile() as sent, tempfile.TemporaryFile() as got:
        sent.write(body)
        sent.seek(0)
        begin = time.monotonic()
        process = subprocess.Popen(
            ["timeout", "120", "git", "receive-pack", str(git.path)],
            stdin=sent,
            stdout=got,
            stderr=subprocess.DEVNULL,
            env=git.env,
        )
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        seconds = time.monotonic() - begin
        got.seek(0)
        return Cost(verdict(got.read()), usage.ru_maxrss / 1024, seconds)


def push_to_us(url: str, process: int, command: bytes, pack: bytes) -> Cost:
    forget_highest(process)
    begin = time.monotonic()
    try:
        said = verdict(wire.push(url, command, pack=pack))
    except OSError as error:
        said = type(error).__name__
    return Cost(said, memory_of(process, "VmHWM"), time.monotonic() - begin)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--unlimited", action="store_true", help="without limits of our own")
    parser.add_argument("names", nargs="*", help="attacks to make (all)")
    options = parser.parse_args(arguments)
    wrong = 0
    print(f"{'attack':<16}{'pack':>8}  {'ours: MB':>9}{'s':>6}{'left':>6}{'honest':>8}", end="")
    print(f"{'clone: MB':>11}{'git: MB':>9}{'s':>6}  verdicts")
    for attack in ATTACKS:
        if options.names and attack.__name__ not in options.names:
            continue
        tip, pack = made(attack)
        with tempfile.TemporaryDirectory() as scratch:
            root, theirs = Path(scratch, "root"), Path(scratch, "theirs.git")
            both = [Git.init(path, bare=True) for path in (root / "ours.git", theirs)]
            if options.unlimited:
                for name in ("maxObjectSize", "maxTreeEntries"):
                    both[0].run("config", f"receive.{name}", "0")
            place = b"tags" if attack is tags else b"heads"
            command = b"%s %s refs/%s/attack" % (wire.ZERO, tip, place)
            with server_process(root) as (base, process):
                url = base + "ours.git"
                both[1].run("ls-remote", url)
                before = memory_of(process, "VmRSS")
                ours = push_to_us(url, process, command, pack)
                begin = time.monotonic()
                both[1].run("ls-remote", url)
                honest = time.monotonic() - begin
                left = memory_of(process, "VmRSS") - before
                litter = [*root.rglob("incoming-*"), *root.rglob("tmp_*"), *root.rglob("*.keep")]
                clone = 0.0
                if ours.verdict == "ok":
                    forget_highest(process)
                    copy = Git.init(Path(scratch, "clone"), bare=True)
                    copy.start(["fetch", "-q", url, f"refs/{place.decode()}/attack"], b"", None)
                    clone = memory_of(process, "VmHWM")
            git = push_to_git(both[1], command, pack)
        wrong += left > 100 or honest > 1 or bool(litter)
        print(
            f"{attack.__name__:<16}{len(pack) // 1024:>6} K  {ours.memory:>9.0f}"
            f"{ours.seconds:>6.1f}{left:>6.0f}{honest:>8.2f}{clone:>11.0f}{git.memory:>9.0f}"
            f"{git.seconds:>6.1f}  {ours.verdict} | {git.verdict}"
            + "".join(f"\n  LEFT: {path}" for path in litter),
            flush=True,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
