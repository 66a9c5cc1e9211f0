# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What a commit says of its history, read as git reads it (``parse_commit_buffer``)."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["CommitHeader", "parse_commit"]

_COMMIT = re.compile(rb"tree ([0-9a-f]+)\n((?:parent [0-9a-f]+\n)*)(?:author .*\n)*(committer .*)?")
_TIME = re.compile(rb"> *(\d+)")
_DIGITS = 18
"""How many digits of a time count: those of some billion years."""


class CommitHeader(NamedTuple):
    """What a commit says of its history.

    Attributes:
      time: when it was committed, in seconds since the epoch; 0 if it does not say so
      parents: hex object ids
      tree: hex object id
    """

    time: int
    parents: tuple[bytes, ...]
    tree: bytes


def parse_commit(data: bytes, hex_length: int) -> CommitHeader | None:
    """Read the header of a commit.

    Args:
      data: content of the commit
      hex_length: how many digits an object id has
    Returns: the header; None if it is malformed
    """
    found = _COMMIT.match(data)
    if found is None:
        return None
    tree, lines, committer = found.groups()
    parents = tuple(lines.split()[1::2])
    if any(len(oid) != hex_length for oid in (tree, *parents)):
        return None
    time = _TIME.search(committer or b"")
    return CommitHeader(int(time[1][:_DIGITS]) if time else 0, parents, tree)
