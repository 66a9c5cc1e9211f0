"""Garbage: what nobody refers to any more."""

from __future__ import annotations

import gc
import sys

COUNTS_REFERENCES = sys.implementation.name == "cpython"


def collect() -> None:
    """End what nobody refers to any more, where reference counts have not done so already."""
    if not COUNTS_REFERENCES:
        gc.collect()
