# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Write a pack: entries of packs are copied as they lie; nothing else is compressed again.

An entry can be copied if it holds a whole object, or a delta whose base is sent from the same pack,
or one whose base the client has. Entries keep the order that they have in their pack, so a base
comes before its deltas, and there can be no circle. Between two entries that were neighbours
nothing changes, so whole runs are copied at once, and so is a whole pack. If something else was
left out between a delta and its base, the delta gets a new offset. Everything else is read, and
written as a whole object: loose objects, deltas without a base, and what a broken pack does not
give (git: ``write_object`` in ``builtin/pack-objects.c``).
"""

from __future__ import annotations

import zlib
from array import array
from binascii import b2a_hex
from bisect import bisect_right
from collections.abc import Callable, Iterable

from dulwich.object_format import ObjectFormat
from dulwich.objects import ObjectID
from dulwich.pack import OFS_DELTA, REF_DELTA, pack_header_chunks, pack_object_header

from ...objects.pack_file import BROKEN
from ...objects.reader import ObjectReader
from ..pkt_lines import WriteBuffer
from .pack_plan import PackPart, PackPlan

__all__ = ["PackWriter"]

_MANY = 16
"""From one in so many objects of a pack on, all ends of entries are taken from its index."""
_PIECE = 1 << 16
"""How many bytes of a pack are copied at once."""


class PackWriter:
    """Writes one pack.

    Args:
      objects: reads the objects
      object_format: of the repository
      write: takes pieces of the pack
      has_offsets: whether the client takes deltas that name their bases by offset
    """

    def __init__(
        self,
        objects: ObjectReader,
        object_format: ObjectFormat,
        write: Callable[[bytes], object],
        *,
        has_offsets: bool = True,
    ) -> None:
        self._objects = objects
        self._format = object_format
        self._has_offsets = has_offsets
        self._hash = object_format.new_hash()
        self._buffer = WriteBuffer(write)
        self._size = 0

    def write(self, plan: PackPlan) -> None:
        """Write the pack.

        Args:
          plan: what it is made of
        Raises:
          KeyError: if an object is missing
        """
        for chunk in pack_header_chunks(plan.count):
            self._put(chunk)
        for part in plan.parts:
            if part.is_whole and self._has_offsets:
                self.put_bytes(part.pack.bytes[part.pack.body])
            else:
                _Copy(self, part).run()
        for oid in plan.others:
            self.put_object(oid)
        self._buffer.add(self._hash.digest())
        self._buffer.flush()

    @property
    def size(self) -> int:
        """How many bytes the pack has so far."""
        return self._size

    @property
    def has_offsets(self) -> bool:
        """Whether deltas may name their bases by offset."""
        return self._has_offsets

    def _put(self, data: bytes) -> None:
        self._hash.update(data)
        self._buffer.add(data)
        self._size += len(data)

    def put_header(self, kind: int, base: bytes | int | None, size: int) -> None:
        """Write the header of an entry.

        Args:
          kind: number of its type
          base: of a delta: binary object id, or distance in bytes
          size: of the object or the delta in bytes
        """
        self._put(bytes(pack_object_header(kind, base, size, self._format)))

    def put_bytes(self, data: memoryview) -> None:
        """Write bytes of a pack, in pieces."""
        for start in range(0, len(data), _PIECE):
            self._put(bytes(data[start : start + _PIECE]))

    def put_object(self, oid: bytes) -> None:
        """Write an object as a whole.

        Args:
          oid: binary object id
        Raises:
          KeyError: if it is missing
        """
        kind, data = self._objects.get_raw(ObjectID(b2a_hex(oid)))
        self.put_header(kind, None, len(data))
        self._put(zlib.compress(data))


class _Copy:
    """Copies entries from one pack.

    Args:
      out: the pack that is written
      part: the entries
    """

    def __init__(self, out: PackWriter, part: PackPart) -> None:
        self._out = out
        self._part = part
        self._pack = part.pack
        # Each run of neighbours, and each other entry: where it begins in the old pack, and where
        # in the new one.
        self._starts = array("Q")
        self._places = array("Q")
        self._run_start = self._run_end = 0

    def run(self) -> None:
        """Copy all entries, in the order of the pack."""
        offsets = self._part.offsets
        for offset, end in zip(offsets, self._ends(offsets), strict=True):
            try:
                is_copied = end is not None and self._copy(offset, end)
            except BROKEN:
                is_copied = False
            if not is_copied:
                self._begin(offset)
                self._out.put_object(self._part.oid(offset))
        self._flush()

    def _ends(self, offsets: array[int]) -> Iterable[int | None]:
        """Give the ends of entries; None for one that is broken."""
        if len(offsets) * _MANY >= len(self._pack):
            try:
                known = array("Q", self._pack.offsets())
                return array("Q", [known[bisect_right(known, offset)] for offset in offsets])
            except BROKEN:
                pass
        return map(self._end, offsets)

    def _end(self, offset: int) -> int | None:
        try:
            return self._pack.end_of(offset)
        except BROKEN:
            return None

    def _copy(self, offset: int, end: int) -> bool:
        """Copy an entry; False if it has to be written as a whole object."""
        entry = self._pack.entry(offset)
        base = entry.base
        if base is None:
            self._extend(offset, end)
            return True
        is_sent = base < offset and self._part.has(base)
        if is_sent and self._out.has_offsets:
            distance = self._out.size + self._run_end - self._run_start - self._place_of(base)
            if entry.kind == OFS_DELTA and distance == offset - base:
                self._extend(offset, end)
                return True
            self._begin(offset)
            self._out.put_header(OFS_DELTA, distance, entry.size)
        else:
            oid = self._part.oid(base) if is_sent else self._part.base(base)
            if oid is None:
                return False
            self._begin(offset)
            self._out.put_header(REF_DELTA, oid, entry.size)
        self._out.put_bytes(self._pack.bytes[entry.data : end])
        return True

    def _place_of(self, offset: int) -> int:
        """Give the place in the new pack of an entry that was copied."""
        run = bisect_right(self._starts, offset) - 1
        return self._places[run] + offset - self._starts[run]

    def _extend(self, offset: int, end: int) -> None:
        """Add an entry to the run of neighbours."""
        if offset != self._run_end:
            self._begin(offset)
            self._run_start = offset
        self._run_end = end

    def _begin(self, offset: int) -> None:
        """Write the run; the entry at an offset comes next."""
        self._flush()
        self._starts.append(offset)
        self._places.append(self._out.size)

    def _flush(self) -> None:
        """Write the run."""
        self._out.put_bytes(self._pack.bytes[self._run_start : self._run_end])
        self._run_start = self._run_end = 0
