# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The objects of a push: apart until they are complete and welcome, and safe until refs stand.

As with git, a pack is received into a directory of its own below ``objects/``. It is not called
``tmp_objdir-...`` as git's, since ``git prune`` removes those even from under a push; should we
die, a later push removes it. Hooks see it there. Then the objects move into the repository: as a
pack if they are many, else each as a file, since a repository of very many packs is slow.

Nothing points to them yet, and somebody may be clearing up. So a pack is accompanied by a ``.keep``
until the refs are written, and ``git repack -ad`` passes it by. Files have no such protection.
While a ``git gc`` runs, which leaves a note in ``gc.pid``, the objects move as a pack; and
:meth:`Quarantine.secure`, called before and after the refs are written, moves the pack if a file is
gone or a gc has begun. What is left is ``git prune`` run by hand; git warns of that itself.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from types import TracebackType
from typing import Any

from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID

from .incoming import IncomingPack, ObjectCheck
from .limits import Limits
from .loose_objects import finish_file, sync_directories, unpack

__all__ = ["Quarantine"]

_MAX_COPIED = 1000
"""How many objects that no ref reaches are copied for safety."""

_GC_NOTES = ("gc.pid", os.path.join("objects", "maintenance.lock"))
_GC_HOURS = 12  # as in git; an older note was left behind
_PREFIX = "incoming-"
_FORGOTTEN = 48 * 3600
"""After how many seconds a directory of this name was left behind by somebody who died."""


class Quarantine:
    """A place for the objects of one push; a context manager.

    Args:
      store: the repository's; one that is not on disk gets the objects as a pack
      fsync_objects: whether objects are synced to disk
      unpack_limit: from how many objects on a pack is kept, rather than unpacked

    Attributes:
      pack: the objects that were received; None if there are none
    """

    def __init__(self, store: Any, *, fsync_objects: bool, unpack_limit: int) -> None:
        self._main = store
        self._fsync_objects = fsync_objects
        self._unpack_limit = unpack_limit
        self._path: str | None = None
        self._name = ""
        self._files: list[str] = []
        self._keep_file: str | None = None
        self.pack: IncomingPack | None = None

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.pack is not None:
            self.pack.close()
            self.pack = None
        if self._keep_file is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._keep_file)
            self._keep_file = None
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            self._path = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a git that a hook runs sees the objects."""
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
        self, read_some: Callable[[int], bytes], limits: Limits, check: ObjectCheck | None = None
    ) -> IncomingPack:
        """Receive a pack.

        Args:
          read_some: gives up to so many bytes; nothing at the end
          limits: what the pack may hold
          check: looks at its objects
        Raises:
          PackError: if it is broken, or holds more than is allowed
        """
        place = None
        if self._is_on_disk:
            place = os.path.abspath(os.fspath(self._main.path))
            _sweep(place)
        self._path = tempfile.mkdtemp(prefix=_PREFIX, dir=place)
        folder = os.path.join(self._path, "pack")
        os.mkdir(folder)
        self.pack = IncomingPack(
            os.path.join(folder, "tmp_pack"), self._main.object_format, limits, check
        )
        self.pack.receive(read_some, self._main)
        return self.pack

    def read(self, oid: bytes) -> tuple[int, bytes]:
        """Give the type and the content of an object, be it new or of the repository.

        Args:
          oid: hex id
        Raises:
          KeyError: if it is not there
        """
        raw = bytes.fromhex(oid.decode())
        type_num = None if self.pack is None else self.pack.type_num(raw)
        if self.pack is None or type_num is None:
            found: tuple[int, bytes] = self._main.get_raw(ObjectID(oid))
            return found
        return type_num, self.pack.content(raw)

    def seal(self, found: Collection[bytes] = ()) -> None:
        """Give the pack its name and its index, so that hooks see it.

        Args:
          found: hex ids of objects of the repository that the push needs and no ref reaches; they
            are copied into the pack, or somebody might remove them meanwhile
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
        """Move the objects to the repository.

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
                self._keep()  # a full disk may have room for a name

    def secure(self) -> None:
        """Make sure that the objects are still there.

        Raises:
          OSError: if they are not, and cannot be put back
        """
        if not self._name or self.pack is None or not self._is_on_disk:
            return
        in_files = self._files and self._keep_file is None and not self._is_gc_running()
        if not in_files or not all(map(os.path.exists, self._files)):
            self._keep()

    def _hand_over(self, pack: IncomingPack) -> None:
        file, commit, abort = self._main.add_pack()
        try:
            for piece in pack.file_pieces():
                file.write(piece)
        except BaseException:
            abort()
            raise
        commit()

    def _keep(self) -> None:
        """Make the pack one of the repository; nothing is done if it is."""
        assert self._path is not None
        target = os.fspath(self._main.pack_dir)
        os.makedirs(target, exist_ok=True)
        # Who clears up must see the note first, and the index makes others look for the pack.
        if self._keep_file is None:
            self._keep_file = self._note(os.path.join(target, self._name + ".keep"))
        for end in (".pack", ".idx"):
            source = os.path.join(self._path, "pack", self._name + end)
            _install(source, os.path.join(target, self._name + end))
        if self._fsync_objects:
            sync_directories([target])

    def _note(self, path: str) -> str | None:
        """Say that the pack is needed; gives the path, None if somebody says so already."""
        try:
            with open(path, "x") as file:
                self._keep_file = path
                file.write(f"receive-pack {os.getpid()} on {socket.gethostname()}\n")
        except FileExistsError:
            return None
        except OSError:
            if self._keep_file is None:
                raise  # else a full disk has room for the name, which is what counts
        return path

    def _is_gc_running(self) -> bool:
        common = os.path.dirname(os.path.abspath(os.fspath(self._main.path)))
        for name in _GC_NOTES:
            with suppress(FileNotFoundError):
                age = time.time() - os.stat(os.path.join(common, name)).st_mtime
                if age < _GC_HOURS * 3600:
                    return True
        return False


def _sweep(place: str) -> None:
    """Remove what pushes left behind whose process died."""
    for entry in os.scandir(place):
        if entry.name.startswith(_PREFIX):
            with suppress(FileNotFoundError):
                if time.time() - entry.stat().st_mtime > _FORGOTTEN:
                    shutil.rmtree(entry.path, ignore_errors=True)


def _install(source: str, target: str) -> None:
    """Give a file its name in the repository; its name in quarantine stays, should one vanish."""
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:
        if not os.path.exists(target):  # a file system without links
            os.rename(source, target)
