"""Garbage: what nobody refers to any more."""

from __future__ import annotations

import gc
import sys

COUNTS_REFERENCES = sys.implementation.name == "cpython"

_LINKS = 1 if COUNTS_REFERENCES else 8
"""The longest chain of finalizers, from a repository to the file of a pack; PyPy runs those of one
link in a collection."""


def collect() -> None:
    """End what nobody refers to any more, where reference counts have not done so already."""
    if not COUNTS_REFERENCES:
        gc.collect()


def collect_repositories() -> None:
    """End repositories that nobody refers to any more, and all that is open for them."""
    for _ in range(_LINKS):
        gc.collect()
