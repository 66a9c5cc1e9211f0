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

__all__ = ["Delayed", "PlayedStore", "open_played", "play"]


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

    def call(name: str, _: object, *args: Any, **options: Any) -> Any:
        found = store.call(name, *args, **options)
        return _Found(*found) if name == "get" else found

    bucket = open_store(MemoryStore(), **options)  # which stays empty: the requests go elsewhere
    bucket.client.module = Delayed(delay, call)  # type: ignore[assignment]
    return bucket


def _call(name: str, *args: Any, **options: Any) -> Any:
    return getattr(obstore, name)(*args, **options)


class Delayed:
    """The functions of obstore, each of which takes a while.

    Args:
      delay: in seconds
      call: calls a function by its name, and gives what it gives
    """

    exceptions = obstore.exceptions

    def __init__(self, delay: float, call: Callable[..., Any] = _call) -> None:
        self._delay = delay
        self._call = call

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def request(*args: Any, **options: Any) -> Any:
            time.sleep(self._delay / 2)
            try:
                return self._call(name, *args, **options)
            finally:
                time.sleep(self._delay / 2)

        return request


class _Found:
    """An object, as obstore gives it."""

    def __init__(self, meta: Any, data: bytes) -> None:
        self.meta = meta
        self._data = data

    def bytes(self) -> bytes:
        return self._data
