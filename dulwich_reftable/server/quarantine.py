# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The objects of a push, kept apart until it is known that they are complete and welcome.

As git does, a pack is received into a directory of its own below ``objects/`` (git removes such
directories when it prunes, should we die). There it is checked that whatever its objects lead to is
in it, or was in the repository before; hooks get to see it; and only then it is moved: object by
object if there are few, else as a pack.

git asks that what was there before can be reached from a ref. Here it is enough that it is there,
as no push can bring in objects that lack something: the walk ends where the new objects end, and
its cost does not depend on the repository.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from dulwich.file import FileLocked
from dulwich.object_store import DiskObjectStore
from dulwich.objects import S_ISGITLINK, Commit, ObjectID, ShaFile, Tag, Tree

__all__ = ["Quarantine"]


class Quarantine:
    """A place for the objects of one push; a context manager.

    Args:
      store: the repository's; one that is not on disk gets the objects at once
      durable: whether objects are synced to disk
      unpack_limit: from how many objects on a pack is kept, rather than unpacked

    Attributes:
      store: where to look for objects: the new ones and the repository's
    """

    def __init__(self, store: Any, *, durable: bool, unpack_limit: int) -> None:
        self._main = store
        self._durable = durable
        self._unpack_limit = unpack_limit
        self._path: str | None = None
        self._pack: Any = None
        self.store = store

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._path is not None:
            # Or else the repository's store would be closed as well.
            self.store._alternates = None
            self.store.close()
            shutil.rmtree(self._path, ignore_errors=True)
            self._path = self._pack = None
            self.store = self._main

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a git that a hook runs sees the objects."""
        if self._path is None:
            return {}
        return {
            "GIT_QUARANTINE_PATH": self._path,
            "GIT_OBJECT_DIRECTORY": self._path,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": os.path.abspath(os.fspath(self._main.path)),
        }

    def receive(
        self,
        read: Callable[[int], bytes],
        recv: Callable[[int], bytes] | None,
        max_input_size: int | None,
    ) -> None:
        """Receive a pack.

        Args:
          read: reads as many bytes as it is told
          recv: reads at the most so many
          max_input_size: in bytes; None for any
        """
        if isinstance(self._main, DiskObjectStore):
            self._open()
        self._pack = self.store.add_thin_pack(read, recv, max_input_size=max_input_size)

    def _open(self) -> None:
        main = self._main
        path = os.path.abspath(
            tempfile.mkdtemp(prefix="tmp_objdir-incoming-", dir=os.fspath(main.path))
        )
        self._path = path
        os.mkdir(os.path.join(path, "pack"))
        self.store = DiskObjectStore(
            path,
            fsync_object_files=self._durable,
            pack_compression_level=main.pack_compression_level,
            pack_index_version=main.pack_index_version,
            shared_perm=main.shared_perm,
            object_format=main.object_format,
        )
        # By its path, dulwich would open it with SHA-1, whatever its hash.
        self.store._alternates = [main]

    def release(self) -> None:
        """Move the objects to the repository."""
        if self._path is None:
            return
        if len(self._pack) >= self._unpack_limit or not self._unpack():
            self._keep(self._path)
        self.__exit__(None, None, None)

    def _unpack(self) -> bool:
        """Make loose objects, as a repository of very many packs is slow; tell whether it is done.

        Nothing is lost if it is not: then the pack is kept all the same.
        """
        synced = self._main.fsync_object_files
        self._main.fsync_object_files = self._durable
        try:
            for found in self._pack.iterobjects():
                self._main.add_object(found)
        except FileLocked:
            return False  # somebody else makes the same object just now
        finally:
            self._main.fsync_object_files = synced
        return True

    def _keep(self, path: str) -> None:
        source, target = os.path.join(path, "pack"), os.fspath(self._main.pack_dir)
        os.makedirs(target, exist_ok=True)
        # The index last: it is what makes others look for the pack.
        for name in sorted(os.listdir(source), key=lambda name: name.endswith(".idx")):
            place = os.path.join(target, name)
            if not os.path.exists(place):
                os.rename(os.path.join(source, name), place)
        if self._durable:
            descriptor = os.open(target, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def is_complete(self, tips: Iterable[bytes]) -> bool:
        """Tell whether tips, and all that came with them, lead to nothing that is missing.

        What no tip needs counts, too, or it might be pointed at by a later push.

        Args:
          tips: hex object ids
        """
        # Trees before what they hold: of a blob it is enough that it is there.
        seen: set[bytes] = set()
        return self._walk(tips, seen) and self._walk(self._pack or (), seen)

    def _walk(self, starts: Iterable[bytes], seen: set[bytes]) -> bool:
        """Walk through new objects; tell whether all that they need was found.

        Args:
          starts: where to begin
          seen: objects that need no look; takes those that were looked at
        """
        for start in starts:
            pending = [(start, False)]
            while pending:
                oid, is_blob = pending.pop()
                if oid in seen:
                    continue
                seen.add(oid)
                sha = ObjectID(oid)
                is_new = self._pack is not None and sha in self._pack
                if not is_new and sha not in self._main:
                    return False
                if is_new and not is_blob:
                    pending += _links(self.store[sha])
        return True


def _links(found: ShaFile) -> list[tuple[bytes, bool]]:
    """Give the objects that an object needs, and of each whether it is a blob."""
    if isinstance(found, Commit):
        return [(found.tree, False), *((parent, False) for parent in found.parents)]
    if isinstance(found, Tag):
        return [(found.object[1], False)]
    if isinstance(found, Tree):
        return [
            (entry.sha, not stat.S_ISDIR(entry.mode))
            for entry in found.iteritems()
            if entry.sha is not None and entry.mode is not None and not S_ISGITLINK(entry.mode)
        ]
    return []
