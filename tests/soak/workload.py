"""A crowd that works on one repository, and the book-keeping that shows whether anything got lost.

Writers increment counters by compare-and-swap, move pairs of refs in one transaction, and create
and delete refs of a common set. Each change carries a message of its own into the reflog, and each
writer keeps a list of those that were acknowledged. Readers look for torn pairs. In the end every
acknowledged change has to be in the reflogs once, every reflog has to be an unbroken chain, and
what exists has to be what creations and deletions add up to.
"""

from __future__ import annotations

import os
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from support.git import Git
from support.pool import ObjectPool

import dulwich_reftable as dr

MAIN = b"refs/heads/main"
COUNTERS = [b"refs/heads/counter%d" % i for i in range(4)]
PAIRS = [(b"refs/heads/pair%d/left" % i, b"refs/heads/pair%d/right" % i) for i in range(2)]
TOKENS = [b"refs/heads/token%d" % i for i in range(8)]
ZERO = b"0" * 40
WHO: dict[str, Any] = {
    "committer": b"S O Ak <soak@example.com>",
    "timestamp": 1_700_000_000,
    "timezone": 0,
}


class Change(NamedTuple):
    """One acknowledged change of one ref."""

    ref: bytes
    old: bytes
    new: bytes
    message: bytes


@dataclass
class Report:
    """What a worker has to say in the end."""

    kind: str
    done: list[list[Change]] = field(default_factory=list)  # by transaction
    timeouts: int = 0
    refusals: int = 0  # somebody else was faster
    reads: int = 0
    most_tables: int = 0
    errors: list[str] = field(default_factory=list)


class Limit:
    """When to stop: at a time, or after so many rounds for each worker."""

    def __init__(self, seconds: float | None = None, rounds: int | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self._rounds = rounds

    def goes_on(self, round: int) -> bool:
        """Tell whether to do a round."""
        if self._rounds is not None and round >= self._rounds:
            return False
        return self._end is None or time.monotonic() < self._end


@dataclass
class Arena:
    """The repository, and the objects that refs may point at."""

    path: Path
    commits: list[bytes]

    @classmethod
    def make(cls, path: Path, pool: ObjectPool, *, synced: bool = False) -> Arena:
        """Make a repository with all counters and pairs."""
        dr.Repo.init(str(path), mkdir=True, default_branch=b"main").close()
        pool.lend(path / ".git")
        if not synced:
            with (path / ".git" / "config").open("a") as file:
                file.write("[core]\n\tfsync = none\n")
        arena = cls(path, pool.commits)
        with arena.refs().transaction(message=b"begin", **WHO) as tx:
            for name in [MAIN, *COUNTERS, *(name for pair in PAIRS for name in pair)]:
                tx.create(name, arena.commits[0])
        return arena

    def refs(self) -> dr.ReftableRefsContainer:
        """Open the repository."""
        return dr.ReftableRefsContainer(self.path / ".git")

    def next(self, value: bytes) -> bytes:
        """The value after this one."""
        return self.commits[(self.commits.index(value) + 1) % len(self.commits)]

    def tables(self) -> list[str]:
        """The names in the list."""
        return (self.path / ".git" / "reftable" / "tables.list").read_text().split()


Apply = Callable[[list[Change]], None]
"""Makes changes in one transaction; raises `Refused` or `LockError`."""


class Refused(Exception):
    """Somebody else was faster."""


def apply_ours(refs: dr.ReftableRefsContainer, changes: list[Change]) -> None:
    """Make changes with our container: one by dulwich's methods, several in a transaction."""
    about = {**WHO, "message": changes[0].message}
    if len(changes) == 1:
        ((name, old, new, _),) = changes
        if new == ZERO:
            done = refs.remove_if_equals(name, old, **about)
        elif old == ZERO:
            done = refs.add_if_new(name, new, **about)
        else:
            done = refs.set_if_equals(name, old, new, **about)
        if not done:
            raise Refused
        return
    try:
        with refs.transaction(**about) as tx:
            for name, old, new, _ in changes:
                tx.update(name, new, old)
    except dr.TransactionError as error:
        raise Refused from error


def apply_git(git: Git, changes: list[Change]) -> None:
    """Make changes with a process of git."""
    lines = [b"update %s %s %s\n" % (name, new, old) for name, old, new, _ in changes]
    args = [b"update-ref", b"-m", changes[0].message, b"--stdin"]
    done = git.start(args, b"".join(lines), None)
    if done.returncode:
        said = done.stderr
        if b"but expected" in said or b"already exists" in said or b"unable to resolve" in said:
            raise Refused(said)
        raise dr.LockError("git", None, 0.0) if b"lock" in said else RuntimeError(said)


def write(
    arena: Arena,
    apply: Apply,
    read: Callable[[bytes], bytes],
    kind: str,
    limit: Limit,
    *,
    tokens: Sequence[bytes] = TOKENS,
) -> Report:
    """Change refs until the end.

    Args:
      arena: the repository
      apply: makes changes
      read: gives a ref's value, zeros if there is no such ref
      kind: what the worker is called
      limit: when to stop
      tokens: refs to create and to delete; their reflogs go with them
    """
    report = Report(kind)
    chance = random.Random(f"{kind} {os.getpid()} {threading.get_ident()}")
    who = b"%s-%d-%d" % (kind.encode(), os.getpid(), threading.get_ident())
    round = 0
    while limit.goes_on(round):
        round += 1
        wish = chance.random()
        if wish < 0.5:
            names: Sequence[bytes] = [chance.choice(COUNTERS)]
        elif wish < 0.75 or not tokens:
            names = chance.choice(PAIRS)
        else:
            names = [chance.choice(tokens)]
        message = b"%s-%d" % (who, round)
        changes = [change(arena, name, read(name), message) for name in names]
        try:
            apply(changes)
        except Refused:
            report.refusals += 1
        except dr.LockError:
            report.timeouts += 1
        else:
            report.done.append(changes)
    return report


def change(arena: Arena, name: bytes, value: bytes, message: bytes) -> Change:
    """Increment a counter; a token is created if it is not there, else deleted."""
    if name in TOKENS:
        return Change(name, value, arena.commits[0] if value == ZERO else ZERO, message)
    return Change(name, value, arena.next(value), message)


# The workers


def ours(arena: Arena, limit: Limit) -> Report:
    """A process with a container."""
    refs = arena.refs()
    return write(arena, lambda changes: apply_ours(refs, changes), value_in(refs), "ours", limit)


def value_in(refs: dr.ReftableRefsContainer) -> Callable[[bytes], bytes]:
    """Give a function that reads a ref."""
    return lambda name: refs.read_ref(name) or ZERO


def threads(arena: Arena, limit: Limit) -> Report:
    """A process with two containers, each of which serves three threads."""
    reports: list[Report] = []

    def body(refs: dr.ReftableRefsContainer) -> None:
        try:
            reports.append(
                write(
                    arena,
                    lambda changes: apply_ours(refs, changes),
                    value_in(refs),
                    "thread",
                    limit,
                )
            )
        except BaseException:
            reports.append(Report("thread", errors=[traceback.format_exc()]))

    running = [
        threading.Thread(target=body, args=(refs,))
        for refs in (arena.refs(), arena.refs())
        for _ in range(3)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    whole = Report("thread")
    for report in reports:
        whole.done += report.done
        whole.timeouts += report.timeouts
        whole.refusals += report.refusals
        whole.errors += report.errors
    return whole


def git(arena: Arena, limit: Limit) -> Report:
    """One process of git after the other; values are read by us."""
    driver = Git(arena.path)
    refs = arena.refs()
    return write(arena, lambda changes: apply_git(driver, changes), value_in(refs), "git", limit)


def reader(arena: Arena, limit: Limit) -> Report:
    """Look for torn pairs, in snapshots and in lists, and follow the number of tables."""
    report = Report("reader")
    refs = arena.refs()
    while limit.goes_on(report.reads):
        report.reads += 1
        view = refs.snapshot() if report.reads % 2 else refs
        seen = dict(view.iter_refs(b"refs/heads/pair"))
        for left, right in PAIRS:
            if seen[left] != seen[right]:
                report.errors.append(f"torn: {seen}")
        report.most_tables = max(report.most_tables, len(arena.tables()))
    return report


def git_reader(arena: Arena, limit: Limit) -> Report:
    """Look for torn pairs with git."""
    report = Report("git reader")
    driver = Git(arena.path)
    while limit.goes_on(report.reads):
        report.reads += 1
        seen = {name: ref.value for name, ref in driver.for_each_ref().items()}
        for left, right in PAIRS:
            if seen[left] != seen[right]:
                report.errors.append(f"git sees torn: {seen}")
    return report


def keeper(arena: Arena, limit: Limit) -> Report:
    """Compact everything now and then, and clean up, in turn with git."""
    report = Report("keeper")
    driver = Git(arena.path)
    round = 0
    while limit.goes_on(round):
        round += 1
        try:
            refs = arena.refs()
            refs.clean()
            if round % 2:
                refs.compact()
            else:
                driver.start(["pack-refs", "--all"], b"", None)
        except dr.LockError:
            report.timeouts += 1
        time.sleep(0.02)
    return report


Worker = Callable[[Arena, Limit], Report]


def run(arena: Arena, jobs: Sequence[tuple[Worker, Limit]]) -> list[Report]:
    """Let each worker run in a process of its own.

    Args:
      arena: the repository
      jobs: functions of this module, and for how long they shall work
    """
    context = get_context("fork")
    running = []
    for worker, limit in jobs:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(worker, arena, limit, theirs), daemon=True)
        process.start()
        theirs.close()
        running.append((process, ours))
    reports = []
    for process, connection in running:
        reports.append(connection.recv())
        process.join()
    return reports


def _work(worker: Worker, arena: Arena, limit: Limit, connection: Connection) -> None:
    try:
        report = worker(arena, limit)
    except BaseException:
        report = Report(worker.__name__, errors=[traceback.format_exc()])
    connection.send(report)


# The book-keeping


def losses(arena: Arena, reports: Sequence[Report]) -> list[str]:
    """Give what is wrong: changes lost, made twice, or torn, and every error of a worker."""
    wrong = [error for report in reports for error in report.errors]
    refs = arena.refs()
    expected: dict[bytes, Counter[bytes]] = {}
    for change in (c for report in reports for changes in report.done for c in changes):
        expected.setdefault(change.ref, Counter())[change.message] += 1
    for name in [*COUNTERS, *(name for pair in PAIRS for name in pair)]:
        entries = list(refs.read_reflog(name))
        logged = Counter(entry.message for entry in entries[1:])
        lost = expected.get(name, Counter()) - logged
        made_up = logged - expected.get(name, Counter())
        # git can fail in the compaction that follows an update, and says that the update failed.
        made_up = Counter({m: n for m, n in made_up.items() if not m.startswith(b"git-") or n > 1})
        if lost or made_up:
            wrong.append(f"{name!r}: lost {dict(lost)}, not acknowledged {dict(made_up)}")
        value = ZERO
        for entry in entries:
            if entry.old_sha != value:
                wrong.append(f"{name!r}: {entry} does not follow {value!r}")
            value = entry.new_sha
        if refs[name] != value:
            wrong.append(f"{name!r} is {refs[name]!r}, the reflog says {value!r}")
    for left, right in PAIRS:
        logs = [[entry[:2] + entry[5:] for entry in refs.read_reflog(n)] for n in (left, right)]
        if logs[0] != logs[1]:
            wrong.append(f"the halves of a pair differ (torn): {left!r}")
    for name in TOKENS:
        balance = sum(
            1 if change.old == ZERO else -1
            for report in reports
            for changes in report.done
            for change in changes
            if change.ref == name
        )
        if balance != (refs.read_ref(name) is not None):
            wrong.append(f"{name!r}: {balance} more creations than deletions")
    theirs = {name: ref.value for name, ref in Git(arena.path).for_each_ref().items()}
    if theirs != refs.as_dict():
        wrong.append(f"git sees {theirs}, we see {refs.as_dict()}")
    complaints = Git(arena.path).complaints()
    if complaints:
        wrong.append(f"git complains: {complaints!r}")
    refs.clean()
    left_over = set(os.listdir(arena.path / ".git" / "reftable"))
    left_over -= {"tables.list", *arena.tables()}
    if left_over:
        wrong.append(f"left behind: {sorted(left_over)}")
    return wrong
