"""Reading refs: lookups, lists of some and of all, refs by object id."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import dulwich_reftable as dr

from .bench import Bench
from .child import run_job
from .datasets import object_id
from .floor import lookup_floor, scan_floor
from .measure import Case, Contender, Reading, Target, stopwatch
from .peers import GitLookups, git_command, open_files
from .repositories import Repositories

__all__ = ["CASES"]

_Where = Callable[[Repositories], Path]


def _one(repositories: Repositories) -> Path:
    return repositories.one


def _eight(repositories: Repositories) -> Path:
    return repositories.eight


def _each(repositories: Repositories) -> Path:
    return repositories.each


# Lookups

_ROUNDS_UNTIL_WARM = 4


def _first_lookup(where: _Where, *, with_opening: bool) -> Contender:
    """Look one ref up in each of several new containers."""

    def run(bench: Bench) -> Iterator[Reading]:
        path = where(bench.repositories)
        while True:
            names = bench.sample(50)
            if with_opening:
                with stopwatch() as watch:
                    for name in names:
                        dr.ReftableRefsContainer(path)[name]
            else:
                containers = [dr.ReftableRefsContainer(path) for _ in names]
                with stopwatch() as watch:
                    for refs, name in zip(containers, names, strict=True):
                        refs[name]
            yield watch.each(len(names))

    return run


def _first_lookup_files(bench: Bench) -> Iterator[Reading]:
    while True:
        (name,) = bench.sample(1)
        with stopwatch() as watch:
            open_files(bench.repositories.files)[name]
        yield watch.each()


def _lookups(where: _Where, *, warm: bool = True, absent: bool = False) -> Contender:
    """Look refs up in one container; if it is to be warm, others have been looked up before.

    Each block is searched some times before it gets its hash index.
    """

    def run(bench: Bench) -> Iterator[Reading]:
        refs = dr.ReftableRefsContainer(where(bench.repositories))
        for _ in range(_ROUNDS_UNTIL_WARM if warm else 0):
            for name in bench.sample(bench.scale.lookups):
                refs.read_ref(name)
        while True:
            if not warm:
                refs = dr.ReftableRefsContainer(where(bench.repositories))
                for name in bench.sample(1):
                    refs.read_ref(name)
            names = _drawn(bench, absent)
            read_ref = refs.read_ref
            with stopwatch() as watch:
                for name in names:
                    read_ref(name)
            yield watch.each(len(names))

    return run


def _drawn(bench: Bench, absent: bool) -> list[bytes]:
    names = bench.sample(bench.scale.lookups)
    # Absent names stand between those that are there.
    return [name + b"-" for name in names] if absent else names


def _lookups_files(*, absent: bool = False) -> Contender:
    def run(bench: Bench) -> Iterator[Reading]:
        read_ref = bench.files().read_ref
        while True:
            names = _drawn(bench, absent)
            with stopwatch() as watch:
                for name in names:
                    read_ref(name)
            yield watch.each(len(names))

    return run


def _lookups_git(where: _Where) -> Contender:
    def run(bench: Bench) -> Iterator[Reading]:
        session = GitLookups(where(bench.repositories))
        try:
            while True:
                names = bench.sample(bench.scale.lookups)
                with stopwatch() as watch:
                    session.look_up(names)
                yield watch.each(len(names))
        finally:
            session.close()

    return run


def _alone(bench: Bench) -> Iterator[Reading]:
    """Open a container and look one ref up, in a process that does nothing else."""
    while True:
        (name,) = bench.sample(1)
        yield run_job("lookup", bench.repositories.one, os.fsdecode(name))


# Some refs

_TAGS = b"refs/tags"
_CHANGES = b"refs/changes/42"


def _list_below(kind: str, prefix: bytes) -> Contender:
    """List refs and values by a container that has listed them before."""

    def run(bench: Bench) -> Iterator[Reading]:
        refs = bench.files() if kind == "dulwich" else _opened(bench.repositories.one)
        refs.as_dict(prefix)
        while True:
            with stopwatch() as watch:
                for _ in range(5):
                    refs.as_dict(prefix)
            yield watch.each(5)

    return run


def _opened(path: Path) -> dr.ReftableRefsContainer:
    return dr.ReftableRefsContainer(path)


def _list_first(kind: str, prefix: bytes) -> Contender:
    """Open the refs and list some of them, in a process that does nothing else."""

    def run(bench: Bench) -> Iterator[Reading]:
        repositories = bench.repositories
        path = repositories.files if kind == "dulwich" else repositories.one
        while True:
            yield run_job("list", kind, path, os.fsdecode(prefix))

    return run


def _listing_cases(name: str, what: str, prefix: bytes, cold: float, hot: float) -> list[Case]:
    git = _for_each_ref(os.fsdecode(prefix) + "/")
    return [
        Case(
            f"{name}-cold",
            f"list {what}, container just opened (git: whole for-each-ref)",
            {
                "ours": _list_first("ours", prefix),
                "dulwich": _list_first("dulwich", prefix),
                "git": git,
            },
            Target(f"under {cold * 1e3:g} ms", cold),
        ),
        Case(
            f"{name}-hot",
            f"list {what}, open container (git: whole for-each-ref)",
            {
                "ours": _list_below("ours", prefix),
                "dulwich": _list_below("dulwich", prefix),
                "git": git,
            },
            Target(f"under {hot * 1e3:g} ms", hot),
        ),
    ]


def _for_each_ref(*args: str, where: _Where = _one) -> Contender:
    """Let a git process list refs, from its start to its end."""

    def run(bench: Bench) -> Iterator[Reading]:
        list_format = "--format=%(refname) %(objectname)"
        command = git_command(where(bench.repositories), "for-each-ref", list_format, *args)
        while True:
            yield run_job("other", os.devnull, *command)

    return run


def _by_object(where: _Where) -> Contender:
    def run(bench: Bench) -> Iterator[Reading]:
        refs = dr.ReftableRefsContainer(where(bench.repositories))
        while True:
            ids = [object_id(name).hex().encode() for name in bench.sample(200)]
            with stopwatch() as watch:
                for oid in ids:
                    refs.refs_for_object(oid)
            yield watch.each(len(ids))

    return run


def _by_object_files(bench: Bench) -> Iterator[Reading]:
    """Look through all refs, since there is no index."""
    refs = bench.files()
    while True:
        (name,) = bench.sample(1)
        oid = object_id(name).hex().encode()
        with stopwatch() as watch:
            [name for name, value in refs.get_packed_refs().items() if value == oid]
        yield watch.each()


def _by_object_git(bench: Bench) -> Iterator[Reading]:
    """Let a git process look through all refs, from its start to its end."""
    while True:
        (name,) = bench.sample(1)
        oid = object_id(name).hex()
        arguments = ("for-each-ref", "--format=%(refname)", f"--points-at={oid}")
        yield run_job("other", os.devnull, *git_command(bench.repositories.one, *arguments))


# All refs


def _scan(kind: str, what: str, where: _Where = _one) -> Contender:
    """Open the refs and list all, in a process that does nothing else; its start is not timed."""

    def run(bench: Bench) -> Iterator[Reading]:
        path = bench.repositories.files if kind == "dulwich" else where(bench.repositories)
        while True:
            yield run_job("scan", kind, path, what)

    return run


CASES = [
    Case(
        "first-lookup",
        "first lookup, container just opened",
        {"ours": _first_lookup(_one, with_opening=False), "dulwich": _first_lookup_files},
        Target("under 150 us", 150e-6),
    ),
    Case(
        "open-lookup",
        "opening (configuration included) and first lookup",
        {"ours": _first_lookup(_one, with_opening=True), "dulwich": _first_lookup_files},
    ),
    Case(
        "first-lookup-8",
        "first lookup, stack of eight",
        {"ours": _first_lookup(_eight, with_opening=False)},
    ),
    Case(
        "lookup",
        "lookup, open container",
        {
            "ours": _lookups(_one),
            "dulwich": _lookups_files(),
            "git": _lookups_git(_one),
            "floor": lookup_floor,
        },
        Target("under 10 us", 10e-6),
    ),
    Case(
        "lookup-cold",
        "lookup, the first ones of a new container",
        {"ours": _lookups(_one, warm=False)},
    ),
    Case(
        "lookup-8",
        "lookup, stack of eight",
        {"ours": _lookups(_eight), "git": _lookups_git(_eight)},
        Target("under 20 us", 20e-6),
    ),
    Case(
        "lookup-cold-8",
        "lookup, stack of eight, the first ones of a new container",
        {"ours": _lookups(_eight, warm=False)},
    ),
    Case(
        "absent",
        "lookup of absent names",
        {"ours": _lookups(_one, absent=True), "dulwich": _lookups_files(absent=True)},
        Target("under 10 us", 10e-6),
    ),
    Case(
        "absent-8",
        "lookup of absent names, stack of eight",
        {"ours": _lookups(_eight, absent=True)},
        Target("under 25 us", 25e-6),
    ),
    *_listing_cases("tags", "the annotated tags", _TAGS, 4e-3, 2e-3),
    *_listing_cases("prefix", f"the refs below {_CHANGES.decode()}/", _CHANGES, 8e-3, 5e-3),
    Case(
        "by-object",
        "refs_for_object, open container",
        {"ours": _by_object(_one), "dulwich": _by_object_files, "git": _by_object_git},
        Target("under 100 us", 100e-6),
    ),
    Case(
        "by-object-8",
        "refs_for_object, stack of eight",
        {"ours": _by_object(_eight)},
        Target("under 250 us", 250e-6),
    ),
    Case(
        "as-dict",
        "as_dict() of all (git: whole for-each-ref)",
        {
            "ours": _scan("ours", "as_dict"),
            "dulwich": _scan("dulwich", "as_dict"),
            "git": _for_each_ref(),
            "floor": scan_floor,
        },
        Target("1.6x floor", ratios={"floor": 1.6}),
    ),
    Case("as-dict-8", "as_dict(), stack of eight", {"ours": _scan("ours", "as_dict", _eight)}),
    Case(
        "iter-refs",
        "iter_refs() of all (git: whole for-each-ref)",
        {"ours": _scan("ours", "iter_refs"), "git": _for_each_ref()},
        Target("1.4x git", ratios={"git": 1.4}),
    ),
    Case(
        "iter-refs-8", "iter_refs(), stack of eight", {"ours": _scan("ours", "iter_refs", _eight)}
    ),
    Case(
        "as-dict-each",
        "as_dict(), an update index for each ref",
        {"ours": _scan("ours", "as_dict", _each), "git": _for_each_ref(where=_each)},
    ),
    Case(
        "lookup-each",
        "lookup, an update index for each ref",
        {"ours": _lookups(_each), "git": _lookups_git(_each)},
    ),
    Case(
        "allkeys",
        "allkeys()",
        {"ours": _scan("ours", "allkeys"), "dulwich": _scan("dulwich", "allkeys")},
    ),
    Case("lookup-memory", "one lookup, in a process of its own", {"ours": _alone}),
]
