# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Settings of object stores that dulwich does not know, or understands in another way than git.

``core.bigFileThreshold`` is the size from which git does not look for deltas; dulwich does not read
loose objects beyond it. With ``core.packedGitLimit``, git closes windows that are not in use;
dulwich closes packs that are being read. So these limits are taken off the object store: then both
read the same objects.

Where ``extensions.preciousObjects`` or ``extensions.partialClone`` is set, git does not simply
delete objects: other repositories may need them, or objects that they refer to may be on a remote
server only. dulwich knows neither extension. So the object store refuses to repack and to delete.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Set

from dulwich.config import Config
from dulwich.object_store import BaseObjectStore, DiskObjectStore
from dulwich.objects import ObjectID

from ..engine.errors import ReftableError
from .values import get_boolean

__all__ = ["apply_object_settings"]

_LOOSE_LIMIT = 512 << 20
"""Bytes up to which dulwich reads a loose object by default."""


def apply_object_settings(store: BaseObjectStore, config: Config) -> None:
    """Make an object store follow its repository's configuration as git does.

    Args:
      store: as dulwich's constructor of repositories made it; one of another class is left alone
      config: the repository's own file, without what it includes
    """
    if type(store) is not DiskObjectStore:
        return
    # An older dulwich has no such limits: they came with 1.2.0, 1.2.9 and 0.24.0.
    store.packed_git_limit = None
    loose_limit = getattr(store, "loose_object_size_limit", None)
    if loose_limit is not None:
        store.loose_object_size_limit = max(loose_limit, _LOOSE_LIMIT)
    cache_size = getattr(store, "pack_delta_cache_size", None)
    if cache_size is not None and cache_size < 0:
        store.pack_delta_cache_size = None
    section = (b"extensions",)
    is_partial = any(key.lower() == b"partialclone" for key, _ in config.items(section))
    if is_partial or get_boolean(config, section, b"preciousObjects", False):
        store.__class__ = _KeptObjectStore


class _KeptObjectStore(DiskObjectStore):
    """An object store that keeps all of its objects."""

    def repack(
        self,
        exclude: Set[bytes] | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> int:
        """Refuse before anything is written, since repacking deletes packs."""
        raise _refusal(self.path)

    def delete_loose_object(self, sha: ObjectID) -> None:
        """Delete a loose object only if it is in a pack as well; refuse otherwise."""
        if not self.contains_packed(sha):
            raise _refusal(self.path)
        super().delete_loose_object(sha)


def _refusal(path: str | os.PathLike[str]) -> ReftableError:
    return ReftableError(
        f"no objects are deleted in '{os.fspath(path)}': extensions.preciousObjects or "
        "extensions.partialClone is set"
    )
