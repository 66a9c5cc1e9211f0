# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The bitmaps of a pack: for some commits, which objects of the pack they reach.

A bitmap is an integer, whose lowest bit stands for the first object of the pack. It is made from
its compressed form when somebody asks for it. Bitmaps are only a shortcut, so a file that is not
whole, or that belongs to another pack, counts as none (``gitformat-pack-bitmap``, "On-disk
format").

dulwich reads such files, too. But it takes a bit for a place in the index, and git means a place in
the pack, so what it finds is not what git wrote.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from itertools import compress
from struct import Struct

from dulwich.objects import Blob, Commit, Tag, Tree

__all__ = ["PackBitmap"]

_HEADER = Struct(">4sHHI")
_MAGIC = b"BITM"
_VERSION = 1
_FULL_DAG = 1
"""The flag that says that the pack has all that its commits reach."""
_ENTRY = Struct(">IBB")
_SIZES = Struct(">II")
_POSITION = 4
"""Bytes behind the words of a bitmap: where its last run is, which only writers want to know."""
_KINDS = tuple(kind.type_num for kind in (Commit, Tree, Blob, Tag))
"""The first bitmaps tell which objects are of these types."""
_LONGEST_CHAIN = 160
"""How many bitmaps one may be built upon, as in git."""
_WORD = 8
_KEPT = 1 << 24
"""How many bytes of bitmaps are kept, since others are likely to be built upon them."""
_BITS = [format(byte, "08b")[::-1].encode() for byte in range(256)]


class PackBitmap:
    """The bitmaps of one pack.

    Args:
      data: the bytes of the file
      checksum: of the pack, which is its last bytes
      offsets: by the binary ids of the pack's objects, in their order, the places in the pack
    Raises:
      ValueError: if the bitmaps are of another version, not whole, or not of this pack
    """

    def __init__(self, data: bytes, checksum: bytes, offsets: dict[bytes, int]) -> None:
        hash_size = len(checksum)
        new_hash = hashlib.sha1 if hash_size == hashlib.sha1().digest_size else hashlib.sha256
        end = len(data) - hash_size
        start = _HEADER.size + hash_size
        if end < start or new_hash(memoryview(data)[:end]).digest() != data[end:]:
            raise ValueError("the bitmaps are not whole")
        magic, version, flags, count = _HEADER.unpack_from(data)
        if (magic, version) != (_MAGIC, _VERSION) or not flags & _FULL_DAG:
            raise ValueError("bitmaps of another version")
        if data[_HEADER.size : start] != checksum:
            raise ValueError("bitmaps of another pack")
        self._data = data
        self._end = end
        self._words = -(-len(offsets) // (8 * _WORD))
        self._ids = sorted(offsets, key=offsets.__getitem__)
        self._offsets = array("Q", sorted(offsets.values()))
        self._made: dict[int, int] = {}
        at = start
        self._kinds: dict[int, int] = {}
        for kind in _KINDS:
            self._kinds[kind] = at
            at = self._behind(at)
        in_order = list(offsets)
        self._numbers: dict[bytes, int] = {}
        self._entries: list[tuple[int, int]] = []
        for number in range(count):
            if at + _ENTRY.size > end:
                raise ValueError("the bitmaps are cut short")
            place, distance, _ = _ENTRY.unpack_from(data, at)
            if place >= len(in_order) or distance > min(number, _LONGEST_CHAIN):
                raise ValueError("a bitmap of no object, or upon no other one")
            self._numbers[in_order[place]] = number
            at += _ENTRY.size
            self._entries.append((at, distance))
            at = self._behind(at)

    def __contains__(self, commit: bytes) -> bool:
        return commit in self._numbers

    def __getitem__(self, commit: bytes) -> int:
        """Give the bitmap of a commit.

        Args:
          commit: binary object id
        Raises:
          KeyError: if there is none
          ValueError: if it is broken
        """
        chain = []
        number = self._numbers[commit]
        while number not in self._made:
            chain.append(number)
            distance = self._entries[number][1]
            if not distance:
                break
            number -= distance
        bitmap = self._made.get(number, 0)
        for each in reversed(chain):
            bitmap ^= self._read(self._entries[each][0])
            if len(self._made) * self._words * _WORD > _KEPT:
                self._made.clear()
            self._made[each] = bitmap
        return bitmap

    def of_kinds(self, kinds: Iterable[int]) -> int:
        """Give a bitmap of all objects of some types.

        Args:
          kinds: numbers of types
        Raises:
          ValueError: if it is broken
        """
        bitmap = 0
        for kind in kinds:
            bitmap |= self._read(self._kinds[kind])
        return bitmap

    def has(self, bitmap: int, offset: int) -> bool:
        """Tell whether the object at an offset of the pack is in a bitmap."""
        return bool(bitmap >> bisect_left(self._offsets, offset) & 1)

    def objects(self, bitmap: int) -> list[bytes]:
        """Give the binary ids of the objects in a bitmap, in the order of the pack."""
        size = self._words * _WORD
        bits = b"".join([_BITS[byte] for byte in bitmap.to_bytes(size, "little")])
        return list(compress(self._ids, map(ord("0").__lt__, bits)))

    def _behind(self, at: int) -> int:
        """Give the place behind a compressed bitmap."""
        if at + _SIZES.size > self._end:
            raise ValueError("the bitmaps are cut short")
        at += _SIZES.size + _WORD * _SIZES.unpack_from(self._data, at)[1] + _POSITION
        if at > self._end:
            raise ValueError("the bitmaps are cut short")
        return at

    def _read(self, at: int) -> int:
        """Make a bitmap of its compressed form: runs of equal words, each with words as they are.

        Raises:
          ValueError: if it has more bits than the pack has objects
        """
        count = _SIZES.unpack_from(self._data, at)[1]
        at += _SIZES.size
        words = array("Q", self._data[at : at + _WORD * count])
        if sys.byteorder == "little":
            words.byteswap()
        pieces: list[bytes] = []
        left = self._words
        place = 0
        while place < count:
            run = words[place]
            equal, literal = run >> 1 & 0xFFFFFFFF, run >> 33
            left -= equal + literal
            place += 1
            if left < 0 or place + literal > count:
                raise ValueError("a bitmap that is longer than its pack")
            pieces.append((b"\xff" if run & 1 else b"\0") * (_WORD * equal))
            some = words[place : place + literal]
            if sys.byteorder == "big":
                some.byteswap()
            pieces.append(some.tobytes())
            place += literal
        return int.from_bytes(b"".join(pieces), "little")
