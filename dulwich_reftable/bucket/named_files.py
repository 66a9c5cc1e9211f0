# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The small files of a repository in a bucket: its configuration, description, shallow commits.

Each is an object, which is read by conditional requests and replaced by conditional puts. A put
whose answer is lost leaves a doubt; then the object is read back. If it has the new bytes the put
has happened, or another one to the same effect.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from ..engine.errors import ConfigurationError, OutcomeUnknownError, StaleListError
from .client import Bucket, Fetched, Version
from .errors import ConditionError, ConflictError, MissingObjectError, UnavailableError
from .probe import check_conditions
from .requests import tries

__all__ = ["CONFIG", "NamedFiles", "key_of"]

CONFIG = "config"
"""The object that makes a repository of a place: it is written last."""

_FILES = "files"
_LIMIT = 4 << 20
"""Maximum bytes of such a file."""


def key_of(path: str) -> str:
    """Give the key of the object that holds a file of the control directory.

    Args:
      path: relative to the control directory, with slashes
    Raises:
      ConfigurationError: if no file can have this name
    """
    parts = path.split("/")
    is_plain = path.isascii() and path.isprintable()
    if not is_plain or any(part in ("", ".", "..") for part in parts):
        raise ConfigurationError(f"{path!r} is no name of a file in a bucket")
    return CONFIG if path == CONFIG else f"{_FILES}/{path}"


class _Known(NamedTuple):
    found: Fetched | None
    asked: float


class NamedFiles:
    """The small files of one repository. Threads may share it.

    Args:
      bucket: the repository's place
      max_age: for how many seconds a file that was read is taken for current without a request
    """

    def __init__(self, bucket: Bucket, max_age: float = 0.0) -> None:
        self._bucket = bucket
        self._max_age = max_age
        self._known: dict[str, _Known] = {}
        self._staged: dict[str, Fetched] = {}
        self._lock = threading.Lock()

    def stage(self, path: str, data: bytes) -> None:
        """Keep a new file here until it is published; until then, only this object has it."""
        self._staged[key_of(path)] = Fetched(data, Version(""))

    def publish(self, path: str) -> None:
        """Write a file that is staged, if there is none; see :meth:`write`."""
        key = key_of(path)
        self.write(path, self._staged[key].data, None)
        del self._staged[key]

    def latest(self, path: str) -> Fetched | None:
        """Give a file as it was read last; it is read if it never was."""
        key = key_of(path)
        with self._lock:
            known = self._known.get(key)
        return self.read(path) if known is None else known.found

    def read(self, path: str) -> Fetched | None:
        """Read a file; gives the same object again if it has not changed.

        Returns: None if there is none
        Raises:
          StorageError: one of :mod:`.errors`
        """
        key = key_of(path)
        if key in self._staged:
            return self._staged[key]
        asked = time.monotonic()
        with self._lock:
            known = self._known.get(key)
        if known is not None and asked - known.asked < self._max_age:
            return known.found
        before = None if known is None else known.found
        unless = None if before is None else before.version
        found: Fetched | None
        try:
            found = self._bucket.get(key, unless, limit=_LIMIT) or before
        except MissingObjectError:
            found = None
        self._remember(key, found, asked)
        return found

    def write(self, path: str, data: bytes, base: Fetched | None) -> None:
        """Write a file in place of what was read.

        Args:
          path: its name
          data: its new content
          base: what it replaces; None if there is to be none
        Raises:
          StaleListError: if somebody else has written it since; nothing has happened
          OutcomeUnknownError: if nobody knows whether it was, or will be, written
          UnfitStoreError: if the store ignores conditions
          StorageError: one of :mod:`.errors`; nothing has happened
        """
        key = key_of(path)
        location = self._bucket.locate(key)
        check_conditions(self._bucket)
        version = None if base is None else base.version
        in_doubt = False
        failure: Exception | None = None
        for _ in tries(self._bucket.client.deadline):
            asked = time.monotonic()
            try:
                if version is None:
                    put = self._bucket.create(key, data)
                else:
                    put = self._bucket.replace(key, data, version)
            except ConflictError as error:
                failure = error  # certainly not applied
                continue
            except (ConditionError, UnavailableError) as error:
                failure = error
                in_doubt |= isinstance(error, UnavailableError) and error.was_sent
            else:
                self._remember(key, Fetched(data, put), asked)
                return
            try:
                found = self._bucket.get(key, limit=_LIMIT)
            except MissingObjectError:
                found = None
            except UnavailableError:
                continue
            if found is not None and found.data == data:
                self._remember(key, found, asked)
                return
            if (found and found.data) != (base and base.data):
                self._remember(key, found, asked)
                raise StaleListError(f"{location}: somebody else has changed it")
            version = found.version if found is not None else None
        assert failure is not None
        if in_doubt:
            raise OutcomeUnknownError(location, str(failure))
        raise failure

    def put(self, path: str, data: bytes) -> None:
        """Write a file, whatever is there."""
        key = key_of(path)
        asked = time.monotonic()
        self._remember(key, Fetched(data, self._bucket.put(key, data)), asked)

    def delete(self, path: str) -> None:
        """Remove a file; harmless if it is gone."""
        key = key_of(path)
        asked = time.monotonic()
        self._bucket.delete([key])
        self._remember(key, None, asked)

    def _remember(self, key: str, found: Fetched | None, asked: float) -> None:
        with self._lock:
            known = self._known.get(key)
            if known is None or asked >= known.asked:
                self._known[key] = _Known(found, asked)
