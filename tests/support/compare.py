"""Comparing what we show with what git shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from support.git import Git, LogEntry

if TYPE_CHECKING:
    import dulwich_reftable as dr

Reflogs = dict[bytes, list[LogEntry]]


def shown_reflogs(refs: dr.ReftableRefsContainer) -> Reflogs:
    """All reflogs as we show them, oldest entry first."""
    return {name: [LogEntry(*e) for e in refs.read_reflog(name)] for name in refs.reflogs()}


def as_far_as_known(ours: Reflogs, theirs: Mapping[bytes, list[LogEntry]]) -> Reflogs:
    """Return `ours` without those time zones that git did not tell in `theirs`."""
    return {
        name: [
            entry._replace(timezone=None)
            if at < len(theirs.get(name, ())) and theirs[name][at].timezone is None
            else entry
            for at, entry in enumerate(entries)
        ]
        for name, entries in ours.items()
    }


def is_listed(name: bytes) -> bool:
    """Tell whether lists of refs show this name."""
    return name == b"HEAD" or name.startswith(b"refs/")


def assert_same_refs(
    refs: dr.ReftableRefsContainer, git: Git, unlisted: Iterable[bytes] = ()
) -> dict[bytes, bytes]:
    """Check every way of listing refs against git, and return them as stored.

    Lists show HEAD and what is below ``refs/``, as dulwich's and git's own do; other root refs
    are there for who asks by name. `unlisted` names the symrefs to nowhere, which git has
    but does not list.
    """
    raw = git.raw_refs(unlisted)
    shown = {name: value for name, value in raw.items() if is_listed(name)}
    for name in raw.keys() - shown.keys():
        assert refs.read_ref(name) == raw[name]
    pairs = list(refs.iter_refs())
    assert dict(pairs) == shown
    assert [name for name, _ in pairs] == sorted(shown)
    assert refs.allkeys() == shown.keys()
    listed = git.for_each_ref()
    assert refs.as_dict() == {n: ref.value for n, ref in listed.items() if is_listed(n)}
    assert refs.get_symrefs() == {
        name: value[len(b"ref: ") :] for name, value in shown.items() if value.startswith(b"ref: ")
    }
    return raw


def assert_same_reflogs(refs: dr.ReftableRefsContainer, git: Git) -> Reflogs:
    """Check all reflogs against git, and return them."""
    theirs = git.reflogs()
    ours = shown_reflogs(refs)
    assert list(ours) == sorted(theirs)
    assert as_far_as_known(ours, theirs) == theirs
    return theirs


def file_states(directory: Path) -> dict[str, tuple[int, ...]]:
    """Return what would betray any change below a directory, a file written again included."""
    return {
        str(path): (state.st_ino, state.st_mode, state.st_size, state.st_mtime_ns)
        for path in [directory, *directory.rglob("*")]
        for state in [path.lstat()]
    }
