# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What commits reach, as far as the bitmaps of a pack tell.

A walk goes from the commits to older ones, the newest first. It ends at commits that have a bitmap,
and at those that are in one. So it meets the few commits that came after the bitmaps were written,
and no others.
"""

from __future__ import annotations

from binascii import a2b_hex
from collections.abc import Iterable, Set
from typing import NamedTuple

from ...objects.reader import ObjectReader
from ..history import CommitQueue, History

__all__ = ["BitmapReach", "reach_by_bitmaps"]


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
    found = objects.bitmap()
    if found is None:
        return None
    pack, bitmaps = found
    reached = 0

    def is_reached(oid: bytes) -> bool:
        try:
            return bitmaps.has(reached, pack.find(oid))
        except KeyError:
            return False

    queue = CommitQueue()
    others: list[bytes] = []
    for oid in commits:
        queue.push(history.time(oid), oid)
    try:
        while queue:
            oid = queue.pop()[1]
            name = a2b_hex(oid)
            if is_reached(name):
                continue
            if name in bitmaps:
                reached |= bitmaps[name]
                continue
            others.append(oid)
            for parent in history.parents(oid):
                queue.push(history.time(parent), parent)
        kept = reached & bitmaps.of_kinds(kinds)
    except ValueError:  # a bitmap is broken
        return None
    if not reached:
        return None
    others = [oid for oid in others if not is_reached(a2b_hex(oid))]
    return BitmapReach(bitmaps.objects(reached), bitmaps.objects(kept), others)
