# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The objects of a repository in a bucket, as an object store of dulwich.

All objects are in packs, and a pack never changes. :mod:`.pack_list` knows which there are,
:mod:`.object_search` finds objects in them, :mod:`.packs` reads them, :mod:`.cache` keeps copies on
the local disk, and :mod:`.stored_objects` reads objects for dulwich. This module adds objects;
:mod:`.spool` receives and checks what is to be uploaded. :mod:`.gc` merges packs and removes what
is not needed.

Objects are uploaded as a pack, then its index; refs that name them are written later. So whoever
reads a ref finds the index, and whoever finds an index finds the pack. A pusher that dies leaves a
pack without an index, or objects that no ref reaches; ``gc`` removes both after a while.

The class is not built on dulwich's ``BucketBasedObjectStore``, which lists the bucket at each miss,
reads whole packs, and takes neither single objects nor thin packs.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from dulwich.objects import RawObjectID, ShaFile
from dulwich.pack import UnpackedObject, write_pack_data

from .client import ObjectInfo
from .pack_name import PackName
from .packs import StoredPack
from .spool import Spool
from .stored_objects import StoredObjects, unpacked_object

__all__ = ["BucketObjectStore"]


class BucketObjectStore(StoredObjects):
    """The objects of one repository in a bucket. Threads may share it; close it after use.

    Its arguments are those of :class:`.stored_objects.StoredObjects`.
    """

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
        self.add_pack_data(len(new), (unpacked_object(oid, obj) for oid, obj in new), progress)

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
