# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A pack on disk, read entry by entry.

An entry says in its first bytes what it is: the type of a whole object, or a delta and where its
base is. So the type of an object is known without inflating anything, and an entry can be copied
into another pack as it lies. dulwich offers neither. :mod:`.pack_index` finds objects; everything
else is read here, from a map of the pack (``gitformat-pack``, "Object representation").
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from contextlib import suppress
from functools import cached_property
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, NamedTuple, cast

from dulwich.errors import ApplyDeltaError
from dulwich.pack import (
    OFS_DELTA,
    REF_DELTA,
    FilePackIndex,
    Pack,
    PackFileDisappeared,
    apply_delta,
)

from .pack_bitmap import PackBitmap
from .pack_index import PackIndex, drop_pages

if TYPE_CHECKING:
    from dulwich.objects import RawObjectID  # since dulwich 0.25

__all__ = ["BROKEN", "Entry", "PackFile"]

BROKEN = (
    KeyError,
    IndexError,
    ValueError,
    OSError,
    zlib.error,
    ApplyDeltaError,
    PackFileDisappeared,
)
"""What reading raises if an object is not in the pack, or the pack is broken, closed or gone."""

_LONGEST_CHAIN = 4096
"""How many bases are followed; git makes chains of 50 by default, and of at most 4095."""
_CACHED = 1 << 24
"""How many bytes of objects are kept, since they are likely to be bases of others."""
_SHA1_SIZE = 20
_HEADER_SIZE = 12
_LARGE = 1 << 20
"""Objects of more bytes are not kept."""
_PIECE = 1 << 14
"""How many bytes are inflated at once to find the end of an entry."""
_LONGEST_SIZE = 64
"""How many bits the size of an object may have."""


class Entry(NamedTuple):
    """The header of an entry.

    Attributes:
      kind: number of the type; ``OFS_DELTA`` or ``REF_DELTA`` for a delta
      size: bytes of the object, or of the delta
      data: where the compressed bytes begin
      base: offset of a delta's base; None for a whole object
    """

    kind: int
    size: int
    data: int
    base: int | None


class PackFile:
    """A pack and its index.

    Args:
      pack: a pack on disk
    Raises:
      OSError, ValueError, PackFileDisappeared: if a file is gone or cannot be read
    """

    def __init__(self, pack: Pack) -> None:
        # Do not keep the pack: it would open its files again after they were closed.
        index = pack.index
        if not isinstance(index, FilePackIndex):
            raise ValueError("an index that is not a file")
        self._index = index
        self._path = index.path.removesuffix(".idx")
        with open(self._path + ".pack", "rb") as file:
            self._map = mmap(file.fileno(), 0, access=ACCESS_READ)
        self.bytes = memoryview(self._map)
        self._hash_size: int = getattr(index, "hash_size", _SHA1_SIZE)  # an old index has none
        self._own_index: PackIndex | None = None
        with suppress(ValueError):  # of another version
            self._own_index = PackIndex.open(index.path, self._hash_size)
        self.drop_caches()

    def close(self) -> None:
        """Let go of the map, at the latest when nobody uses its bytes any more."""
        self.drop_caches()
        self.bytes.release()
        with suppress(BufferError):  # somebody still writes a piece of it
            self._map.close()
        if self._own_index is not None:
            self._own_index.close()

    def drop_caches(self) -> None:
        """Forget contents of objects, and bitmaps; they are read again when somebody asks."""
        # Two generations: when the younger one is full, the older one is dropped.
        self._young: dict[int, tuple[int, bytes]] = {}
        self._old: dict[int, tuple[int, bytes]] = {}
        self._young_size = 0
        self.__dict__.pop("bitmap", None)

    def drop_pages(self) -> None:
        """Take pack and index out of the process's memory, until they are read again."""
        drop_pages(self._map)
        if self._own_index is not None:
            self._own_index.drop_pages()

    def __len__(self) -> int:
        return len(self._index)

    def find(self, oid: bytes) -> int:
        """Give the offset of an object.

        Args:
          oid: binary object id
        Raises:
          KeyError: if it is not in the pack
        """
        if self._own_index is not None:
            return self._own_index.find(oid)
        return self._index.object_offset(cast("RawObjectID", oid))

    def find_all(self, oids: Collection[bytes]) -> dict[bytes, int]:
        """Find many objects.

        Args:
          oids: binary object ids, in any order
        Returns: by their ids, the offsets of those that are in the pack
        Raises:
          BROKEN: if the index is broken
        """
        if self._own_index is not None:
            return self._own_index.find_all(oids)
        found: dict[bytes, int] = {}
        for oid in oids:
            with suppress(KeyError):
                found[oid] = self.find(oid)
        return found

    def types_of(self, oids: Collection[bytes]) -> dict[bytes, int]:
        """Find the types of many objects.

        Args:
          oids: binary object ids, in any order
        Returns: by their ids, the numbers of the types of those that are in the pack; 0 for a type
          that cannot be told
        Raises:
          BROKEN: if the index is broken
        """
        data, found = self._map, self.find_all(oids)
        try:
            # One expression for all: most are no deltas, and have their type in the first byte.
            types = {oid: data[offset] >> 4 & 7 for oid, offset in found.items()}
        except IndexError:
            types = dict.fromkeys(found, OFS_DELTA)
        for oid in [oid for oid, kind in types.items() if kind in (OFS_DELTA, REF_DELTA)]:
            try:
                types[oid] = self.type_at(found[oid])
            except BROKEN:
                types[oid] = 0
        return types

    def offsets(self) -> list[int]:
        """List the offsets of all entries, and the end of the last one, in order.

        Raises:
          BROKEN: if the index is broken
        """
        if self._own_index is not None:
            offsets = sorted(self._own_index.entries().values())
        else:
            offsets = sorted(offset for _, offset, _ in self._index.iterentries())
        return [*offsets, self.body.stop]

    @property
    def body(self) -> slice:
        """The bytes of all entries, between the header and the checksum."""
        return slice(_HEADER_SIZE, len(self._map) - self._hash_size)

    @cached_property
    def bitmap(self) -> PackBitmap | None:
        """The pack's bitmaps, if there are any that can be used."""
        if self._own_index is None:
            return None
        try:
            with open(self._path + ".bitmap", "rb") as file:
                checksum = bytes(self._map[self.body.stop :])
                return PackBitmap(file.read(), checksum, self._own_index.entries())
        except BROKEN:
            return None

    def entry(self, offset: int) -> Entry:
        """Read the header of an entry.

        Raises:
          BROKEN: if it is broken
        """
        data = self._map
        byte = data[offset]
        kind, size, at, shift = byte >> 4 & 7, byte & 0x0F, offset + 1, 4
        while byte & 0x80:
            byte = data[at]
            size |= (byte & 0x7F) << shift
            at += 1
            shift += 7
            if shift > _LONGEST_SIZE:
                raise ValueError("a size that is too long")
        if kind == OFS_DELTA:
            byte = data[at]
            distance = byte & 0x7F
            at += 1
            while byte & 0x80:
                byte = data[at]
                distance = (distance + 1) << 7 | byte & 0x7F
                at += 1
                if distance > offset:
                    break
            if not 0 < distance < offset:
                raise ValueError("a base that is not in the pack")
            return Entry(kind, size, at, offset - distance)
        if kind == REF_DELTA:
            end = at + self._hash_size
            return Entry(kind, size, end, self.find(data[at:end]))
        return Entry(kind, size, at, None)

    def type_at(self, offset: int) -> int:
        """Give the type of the object at an offset: that of the last base of its chain.

        Raises:
          BROKEN: if an entry is broken
        """
        for _ in range(_LONGEST_CHAIN):
            kind = self._map[offset] >> 4 & 7
            if kind not in (OFS_DELTA, REF_DELTA):
                return kind
            offset = self.entry(offset).base or 0
        raise ValueError("no base that is no delta")

    def size_at(self, offset: int) -> int:
        """Give the size in bytes of the object at an offset.

        Raises:
          BROKEN: if its entry is broken
        """
        entry = self.entry(offset)
        if entry.base is None:
            return entry.size
        # A delta begins with two sizes, that of its base and that of its result.
        start = zlib.decompressobj().decompress(self.bytes[entry.data :], 32)
        at = 0
        while start[at] & 0x80:
            at += 1
        size = shift = 0
        for byte in start[at + 1 :]:
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return size
        raise ValueError("a delta without a size")

    def read(self, offset: int) -> tuple[int, bytes]:
        """Read the object at an offset.

        Returns: number of its type, and its content
        Raises:
          BROKEN: if an entry is broken
        """
        deltas: list[tuple[int, Entry]] = []
        while True:
            found = self._young.get(offset) or self._old.get(offset)
            if found is not None:
                break
            entry = self.entry(offset)
            if entry.base is None:
                found = entry.kind, self._inflate(entry)
                self._keep(offset, found)
                break
            deltas.append((offset, entry))
            offset = entry.base
            if len(deltas) > _LONGEST_CHAIN:
                raise ValueError("no base that is no delta")
        kind, data = found
        for place, entry in reversed(deltas):
            data = b"".join(apply_delta(data, self._inflate(entry)))
            self._keep(place, (kind, data))
        return kind, data

    def _inflate(self, entry: Entry) -> bytes:
        data = zlib.decompress(self.bytes[entry.data :], bufsize=entry.size or 1)
        if len(data) != entry.size:
            raise ValueError("an object of another size than its entry says")
        return data

    def _keep(self, offset: int, found: tuple[int, bytes]) -> None:
        size = len(found[1])
        if size > _LARGE:
            return
        self._young_size += size
        if self._young_size > _CACHED // 2:
            self._old, self._young, self._young_size = self._young, {}, size
        self._young[offset] = found

    def end_of(self, offset: int) -> int:
        """Find the end of an entry, by inflating it.

        Raises:
          BROKEN: if it is broken
        """
        at = self.entry(offset).data
        inflate = zlib.decompressobj()
        end = len(self._map) - self._hash_size
        while not inflate.eof:
            if at >= end:
                raise ValueError("an entry without an end")
            piece = self.bytes[at : min(at + _PIECE, end)]
            pending: bytes | memoryview = piece
            while pending and not inflate.eof:
                inflate.decompress(pending, _PIECE)
                pending = inflate.unconsumed_tail
            at += len(piece)
        return at - len(inflate.unused_data)
