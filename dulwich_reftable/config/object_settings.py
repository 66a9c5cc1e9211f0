# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Settings of objects by which dulwich means something else than git, or nothing.

``core.bigFileThreshold`` is the size from which git does not look for deltas; to dulwich it is the
size beyond which a loose object cannot be read. ``core.packedGitLimit`` has git close windows that
nobody uses; dulwich closes packs that are being read. An object store forgets such limits, since
without them both read the same objects.

Where ``extensions.preciousObjects`` or ``extensions.partialClone`` is set, git deletes no objects
without care: others need them, or nobody but a server far away has those that they lead to.
dulwich knows neither. So there the object store refuses to repack and to delete.
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
"""Bytes up to which dulwich reads a loose object, if no other limit is set."""


def apply_object_settings(store: BaseObjectStore, config: Config) -> None:
    """Have an object store do by its repository's configuration as git does.

    Args:
      store: as dulwich's constructor of repositories made it; any other is left alone
      config: the repository's own file, without what it includes
    """
    if type(store) is not DiskObjectStore:
        return
    store.packed_git_limit = None
    store.loose_object_size_limit = max(store.loose_object_size_limit, _LOOSE_LIMIT)
    if store.pack_delta_cache_size is not None and store.pack_delta_cache_size < 0:
        store.pack_delta_cache_size = None
    section = (b"extensions",)
    is_partial = any(key.lower() == b"partialclone" for key, _ in config.items(section))
    if is_partial or get_boolean(config, section, b"preciousObjects", False):
        store.__class__ = _KeptObjectStore


class _KeptObjectStore(DiskObjectStore):
    """An object store whose objects nobody may delete."""

    def repack(
        self,
        exclude: Set[bytes] | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> int:
        """Refuse, before anything is written: the packs would be replaced by one."""
        raise _refusal(self.path)

    def delete_loose_object(self, sha: ObjectID) -> None:
        """Delete an object that is in a pack as well; refuse to delete any other."""
        if not self.contains_packed(sha):
            raise _refusal(self.path)
        super().delete_loose_object(sha)


def _refusal(path: str | os.PathLike[str]) -> ReftableError:
    return ReftableError(
        f"no objects are deleted in '{os.fspath(path)}': extensions.preciousObjects or "
        "extensions.partialClone is set"
    )
