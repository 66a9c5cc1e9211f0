"""What the repositories hold, made up from a seed: equal at every run and on every machine.

The refs have the shape of a large code review server's: 1,200 branches, 3,800 annotated tags, and
under ``refs/changes/NN/NUMBER/P`` the patch sets of hundreds of thousands of changes, where NN are
the last two digits of the change's number. Every ref has an object of its own, which exists: a
writer that peels has to look at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha1
from random import Random
from typing import NamedTuple

__all__ = [
    "EMPTY_TREE",
    "HEAD_TARGET",
    "GitObject",
    "LogEntry",
    "commit",
    "fresh_name",
    "object_id",
    "objects_of",
    "peeled_id",
    "ref_names",
    "reflogs",
]

_SEED = 866_456
_BRANCHES = (b"main", b"dev", b"release", b"security", b"mainline")
_REFS_PER_BRANCH = 722
_REFS_PER_TAG = 228
_FIRST_CHANGE = 10_000
_FIRST_FRESH_CHANGE = 5_000_000
_WHO = b"B Enchmark <bench@example.com> 1600000000 +0000"

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
        b"refs/heads/%b-%04d" % (_BRANCHES[i % len(_BRANCHES)], i)
        for i in range(count // _REFS_PER_BRANCH + 1)
    ]
    names += [
        b"refs/tags/platform-%d.%d.%d_r%d" % (1 + i // 400, i // 80 % 5, i // 16 % 5, i % 16)
        for i in range(count // _REFS_PER_TAG + 1)
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


# Objects


class GitObject(NamedTuple):
    """An object: the name of its type, and its content."""

    kind: bytes
    data: bytes

    @property
    def oid(self) -> bytes:
        """Its id, raw."""
        return sha1(b"%b %d\0%b" % (self.kind, len(self.data), self.data)).digest()


EMPTY_TREE = GitObject(b"tree", b"")
_COMMIT = b"tree %b\nauthor %b\ncommitter %b\n\n%%b\n" % (
    EMPTY_TREE.oid.hex().encode(),
    _WHO,
    _WHO,
)
_TAG = b"object %%b\ntype commit\ntag %%b\ntagger %b\n\nrelease\n" % _WHO


def commit(text: bytes) -> GitObject:
    """Make a commit of the empty tree."""
    return GitObject(b"commit", _COMMIT % text)


def objects_of(name: bytes) -> list[GitObject]:
    """Make the object of a ref, and what that peels to: tags, commits, and blobs for half of all.

    Returns: the object that the ref points to comes last
    """
    if name.startswith(b"refs/tags/"):
        target = commit(name)
        return [target, GitObject(b"tag", _TAG % (target.oid.hex().encode(), name[10:]))]
    if name.startswith(b"refs/heads/") or name.endswith(b"/1"):
        return [commit(name)]
    return [GitObject(b"blob", b"patch set %b\n" % name)]


def object_id(name: bytes) -> bytes:
    """Give the object id of a ref, raw."""
    return objects_of(name)[-1].oid


def peeled_id(name: bytes) -> bytes | None:
    """Give what a ref peels to, raw; None if it is not an annotated tag."""
    objects = objects_of(name)
    return objects[0].oid if len(objects) > 1 else None


# Reflogs


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
    lengths[0] += entries // 50 if refs > 1 else entries - 1
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
