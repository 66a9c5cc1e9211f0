# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The progress of a long command, as a bar on a terminal that is drawn ten times a second."""

from __future__ import annotations

import time
from typing import TextIO

__all__ = ["Bar", "counted"]

_WIDTH = 30
_PAUSE = 0.1  # seconds between two drawings


def counted(count: int, noun: str) -> str:
    """Give a number with its noun."""
    if count != 1:
        noun = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{count:,} {noun}"


class Bar:
    """Draws the progress; call it with a phase, what is done, and the total or None.

    Args:
      stream: the terminal
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0.0
        self._length = 0

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        """Draw the bar, unless that was done just now."""
        now = time.monotonic()
        if done != total and now - self._drawn < _PAUSE:
            return
        self._drawn = now
        text = f"{phase}: {done:,}"
        if total:
            filled = _WIDTH * min(done, total) // total
            text = f"{phase}: [{'#' * filled:{_WIDTH}}] {done:,} of {total:,}"
        self._stream.write("\r" + text.ljust(self._length))
        self._stream.flush()
        self._length = len(text)

    def clear(self) -> None:
        """Clear the bar."""
        self._stream.write("\r" + " " * self._length + "\r")
        self._stream.flush()
