# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The index of a pack: where in the pack each object is.

dulwich's index finds one object at a time, in Python from end to end. Here one search is a
bisection in C over the bytes, mostly a map of a file. Many searches come sorted, and go bucket by
bucket of the fan-out table: if many objects of a bucket are asked for, a dictionary of it is
cheaper.

Only version 2 is read here (``gitformat-pack``, "Version 2 pack-*.idx files"). It is the one that
everybody writes; dulwich finds the objects of packs with another one.
"""

from __future__ import annotations

import mmap as mmap_module
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from mmap import ACCESS_READ, mmap
from operator import itemgetter
from struct import Struct

from ..engine.format.layout import Buffer

__all__ = ["PackIndex", "drop_pages"]

_MAGIC = b"\xfftOc\0\0\0\2"
_FAN_OUT = Struct(">256I")
_NAMES = len(_MAGIC) + _FAN_OUT.size
_LARGE = 1 << 31
"""The bit that says that an offset stands in the table of large offsets."""

_WORTH_A_DICTIONARY = 1 / 16
"""Share of a bucket's objects that cost as much to search as a dictionary of all of them."""


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
        place = self._first(oid)
        if place == len(self) or self._name(place) != oid:
            raise KeyError(oid)
        return self._offset(place)

    def find_all(self, oids: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
        """Find many objects.

        Args:
          oids: binary object ids, sorted
        Yields: those that are in the pack, and their offsets there
        """
        size = self._hash_size
        for first, group in groupby(oids, key=itemgetter(0)):
            wanted = list(group)
            low, high = self._bucket(first)
            if len(wanted) < (high - low) * _WORTH_A_DICTIONARY:
                for oid in wanted:
                    with suppress(KeyError):
                        yield oid, self.find(oid)
                continue
            names = self._data[_NAMES + low * size : _NAMES + high * size]
            places = {names[i : i + size]: i for i in range(0, len(names), size)}
            for oid in wanted:
                place = places.get(oid)
                if place is not None:
                    yield oid, self._offset(low + place // size)

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


def drop_pages(data: mmap) -> None:
    """Take a map out of the process's memory, until it is read again.

    The system keeps what it has read. But a process that has looked at every page of a large pack
    seems to need that much memory, and may be limited.
    """
    advice = getattr(mmap_module, "MADV_DONTNEED", None)
    if advice is not None and hasattr(data, "madvise"):
        data.madvise(advice)
