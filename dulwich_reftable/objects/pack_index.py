# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The index of a pack: where in the pack each object is.

dulwich's index finds one object at a time, by a bisection in Python. Ids are hashes, which are
spread evenly: the bytes of an id tell about where it stands. So here it is searched for around that
place, in C; bisection finds the few that stand elsewhere. Many objects are looked for bucket by
bucket of the fan-out table. If many of a bucket are asked for, a dictionary of it is cheaper. In a
large index, of which very many objects are asked for in small groups, a fan-out table by the first
two bytes is made. That leaves a dozen ids to search, and needs neither guess nor bisection.

Only version 2 is read here (``gitformat-pack``, "Version 2 pack-*.idx files"). It is the one that
everybody writes; dulwich finds the objects of packs with another one.
"""

from __future__ import annotations

import mmap as mmap_module
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from math import isqrt
from mmap import ACCESS_READ, mmap
from struct import Struct, unpack

from ..engine.format.layout import Buffer

__all__ = ["PackIndex", "by_first_byte", "drop_pages"]

_MAGIC = b"\xfftOc\0\0\0\2"
_FAN_OUT = Struct(">256I")
_NAMES = len(_MAGIC) + _FAN_OUT.size
_LARGE = 1 << 31
"""The bit that says that an offset stands in the table of large offsets."""

_WORTH_A_DICTIONARY = 1 / 8
"""Share of a bucket's objects that cost as much to search as a dictionary of all of them."""
_STILL_WORTH_A_DICTIONARY = 1 / 3
"""The same where there is a finer fan-out table."""

_LARGE_INDEX = 1 << 18
"""Objects of an index in which a finer fan-out table saves a third of a search."""

_WORTH_A_FAN_OUT = 1 << 15
"""Searches in a large index that cost as much more as to make that table."""


class PackIndex:
    """An index of version 2.

    Args:
      data: its bytes
      hash_size: bytes of an object id
    Raises:
      ValueError: if it is no index of version 2, or is cut short
    """

    def __init__(self, data: Buffer, hash_size: int) -> None:
        if data[: len(_MAGIC)] != _MAGIC or len(data) < _NAMES:
            raise ValueError("no index of version 2")
        self._data = data
        self._fan_out: tuple[int, ...] = _FAN_OUT.unpack(data[len(_MAGIC) : _NAMES])
        self._hash_size = hash_size
        count = self._fan_out[-1]
        self._crcs = _NAMES + count * hash_size
        self._offsets = self._crcs + 4 * count
        self._large_offsets = self._offsets + 4 * count
        self._searches = 0
        self._finer: array[int] | None = None
        is_sorted = all(a <= b for a, b in zip(self._fan_out, self._fan_out[1:], strict=False))
        if not is_sorted or len(data) < self._large_offsets + 2 * hash_size:
            raise ValueError("the index is cut short, or its fan-out table is wrong")

    @classmethod
    def open(cls, path: str, hash_size: int) -> PackIndex:
        """Map the file of an index; :meth:`close` lets go of it.

        Args:
          path: of the file
          hash_size: bytes of an object id
        Raises:
          OSError: if the file cannot be read
          ValueError: if it is no index of version 2, or is cut short
        """
        with open(path, "rb") as file:
            data = mmap(file.fileno(), 0, access=ACCESS_READ)
        try:
            return cls(data, hash_size)
        except ValueError:
            data.close()
            raise

    def close(self) -> None:
        """Let go of the map, if there is one."""
        if isinstance(self._data, mmap):
            with suppress(BufferError):
                self._data.close()

    def drop_pages(self) -> None:
        """Take the map out of the process's memory, until it is read again."""
        if isinstance(self._data, mmap):
            drop_pages(self._data)

    def __len__(self) -> int:
        return self._fan_out[-1]

    def find(self, oid: bytes) -> int:
        """Give the offset of an object in the pack.

        Args:
          oid: binary object id
        Raises:
          KeyError: if it is not in the pack
        """
        found: dict[bytes, int] = {}
        self._search([oid], *self._bucket(oid[0]), found)
        return found[oid]

    def find_all(self, oids: Collection[bytes]) -> dict[bytes, int]:
        """Find many objects.

        Args:
          oids: binary object ids, in any order
        Returns: by their ids, the offsets of those that are in the pack
        """
        found: dict[bytes, int] = {}
        finer = self._finer
        worth_it = _WORTH_A_DICTIONARY if finer is None else _STILL_WORTH_A_DICTIONARY
        if finer is not None and len(oids) < len(self) / 256 * worth_it:
            self._search_finely(oids, finer, found)
            return found
        for wanted in by_first_byte(oids):
            low, high = self._bucket(wanted[0][0])
            if len(wanted) >= (high - low) * worth_it:
                offsets = self._offsets_of(low, high)
                found.update((oid, offsets[oid]) for oid in wanted if oid in offsets)
            elif finer is not None:
                self._search_finely(wanted, finer, found)
            else:
                self._search(wanted, low, high, found)
                self._searches += len(wanted)
        if self._searches >= _WORTH_A_FAN_OUT and finer is None and len(self) >= _LARGE_INDEX:
            self._finer = self._fan_out_by_two()
        return found

    def _fan_out_by_two(self) -> array[int]:
        """Give the place of the first object that is not before each two bytes; then their number.

        The order of ids in a damaged index is not trusted: the places never leave their bucket.
        """
        size, low = self._hash_size, 0
        finer = array("I")
        for high in self._fan_out:
            second_bytes = self._data[_NAMES + low * size + 1 : _NAMES + high * size : size]
            finer.extend([bisect_left(second_bytes, byte) + low for byte in range(256)])
            low = high
        finer.append(low)
        return finer

    def _search_finely(
        self, oids: Iterable[bytes], finer: array[int], found: dict[bytes, int]
    ) -> None:
        """Look for objects one by one, with the finer fan-out table; see :meth:`_search`."""
        data, size, offsets = self._data, self._hash_size, self._offsets
        for oid in oids:
            bucket = oid[0] << 8 | oid[1]
            low = finer[bucket]
            at = data[_NAMES + low * size : _NAMES + finer[bucket + 1] * size].find(oid)
            if at < 0:
                continue
            if at % size or len(oid) != size:  # the bytes stand across two ids first, or are a part
                self._search([oid], *self._bucket(oid[0]), found)
                continue
            at = offsets + 4 * (low + at // size)
            offset = int.from_bytes(data[at : at + 4], "big")
            found[oid] = offset if offset < _LARGE else self._offset((at - offsets) // 4)

    def _search(self, oids: list[bytes], low: int, high: int, found: dict[bytes, int]) -> None:
        """Look for objects one by one.

        Args:
          oids: ids that begin with the same byte
          low: the place of the first such id in the table of ids
          high: the place behind the last one
          found: the offsets of those that are there are added to it
        """
        data, size, count = self._data, self._hash_size, high - low
        names, offsets, behind = _NAMES + low * size, self._offsets, _NAMES + high * size
        reach = isqrt(count) + 1  # two standard deviations, or more
        for oid in oids:
            first = (count * (oid[1] << 8 | oid[2]) >> 16) - reach
            start = names + first * size if first > 0 else names
            stop = names + (first + 2 * reach) * size
            at = data[start : stop if stop < behind else behind].find(oid)
            if at >= 0 and not at % size and len(oid) == size:
                place = low + (start + at - names) // size
            else:
                place = self._first(oid)
                if place == high or self._name(place) != oid:
                    continue
            at = offsets + 4 * place
            offset = int.from_bytes(data[at : at + 4], "big")
            found[oid] = offset if offset < _LARGE else self._offset(place)

    def _offsets_of(self, low: int, high: int) -> dict[bytes, int]:
        """Give the offsets of the objects from one place until before another one."""
        size = self._hash_size
        names = self._data[_NAMES + low * size : _NAMES + high * size]
        count = high - low
        at = self._offsets + 4 * low
        offsets = unpack(f">{count}I", self._data[at : at + 4 * count])
        if max(offsets, default=0) >= _LARGE:
            offsets = tuple(map(self._offset, range(low, high)))
        ids = [names[i : i + size] for i in range(0, len(names), size)]
        return dict(zip(ids, offsets, strict=True))

    def entries(self) -> dict[bytes, int]:
        """Give the offsets of all objects, by their binary ids and in the order of these."""
        return self._offsets_of(0, len(self))

    def _first(self, oid: bytes) -> int:
        """Find the place of the first object that is not before an id, or part of one."""
        low, high = self._bucket(oid[0])
        return bisect_left(range(low, high), oid, key=self._name) + low

    def _bucket(self, first: int) -> tuple[int, int]:
        """Give the places of the objects whose ids begin with a byte."""
        return self._fan_out[first - 1] if first else 0, self._fan_out[first]

    def _name(self, place: int) -> bytes:
        at = _NAMES + place * self._hash_size
        return self._data[at : at + self._hash_size]

    def _offset(self, place: int) -> int:
        at = self._offsets + 4 * place
        offset = int.from_bytes(self._data[at : at + 4], "big")
        if offset < _LARGE:
            return offset
        at = self._large_offsets + 8 * (offset - _LARGE)
        if at + 8 > len(self._data) - 2 * self._hash_size:
            raise ValueError("an offset that is not in the index")
        return int.from_bytes(self._data[at : at + 8], "big")


def by_first_byte(oids: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Divide binary object ids by their first byte, as an index does."""
    buckets: list[list[bytes]] = [[] for _ in range(256)]
    for oid in oids:
        buckets[oid[0]].append(oid)
    return filter(None, buckets)


def drop_pages(data: mmap) -> None:
    """Take a map out of the process's memory, until it is read again.

    The system keeps what it has read. But a process that has looked at every page of a large pack
    seems to need that much memory, and may be limited.
    """
    advice = getattr(mmap_module, "MADV_DONTNEED", None)
    if advice is not None and hasattr(data, "madvise"):
        data.madvise(advice)
