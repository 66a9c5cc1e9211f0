# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Fetch the bytes of one pack: ranges of it, or all of it.

What is read is a run of aligned blocks around an object, because the bases of a delta, and the
objects that are wanted next, are often near.

A request costs as much time as some megabyte of transfer. So the pack is fetched whole, into the
cache, as soon as ranges have cost as much as that would have: a small pack at once, a large one
when somebody walks through it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dulwich.errors import ChecksumMismatch
from dulwich.lru_cache import LRUSizeCache

from ..engine.format.layout import Buffer
from .cache import NoRoomError, Shelf, feed
from .client import Bucket
from .pack_name import PackName
from .ranges import Range

__all__ = ["Memory", "PackBytes", "read_pieces"]

_BLOCK = 128 << 10
_REQUEST = 1 << 20
"""The bytes whose transfer takes about as long as a request."""
_BATCH = 8 << 20
"""Bytes of objects that are read ahead at once."""
_PIECE = 8 << 20
"""Bytes of a large object that one request reads."""
_PIECES = 4
"""Pieces that are read side by side."""


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


class PackBytes:
    """The bytes of one pack, and what was read of it lately. Threads may share it.

    Args:
      bucket: where the pack is
      name: of the pack
      size: of it, in bytes
      shelf: where a copy of all of it is kept
      memory: where pieces of it are kept
      object_format: of its objects
    """

    def __init__(
        self,
        bucket: Bucket,
        name: PackName,
        size: int,
        shelf: Shelf,
        memory: Memory,
        object_format: Any,
    ) -> None:
        self._bucket = bucket
        self._name = name
        self._size = size
        self._shelf = shelf
        self._memory = memory
        self._format = object_format
        self._lock = threading.Lock()
        self._whole: Buffer | None = None
        self._is_wanted_whole = True  # until the cache has refused it
        self._spent = 0
        self._round = 0  # of the copies; what was kept of an earlier round is forgotten

    def entries(self, ranges: Sequence[Range]) -> Iterator[tuple[int, bytes]]:
        """Read the bytes of many objects, some at once.

        Args:
          ranges: of the objects, in order
        Yields: where a range starts, and its bytes
        """
        self.expect(ranges)
        batch: list[Range] = []
        size = 0
        for start, stop in ranges:
            batch.append((start, stop))
            size += stop - start
            if size >= _BATCH:
                yield from self._read_batch(batch)
                batch, size = [], 0
        yield from self._read_batch(batch)

    def expect(self, ranges: Iterable[Range]) -> None:
        """Prepare to read many ranges: fetch the pack whole if that is cheaper."""
        costs = [min(stop - start + _REQUEST, 2 * _REQUEST) for start, stop in ranges]
        if len(costs) > 1 and self._spent + sum(costs) >= self._size:
            self._fetch()

    def _read_batch(self, ranges: Sequence[Range]) -> Iterator[tuple[int, bytes]]:
        whole = self._whole
        if whole is not None:
            yield from ((start, whole[start:stop]) for start, stop in ranges)
        elif ranges:
            self._spent += _REQUEST + sum(stop - start for start, stop in ranges)
            found = self._bucket.get_ranges(self._name.pack_key, ranges)
            yield from zip((start for start, _ in ranges), found, strict=True)

    def entry(self, offset: int, stop: int) -> bytes:
        """Read the bytes of one object, and some around it."""
        if self._whole is None and self._spent + _REQUEST >= self._size:
            self._fetch()
        whole = self._whole
        if whole is not None:
            return whole[offset:stop]
        first, last = offset // _BLOCK, (stop - 1) // _BLOCK
        numbers = range(first, last + 1)
        kept = {number: self._memory.get(self._key("block", number)) for number in numbers}
        missing = [number for number, block in kept.items() if block is None]
        if missing:
            start, end = missing[0] * _BLOCK, min((missing[-1] + 1) * _BLOCK, self._size)
            self._spent += _REQUEST + end - start
            data = self._bucket.get_range(self._name.pack_key, start, end)
            for number in range(missing[0], missing[-1] + 1):
                at = number * _BLOCK - start
                block = data[at : at + _BLOCK]
                kept[number] = (0, block)
                self._memory.put(self._key("block", number), 0, block)
        joined = b"".join(block[1] for block in kept.values() if block is not None)
        return joined[offset - first * _BLOCK : stop - first * _BLOCK]

    def _fetch(self) -> None:
        """Fetch the pack whole, if the cache takes it."""
        with self._lock:
            if self._whole is None and self._is_wanted_whole:
                key = self._name.pack_key
                try:
                    self._whole = self._shelf.fetch(
                        f"{self._name}.pack",
                        self._size,
                        lambda: read_pieces(self._bucket, key, self._size),
                        self._check,
                    )
                except NoRoomError:
                    self._is_wanted_whole = False

    def _check(self, whole: Buffer) -> None:
        digest = self._format.new_hash()
        end = len(whole) - digest.digest_size
        feed(digest, whole, max(end, 0))
        found = digest.hexdigest()
        if found != self._name.checksum or whole[end:].hex() != found:
            location = self._bucket.locate(self._name.pack_key)
            raise ChecksumMismatch(self._name.checksum, found, location)

    # What is kept of it

    def kept(self, offset: int) -> tuple[int, bytes] | None:
        """Give the type's number and the content of an object, if :meth:`keep` was told of it."""
        return self._memory.get(self._key(offset))

    def keep(self, offset: int, type_num: int, data: bytes) -> None:
        """Keep the content of an object for a while."""
        self._memory.put(self._key(offset), type_num, data)

    def forget(self) -> None:
        """Forget all copies, since one of them may be damaged."""
        with self._lock:
            self._round += 1
            self._whole = None
            self._shelf.drop(f"{self._name}.pack")

    def _key(self, *parts: object) -> tuple[object, ...]:
        return (self._name, self._round, *parts)
