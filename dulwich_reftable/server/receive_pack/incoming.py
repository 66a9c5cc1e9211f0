# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Receive a pack and index it, with bounded memory.

The pack is read twice. While it arrives, every object is inflated in pieces. An object that is not
a delta gets its id in this pass, so a blob of any size needs only a buffer. Then the deltas are
resolved depth first, each base before its deltas, with a cache of bounded size. A base that was
dropped from the cache is made again. If the pack lacks a base (a "thin" pack), the base is read
from the repository and appended, as in git's ``index-pack --fix-thin``.

An object with a size above the limit is refused by its header, before memory is allocated for it.
"""

from __future__ import annotations

import os
import zlib
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from dulwich.object_store import BaseObjectStore
from dulwich.objects import Blob, ObjectID, RawObjectID, Tree, object_header
from dulwich.pack import write_pack_index_v2

from ..errors import PackError
from .deltas import MAX_SIZES, BaseCache, apply_delta, delta_sizes
from .limits import Limits
from .pack_stream import ObjectHeader, PackStream, entry_header, inflate_at

__all__ = ["IncomingPack", "ObjectCheck"]

_CACHE_SIZE = 32 << 20
"""Bytes of delta bases that are kept."""


class ObjectCheck(Protocol):
    """Checks every commit, tree and tag of a pack; an error refuses the pack."""

    def __call__(self, type_num: int, oid: bytes, data: bytes, /) -> None:
        """Check an object.

        Args:
          type_num: its type
          oid: its hex id
          data: its content
        """


class IncomingPack:
    """A pack in a file, with its index in memory.

    Objects are found by binary ids.

    Args:
      path: of the file to create
      object_format: of the repository
      limits: limits of the pack
      check: checks every object but blobs; None for no check
    """

    def __init__(
        self, path: str, object_format: Any, limits: Limits, check: ObjectCheck | None = None
    ) -> None:
        self.path = path
        self.checksum = b""
        self._format = object_format
        self._limits = limits
        self._check = check
        self._offsets = array("Q")
        self._data_offsets = array("Q")
        self._crcs = array("Q")
        self._sizes = array("Q")  # inflated, of the instructions if it is a delta
        self._types = bytearray()  # of the finished objects; 0 if not known yet
        self._bases: dict[int, int] = {}  # by the delta's number, once it is known
        self._oids: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._cache = BaseCache(_CACHE_SIZE)
        self._problem: PackError | None = None
        self._file = open(path, "x+b")  # noqa: SIM115 - closed by close()

    def close(self) -> None:
        """Close the file; nobody needs the bytes that it still buffers."""
        with suppress(OSError):  # the disk is full
            self._file.close()
        self._cache.clear()

    def __len__(self) -> int:
        return len(self._oids)

    def __contains__(self, oid: bytes) -> bool:
        return oid in self._numbers

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the binary ids of all objects."""
        return iter(self._numbers)

    def type_num(self, oid: bytes) -> int | None:
        """Give the type of an object; None if the pack does not have it."""
        number = self._numbers.get(oid)
        return None if number is None else self._types[number]

    def content(self, oid: bytes) -> bytes:
        """Give the content of an object of the pack."""
        return self._content(self._numbers[oid])

    def pieces(self, oid: bytes) -> tuple[int, Iterator[bytes]]:
        """Give the size and the content of an object of the pack; a delta comes in one piece."""
        number = self._numbers[oid]
        if number in self._bases:
            data = self._content(number)
            return len(data), iter((data,))
        return self._sizes[number], self._inflated(number)

    # Receiving

    def receive(
        self,
        read_some: Callable[[int], bytes],
        store: BaseObjectStore,
        has_come: Callable[[], object] = lambda: None,
    ) -> None:
        """Receive the pack, and index it.

        Args:
          read_some: takes a number of bytes, and reads at most as many; nothing at the end
          store: the repository's objects, with the bases that the pack lacks
          has_come: called when the last byte has come
        Raises:
          PackError: if the pack is broken or exceeds a limit
        """
        stream = PackStream(
            read_some,
            self._file,
            self._format.hash_func,
            self._format.oid_length,
            self._limits.input_size,
        )
        by_offset: defaultdict[int, list[int]] = defaultdict(list)
        by_oid: defaultdict[bytes, list[int]] = defaultdict(list)
        for number in range(stream.header()):
            header = stream.object_header()
            with self._refusing(stream):
                self._limits.check(header.size)
            self._offsets.append(header.offset)
            self._data_offsets.append(stream.offset)
            self._sizes.append(header.size)
            if isinstance(header.base, int):
                by_offset[header.base].append(number)
            elif header.base is not None:
                by_oid[header.base].append(number)
            if header.base is None:
                oid = self._receive_whole(stream, header)
                self._numbers.setdefault(oid, number)
            else:
                oid = b""
                self._receive_delta(stream, header)
            self._oids.append(oid)
            self._types.append(header.type_num if header.base is None else 0)
            self._crcs.append(stream.crc32)
        self.checksum = stream.trailer()
        has_come()
        if self._problem is not None:
            raise self._problem
        self._file.flush()
        self._resolve(by_offset, by_oid, store)

    def _receive_whole(self, stream: PackStream, header: ObjectHeader) -> bytes:
        digest = self._format.new_hash()
        digest.update(object_header(header.type_num, header.size))
        kept: list[bytes] = []
        is_kept = header.type_num != Blob.type_num and self._problem is None
        for piece in stream.inflate(header.size):
            digest.update(piece)
            if is_kept:
                kept.append(piece)
        oid: bytes = digest.digest()
        if is_kept:
            with self._refusing(stream):
                self._look_at(header.type_num, oid, b"".join(kept))
        return oid

    def _receive_delta(self, stream: PackStream, header: ObjectHeader) -> None:
        begin = b""
        for piece in stream.inflate(header.size):
            if len(begin) < MAX_SIZES:
                begin += piece[:MAX_SIZES]
        base_size, size, _ = delta_sizes(begin)
        with self._refusing(stream):
            self._limits.check(base_size)
            self._limits.check(size)

    @contextmanager
    def _refusing(self, stream: PackStream) -> Iterator[None]:
        """Remember why an object is refused, and read on: the client listens only at the end."""
        try:
            yield
        except PackError as error:
            self._problem = self._problem or error
            stream.is_kept = False

    def _look_at(self, type_num: int, oid: bytes, data: bytes) -> None:
        if type_num == Tree.type_num:
            self._limits.check_tree(data, self._format.oid_length)
        if self._check is not None:
            self._check(type_num, oid.hex().encode(), data)

    # Deltas

    def _resolve(
        self,
        by_offset: defaultdict[int, list[int]],
        by_oid: defaultdict[bytes, list[int]],
        store: BaseObjectStore,
    ) -> None:
        waiting = sum(map(len, by_offset.values())) + sum(map(len, by_oid.values()))
        if not waiting:
            return
        pending = [number for number, oid in enumerate(self._oids) if oid]
        waiting -= self._resolve_from(pending, by_offset, by_oid)
        if not waiting:
            return
        # Read the missing bases; one base may turn out to be made from another.
        self._open_end()
        for oid in sorted(by_oid):
            if oid not in by_oid:
                continue
            try:
                type_num, data = store.get_raw(RawObjectID(oid))
            except KeyError:
                continue
            number = self._append(type_num, data, oid)
            waiting -= self._resolve_from([number], by_offset, by_oid)
        if waiting:
            raise PackError(f"the pack has {waiting} deltas whose bases are not there")
        self._finish()

    def _resolve_from(
        self,
        pending: list[int],
        by_offset: defaultdict[int, list[int]],
        by_oid: defaultdict[bytes, list[int]],
    ) -> int:
        """Resolve all deltas that build on some objects; gives their number."""
        resolved = 0
        pending.reverse()
        while pending:
            base = pending.pop()
            oid = self._oids[base]
            if not oid:
                self._make(base)
                resolved += 1
                oid = self._oids[base]
            # Each list is used once, even if the pack has its base twice.
            built = by_offset.pop(self._offsets[base], [])
            if oid in by_oid:
                built = built + by_oid.pop(oid)
            for number in built:
                self._bases[number] = base
            pending += built
        return resolved

    def _make(self, number: int) -> None:
        """Make an object from its delta and compute its id."""
        data = self._content(number)
        type_num = self._types[self._bases[number]]
        digest = self._format.new_hash()
        digest.update(object_header(type_num, len(data)))
        digest.update(data)
        oid: bytes = digest.digest()
        self._types[number] = type_num
        self._oids[number] = oid
        self._numbers.setdefault(oid, number)
        if type_num != Blob.type_num:
            self._look_at(type_num, oid, data)

    def _content(self, number: int) -> bytes:
        chain: list[int] = []
        data = self._cache.get(number)
        while data is None:
            base = self._bases.get(number)
            if base is None:
                data = b"".join(self._inflated(number))
                break
            chain.append(number)
            number = base
            data = self._cache.get(number)
        self._cache.put(number, data)
        for number in reversed(chain):
            data = apply_delta(data, b"".join(self._inflated(number)))
            self._cache.put(number, data)
        return data

    def _inflated(self, number: int) -> Iterator[bytes]:
        return inflate_at(self._read_at, self._data_offsets[number], self._sizes[number])

    def _read_at(self, size: int, offset: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)

    # Writing

    def add(self, store: BaseObjectStore, oids: Iterable[bytes]) -> None:
        """Copy objects into the pack.

        Args:
          store: the repository's objects; missing ones are left out
          oids: hex ids
        """
        self._open_end()
        for oid in oids:
            with suppress(KeyError):
                self._append(*store.get_raw(ObjectID(oid)), bytes.fromhex(oid.decode()))
        self._finish()

    def _open_end(self) -> None:
        """Cut off the checksum, so that objects can be appended."""
        self._file.seek(-len(self.checksum), os.SEEK_END)
        self._file.truncate()

    def _append(self, type_num: int, data: bytes, oid: bytes) -> int:
        """Append an object of the repository; gives its number."""
        offset = self._file.seek(0, os.SEEK_END)
        head, body = entry_header(type_num, len(data)), zlib.compress(data)
        self._file.write(head + body)
        number = len(self._oids)
        self._offsets.append(offset)
        self._data_offsets.append(offset + len(head))
        self._sizes.append(len(data))
        self._crcs.append(zlib.crc32(body, zlib.crc32(head)))
        self._types.append(type_num)
        self._oids.append(oid)
        self._numbers.setdefault(oid, number)
        return number

    def _finish(self) -> None:
        """Write the number of objects and the checksum anew."""
        self._file.seek(8)
        self._file.write(len(self._oids).to_bytes(4, "big"))
        digest = self._format.new_hash()
        for piece in self.file_pieces():
            digest.update(piece)
        self.checksum = digest.digest()
        self._file.write(self.checksum)
        self._file.flush()

    def file_pieces(self) -> Iterator[bytes]:
        """Read the file of the pack, in pieces."""
        self._file.seek(0)
        while piece := self._file.read(1 << 20):
            yield piece

    def write_index(self, path: str, *, fsync: bool) -> None:
        """Write the index of the pack, in version 2.

        Args:
          path: of the file to create
          fsync: whether index and pack are synced to disk
        """
        entries = sorted(zip(self._oids, self._offsets, self._crcs, strict=True))
        with open(path, "xb") as file:
            write_pack_index_v2(file, entries, self.checksum)
            file.flush()
            if fsync:
                os.fsync(file.fileno())
                os.fsync(self._file.fileno())
