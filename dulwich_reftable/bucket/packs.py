# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Read one pack of a bucket: its index whole, its objects by ranges, or all of it.

The index is fetched once and kept in the cache. It tells where an object begins and where the next
one does, so an object is one range. What is read is a run of aligned blocks around it, because the
bases of a delta, and the objects that are wanted next, are often near.

A request costs as much time as some megabyte of transfer. So the pack is fetched whole, into the
cache, as soon as ranges have cost as much as that would have: a small pack at once, a large one
when somebody walks through it.

Nothing read is trusted. An index and a whole pack are verified by their checksums, which the name
of the pack says; an object by its id; a piece of a pack that is passed on unread by the checksum in
the index. What is damaged in the cache is fetched again, once.
"""

from __future__ import annotations

import io
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from struct import error as StructError
from typing import Any, NamedTuple

from dulwich.errors import ApplyDeltaError, ChecksumMismatch
from dulwich.lru_cache import LRUSizeCache
from dulwich.objects import RawObjectID, object_header
from dulwich.pack import (
    OFS_DELTA,
    REF_DELTA,
    UnpackedObject,
    apply_delta,
    unpack_object,
)

from ..engine.format.layout import Buffer
from .cache import NoRoomError, Shelf, feed
from .client import Bucket
from .pack_index import OrderedPackIndex
from .ranges import Range

__all__ = ["Memory", "PackName", "StoredPack", "read_pieces"]

PREFIX = "objects/pack"
"""Where packs are in a bucket."""

_BLOCK = 128 << 10
_REQUEST = 1 << 20
"""The bytes whose transfer takes about as long as a request."""
_BATCH = 8 << 20
"""Bytes of objects that are read ahead at once."""
_PIECE = 8 << 20
"""Bytes of a large object that one request reads."""
_PIECES = 4
"""Pieces that are read side by side."""
_END = b"\0"

_DAMAGES = (zlib.error, AssertionError, ApplyDeltaError, StructError, ValueError, LookupError)
"""How dulwich tells that bytes are no object, or no index."""


class PackName(NamedTuple):
    """The name of a pack: what it holds, and which upload of that it is.

    Attributes:
      checksum: the hex checksum at the end of the pack
      nonce: a random word; no two uploads share a name, so one can be removed without a look at
        whether somebody has uploaded the same again
    """

    checksum: str
    nonce: str

    def __str__(self) -> str:
        return f"pack-{self.checksum}-{self.nonce}"

    @property
    def pack_key(self) -> str:
        """The key of the pack's own object."""
        return f"{PREFIX}/{self}.pack"

    @property
    def index_key(self) -> str:
        """The key of its index."""
        return f"{PREFIX}/{self}.idx"

    @property
    def mark_key(self) -> str:
        """The key of the mark that says since when the pack is retired."""
        return f"{PREFIX}/{self}.retired"

    @classmethod
    def parse(cls, stem: str, hex_length: int) -> PackName | None:
        """Read a name; None if it is none.

        Args:
          stem: of a key, without its directory and its suffix
          hex_length: digits of a checksum
        """
        head, _, rest = stem.partition("-")
        checksum, _, nonce = rest.partition("-")
        is_hex = not checksum.strip("0123456789abcdef")
        if head == "pack" and is_hex and len(checksum) == hex_length and nonce:
            return cls(checksum, nonce)
        return None


class Memory:
    """Keeps what was read lately, up to a number of bytes; threads may share it.

    Args:
      size: maximum bytes of what is kept
    """

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._kept: LRUSizeCache[Any, tuple[int, bytes]] = LRUSizeCache(
            size, compute_size=lambda value: len(value[1])
        )

    def get(self, key: tuple[object, ...]) -> tuple[int, bytes] | None:
        """Give what was kept under a key: the number of a type, and bytes; None if nothing is."""
        with self._lock:
            return self._kept.get(key)

    def put(self, key: tuple[object, ...], type_num: int, data: bytes) -> None:
        """Keep something."""
        with self._lock:
            self._kept[key] = (type_num, data)


def read_pieces(bucket: Bucket, key: str, size: int) -> Iterator[bytes]:
    """Read an object of a bucket, some pieces side by side, in bounded memory.

    Args:
      bucket: the bucket
      key: of the object
      size: of it, in bytes
    """
    pieces = [(start, min(start + _PIECE, size)) for start in range(0, size, _PIECE)]
    for at in range(0, len(pieces), _PIECES):
        yield from bucket.get_ranges(key, pieces[at : at + _PIECES])


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
        self._memory = memory
        self._lock = threading.RLock()
        self._index: OrderedPackIndex | None = None
        self._whole: Buffer | None = None
        self._is_wanted_whole = True  # until the cache has refused it
        self._spent = 0
        self._round = 0  # of the copies; what was kept of an earlier round is forgotten

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
            self._forget()
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
            found = self._memory.get(self._key(offset))
            while found is None:
                entry = self._parse(offset, self._entry(offset))
                data = b"".join(entry.decomp_chunks)
                if entry.pack_type_num not in (OFS_DELTA, REF_DELTA):
                    found = (entry.pack_type_num, data)
                    self._memory.put(self._key(offset), *found)
                    break
                seen.add(offset)
                deltas.append((offset, data))
                offset = self._base_of(offset, entry)
                if offset in seen:
                    raise ValueError("a delta is based on itself")
                found = self._memory.get(self._key(offset))
            type_num, data = found
            for at, delta in reversed(deltas):
                data = b"".join(apply_delta(data, delta))
                self._memory.put(self._key(at), type_num, data)
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
                self._memory.put(self._key(offset), found.pack_type_num, data)
        except _DAMAGES as error:
            self._forget()
            raise self._mismatch(self.name.pack_key, oid.hex(), str(error)) from error
        return UnpackedObject(
            found.pack_type_num,
            delta_base=found.delta_base,
            crc32=found.crc32,
            sha=oid,
            decomp_chunks=found.decomp_chunks,
        )

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

    # Bytes

    def entries(self, offsets: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Read many objects as the pack has them.

        Args:
          offsets: where they are
        Yields: offset, and bytes up to the next object
        """
        wanted = [(offset, self._end_of(offset)) for offset in sorted(offsets)]
        self._prepare(wanted)
        batch: list[Range] = []
        size = 0
        for entry in wanted:
            batch.append(entry)
            size += entry[1] - entry[0]
            if size >= _BATCH:
                yield from self._read_batch(batch)
                batch, size = [], 0
        yield from self._read_batch(batch)

    def expect(self, offsets: Iterable[int]) -> None:
        """Prepare to read many objects: fetch the pack whole if that is cheaper.

        Args:
          offsets: where they are
        """
        self._prepare([(offset, self._end_of(offset)) for offset in offsets])

    def _prepare(self, ranges: Sequence[Range]) -> None:
        cost = sum(min(stop - start + _REQUEST, 2 * _REQUEST) for start, stop in ranges)
        if len(ranges) > 1 and self._spent + cost >= self.size:
            self._fetch()

    def _read_batch(self, ranges: Sequence[Range]) -> Iterator[tuple[int, bytes]]:
        whole = self._whole
        if whole is not None:
            yield from ((start, whole[start:stop]) for start, stop in ranges)
        elif ranges:
            self._spent += _REQUEST + sum(stop - start for start, stop in ranges)
            found = self._bucket.get_ranges(self.name.pack_key, ranges)
            yield from zip((start for start, _ in ranges), found, strict=True)

    def _entry(self, offset: int) -> bytes:
        stop = self._end_of(offset)
        if self._whole is None and self._spent + _REQUEST >= self.size:
            self._fetch()
        whole = self._whole
        if whole is not None:
            return whole[offset:stop]
        first, last = offset // _BLOCK, (stop - 1) // _BLOCK
        numbers = range(first, last + 1)
        kept = {number: self._memory.get(self._key("block", number)) for number in numbers}
        missing = [number for number, block in kept.items() if block is None]
        if missing:
            start, end = missing[0] * _BLOCK, min((missing[-1] + 1) * _BLOCK, self.size)
            self._spent += _REQUEST + end - start
            data = self._bucket.get_range(self.name.pack_key, start, end)
            for number in range(missing[0], missing[-1] + 1):
                at = number * _BLOCK - start
                block = data[at : at + _BLOCK]
                kept[number] = (0, block)
                self._memory.put(self._key("block", number), 0, block)
        joined = b"".join(block[1] for block in kept.values() if block is not None)
        return joined[offset - first * _BLOCK : stop - first * _BLOCK]

    def _key(self, *parts: object) -> tuple[object, ...]:
        return (self.name, self._round, *parts)

    def _fetch(self) -> None:
        """Fetch the pack whole, if the cache takes it."""
        with self._lock:
            if self._whole is None and self._is_wanted_whole:
                try:
                    self._whole = self._shelf.fetch(
                        f"{self.name}.pack",
                        self.size,
                        lambda: read_pieces(self._bucket, self.name.pack_key, self.size),
                        self._check_pack,
                    )
                except NoRoomError:
                    self._is_wanted_whole = False

    def _check_pack(self, buffer: Buffer) -> None:
        digest = self._format.new_hash()
        end = len(buffer) - digest.digest_size
        feed(digest, buffer, max(end, 0))
        found = digest.hexdigest()
        if found != self.name.checksum or buffer[end:].hex() != found:
            raise self._mismatch(self.name.pack_key, self.name.checksum, found)

    def _forget(self) -> None:
        """Forget all copies of the pack, since one of them may be damaged."""
        with self._lock:
            self._round += 1
            self._whole = None
            self._shelf.drop(f"{self.name}.pack")
