# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Find the commits at which the history of a shallow clone ends.

A commit is *shallow* if the client has it without its parents. A client asks for history to a
depth, since a time, or without the history of some refs. The answer names the commits that become
shallow, and those that are no longer shallow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from ..errors import RefusedError
from ..history import History

__all__ = ["INFINITE_DEPTH", "Cut", "cut_by_depth", "cut_by_revisions"]

INFINITE_DEPTH = 0x7FFFFFFF
"""A depth that stands for the whole history (git: ``INFINITE_DEPTH``)."""


class Cut(NamedTuple):
    """The commits of a cut history.

    Attributes:
      edge: commits that lose some of their parents
      inner: commits that keep all of their parents
    """

    edge: set[bytes]
    inner: set[bytes]


def cut_by_depth(
    history: History,
    tips: Iterable[bytes],
    depth: int,
    *,
    roots: Collection[bytes] = (),
    relative_to: Collection[bytes] | None = None,
) -> Cut:
    """Cut history at a distance from the tips.

    Args:
      history: the commits
      tips: hex object ids of commits, or of tags of commits; others are ignored
      depth: number of commits on the shortest way from a tip; 1 means the tips alone
      roots: commits whose parents the repository does not have
      relative_to: the client's shallow commits, if the depth counts from the nearest of them; if
        the walk meets none, nothing is cut
    """
    edge: set[bytes] = set()
    inner: set[bytes] = set()
    level = {oid for oid in map(history.peel, tips) if history.commit(oid) is not None}
    goal = depth if relative_to is None else None
    reached = 0
    while level:
        reached += 1
        if goal is None and relative_to is not None and not level.isdisjoint(relative_to):
            goal = reached + depth
        if goal is not None and reached >= goal and goal < INFINITE_DEPTH:
            edge |= level
            break
        edge |= level.intersection(roots)
        level.difference_update(roots)
        inner |= level
        level = {parent for oid in level for parent in history.parents(oid)} - inner - edge
    return Cut(edge, inner) if goal is not None else Cut(set(), set())


def cut_by_revisions(
    history: History,
    tips: Iterable[bytes],
    since: int | None,
    without: Iterable[bytes],
    *,
    roots: Collection[bytes] = (),
) -> Cut:
    """Cut history by time, or at the history of other commits.

    git forgets the repository's own shallow commits here: its clients then wait for parents that
    the repository does not have, and fail.

    Args:
      history: the commits
      tips: hex object ids of commits, or of tags of commits
      since: seconds since the epoch; older commits are cut off, with their ancestors
      without: hex object ids of commits that are cut off, with their ancestors
      roots: commits whose parents the repository does not have
    Raises:
      RefusedError: if no commit is left
    """
    tips, without = (
        [oid for oid in map(history.peel, oids) if history.commit(oid) is not None]
        for oids in (tips, without)
    )
    kept = set(history.newer(tips, without, since)[0])
    if not kept:
        raise RefusedError("no commits selected for shallow requests")
    edge = {oid for oid in kept if any(parent not in kept for parent in history.parents(oid))}
    edge |= kept.intersection(roots)
    return Cut(edge, kept - edge)
