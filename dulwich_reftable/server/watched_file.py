# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A file that is read again when it has changed, such as a list of passwords.

A file that is gone or broken has no value: who uses it has to deny everything then.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from .errors import printable

__all__ = ["WatchedFile"]

_log = logging.getLogger("dulwich_reftable.server")

T = TypeVar("T")


class WatchedFile(Generic[T]):
    """A file and what its text means.

    Args:
      path: of the file
      parse: takes its text
    Raises:
      OSError: if it cannot be read at the beginning
      ValueError: if it is broken at the beginning
    """

    def __init__(self, path: str | os.PathLike[str], parse: Callable[[str], T]) -> None:
        self._path = os.fspath(path)
        self._parse = parse
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = self._look()
        self._value: T | None = self._read()

    def value(self) -> T | None:
        """Give what the file means now; None if it is broken."""
        with self._lock:
            try:
                stamp = self._look()
            except OSError:
                stamp = None
            if stamp is None or stamp != self._stamp:
                self._reload(stamp)
            return self._value

    def _reload(self, stamp: tuple[int, ...] | None) -> None:
        try:
            self._value = self._read()
            _log.info("%a was read again", self._path)
        except (OSError, ValueError) as error:
            if stamp is not None or self._stamp is not None:
                _log.error("everything is denied: %s", printable(str(error)))
            self._value = None
        self._stamp = stamp

    def _look(self) -> tuple[int, ...]:
        seen = os.stat(self._path)
        return seen.st_mtime_ns, seen.st_size, seen.st_ino

    def _read(self) -> T:
        try:
            with open(self._path, encoding="utf-8") as file:
                return self._parse(file.read())
        except ValueError as error:
            raise ValueError(f"{self._path}: {error}") from error
