# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The objects below a prefix of an object store: what the rest of this room builds on."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any, NamedTuple

from ..engine.errors import StorageError
from .errors import MissingObjectError, NotModifiedError, UnavailableError
from .ranges import Range, cut, requests_for
from .requests import Client

__all__ = ["Bucket", "Fetched", "ObjectInfo", "Version"]

_SMALL = 4 << 20
"""Maximum bytes that are put within the short time-out."""


class Version(NamedTuple):
    """One state of an object, as the store names it.

    Attributes:
      etag: the entity tag, as the store wrote it
      generation: Google's number of the state; None elsewhere
    """

    etag: str
    generation: str | None = None


class ObjectInfo(NamedTuple):
    """An object without its bytes.

    Attributes:
      key: its name below the prefix
      size: in bytes
      version: its state
      modified: seconds since the epoch, by the store's clock
    """

    key: str
    size: int
    version: Version
    modified: float


class Fetched(NamedTuple):
    """An object's bytes, and the version that they are of."""

    data: bytes
    version: Version


class Bucket:
    """The objects of a store whose names begin with one prefix.

    It may be used by many threads. Keys are relative to the prefix, with ``/`` between their parts.

    Args:
      client: the store
      prefix: of the keys; none, or without a slash at either end
      base: the store's own name, such as ``s3://bucket``, for messages; it holds no secrets
    """

    def __init__(self, client: Client, prefix: str, base: str) -> None:
        self.client = client
        self._base = base
        self._prefix = prefix + "/" if prefix else ""
        self.location = f"{base}/{prefix}".rstrip("/")

    @property
    def requests(self) -> Counter[str]:
        """How many requests of each kind the client has made: get, put, list, delete."""
        return self.client.requests

    def within(self, prefix: str) -> Bucket:
        """Give the objects below a deeper prefix."""
        return Bucket(self.client, self._prefix + prefix.strip("/"), self._base)

    def locate(self, key: str) -> str:
        """Name an object in a message."""
        return f"{self.location}/{key}"

    # Reading

    def get(
        self, key: str, unless: Version | None = None, *, limit: int | None = None
    ) -> Fetched | None:
        """Read an object.

        Args:
          key: its name
          unless: a version that need not be sent again
          limit: maximum bytes of the object; a larger one is an error
        Returns: its bytes; None if it still is that version
        Raises:
          MissingObjectError: if there is no such object
          StorageError: one of :mod:`.errors`
        """
        client, location = self.client, self.locate(key)
        options = {} if unless is None else {"if_none_match": client.tag(unless.etag)}

        def request(module: ModuleType) -> Fetched:
            found = module.get(client.store, self._prefix + key, options=options)
            meta = found.meta
            if limit is not None and meta["size"] > limit:
                raise StorageError(
                    errno.EFBIG, f"the object has {meta['size']} bytes, over {limit}", location
                )
            data = bytes(found.bytes())
            if len(data) != meta["size"]:
                raise UnavailableError(location, "the answer was cut off")
            return Fetched(data, _version(meta, location))

        try:
            fetched = client.repeat("get", location, request)
        except NotModifiedError:
            return None
        return None if unless is not None and fetched.version == unless else fetched

    def get_range(self, key: str, start: int, stop: int) -> bytes:
        """Read one range of an object; see :meth:`get_ranges`."""
        return self.get_ranges(key, [(start, stop)])[0]

    def get_ranges(self, key: str, ranges: Sequence[Range]) -> list[bytes]:
        """Read ranges of an object, side by side; near ones share a request.

        Args:
          key: the object's name
          ranges: ``(start, stop)`` in bytes
        Returns: the bytes of each range, in the order of the ranges
        Raises:
          MissingObjectError: if there is no such object
          StorageError: one of :mod:`.errors`; also if a range is not wholly inside the object
        """
        client, location = self.client, self.locate(key)

        def fetch(start: int, stop: int) -> bytes:
            def request(module: ModuleType) -> bytes:
                found = module.get_range(client.store, self._prefix + key, start=start, end=stop)
                data = bytes(found)
                if len(data) != stop - start:
                    raise StorageError(errno.EINVAL, f"no {stop} bytes are in the object", location)
                return data

            return client.repeat("get", location, request)

        planned = requests_for(ranges)
        answers = client.side_by_side(
            [lambda start=start, stop=stop: fetch(start, stop) for start, stop in planned]  # type: ignore[misc]
        )
        return [cut(wanted, planned, answers) for wanted in ranges]

    def head(self, key: str) -> ObjectInfo:
        """Give size and version of an object, which is not empty.

        Raises:
          MissingObjectError: if there is no such object
          StorageError: one of :mod:`.errors`
        """
        client, location = self.client, self.locate(key)

        def request(module: ModuleType) -> ObjectInfo:
            # Not HEAD: its answer has no body, and so does not tell a missing bucket.
            found = module.get(client.store, self._prefix + key, options={"range": (0, 1)})
            meta = found.meta
            found.bytes()
            return ObjectInfo(key, meta["size"], _version(meta, location), _modified(meta))

        return client.repeat("get", location, request)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """List objects, in no particular order.

        Args:
          prefix: only those below it; it ends where a part of a key ends
        Raises:
          StorageError: one of :mod:`.errors`
        """
        client = self.client
        path = self._prefix + prefix.strip("/")
        location = self.locate(prefix)

        def request(module: ModuleType) -> list[Any]:
            # From the start again if a page fails: the listing of one repository is short.
            return [meta for page in module.list(client.store, path or None) for meta in page]

        for meta in client.repeat("list", location, request):
            key = meta["path"].removeprefix(self._prefix)
            yield ObjectInfo(key, meta["size"], _version(meta, location), _modified(meta))

    # Writing

    def put(self, key: str, data: bytes | bytearray | memoryview) -> Version:
        """Write an object, whatever is there.

        The request may be repeated, also after it was applied: use it for objects whose name is
        random or says their content.

        Raises:
          StorageError: one of :mod:`.errors`
        """
        client = self.client
        store = client.store if len(data) <= _SMALL else client.bulk
        location = self.locate(key)
        return client.repeat("put", location, lambda m: self._put(m, store, key, data, "overwrite"))

    def put_file(self, key: str, path: str) -> Version:
        """Write an object from a local file, as :meth:`put`; a large one is sent in parts."""
        if os.path.getsize(path) <= _SMALL:
            with open(path, "rb") as file:
                return self.put(key, file.read())
        client, location = self.client, self.locate(key)
        with open(path, "rb") as file:

            def request(module: ModuleType) -> Version:
                file.seek(0)
                done = module.put(client.bulk, self._prefix + key, file, max_concurrency=4)
                return _version(done, location)

            return client.repeat("put", location, request)

    def create(self, key: str, data: bytes) -> Version:
        """Write an object that must not exist yet; the request is made once.

        Raises:
          ConditionError: if it exists
          ConflictError: if somebody else was writing it; nothing was written
          UnavailableError: nobody knows whether it was written
        """
        return self._put_once(key, data, "create")

    def replace(self, key: str, data: bytes, version: Version) -> Version:
        """Write an object that must still be in a known version; the request is made once.

        Raises:
          ConditionError: if it is not
          ConflictError: if somebody else was writing it; nothing was written
          UnavailableError: nobody knows whether it was written
        """
        mode = {"e_tag": self.client.tag(version.etag)}
        if version.generation is not None:
            mode["version"] = version.generation
        return self._put_once(key, data, mode)

    def _put_once(self, key: str, data: bytes, mode: object) -> Version:
        client = self.client
        location = self.locate(key)
        return client.call("put", location, lambda m: self._put(m, client.store, key, data, mode))

    def _put(
        self,
        module: ModuleType,
        store: object,
        key: str,
        data: bytes | bytearray | memoryview,
        mode: object,
    ) -> Version:
        path = self._prefix + key
        done = module.put(store, path, data, mode=mode, use_multipart=False)
        return _version(done, self.locate(key))

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are not there are no error.

        Raises:
          StorageError: one of :mod:`.errors`; some may be removed by then
        """
        paths = [self._prefix + key for key in keys]
        if not paths:
            return
        try:
            self._delete(paths)
        except MissingObjectError:
            # Some stores mind, and then nobody knows which ones are left.
            for path in paths:
                with suppress(MissingObjectError):
                    self._delete([path])

    def _delete(self, paths: Sequence[str]) -> None:
        client = self.client
        client.repeat("delete", self.location, lambda m: m.delete(client.store, [*paths]))


def _version(meta: Any, location: str) -> Version:
    etag = meta["e_tag"]
    if not etag:
        raise StorageError(errno.ENOTSUP, "the store gives no entity tags", location)
    return Version(etag, meta["version"])


def _modified(meta: Any) -> float:
    return float(meta["last_modified"].timestamp())
