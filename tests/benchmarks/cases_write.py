"""Writing refs: one at a time, in transactions, all at once; compaction and migration.

All sides sync what they write. git is one ``update-ref --stdin`` session, except where all refs
are written at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import cycle

from .bench import DISK, MEMORY, Bench
from .child import run_job
from .measure import Case, Contender, Reading, Target, stopwatch
from .peers import Edit, git_command, writer
from .repositories import REFTABLE_OR_FILES

__all__ = ["CASES"]

_KINDS = ("ours", "dulwich", "git")
_ONE_REF = Target("1.3x git", ratios={"git": 1.3})
_BULK = Target("1.5x git", ratios={"git": 1.5})

# One ref

_Edits = tuple[list[Edit], list[Edit]]


def _creations(bench: Bench, number: int) -> _Edits:
    """Give what is done first, untimed, and what is timed."""
    names = sorted(bench.fresh_names(number))
    commits = cycle(bench.commits)
    return [], [Edit(name, new) for name, new in zip(names, commits, strict=False)]


def _updates(bench: Bench, number: int) -> _Edits:
    _, before = _creations(bench, number)
    last = bench.commits[-1]
    return before, [Edit(name, last, old) for name, old, _ in before]


def _deletions(bench: Bench, number: int) -> _Edits:
    _, before = _creations(bench, number)
    return before, [Edit(name, None, old) for name, old, _ in before]


_OPERATIONS: dict[str, Callable[[Bench, int], _Edits]] = {
    "create": _creations,
    "update": _updates,
    "delete": _deletions,
}


def _one_ref(kind: str, operation: str, size: str, place: str) -> Contender:
    """Do one-ref updates one after the other; the compactions that they cause are theirs."""

    def run(bench: Bench) -> Iterator[Reading]:
        is_slow = kind == "dulwich" and size == "large"
        number = 1 if is_slow else bench.scale.updates
        target = bench.writer(kind, size, place)
        while True:
            before, edits = _OPERATIONS[operation](bench, number)
            if before:
                target.many(before)
            with stopwatch() as watch:
                for edit in edits:
                    target.one(edit)
            yield watch.each(len(edits))

    return run


def _one_ref_case(operation: str, size: str, place: str) -> Case:
    kinds = [kind for kind in _KINDS if (kind, size, place) != ("dulwich", "large", MEMORY)]
    return Case(
        f"{operation}-{size}-{place}",
        f"{operation} one ref, {size} repository, on {place}",
        {kind: _one_ref(kind, operation, size, place) for kind in kinds},
        _ONE_REF,
    )


# Transactions


def _transaction(kind: str, operation: str, size: str, number: Callable[[Bench], int]) -> Contender:
    """Do one transaction, each time in a new small or always in the large repository.

    dulwich creates refs in ``packed-refs``, the fastest way that it has.
    """

    def run(bench: Bench) -> Iterator[Reading]:
        while True:
            if size == "large":
                target = bench.writer(kind, size, DISK)
            else:
                path = bench.repositories.small(REFTABLE_OR_FILES[kind], bench.places[DISK])
                target = writer(kind, path)
            before, edits = _OPERATIONS[operation](bench, number(bench))
            if before:
                target.many(before)
            with stopwatch() as watch:
                target.many(edits)
            if size != "large":
                target.close()
            yield watch.each()

    return run


def _large_transaction(bench: Bench) -> int:
    return bench.scale.large_transaction


# Everything


def _bulk(kind: str) -> Contender:
    """Write all refs into an empty repository, in a process that does nothing else."""

    def run(bench: Bench) -> Iterator[Reading]:
        source = bench.repositories.bulk
        while True:
            path = bench.repositories.empty(REFTABLE_OR_FILES[kind], bench.places[DISK])
            if kind == "git":
                yield run_job("other", source, *git_command(path, "update-ref", "--stdin"))
            else:
                yield run_job("bulk", kind, path, source)

    return run


def _compact(kind: str) -> Contender:
    """Merge a stack of eight tables into one."""

    def run(bench: Bench) -> Iterator[Reading]:
        while True:
            path = bench.repositories.copy(bench.repositories.eight, bench.places[DISK])
            if kind == "git":
                command = git_command(path, "pack-refs", "--all")
                yield run_job("other", os.devnull, *command)
            else:
                yield run_job("compact", path)

    return run


def _migrate(kind: str) -> Contender:
    """Turn ``packed-refs`` into a table."""

    def run(bench: Bench) -> Iterator[Reading]:
        while True:
            path = bench.repositories.copy(bench.repositories.files, bench.places[DISK])
            if kind == "git":
                command = git_command(path, "refs", "migrate", "--ref-format=reftable")
                yield run_job("other", os.devnull, *command)
            else:
                yield run_job("migrate", path)

    return run


CASES = [
    *(
        _one_ref_case(operation, size, place)
        for place in (DISK, MEMORY)
        for size in ("small", "large")
        for operation in ("create", "update", "delete")
    ),
    *(
        Case(
            f"{operation}-1000-{size}",
            f"{operation} 1,000 refs in one transaction, {size} repository",
            {
                kind: _transaction(kind, operation, size, lambda _: 1000)
                for kind in _KINDS
                if (kind, operation) != ("dulwich", "update")
            },
            _BULK,
        )
        for operation in ("create", "update")
        for size in ("small", "large")
    ),
    Case(
        "create-many",
        "create {large_transaction:,} refs in one transaction, small repository",
        {kind: _transaction(kind, "create", "small", _large_transaction) for kind in _KINDS},
        _BULK,
    ),
    Case(
        "bulk",
        "writing all refs in one transaction",
        {kind: _bulk(kind) for kind in _KINDS},
        _BULK,
        Target("under 300 MB", 300e6),
    ),
    Case(
        "compact",
        "compaction of eight tables with all refs",
        {kind: _compact(kind) for kind in ("ours", "git")},
    ),
    Case(
        "migrate",
        "migration of all refs from files",
        {kind: _migrate(kind) for kind in ("ours", "git")},
        Target("1.2x git", ratios={"git": 1.2}),
        Target("half of git's", ratios={"git": 0.5}),
    ),
]
