"""An object store that a process of its own plays, for servers that are processes, too.

It keeps all in memory. A request sleeps for half of its delay before that, and for the other half
after it, as if it was on its way: so the store may change while an answer travels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from typing import Any, Protocol

import obstore
from obstore.store import MemoryStore

from dulwich_reftable.bucket import Bucket, open_store

__all__ = ["PlayedStore", "open_played", "play"]


class PlayedStore(Protocol):
    """A store in another process; it can be given to a child."""

    def call(self, name: str, *args: Any, **options: Any) -> Any:
        """Call a function of obstore."""


class _Store:
    def __init__(self) -> None:
        self._store = MemoryStore()

    def call(self, name: str, *args: Any, **options: Any) -> Any:
        """Call a function of obstore; what it gives can be sent to another process."""
        found = getattr(obstore, name)(self._store, *args, **options)
        if name == "get":
            return found.meta, bytes(found.bytes())
        if name == "list":
            return [[*page] for page in found]
        return bytes(found) if name == "get_range" else found


class _Manager(BaseManager):
    pass


_Manager.register("Store", _Store)


@contextmanager
def play() -> Iterator[PlayedStore]:
    """Run an empty store until the context ends."""
    with _Manager(ctx=get_context("spawn")) as manager:
        yield manager.Store()  # type: ignore[attr-defined]


def open_played(store: PlayedStore, delay: float, **options: Any) -> Bucket:
    """Open the bucket of a played store.

    Args:
      store: the store
      delay: seconds that each request takes
      options: as for ``open_store``
    """
    bucket = open_store(MemoryStore(), **options)  # which stays empty: the requests go elsewhere
    bucket.client.module = _Module(store, delay)  # type: ignore[assignment]
    return bucket


class _Module:
    """The functions of obstore, on the store of another process."""

    exceptions = obstore.exceptions

    def __init__(self, store: PlayedStore, delay: float) -> None:
        self._store = store
        self._delay = delay

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def request(_: object, *args: Any, **options: Any) -> Any:
            time.sleep(self._delay / 2)
            try:
                found = self._store.call(name, *args, **options)
            finally:
                time.sleep(self._delay / 2)
            return _Found(*found) if name == "get" else found

        return request


class _Found:
    """An object, as obstore gives it."""

    def __init__(self, meta: Any, data: bytes) -> None:
        self.meta = meta
        self._data = data

    def bytes(self) -> bytes:
        return self._data
