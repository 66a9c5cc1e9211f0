# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Keep the objects of a push apart until they are accepted, and safe until refs point to them.

As in git, a pack is received into a directory of its own below ``objects/``, where hooks see it. It
is not called ``tmp_objdir-...`` as git's directory, because ``git prune`` removes such directories
even while a push uses them. If the server dies, a later push removes the directory. When the push
is accepted, the objects move into the repository: as a pack if they are many, otherwise as loose
objects, because a repository with very many packs is slow. To a bucket they always go as a pack,
which is uploaded then and not before.

No ref points to the objects yet, so a garbage collection could remove them. A pack gets a ``.keep``
file until the refs are written, and ``git repack -ad`` leaves it alone. Loose objects have no such
protection. While ``git gc`` runs (its ``gc.pid`` tells), the objects move as a pack. And
:meth:`Quarantine.secure`, called before and after the refs are written, moves the pack if a file
has gone or a gc has begun. Only a ``git prune`` that is run by hand can still do harm; git's manual
warns of that.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID

from ...bucket.object_store import BucketObjectStore
from .incoming import IncomingPack, ObjectCheck
from .incoming_directory import IncomingDirectory, remove_stale
from .limits import Limits
from .loose_objects import finish_file, sync_directories, unpack

__all__ = ["Quarantine"]

_MAX_COPIED = 1000
"""The most objects of the repository that are copied into the pack."""

_GC_NOTES = ("gc.pid", os.path.join("objects", "maintenance.lock"))
_GC_HOURS = 12  # as in git; an older gc.pid is stale


class Quarantine:
    """A place for the objects of one push; a context manager.

    Args:
      store: the repository's objects; a store that is not on disk always gets a pack
      fsync_objects: whether objects are synced to disk
      unpack_limit: a pack of at least this many objects is kept, not unpacked

    Attributes:
      pack: the received objects; None if there are none
    """

    def __init__(self, store: Any, *, fsync_objects: bool, unpack_limit: int) -> None:
        self._main = store
        self._fsync_objects = fsync_objects
        self._unpack_limit = unpack_limit
        self._directory: IncomingDirectory | None = None
        self._path: str | None = None
        self._name = ""
        self._files: list[str] = []
        self._keep_file: str | None = None
        self.pack: IncomingPack | None = None

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, *error: object) -> None:
        if self.pack is not None:
            self.pack.close()
            self.pack = None
        if self._keep_file is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._keep_file)
            self._keep_file = None
        if self._directory is not None:
            self._directory.remove()
            self._directory = self._path = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables that let git see the objects when a hook runs it."""
        if self._path is None or not self._is_on_disk:
            return {}
        return {
            "GIT_QUARANTINE_PATH": self._path,
            "GIT_OBJECT_DIRECTORY": self._path,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": os.path.abspath(os.fspath(self._main.path)),
        }

    @property
    def _is_on_disk(self) -> bool:
        return isinstance(self._main, DiskObjectStore)

    def receive(
        self,
        read_some: Callable[[int], bytes],
        limits: Limits,
        check: ObjectCheck | None = None,
        *,
        has_come: Callable[[], object] = lambda: None,
    ) -> IncomingPack:
        """Receive a pack.

        Args:
          read_some: takes a number of bytes, and reads at most as many; nothing at the end
          limits: limits of the pack
          check: checks its objects; None for no check
          has_come: called when the last byte has come; deltas are resolved then
        Raises:
          PackError: if the pack is broken or exceeds a limit
        """
        place = None
        if self._is_on_disk:
            place = os.path.abspath(os.fspath(self._main.path))
            remove_stale(place)
        self._directory = IncomingDirectory(place)
        self._path = self._directory.path
        folder = os.path.join(self._path, "pack")
        os.mkdir(folder)
        self.pack = IncomingPack(
            os.path.join(folder, "tmp_pack"), self._main.object_format, limits, check
        )
        self.pack.receive(read_some, self._main, has_come)
        return self.pack

    def read(self, oid: bytes) -> tuple[int, bytes]:
        """Read the type and the content of an object, of the push or of the repository.

        Args:
          oid: hex id
        Raises:
          KeyError: if it does not exist
        """
        raw = bytes.fromhex(oid.decode())
        type_num = None if self.pack is None else self.pack.type_num(raw)
        if self.pack is None or type_num is None:
            found: tuple[int, bytes] = self._main.get_raw(ObjectID(oid))
            return found
        return type_num, self.pack.content(raw)

    def seal(self, found: Collection[bytes] = ()) -> None:
        """Give the pack its name and its index, so that hooks see its objects.

        Args:
          found: hex ids of objects of the repository that the push needs and no ref reaches; they
            are copied into the pack, because a gc could remove them meanwhile
        """
        if self.pack is None or self._path is None:
            return
        if found and len(found) <= _MAX_COPIED:
            self.pack.add(self._main, sorted(found))
        if not len(self.pack):
            return
        self._name = f"pack-{self.pack.checksum.hex()}"
        folder = os.path.join(self._path, "pack")
        index, pack = (os.path.join(folder, self._name + end) for end in (".idx", ".pack"))
        self.pack.write_index(index, fsync=self._fsync_objects)
        os.rename(self.pack.path, pack)
        for path in (pack, index):
            finish_file(path, self._main)

    def release(self) -> None:
        """Move the objects into the repository.

        Raises:
          OSError: if they cannot be moved
        """
        if self.pack is None or not len(self.pack):
            return
        if not self._is_on_disk:
            self._hand_over(self.pack)
        elif len(self.pack) >= self._unpack_limit or self._is_gc_running():
            self._keep()
        else:
            try:
                assert self._path is not None
                self._files = unpack(self.pack, self._main, self._path, fsync=self._fsync_objects)
            except OSError:
                self._keep()  # a rename needs no space, even if the disk is full

    def secure(self) -> None:
        """Make sure that the objects still exist.

        Raises:
          OSError: if they have gone and cannot be put back
        """
        if not self._name or self.pack is None or not self._is_on_disk:
            return
        in_files = self._files and self._keep_file is None and not self._is_gc_running()
        if not in_files or not all(map(os.path.exists, self._files)):
            self._keep()

    def _hand_over(self, pack: IncomingPack) -> None:
        if isinstance(self._main, BucketObjectStore) and self._path is not None:
            stem = os.path.join(self._path, "pack", self._name)
            self._main.upload_pack(f"{stem}.pack", f"{stem}.idx")
            return
        file, commit, abort = self._main.add_pack()
        try:
            for piece in pack.file_pieces():
                file.write(piece)
        except BaseException:
            abort()
            raise
        commit()

    def _keep(self) -> None:
        """Move the pack into the repository, unless it is there."""
        assert self._path is not None
        target = os.fspath(self._main.pack_dir)
        os.makedirs(target, exist_ok=True)
        # A gc must see the .keep file first. The index comes last: it makes readers open the pack.
        if self._keep_file is None:
            self._keep_file = self._note(os.path.join(target, self._name + ".keep"))
        for end in (".pack", ".idx"):
            source = os.path.join(self._path, "pack", self._name + end)
            _install(source, os.path.join(target, self._name + end))
        if self._fsync_objects:
            sync_directories([target])

    def _note(self, path: str) -> str | None:
        """Make a ``.keep`` file; gives its path, None if somebody else has made it."""
        try:
            with open(path, "x") as file:
                self._keep_file = path
                file.write(f"receive-pack {os.getpid()} on {socket.gethostname()}\n")
        except FileExistsError:
            return None
        except OSError:
            # If only writing failed, as on a full disk, the empty file is enough.
            if self._keep_file is None:
                raise
        return path

    def _is_gc_running(self) -> bool:
        common = os.path.dirname(os.path.abspath(os.fspath(self._main.path)))
        for name in _GC_NOTES:
            with suppress(FileNotFoundError):
                age = time.time() - os.stat(os.path.join(common, name)).st_mtime
                if age < _GC_HOURS * 3600:
                    return True
        return False


def _install(source: str, target: str) -> None:
    """Link a file into the repository; the one in quarantine stays, in case the link vanishes."""
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:
        if not os.path.exists(target):  # a file system without links
            os.rename(source, target)
