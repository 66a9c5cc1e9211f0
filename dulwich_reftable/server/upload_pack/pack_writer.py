# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Write a pack: entries of packs are copied as they lie; nothing else is compressed again.

An entry can be copied if it holds a whole object, or a delta whose base is sent from the same pack,
or one whose base the client has. Entries keep the order that they have in their pack, so a base
comes before its deltas, and there can be no circle. Between two entries that were neighbours
nothing changes, so whole runs are copied at once. If something else was left out between a delta
and its base, the delta gets a new offset. Everything else is read, and written as a whole object:
loose objects, deltas without a base, and what a broken pack does not give (git: ``write_object`` in
``builtin/pack-objects.c``).
"""

from __future__ import annotations

import zlib
from binascii import b2a_hex
from collections.abc import Callable, Collection, Iterable
from itertools import pairwise

from dulwich.object_format import ObjectFormat
from dulwich.objects import ObjectID
from dulwich.pack import OFS_DELTA, REF_DELTA, pack_header_chunks, pack_object_header

from ...objects.pack_file import BROKEN, PackFile
from ...objects.reader import ObjectReader
from ..pkt_lines import WriteBuffer

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
      bases: binary ids of objects that the client has; deltas of them may be sent
      has_offsets: whether the client takes deltas that name their bases by offset
    """

    def __init__(
        self,
        objects: ObjectReader,
        object_format: ObjectFormat,
        write: Callable[[bytes], object],
        *,
        bases: Collection[bytes] = (),
        has_offsets: bool = True,
    ) -> None:
        self._objects = objects
        self._format = object_format
        self._bases = bases
        self._has_offsets = has_offsets
        self._hash = object_format.new_hash()
        self._buffer = WriteBuffer(write)
        self._size = 0

    def write(self, oids: Collection[bytes]) -> None:
        """Write the pack.

        Args:
          oids: binary ids of its objects
        Raises:
          KeyError: if one is missing
        """
        packs, others = self._objects.find_all(oids)
        for chunk in pack_header_chunks(len(oids)):
            self._put(chunk)
        for pack, entries in packs.items():
            _Copy(self, pack, entries, self._bases_in(pack)).run()
        for oid in others:
            self.put_object(oid)
        self._buffer.add(self._hash.digest())
        self._buffer.flush()

    def _bases_in(self, pack: PackFile) -> dict[int, bytes]:
        """Find the objects of the client in a pack, by their offsets."""
        found = {}
        for oid in self._bases:
            try:
                found[pack.find(oid)] = oid
            except BROKEN:
                continue
        return found

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
      pack: the pack to copy from
      entries: offsets of the entries to copy, with their binary object ids
      bases: offsets of entries that the client has, with their binary object ids
    """

    def __init__(
        self, out: PackWriter, pack: PackFile, entries: dict[int, bytes], bases: dict[int, bytes]
    ) -> None:
        self._out = out
        self._pack = pack
        self._entries = entries
        self._bases = bases
        self._places: dict[int, int] = {}  # in the new pack, by those in the old one
        self._run_start = self._run_end = 0

    def run(self) -> None:
        """Copy all entries, in the order of the pack."""
        offsets = sorted(self._entries)
        ends = self._ends(offsets)
        for offset, end in zip(offsets, ends, strict=True):
            self._places[offset] = self._place()
            try:
                is_copied = end is not None and self._copy(offset, end)
            except BROKEN:
                is_copied = False
            if not is_copied:
                self._flush()
                self._places[offset] = self._out.size
                self._out.put_object(self._entries[offset])
        self._flush()

    def _place(self) -> int:
        return self._out.size + self._run_end - self._run_start

    def _ends(self, offsets: list[int]) -> Iterable[int | None]:
        """Give the ends of entries; None for one that is broken."""
        pack = self._pack
        if len(offsets) * _MANY >= len(pack):
            try:
                known = pack.offsets()
            except BROKEN:
                pass
            else:
                ends = dict(pairwise(known))
                return [ends[offset] for offset in offsets]
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
        place = self._places.get(base)
        if place is not None and self._out.has_offsets:
            distance = self._places[offset] - place
            if entry.kind == OFS_DELTA and distance == offset - base:
                self._extend(offset, end)
                return True
            self._flush()
            self._out.put_header(OFS_DELTA, distance, entry.size)
        else:
            oid = self._entries[base] if place is not None else self._bases.get(base)
            if oid is None:
                return False
            self._flush()
            self._out.put_header(REF_DELTA, oid, entry.size)
        self._out.put_bytes(self._pack.bytes[entry.data : end])
        return True

    def _extend(self, offset: int, end: int) -> None:
        """Add an entry to the run of neighbours."""
        if offset != self._run_end:
            self._flush()
            self._run_start = offset
        self._run_end = end

    def _flush(self) -> None:
        """Write the run."""
        self._out.put_bytes(self._pack.bytes[self._run_start : self._run_end])
        self._run_start = self._run_end = 0
