# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What options take: numbers within bounds, and addresses; anything else is told to the user."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError

__all__ = ["address", "count", "port", "positive"]

_MOST = 1 << 31


def count(text: str) -> int:
    """Read a whole number of at least 1."""
    number = _whole(text)
    if not 1 <= number < _MOST:
        raise ArgumentTypeError(f"expected a whole number of at least 1, not {text!r}")
    return number


def positive(text: str) -> float:
    """Read a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (math.isfinite(number) and 0 < number < _MOST):
        raise ArgumentTypeError(f"expected a number above 0, not {text!r}")
    return number


def port(text: str) -> int:
    """Read the number of a port; 0 is any."""
    number = _whole(text)
    if not 0 <= number < 1 << 16:
        raise ArgumentTypeError(f"expected a port, from 0 to 65535, not {text!r}")
    return number


def address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``; the host of IPv6 may be in brackets, and none is 127.0.0.1."""
    host, separator, number = text.rpartition(":")
    if not separator:
        raise ArgumentTypeError(f"expected HOST:PORT, not {text!r}")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", port(number)


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
