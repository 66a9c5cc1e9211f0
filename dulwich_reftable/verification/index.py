# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Checks an index: each level must name all blocks of the level below, in order, by last keys."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

__all__ = ["IndexBlock", "check_index"]


class IndexBlock(NamedTuple):
    """The records of an index block.

    Attributes:
      keys: last keys of the blocks below
      positions: positions of these blocks in the file
    """

    keys: list[bytes]
    positions: list[int]


def check_index(
    root: int,
    index: Mapping[int, IndexBlock],
    last_keys: Mapping[int, bytes],
    *,
    is_complete: bool,
) -> Iterator[tuple[str, int | None]]:
    """Check the index of a section.

    Args:
      root: position of the highest level; 0 if the footer names no index
      index: the blocks of all levels, by position, in the order of the file
      last_keys: last keys of the section's blocks, by position, in the order of the file
      is_complete: whether all blocks could be read; if not, missing blocks are not reported
    Yields: the fault, and its offset; None if it is in the footer
    """
    if not root:
        if index and is_complete:
            yield "the footer does not name the index", min(index)
        return
    if root not in index:
        if is_complete:
            yield f"the footer names an index at {root}, where there is none", None
        return
    level = [position for position in index if position >= root]
    reached: set[int] = set()
    while level:
        reached.update(level)
        yield from _check_ascending(level, index)
        named = {
            position: key
            for at in level
            for key, position in zip(index[at].keys, index[at].positions, strict=True)
        }
        below: Mapping[int, bytes]
        if any(position in index for position in named):
            # A level of the index: its blocks stand directly before those of this level.
            first = min(named)
            below = {
                position: block.keys[-1]
                for position, block in index.items()
                if first <= position < level[0]
            }
            following = list(below)
        else:
            below, following = last_keys, []
        yield from _compare(level[0], named, below, is_complete=is_complete)
        level = following
    if is_complete:
        for position in index.keys() - reached:
            yield "an index block that nothing names", position


def _check_ascending(
    level: list[int], index: Mapping[int, IndexBlock]
) -> Iterator[tuple[str, int | None]]:
    """Check that keys ascend from block to block, and positions from record to record."""
    last_key, last_position = b"", -1
    for at in level:
        keys, positions = index[at]
        if keys[0] <= last_key:
            yield "index blocks do not ascend", at
        last_key = keys[-1]
        for position in positions:
            if position <= last_position or position >= level[0]:
                yield f"the index names position {position} out of order", at
            last_position = position


def _compare(
    at: int, named: Mapping[int, bytes], below: Mapping[int, bytes], *, is_complete: bool
) -> Iterator[tuple[str, int | None]]:
    """Compare a level of an index with the blocks below."""
    for position, key in named.items():
        last_key = below.get(position)
        if last_key is None:
            if is_complete:
                yield f"the index names position {position}, where no such block begins", at
        elif last_key != key:
            yield (
                f"the index says that the block at {position} ends with {_show(key)}, "
                f"but it does with {_show(last_key)}",
                at,
            )
    if is_complete:
        for position in below:
            if position not in named:
                yield "the index leaves out this block", position


def _show(key: bytes) -> str:
    return f"'{os.fsdecode(key)}'"
