# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Which requests to make for ranges of an object.

A request costs as much as the transfer of some hundred KiB, so near ranges share one. A long range
is cut into pieces, which are fetched side by side, each within the time-out of one request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["PIECE", "Range", "cut", "requests_for"]

Range = tuple[int, int]
"""``(start, stop)`` in bytes."""

PIECE = 8 << 20
"""Maximum bytes of one request for a part of an object."""

_GAP = 64 << 10
"""Bytes between two ranges that are fetched for nothing, rather than make another request."""


def requests_for(ranges: Iterable[Range], *, piece: int = PIECE, gap: int = _GAP) -> list[Range]:
    """Give the ranges to request, in order, so that each wanted byte is in exactly one of them.

    Args:
      ranges: what is wanted, in any order; they may overlap
      piece: maximum bytes of a request
      gap: maximum bytes between two ranges of one request
    """
    spans: list[Range] = []
    for start, stop in sorted(ranges):
        if spans and start <= spans[-1][1] + gap:
            spans[-1] = spans[-1][0], max(spans[-1][1], stop)
        else:
            spans.append((start, stop))
    return [
        (at, min(at + piece, stop)) for start, stop in spans for at in range(start, stop, piece)
    ]


def cut(wanted: Range, requests: Sequence[Range], answers: Sequence[bytes]) -> bytes:
    """Cut one range from the answers to :func:`requests_for`."""
    start, stop = wanted
    return b"".join(
        data[max(start - first, 0) : stop - first]
        for (first, last), data in zip(requests, answers, strict=True)
        if first < stop and start < last
    )
