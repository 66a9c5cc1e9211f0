# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Token buckets of addresses, in memory that forked processes share.

An address whose bucket is empty has made too many attempts. There is a fixed number of buckets, so
no crowd of addresses costs memory; two of them may share one. Which ones do is not to be foreseen,
because the hash has a key. Nobody waits for a lock between processes: an attempt or two may not be
counted when several are made in the same instant.
"""

from __future__ import annotations

import hashlib
import ipaddress
import mmap
import secrets
import time

__all__ = ["Buckets", "key_of", "shared_numbers"]

_COUNT = 1 << 14
_UNIT = 1_000_000
_WIDTH = 8
_KEY = secrets.token_bytes(16)
"""Processes that are forked have the same."""


class Buckets:
    """Buckets that fill up again with time."""

    def __init__(self) -> None:
        # For each: when it was looked at, and what was missing then.
        self._numbers = shared_numbers(2 * _COUNT)

    def take(self, key: int, rate: float, most: float) -> bool:
        """Take one from a bucket.

        Args:
          key: of an address
          rate: what comes back, a second
          most: what the bucket holds
        Returns: whether there was one
        """
        at, now = 2 * (key % _COUNT), time.monotonic_ns()
        since, missing = self._numbers[at], self._numbers[at + 1]
        returned = max(0, now - since) * rate * _UNIT / 1e9
        missing = max(0, int(missing - min(returned, missing))) + _UNIT
        if missing > int(most * _UNIT):
            return False
        self._numbers[at], self._numbers[at + 1] = now, missing
        return True

    def give_back(self, key: int) -> None:
        """Undo :meth:`take`."""
        at = 2 * (key % _COUNT) + 1
        self._numbers[at] = max(0, self._numbers[at] - _UNIT)


def key_of(address: str) -> int:
    """Turn an address into a number other than 0. For IPv6 its network counts, the first 64 bits.

    Args:
      address: of a client
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        packed = address.encode("utf-8", "surrogateescape")
    else:
        mapped = getattr(parsed, "ipv4_mapped", None)
        packed = (mapped or parsed).packed[:8]
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8, key=_KEY).digest(), "big") | 1


def shared_numbers(count: int) -> memoryview:
    """Give numbers of 64 bits, all 0, that forked processes share.

    Args:
      count: how many
    """
    return memoryview(mmap.mmap(-1, count * _WIDTH)).cast("Q")
