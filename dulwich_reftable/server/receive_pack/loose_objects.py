# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Write the objects of a pack as loose objects of a repository."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from dulwich.file import adjust_shared_perm
from dulwich.objects import Blob, Commit, Tag, Tree, object_header

from ...engine.stack.files import open_directory, sync
from .incoming import IncomingPack

__all__ = ["finish_file", "sync_directories", "unpack"]

_MODE = 0o444
_ORDER = {Blob.type_num: 0, Tree.type_num: 1, Commit.type_num: 2, Tag.type_num: 3}
"""An object comes after those it points to. If the disk is full, none points to a missing one."""

_ATTEMPTS = 20


def unpack(pack: IncomingPack, store: Any, scratch: str, *, fsync: bool) -> list[str]:
    """Write all objects of a pack.

    With ``fsync``, the files and their directories are on disk afterwards. (git syncs the files
    only; but a file that was renamed can be lost until its directory is synced.)

    Args:
      pack: the objects
      store: the repository's, on disk
      scratch: a directory for temporary files, on the same file system
      fsync: whether to sync files and directories
    Returns: the paths of the files
    Raises:
      OSError: if an object cannot be written
    """
    paths = []
    for oid in sorted(pack, key=lambda oid: _ORDER[pack.type_num(oid) or Blob.type_num]):
        paths.append(_write(pack, oid, store, scratch, fsync=fsync))
    if fsync:
        directories = {os.path.dirname(path) for path in paths}
        sync_directories([*sorted(directories), os.fspath(store.path)])
    return paths


def _write(pack: IncomingPack, oid: bytes, store: Any, scratch: str, *, fsync: bool) -> str:
    """Write an object, or update the time of its file if that exists; gives its path."""
    name = oid.hex()
    directory = os.path.join(os.fspath(store.path), name[:2])
    path = os.path.join(directory, name[2:])
    # A prune may remove an old file. We cannot update the time of another user's file.
    with suppress(FileNotFoundError, PermissionError):
        os.utime(path)
        return path
    source = os.path.join(scratch, name)
    size, pieces = pack.pieces(oid)
    deflater = zlib.compressobj(store.loose_compression_level)
    with open(source, "wb") as file:
        file.write(deflater.compress(object_header(pack.type_num(oid) or 0, size)))
        for piece in pieces:
            file.write(deflater.compress(piece))
        file.write(deflater.flush())
        file.flush()
        if fsync:
            os.fsync(file.fileno())
    finish_file(source, store)
    for _ in range(_ATTEMPTS):
        try:
            os.replace(source, path)
            return path
        except FileNotFoundError:  # git gc removes empty directories
            with suppress(FileExistsError):
                os.mkdir(directory)
                adjust_shared_perm(directory, store.shared_perm)
    raise FileNotFoundError(f"cannot make {path}: its directory keeps vanishing")


def finish_file(path: str, store: Any) -> None:
    """Give a file of the object store its final mode."""
    os.chmod(path, _MODE)
    adjust_shared_perm(path, getattr(store, "shared_perm", None))


def sync_directories(paths: Iterable[str]) -> None:
    """Sync directories to disk, where the system can do that; one that has vanished is skipped."""
    for path in paths:
        with suppress(FileNotFoundError):
            directory = open_directory(path)
            if directory is not None:
                with directory:
                    sync(directory)
