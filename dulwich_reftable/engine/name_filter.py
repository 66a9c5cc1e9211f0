# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Telling of most names that a table does not mention them, without looking into it.

In a stack of several tables, most lookups ask tables that do not know the name, and each search in
vain costs as much as one that finds something. A Bloom filter over the names of a table spares
nearly all of those: two bits by the name's hash, among twelve or more for each name.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["NameFilter"]

_BITS_PER_NAME = 12


class NameFilter:
    """A set of names that is never wrong about what is in it, and seldom about what is not.

    Args:
      count: about how many names there will be
    """

    __slots__ = ("_bytes", "_mask")

    def __init__(self, count: int) -> None:
        size = 1 << (count * _BITS_PER_NAME // 8).bit_length()
        self._bytes = bytearray(size)
        self._mask = size - 1

    def add(self, names: Iterable[bytes]) -> None:
        """Put names in."""
        bits, mask = self._bytes, self._mask
        for value in map(hash, names):
            bits[value >> 3 & mask] |= 1 << (value & 7)
            bits[value >> 35 & mask] |= 1 << (value >> 32 & 7)

    def may_hold(self, name: bytes) -> bool:
        """Tell whether a name can be in it: always if it is, and by chance if it is not."""
        bits, mask = self._bytes, self._mask
        value = hash(name)  # which Python remembers with the name
        return bool(
            bits[value >> 3 & mask] >> (value & 7)
            & bits[value >> 35 & mask] >> (value >> 32 & 7)
            & 1
        )
