# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What commits reach, as far as the bitmaps of a pack tell.

A walk goes from the commits to older ones, the newest first. It ends at commits that have a bitmap,
and at those that are in one. So it meets the few commits that came after the bitmaps were written,
and no others.
"""

from __future__ import annotations

from binascii import a2b_hex
from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import NamedTuple

from ...objects.pack_bitmap import PackBitmap
from ...objects.pack_file import PackFile
from ...objects.reader import ObjectReader
from ..history import CommitQueue, History

__all__ = ["BitmapReach", "beyond_bitmaps", "reach_by_bitmaps"]


_MOST_OBJECTS = 1 << 18
"""Objects of a pack up to which its bitmaps are read for less than a clone, which takes 0.1 s."""


class BitmapReach(NamedTuple):
    """What some commits reach.

    Attributes:
      objects: binary ids of objects that are in a bitmap, each with all that it reaches
      kept: those of them that are of the types that were asked for
      commits: hex ids of the other commits
    """

    objects: list[bytes]
    kept: list[bytes]
    commits: list[bytes]


@dataclass
class _Reached:
    """What is in some bitmaps of a pack; hex ids of commits can be looked for in it."""

    pack: PackFile
    bitmaps: PackBitmap
    bits: int = 0

    def __contains__(self, oid: bytes) -> bool:
        try:
            return self.bitmaps.has(self.bits, self.pack.find(a2b_hex(oid)))
        except KeyError:
            return False


def _walk(
    objects: ObjectReader, history: History, commits: Iterable[bytes], most: int | None = None
) -> tuple[_Reached, list[bytes]] | None:
    """Walk from commits to those that have a bitmap.

    Args:
      objects: those of the repository
      history: the commits
      commits: hex object ids
      most: how many objects the pack of the bitmaps may have; None for any number
    Returns: what these bitmaps have; hex ids of the commits on the way that they do not have. None
      if no bitmap was met, or one is broken
    Raises:
      KeyError: if a commit is missing
    """
    found = objects.bitmap(most)
    if found is None:
        return None
    reached = _Reached(*found)
    queue = CommitQueue()
    others: list[bytes] = []
    for oid in commits:
        queue.push(history.time(oid), oid)
    try:
        while queue:
            oid = queue.pop()[1]
            if oid in reached:
                continue
            name = a2b_hex(oid)
            if name in reached.bitmaps:
                reached.bits |= reached.bitmaps[name]
                continue
            others.append(oid)
            for parent in history.parents(oid):
                queue.push(history.time(parent), parent)
    except ValueError:
        return None
    if not reached.bits:
        return None
    return reached, [oid for oid in others if oid not in reached]


def reach_by_bitmaps(
    objects: ObjectReader, history: History, commits: Iterable[bytes], kinds: Set[int]
) -> BitmapReach | None:
    """Find what commits reach.

    Args:
      objects: those of the repository
      history: the commits
      commits: hex object ids
      kinds: numbers of types
    Returns: what they reach; None if no bitmap tells anything of it
    Raises:
      KeyError: if a commit is missing
    """
    found = _walk(objects, history, commits)
    if found is None:
        return None
    reached, others = found
    bitmaps = reached.bitmaps
    try:
        kept = reached.bits & bitmaps.of_kinds(kinds)
    except ValueError:  # a bitmap is broken
        return None
    return BitmapReach(bitmaps.objects(reached.bits), bitmaps.objects(kept), others)


def beyond_bitmaps(
    objects: ObjectReader, history: History, wants: set[bytes], haves: Iterable[bytes]
) -> set[bytes]:
    """Leave out the wanted commits that others reach, as far as bitmaps tell.

    Args:
      objects: those of the repository
      history: the commits
      wants: hex object ids of commits
      haves: hex object ids of the others
    Returns: the wants that are left
    Raises:
      KeyError: if a commit is missing
    """
    found = _walk(objects, history, haves, _MOST_OBJECTS)
    if found is None:
        return wants
    reached, others = found
    return {oid for oid in wants.difference(others) if oid not in reached}
