"""What the repositories hold, made up from a seed: equal at every run and on every machine.

The refs have the shape of a large code review server's: a few thousand branches and tags, and
under ``refs/changes/NN/NUMBER/P`` the patch sets of hundreds of thousands of changes, where NN are
the last two digits of the change's number.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha1
from random import Random
from typing import NamedTuple

__all__ = [
    "HEAD_TARGET",
    "LogEntry",
    "fresh_name",
    "object_id",
    "peeled_id",
    "ref_names",
    "reflogs",
]

_SEED = 866_456
_BRANCHES = (b"main", b"dev", b"release", b"security", b"mainline")
_FIRST_CHANGE = 10_000
_FIRST_FRESH_CHANGE = 5_000_000

HEAD_TARGET = b"refs/heads/main-0000"
"""The branch that HEAD points to; it is there."""


class LogEntry(NamedTuple):
    """One reflog entry; ids are indexes of commits, -1 for none."""

    old: int
    new: int
    time: int
    message: bytes


@lru_cache(maxsize=2)
def ref_names(count: int) -> list[bytes]:
    """Make ref names.

    Returns: so many, sorted
    """
    random = Random(_SEED)
    names = [
        b"refs/heads/%b-%04d" % (_BRANCHES[i % len(_BRANCHES)], i) for i in range(count // 290 + 1)
    ]
    names += [
        b"refs/tags/platform-%d.%d.%d_r%d" % (1 + i // 400, i // 80 % 5, i // 16 % 5, i % 16)
        for i in range(count // 240 + 1)
    ]
    change = _FIRST_CHANGE
    while len(names) < count:
        change += random.randint(1, 3)
        patch_sets = min(1 + int(random.expovariate(0.6)), 40, count - len(names))
        names += [
            b"refs/changes/%02d/%d/%d" % (change % 100, change, patch_set)
            for patch_set in range(1, patch_sets + 1)
        ]
    names.sort()
    return names


def fresh_name(i: int) -> bytes:
    """Give a name that no data set has, another one for each number."""
    change = _FIRST_FRESH_CHANGE + i // 2
    return b"refs/changes/%02d/%d/%d" % (change % 100, change, i % 2 + 1)


def object_id(name: bytes) -> bytes:
    """Give the object id of a ref, raw."""
    return sha1(name).digest()


def peeled_id(name: bytes) -> bytes | None:
    """Give what a ref peels to, raw; None if it is not an annotated tag."""
    return sha1(name + b"^{}").digest() if name.startswith(b"refs/tags/") else None


def reflogs(refs: int, entries: int, commits: int) -> Iterator[tuple[bytes, list[LogEntry]]]:
    """Make reflogs: one long one of a branch, a few entries for each of the others.

    Args:
      refs: how many have a reflog
      entries: how many there are in all
      commits: how many objects the entries can name
    Yields: name of a ref, and its entries, oldest first; sorted by name
    """
    random = Random(_SEED)
    lengths = [1] * refs
    lengths[0] += entries // 50
    for _ in range(entries - sum(lengths)):
        lengths[int(random.random() ** 2 * refs)] += 1
    names = sorted(b"refs/heads/topic/%02d/%06d" % (i % 100, i) for i in range(refs))
    time = 1_600_000_000
    for name, length in zip(names, lengths, strict=True):
        log = []
        old = -1
        for number in range(length):
            time += 61
            new = random.randrange(commits)
            log.append(LogEntry(old, new, time, b"commit: change number %d of many" % number))
            old = new
        yield name, log
