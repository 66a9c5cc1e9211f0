# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Prints tables of text in aligned columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["aligned"]


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Align rows in columns: the first column to the left, all others to the right.

    Args:
      rows: rows of equal lengths; the first holds the titles
    Yields: lines without newlines
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = zip(row, widths, strict=True)
        cells = [f"{first[0]:<{first[1]}}", *(f"{text:>{width}}" for text, width in others)]
        yield "  ".join(cells).rstrip()
