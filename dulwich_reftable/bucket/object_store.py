# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The objects of a repository in a bucket, as an object store of dulwich.

All objects are in packs, and a pack never changes. :mod:`.pack_list` knows which there are,
:mod:`.object_search` finds objects in them, :mod:`.packs` reads them, :mod:`.cache` keeps copies on
the local disk, :mod:`.spool` receives and checks what is to be uploaded, :mod:`.gc` merges packs
and removes what is not needed.

Objects are uploaded as a pack, then its index; refs that name them are written later. So whoever
reads a ref finds the index, and whoever finds an index finds the pack. A pusher that dies leaves a
pack without an index, or objects that no ref reaches; ``gc`` removes both after a while.

The class is not built on dulwich's ``BucketBasedObjectStore``, which lists the bucket at each miss,
reads whole packs, and takes neither single objects nor thin packs.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from dulwich.errors import ChecksumMismatch
from dulwich.object_store import MissingObjectFinder, PackCapableObjectStore
from dulwich.objects import ObjectID, RawObjectID, ShaFile, hex_to_sha, sha_to_hex
from dulwich.pack import (
    Pack,
    UnpackedObject,
    generate_unpacked_objects,
    write_pack_data,
)

from .cache import Cache
from .client import Bucket, ObjectInfo
from .errors import MissingObjectError
from .object_search import ObjectSearch
from .pack_bytes import Memory
from .pack_list import PackList
from .pack_name import PackName
from .packs import StoredPack
from .spool import Spool

__all__ = ["BucketObjectStore"]

_MEMORY = 48 << 20
"""Bytes of pieces of packs, and of bases of deltas, that are kept."""


class BucketObjectStore(PackCapableObjectStore):
    """The objects of one repository in a bucket. Threads may share it; close it after use.

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
                yield _unpacked(oid, self[oid])
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

    # Adding

    @property
    def _pending(self) -> dict[RawObjectID, ShaFile]:
        """The objects of this thread's open batch; empty if there is none."""
        pending: dict[RawObjectID, ShaFile] = getattr(self._batches, "pending", {})
        return pending

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Upload what this thread adds by :meth:`add_object` as one pack, at the end.

        Until then, only this thread sees the objects. After an error nothing is uploaded.
        """
        if hasattr(self._batches, "pending"):
            yield
            return
        pending: dict[RawObjectID, ShaFile] = {}
        self._batches.pending = pending
        try:
            yield
        finally:
            del self._batches.pending
        self.add_objects([(obj, None) for obj in pending.values()])

    def add_object(self, obj: ShaFile) -> None:
        """Add an object, as a pack of its own unless in a :meth:`batch`.

        Args:
          obj: the object
        """
        if hasattr(self._batches, "pending"):
            oid = self._id_of(obj)
            if not self.contains_packed(oid):
                self._batches.pending[oid] = obj.copy()
        else:
            self.add_objects([(obj, None)])

    def add_objects(
        self,
        objects: Sequence[tuple[ShaFile, Any]],
        progress: Callable[..., None] | None = None,
    ) -> None:
        """Add objects as one pack, without those that are there.

        Args:
          objects: pairs of an object and a hint, which is of no use here
          progress: is told of the progress
        """
        # Those of a retired pack are added again: nobody may count on that one any more.
        named = {self._id_of(obj): obj for obj, _ in objects}
        new = [(oid, obj) for oid, obj in named.items() if not self._search.is_in_use(oid)]
        self.add_pack_data(len(new), (_unpacked(oid, obj) for oid, obj in new), progress)

    def add_pack_data(
        self,
        count: int,
        unpacked_objects: Iterator[UnpackedObject],
        progress: Callable[..., None] | None = None,
    ) -> None:
        """Add objects as one pack.

        Args:
          count: how many there are
          unpacked_objects: the objects; the bases of deltas may be in the bucket
          progress: is told of the progress
        """
        if count:
            self.write_pack(count, unpacked_objects, progress)

    def write_pack(
        self,
        count: int,
        unpacked_objects: Iterator[UnpackedObject],
        progress: Callable[..., None] | None = None,
    ) -> StoredPack:
        """Upload objects as one pack, as :meth:`add_pack_data`; gives the pack in the bucket."""
        with TemporaryFile(prefix="dulwich-reftable-") as file:
            write_pack_data(
                file.write,
                unpacked_objects,
                num_records=count,
                progress=progress,
                object_format=self.object_format,
            )
            file.seek(0)
            return self._receive(file.read, None, progress)

    def add_pack(self) -> tuple[BinaryIO, Callable[[], None], Callable[[], None]]:
        """Begin a pack that the caller writes.

        Returns: a local file for its bytes; a function that checks and uploads it; a function that
          gives it up. One of the two has to be called.
        """
        # dulwich's own add_pack takes a pack whose end is missing, and completes it.
        file: Any = TemporaryFile(prefix="dulwich-reftable-")  # noqa: SIM115

        def commit() -> None:
            with file:
                if file.tell():
                    file.seek(0)
                    self._receive(file.read, None)

        return file, commit, file.close

    def add_thin_pack(
        self,
        read_all: Callable[[int], bytes],
        read_some: Callable[[int], bytes] | None,
        progress: Callable[..., None] | None = None,
        **limits: Any,
    ) -> None:
        """Receive a pack that may lack bases of its deltas; they are copied into it.

        Args:
          read_all: reads a number of bytes
          read_some: reads at most a number of bytes, and at least one
          progress: is told of the progress
          limits: such as ``max_input_size``, if dulwich has it
        """
        self._receive(read_all, read_some, progress, **limits)

    def _receive(
        self,
        read_all: Callable[[int], bytes],
        read_some: Callable[[int], bytes] | None,
        progress: Callable[..., None] | None = None,
        **limits: Any,
    ) -> StoredPack:
        with Spool(self) as spool:
            spool.add_thin_pack(read_all, read_some, progress, **limits)
            return self.upload_pack(*spool.files())

    def upload_pack(self, pack_path: str, index_path: str) -> StoredPack:
        """Upload a complete, checked pack; the cache takes the local files.

        Args:
          pack_path: of the pack
          index_path: of its index, in version 2
        Returns: the pack in the bucket
        Raises:
          StorageError: one of :mod:`.errors`; then the bucket may have a pack without an index
        """
        length = self.object_format.oid_length
        with open(pack_path, "rb") as file:
            file.seek(-length, os.SEEK_END)
            checksum = file.read(length).hex()
        name = PackName(checksum, secrets.token_hex(8))
        infos = []
        for key, path in ((name.pack_key, pack_path), (name.index_key, index_path)):
            version = self.bucket.put_file(key, path)
            infos.append(ObjectInfo(key, os.path.getsize(path), version, time.time()))
        for suffix, path in (("pack", pack_path), ("idx", index_path)):
            self._shelf.adopt(f"{name}.{suffix}", path)
        pack = self._make_pack(name, *infos)
        self.pack_list.add(pack)
        return pack


def _unpacked(oid: RawObjectID, obj: ShaFile) -> UnpackedObject:
    return UnpackedObject(obj.type_num, sha=oid, decomp_chunks=obj.as_raw_chunks())
