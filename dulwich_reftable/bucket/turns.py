# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Whose turn it is, of several processes that write to one head.

Who has swapped the head knows the new one at once, and all others learn that they have lost only
when their own swaps fail. So one process would win again and again, and another one not for
seconds. But all see who has written lately: each process begins its nonces with a word of its own.
Who has not written for longest goes first, and may write twice, since it need not read the head
before the second time. The others wait for those who go before them. Who is silent when it is its
turn has nothing to write, and nobody waits for it again until it has written.

Nobody is bound by this. It only saves swaps that would be lost.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from .head import WRITER_DIGITS, Head, new_nonce

__all__ = ["Expected", "Turns"]

_RECENT = 1.0
"""Seconds for which a swap of another process tells that it may want to write again."""

_RUN = 2
"""How often a process writes before it is the turn of others."""

_PATIENCE = 2.5
"""For how many times the time of a swap a process waits for another one that may be silent."""

_LOOK = 0.25
"""Minimum pause before a look at the head, as a part of the time that a swap takes."""

_LONGEST_PAUSE = 0.25
"""Maximum seconds of a pause, and of patience."""

_MOST_SILENT = 64
"""Maximum processes that are remembered to be silent."""

_SLOWLY = 0.1
"""How soon a swap that takes longer than others counts: networks stumble now and then."""


class Expected(NamedTuple):
    """A process that is to write.

    Attributes:
      nonce: of its latest swap
      swaps: how many are expected of it
    """

    nonce: str
    swaps: int


class Turns:
    """Whose turn it is. Threads may share it.

    Attributes:
      seconds: what a swap takes, about
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._writer = secrets.token_hex(WRITER_DIGITS // 2)
        self._silent: tuple[str, ...] = ()  # the latest nonces of those who were

    def new_nonce(self) -> str:
        """Give a nonce that tells others who has written."""
        return new_nonce(self._writer)

    def took(self, seconds: float) -> None:
        """Note what a swap has taken."""
        known = self.seconds
        self.seconds = seconds if not 0 < known < seconds else known + _SLOWLY * (seconds - known)

    def wins(self, head: Head) -> int:
        """Count the latest swaps that are of this process, one after another."""
        return sum(
            1 for _ in takewhile(lambda one: one.nonce.startswith(self._writer), head.commits[::-1])
        )

    def before_us(
        self, head: Head, now: float, *, expects_more: bool = True
    ) -> list[Expected] | None:
        """Give the processes whose turn is before that of this one, the next one first.

        Args:
          head: the newest one that is known
          now: seconds since the epoch
          expects_more: whether the process that has written last is expected to write again
        Returns: None if nobody else writes
        """
        has_first = len(head.commits) > head.serial  # by the process that has made the stack
        swaps = head.commits[1:] if has_first else head.commits
        recent = takewhile(lambda one: one.when >= int(now - _RECENT), reversed(swaps))
        nonces = [one.nonce for one in recent]
        writers = [nonce[:WRITER_DIGITS] for nonce in nonces]
        latest: dict[str, str] = {}  # their nonces; who has written last is first
        for writer, nonce in zip(writers, nonces, strict=True):
            latest.setdefault(writer, nonce)
        if not latest.keys() - {self._writer}:
            return None
        line = [Expected(nonce, _RUN) for nonce in reversed(latest.values())]
        run = sum(1 for _ in takewhile(writers[0].__eq__, writers)) % _RUN
        if run and expects_more:
            line.insert(0, Expected(nonces[0], _RUN - run))
        if self._writer not in latest:
            line = [one for one in line if one.swaps < _RUN]
        before = takewhile(lambda one: not one.nonce.startswith(self._writer), line)
        return [one for one in before if one.nonce not in self._silent]

    def pause(self, before: Sequence[Expected]) -> float:
        """Give the seconds until the next look at the head; no two wait equally long."""
        requests = sum(1 + one.swaps for one in before) - 2  # each reads, too
        moments = max(requests, _LOOK) * random.uniform(0.9, 1.1)
        return min(moments * self.seconds, _LONGEST_PAUSE)

    @property
    def patience(self) -> float:
        """The seconds after which a process that does not write is silent."""
        return min(_PATIENCE * self.seconds, _LONGEST_PAUSE)

    def skip(self, expected: Expected) -> None:
        """Wait no more for a process that was silent when it was its turn."""
        self._silent = (*self._silent, expected.nonce)[-_MOST_SILENT:]
