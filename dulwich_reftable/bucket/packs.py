# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Read one pack of a bucket: its index whole, its objects by ranges, or all of it.

The index is fetched once and kept in the cache. It tells where an object begins and where the next
one does, so an object is one range of the pack (:mod:`.pack_bytes`).

Nothing read is trusted. An index and a whole pack are verified by their checksums, which the name
of the pack says; an object by its id; a piece of a pack that is passed on unread by the checksum in
the index. What is damaged in the cache is fetched again, once.
"""

from __future__ import annotations

import io
import threading
import zlib
from collections.abc import Iterable, Iterator
from struct import error as StructError
from typing import Any

from dulwich.errors import ApplyDeltaError, ChecksumMismatch
from dulwich.objects import RawObjectID, object_header
from dulwich.pack import (
    OFS_DELTA,
    REF_DELTA,
    UnpackedObject,
    apply_delta,
    unpack_object,
)

from ..engine.format.layout import Buffer
from .cache import Shelf, feed
from .client import Bucket
from .pack_bytes import Memory, PackBytes, read_pieces
from .pack_index import OrderedPackIndex
from .pack_name import PackName

__all__ = ["StoredPack"]

_END = b"\0"

_DAMAGES = (zlib.error, AssertionError, ApplyDeltaError, StructError, ValueError, LookupError)
"""How dulwich tells that bytes are no object, or no index."""


class StoredPack:
    """A pack in a bucket. Threads may share it.

    Args:
      bucket: where it is
      name: of the pack
      size: of it, in bytes
      index_size: of its index, in bytes
      modified: when it was uploaded: seconds since the epoch, by the store's clock
      object_format: of its objects
      shelf: where copies are kept
      memory: where pieces of it, and bases of deltas, are kept

    Attributes:
      retired: since when all that is needed of it is in other packs, in seconds since the epoch by
        the store's clock; None while the pack is in use
    """

    def __init__(
        self,
        bucket: Bucket,
        name: PackName,
        size: int,
        index_size: int,
        modified: float,
        object_format: Any,
        shelf: Shelf,
        memory: Memory,
    ) -> None:
        self.name = name
        self.size = size
        self.index_size = index_size
        self.modified = modified
        self.retired: float | None = None
        self._bucket = bucket
        self._format = object_format
        self._shelf = shelf
        self._bytes = PackBytes(bucket, name, size, shelf, memory, object_format)
        self._lock = threading.Lock()
        self._index: OrderedPackIndex | None = None

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._bucket.locate(self.name.pack_key)}>"

    # The index

    @property
    def index(self) -> OrderedPackIndex:
        """The index; fetched if need be.

        Raises:
          MissingObjectError: if the pack was removed
          ChecksumMismatch: if the index is damaged
          StorageError: one of :mod:`.errors`
        """
        with self._lock:
            if self._index is None:
                key, size = self.name.index_key, self.index_size
                buffer = self._shelf.fetch(
                    f"{self.name}.idx",
                    size,
                    lambda: read_pieces(self._bucket, key, size),
                    self._check_index,
                )
                self._index = self._parse_index(buffer)
            return self._index

    @property
    def has_index(self) -> bool:
        """Whether the index is in memory."""
        return self._index is not None

    def _parse_index(self, buffer: Buffer) -> OrderedPackIndex:
        try:
            return OrderedPackIndex(buffer, self.size, self._format.oid_length)
        except ValueError as error:
            raise self._mismatch(self.name.index_key, "an index", str(error)) from error

    def _check_index(self, buffer: Buffer) -> None:
        digest = self._format.new_hash()
        end = len(buffer) - digest.digest_size
        feed(digest, buffer, max(end, 0))
        if digest.digest() != buffer[end:]:
            raise self._mismatch(self.name.index_key, buffer[end:].hex(), digest.hexdigest())
        found = self._parse_index(buffer).pack_checksum.hex()
        if found != self.name.checksum:
            raise self._mismatch(self.name.index_key, self.name.checksum, found)

    def offset_of(self, oid: RawObjectID) -> int | None:
        """Find an object.

        Args:
          oid: binary object id
        Returns: its offset in the pack; None if it is not there
        """
        try:
            return self.index.find(oid)
        except KeyError:
            return None

    def _end_of(self, offset: int) -> int:
        try:
            return self.index.end_of(offset)
        except ValueError as error:
            raise self._mismatch(self.name.index_key, "sound offsets", str(error)) from error

    # Objects

    def read(self, oid: RawObjectID, offset: int) -> tuple[int, bytes]:
        """Read an object.

        Args:
          oid: its binary id
          offset: where it is
        Returns: the number of its type, and its content
        Raises:
          MissingObjectError: if the pack was removed
          ChecksumMismatch: if the object is damaged
          StorageError: one of :mod:`.errors`
        """
        try:
            return self._read_checked(oid, offset)
        except ChecksumMismatch:
            self._bytes.forget()
            return self._read_checked(oid, offset)

    def _read_checked(self, oid: RawObjectID, offset: int) -> tuple[int, bytes]:
        type_num, data = self._resolve(oid, offset)
        digest = self._format.new_hash()
        digest.update(object_header(type_num, len(data)))
        digest.update(data)
        if digest.digest() != oid:
            raise self._mismatch(self.name.pack_key, oid.hex(), digest.hexdigest())
        return type_num, data

    def _resolve(self, oid: RawObjectID, offset: int) -> tuple[int, bytes]:
        deltas: list[tuple[int, bytes]] = []
        seen: set[int] = set()
        try:
            found = self._bytes.kept(offset)
            while found is None:
                entry = self._parse(offset, self._bytes.entry(offset, self._end_of(offset)))
                data = b"".join(entry.decomp_chunks)
                if entry.pack_type_num not in (OFS_DELTA, REF_DELTA):
                    found = (entry.pack_type_num, data)
                    self._bytes.keep(offset, *found)
                    break
                seen.add(offset)
                deltas.append((offset, data))
                offset = self._base_of(offset, entry)
                if offset in seen:
                    raise ValueError("a delta is based on itself")
                found = self._bytes.kept(offset)
            type_num, data = found
            for at, delta in reversed(deltas):
                data = b"".join(apply_delta(data, delta))
                self._bytes.keep(at, type_num, data)
            return type_num, data
        except _DAMAGES as error:
            raise self._mismatch(self.name.pack_key, oid.hex(), str(error)) from error

    def unpacked(self, oid: RawObjectID, offset: int, entry: bytes) -> UnpackedObject:
        """Give an object as the pack has it; a delta names its base by its binary id.

        Args:
          oid: its binary id
          offset: where it is
          entry: its bytes in the pack, from :meth:`entries`
        Raises:
          ChecksumMismatch: if the object is damaged
        """
        try:
            found = self._parse(offset, entry)
            if found.crc32 != self.index.crc32_at(offset):
                raise ValueError("the checksum in the index is another one")
            if found.pack_type_num in (OFS_DELTA, REF_DELTA):
                found.delta_base = self.index.oid_at(self._base_of(offset, found))
                found.pack_type_num = REF_DELTA
            else:
                data = b"".join(found.decomp_chunks)
                self._bytes.keep(offset, found.pack_type_num, data)
        except _DAMAGES as error:
            self._bytes.forget()
            raise self._mismatch(self.name.pack_key, oid.hex(), str(error)) from error
        return UnpackedObject(
            found.pack_type_num,
            delta_base=found.delta_base,
            crc32=found.crc32,
            sha=oid,
            decomp_chunks=found.decomp_chunks,
        )

    def entries(self, offsets: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Read many objects as the pack has them.

        Args:
          offsets: where they are
        Yields: offset, and bytes up to the next object
        """
        return self._bytes.entries([(offset, self._end_of(offset)) for offset in sorted(offsets)])

    def expect(self, offsets: Iterable[int]) -> None:
        """Prepare to read many objects: fetch the pack whole if that is cheaper.

        Args:
          offsets: where they are
        """
        self._bytes.expect((offset, self._end_of(offset)) for offset in offsets)

    def _parse(self, offset: int, entry: bytes) -> UnpackedObject:
        file = io.BytesIO(entry + _END)  # dulwich reads on until it sees what follows
        found, rest = unpack_object(file.read, self._format.new_hash, compute_crc32=True)
        if rest + file.read() != _END:
            raise ValueError(f"the object at {offset} ends early")
        return found

    def _base_of(self, offset: int, entry: UnpackedObject) -> int:
        base = entry.delta_base
        if isinstance(base, int):
            return offset - base
        found = None if base is None else self.offset_of(RawObjectID(base))
        if found is None:
            raise ValueError(f"the base of the delta at {offset} is not in the pack")
        return found

    def _mismatch(self, key: str, expected: str, got: str) -> ChecksumMismatch:
        return ChecksumMismatch(expected, got, self._bucket.locate(key))
