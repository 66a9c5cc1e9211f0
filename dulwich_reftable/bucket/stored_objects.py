# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Reading the objects of a repository in a bucket, through the interface of dulwich.

A lookup by id asks :mod:`.object_search`, which knows the packs by :mod:`.pack_list`. Many objects
are read pack by pack, in the order in which they stand there. What a thread adds in a batch, that
thread finds before it is uploaded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any

from dulwich.errors import ChecksumMismatch
from dulwich.object_store import MissingObjectFinder, PackCapableObjectStore
from dulwich.objects import ObjectID, RawObjectID, ShaFile, hex_to_sha, sha_to_hex
from dulwich.pack import Pack, UnpackedObject, generate_unpacked_objects

from .cache import Cache
from .client import Bucket, ObjectInfo
from .errors import MissingObjectError
from .object_search import ObjectSearch
from .pack_bytes import Memory
from .pack_list import PackList
from .pack_name import PackName
from .packs import StoredPack

__all__ = ["StoredObjects", "unpacked_object"]

_MEMORY = 48 << 20
"""Bytes of pieces of packs, and of bases of deltas, that are kept."""


class StoredObjects(PackCapableObjectStore):
    """The objects of one repository in a bucket, as far as they are read.

    An object that a ref names is found once :meth:`expect_news` was called after the ref was read,
    and an object that no ref has told of after ``max_age`` seconds. Misses in between cost no
    request.

    Args:
      bucket: the repository's place; packs are below ``objects/pack``
      cache: keeps copies of packs on the local disk; None for a temporary one of this store's own
      object_format: of the repository; None for SHA-1
      max_age: seconds after which a missing object is looked for in a new listing
    """

    def __init__(
        self,
        bucket: Bucket,
        *,
        cache: Cache | None = None,
        object_format: Any = None,
        max_age: float = 1.0,
    ) -> None:
        super().__init__(object_format=object_format)
        self.bucket = bucket
        chosen = cache or Cache()
        self._own_cache = chosen if cache is None else None
        # Names of packs say what they hold: the location is enough to tell repositories apart.
        self._shelf = chosen.shelf(bucket.location)
        self._memory = Memory(_MEMORY)
        self.pack_list = PackList(bucket, self.object_format.hex_length, self._make_pack, max_age)
        self._search = ObjectSearch(self.pack_list)
        self._batches = threading.local()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.bucket.location}>"

    def _make_pack(self, name: PackName, pack: ObjectInfo, index: ObjectInfo) -> StoredPack:
        return StoredPack(
            self.bucket,
            name,
            pack.size,
            index.size,
            pack.modified,
            self.object_format,
            self._shelf,
            self._memory,
        )

    def expect_news(self) -> None:
        """Say that refs were read that have changed: they may name objects of new packs."""
        self.pack_list.expect_news()

    def close(self) -> None:
        """Remove temporary files; the store can be used again."""
        if self._own_cache is not None:
            self._own_cache.close()

    # Looking up

    def _raw_id(self, oid: bytes) -> RawObjectID:
        if len(oid) == self.object_format.oid_length:
            return RawObjectID(oid)
        if len(oid) == self.object_format.hex_length:
            return hex_to_sha(ObjectID(oid))
        raise ValueError(f"not an object id: {oid!r}")

    def _id_of(self, obj: ShaFile) -> RawObjectID:
        return RawObjectID(obj.sha(self.object_format).digest())  # its own id is always SHA-1

    def contains_loose(self, sha: ObjectID) -> bool:
        """Tell whether an object is not in a pack; only those of an open batch are not."""
        return self._raw_id(sha) in self._pending

    def contains_packed(self, sha: ObjectID | RawObjectID) -> bool:
        """Tell whether an object is in a pack."""
        oid = self._raw_id(sha)
        try:
            return self._search.find(oid, lambda pack, offset: True)
        except KeyError:
            return False

    def __contains__(self, sha: ObjectID) -> bool:
        """Tell whether there is an object, by its hex or binary id."""
        return self.contains_loose(sha) or self.contains_packed(sha)

    def get_raw(self, name: ObjectID | RawObjectID) -> tuple[int, bytes]:
        """Read an object.

        Args:
          name: its hex or binary id
        Returns: the number of its type, and its content
        Raises:
          KeyError: if there is no such object
          ChecksumMismatch: if it is damaged
          StorageError: one of :mod:`.errors`
        """
        oid = self._raw_id(name)
        pending = self._pending.get(oid)
        if pending is not None:
            return pending.type_num, pending.as_raw_string()
        return self._search.find(oid, lambda pack, offset: pack.read(oid, offset))

    def __iter__(self) -> Iterator[ObjectID]:
        """Iterate over the hex ids of all objects, each once."""
        return map(sha_to_hex, {*self._pending, *self._search.oids()})

    def iter_prefix(self, prefix: bytes) -> Iterator[ObjectID]:
        """Iterate over the hex ids that begin with some digits, each once.

        Args:
          prefix: hex digits
        """
        even = bytes.fromhex(prefix[: len(prefix) // 2 * 2].decode())
        seen = {*self._pending, *self._search.oids_with_prefix(even)}
        return (oid for oid in map(sha_to_hex, sorted(seen)) if oid.startswith(prefix))

    def get_object_mtime(self, sha: ObjectID) -> float:
        """Give the time when an object was uploaded, in seconds since the epoch.

        Raises:
          KeyError: if there is no such object
        """
        return self._search.find(self._raw_id(sha), lambda pack, offset: pack.modified)

    @property
    def packs(self) -> list[Pack]:
        """None: dulwich's packs are local files."""
        return []

    # Many objects

    def iter_unpacked_subset(
        self,
        shas: Iterable[ObjectID | RawObjectID],
        *,
        include_comp: bool = False,
        allow_missing: bool = False,
        convert_ofs_delta: bool = True,
    ) -> Iterator[UnpackedObject]:
        """Iterate over objects as packs have them, in the order of the packs.

        Args:
          shas: hex or binary ids
          include_comp: of no use here
          allow_missing: whether to leave missing objects out
          convert_ofs_delta: of no use here: deltas always name their bases
        Raises:
          KeyError: if an object is missing
          ChecksumMismatch: if one is damaged
        """
        found, rest = self._search.locate([*map(self._raw_id, shas)])
        for pack, places in found:
            left = dict(places)
            try:
                for offset, entry in pack.entries(places):
                    oid = places[offset]
                    unpacked = pack.unpacked(oid, offset, entry)
                    del left[offset]
                    yield unpacked
            except (ChecksumMismatch, MissingObjectError):
                rest += left.values()
        for oid in rest:
            try:
                yield unpacked_object(oid, self[oid])
            except KeyError:
                if not allow_missing:
                    raise

    def iterobjects_subset(
        self, shas: Iterable[ObjectID], *, allow_missing: bool = False
    ) -> Iterator[ShaFile]:
        """Iterate over objects, in the order of the packs.

        Args:
          shas: hex ids
          allow_missing: whether to leave missing objects out
        Raises:
          KeyError: if an object is missing
          ChecksumMismatch: if one is damaged
        """
        found, rest = self._search.locate([*map(self._raw_id, shas)])
        for pack, places in found:
            with suppress(ChecksumMismatch, MissingObjectError):
                pack.expect(places)  # otherwise each object is looked for by itself
            for offset in sorted(places):
                yield self[places[offset]]
        for oid in rest:
            try:
                yield self[oid]
            except KeyError:
                if not allow_missing:
                    raise

    def generate_pack_data(
        self,
        have: Iterable[ObjectID],
        want: Iterable[ObjectID],
        *,
        shallow: AbstractSet[ObjectID] | None = None,
        progress: Callable[..., None] | None = None,
        ofs_delta: bool = True,
    ) -> tuple[int, Iterator[UnpackedObject]]:
        """Select the objects of a pack, with the deltas that there are.

        Args:
          have: ids of objects that the receiver has, with all that they reach
          want: ids of objects to send, with all that they reach
          shallow: ids of commits whose parents are not sent
          progress: is told of the progress
          ofs_delta: whether deltas may name their bases by offset
        Returns: the number of objects, and the objects
        """
        finder = MissingObjectFinder(self, have, want, shallow=shallow, progress=progress)
        others = finder.get_remote_has()
        oids = list(finder)
        return len(oids), generate_unpacked_objects(
            self, oids, progress=progress, ofs_delta=ofs_delta, other_haves=others
        )

    @property
    def _pending(self) -> dict[RawObjectID, ShaFile]:
        """The objects of this thread's open batch; empty if there is none."""
        pending: dict[RawObjectID, ShaFile] = getattr(self._batches, "pending", {})
        return pending


def unpacked_object(oid: RawObjectID, obj: ShaFile) -> UnpackedObject:
    """Give an object as packs have it, without a delta."""
    return UnpackedObject(obj.type_num, sha=oid, decomp_chunks=obj.as_raw_chunks())
