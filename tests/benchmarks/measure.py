"""How something is measured: repetitions of all contenders in turn, so that they meet the same
weather; of these, medians; and of medians, ratios.

A contender is a generator: it prepares what it needs, then does one repetition for each value that
is asked of it, times only what counts, and cleans up when it is closed.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .bench import Bench

__all__ = ["Case", "Contender", "Reading", "Result", "Stopwatch", "Target", "measure", "stopwatch"]

_SLOW = 5.0
_SLOW_REPEAT = 3
_VERY_SLOW = 20.0  # a peer that needs longer is not asked twice


class Reading(NamedTuple):
    """What one repetition found.

    Attributes:
      seconds: of one operation
      elapsed: seconds of all operations together
      peak: the most memory of the process that did it, in bytes; None if that was not looked at
    """

    seconds: float
    elapsed: float
    peak: int | None = None


Contender = Callable[["Bench"], Iterator[Reading]]


class Stopwatch:
    """What :func:`stopwatch` measured."""

    seconds = 0.0

    def each(self, count: int = 1) -> Reading:
        """Give the time of one of so many operations."""
        return Reading(self.seconds / count, self.seconds)


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Time what is done inside; no garbage of before is collected meanwhile."""
    watch = Stopwatch()
    gc.collect()
    start = time.perf_counter()
    yield watch
    watch.seconds = time.perf_counter() - start


@dataclass(frozen=True)
class Target:
    """What ours shall reach.

    Attributes:
      text: as people read it
      at_most: figure that ours may have; None for any
      ratios: how many times a peer's figure ours may have, by peer; a peer that was not measured
        leaves it open
    """

    text: str
    at_most: float | None = None
    ratios: Mapping[str, float] = field(default_factory=dict)

    def is_met(self, medians: Mapping[str, float]) -> bool | None:
        """Tell whether it is; None if that cannot be told."""
        ours = medians.get("ours")
        if ours is None or not self.ratios.keys() <= medians.keys():
            return None
        if self.at_most is not None and ours > self.at_most:
            return False
        return all(ours <= ratio * medians[peer] for peer, ratio in self.ratios.items())


@dataclass(frozen=True)
class Case:
    """One thing that is measured.

    Attributes:
      name: short, for the command line
      title: what is done, for people
      contenders: by name: ``ours``, ``dulwich``, ``git``, ``floor``
      target: for the time
      memory_target: for the peak of memory
    """

    name: str
    title: str
    contenders: Mapping[str, Contender]
    target: Target | None = None
    memory_target: Target | None = None


@dataclass
class Result:
    """What came out for a case.

    Attributes:
      case: as measured
      readings: of each contender
      failures: of contenders that could not do it, what was wrong
    """

    case: Case
    readings: dict[str, list[Reading]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> dict[str, float]:
        """The median time of each contender."""
        return {
            name: statistics.median(reading.seconds for reading in readings)
            for name, readings in self.readings.items()
            if readings
        }

    @property
    def peaks(self) -> dict[str, float]:
        """The median peak of memory of each contender that told it."""
        peaks = {}
        for name, readings in self.readings.items():
            told = [reading.peak for reading in readings if reading.peak is not None]
            if told:
                peaks[name] = statistics.median(told)
        return peaks


def measure(case: Case, bench: Bench, repeat: int) -> Result:
    """Let all contenders of a case do it, in turn, beginning with another one each time."""
    result = Result(case)
    running = {
        name: contender(bench)
        for name, contender in case.contenders.items()
        if name != "git" or bench.git is not None
    }
    left = dict.fromkeys(running, repeat)
    try:
        for turn in range(repeat):
            names = list(running)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                if left[name] <= 0:
                    continue
                left[name] -= 1
                try:
                    reading = next(running[name])
                except Exception as error:
                    result.failures[name] = f"{type(error).__name__}: {error}"
                    print(f"{case.name}, {name}: {result.failures[name]}", file=sys.stderr)
                    left[name] = 0
                    continue
                result.readings.setdefault(name, []).append(reading)
                if reading.elapsed > _VERY_SLOW and name == "dulwich":
                    left[name] = 0
                elif reading.elapsed > _SLOW:
                    left[name] = min(left[name], _SLOW_REPEAT - turn - 1)
    finally:
        for run in running.values():
            run.close()  # type: ignore[attr-defined]  # they are generators
    return result
