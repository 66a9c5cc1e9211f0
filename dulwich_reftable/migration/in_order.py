# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Finding refs in each other's way among names that come in order, without remembering them all."""

from __future__ import annotations

__all__ = ["ConflictFinder"]


class ConflictFinder:
    """Is shown names in their order.

    All names that begin with a given one follow it without a gap. So it is enough to remember those
    names that the last one begins with.
    """

    def __init__(self) -> None:
        self._beginnings: list[bytes] = []

    def find(self, name: bytes) -> bytes | None:
        """Take the next name.

        Returns: the ref that is where this name needs a directory, if there is one
        """
        beginnings = self._beginnings
        while beginnings and not name.startswith(beginnings[-1]):
            beginnings.pop()
        for other in beginnings:
            if name[len(other) : len(other) + 1] == b"/":
                return other
        beginnings.append(name)
        return None
