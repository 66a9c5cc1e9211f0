"""Measuring how much memory something takes at the most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

try:
    import tracemalloc
except ImportError:  # PyPy has none
    tracemalloc = None  # type: ignore[assignment]


@dataclass
class Memory:
    """What was allocated.

    Attributes:
      peak: bytes at the most, known in the end; 0 where Python cannot tell
    """

    peak: int = 0


@contextmanager
def measured() -> Iterator[Memory]:
    """Measure what is allocated meanwhile."""
    memory = Memory()
    if tracemalloc is None:
        yield memory
        return
    tracemalloc.start()
    try:
        yield memory
        memory.peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
