"""Refs in memory or in a bucket, in place of a repository's directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import dulwich_reftable as dr
from dulwich_reftable.bucket import Bucket
from dulwich_reftable.bucket.storage import BucketStorage
from dulwich_reftable.config.settings import Settings
from dulwich_reftable.refs.store import RefStore
from dulwich_reftable.refs.worktrees import SingleStorage

from .memory_storage import MemoryStorage, Place

__all__ = ["another", "move_to_bucket", "move_to_memory", "refs_on"]


def refs_on(
    place: Place | None,
    *,
    storage: MemoryStorage | BucketStorage | None = None,
    settings: Settings | None = None,
    lock_timeout: float | None = 10.0,
    peel: Callable[[bytes], bytes | None] = lambda oid: None,
    identity: Callable[[], bytes] = lambda: b"U Ser <user@example.com>",
) -> dr.ReftableRefsContainer:
    """Open refs as a process of its own does, or as another thread of a process.

    Args:
      place: where they are; None with a storage
      storage: that of the process; None for another process
      settings: None for the defaults
      lock_timeout: for how many seconds to try to write
      peel, identity: as for a container
    """
    settings = replace(settings or Settings(), lock_timeout=lock_timeout)
    store = RefStore(
        SingleStorage(storage or MemoryStorage(place or Place())), settings, peel, identity
    )
    return dr.ReftableRefsContainer.over(store)


def another(refs: dr.ReftableRefsContainer) -> dr.ReftableRefsContainer:
    """Open the same refs again, as another process does, in a directory or in memory."""
    storage = refs.store.shared.storage
    if isinstance(storage, MemoryStorage):
        return refs_on(storage.place, settings=refs.store.settings)
    if isinstance(storage, BucketStorage):
        again = BucketStorage(storage.bucket)
        return refs_on(None, storage=again, settings=refs.store.settings)
    return dr.ReftableRefsContainer(refs.path)


def move_to_memory(repo: dr.Repo) -> Place:
    """Give a new repository other refs; gives the place where they are."""
    place = Place()
    _move(repo, MemoryStorage(place))
    return place


def move_to_bucket(repo: dr.Repo, bucket: Bucket) -> None:
    """Give a new repository other refs, in an empty place in an object store."""
    hash_id = "s256" if repo.refs.store.settings.write.hash_size == 32 else "sha1"
    _move(repo, BucketStorage.create(bucket, hash_id))


def _move(repo: dr.Repo, storage: MemoryStorage | BucketStorage) -> None:
    store = repo.refs.store
    refs = refs_on(
        None, storage=storage, settings=store.settings, peel=store.peel, identity=store.identity
    )
    refs.set_symbolic_ref(b"HEAD", repo.refs.get_symrefs()[b"HEAD"])
    repo.refs.close()
    repo.refs = refs
