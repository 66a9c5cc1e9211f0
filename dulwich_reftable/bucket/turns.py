# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Whose turn it is, of several processes that write to one head.

Who has swapped the head knows the new one at once, and all others learn that they have lost only
when their own swaps fail. So one process would win again and again, and another one not for
seconds. But all see who has written lately: each process begins its nonces with a word of its own.
Who has not written for longest goes first, and the others wait a moment for each that goes before
them. A process that has nothing to write leaves a gap of one such moment, and none once it was
silent for a second or two.

Nobody is bound by this. It only saves swaps that would be lost.
"""

from __future__ import annotations

import random
import secrets
from itertools import takewhile

from .head import WRITER_DIGITS, Head, new_nonce

__all__ = ["Turns"]

_RECENT = 1.0
"""Seconds for which a swap of another process tells that it may want to write again."""

_MOMENT = 0.6
"""What a process waits for each one before it: this part of the time that a swap takes."""

_LONGEST_PAUSE = 0.25
"""Maximum seconds of a wait."""

_SLOWLY = 0.1
"""How soon a swap that takes longer than others counts: networks stumble now and then."""


class Turns:
    """Whose turn it is. Threads may share it.

    Attributes:
      seconds: what a swap takes, about
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._writer = secrets.token_hex(WRITER_DIGITS // 2)

    def new_nonce(self) -> str:
        """Give a nonce that tells others who has written."""
        return new_nonce(self._writer)

    def took(self, seconds: float) -> None:
        """Note what a swap has taken."""
        known = self.seconds
        self.seconds = seconds if not 0 < known < seconds else known + _SLOWLY * (seconds - known)

    def before_us(self, head: Head, now: float) -> int | None:
        """Count the processes whose turn is before that of this one.

        Args:
          head: the newest one that is known
          now: seconds since the epoch
        Returns: None if nobody else writes
        """
        has_first = len(head.commits) > head.serial  # by the process that has made the stack
        swaps = head.commits[1:] if has_first else head.commits
        recent = takewhile(lambda one: one.when >= int(now - _RECENT), reversed(swaps))
        latest = list(dict.fromkeys(one.nonce[:WRITER_DIGITS] for one in recent))
        if self._writer in latest:
            place = latest.index(self._writer)
            return len(latest) - 1 - place if len(latest) > 1 else None
        return 0 if latest else None

    def pause(self, before_us: int) -> float:
        """Give the seconds to wait for some others; no two wait equally long."""
        moments = before_us * random.uniform(0.9, 1.1)
        return min(moments * _MOMENT * self.seconds, _LONGEST_PAUSE)
