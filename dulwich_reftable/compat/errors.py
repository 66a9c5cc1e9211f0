# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Errors that are also of dulwich's classes.

dulwich's servers and porcelain catch its own classes: ``RefFormatError`` for a bad name,
``FileLocked`` for a taken lock, ``OSError`` for a write that failed. The errors that the refs
container raises derive from these too, so that dulwich reports them and does not crash.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from dulwich.errors import RefFormatError
from dulwich.file import FileLocked

from ..engine.errors import LockError, ReftableError

__all__ = ["BadRefNameError", "RefLockedError", "as_dulwich"]


class BadRefNameError(ReftableError, RefFormatError):
    """A name that no ref can have.

    Attributes:
      ref: the name
    """

    def __init__(self, ref: bytes) -> None:
        super().__init__(f"'{os.fsdecode(ref)}' is not a valid ref name")
        self.ref = ref


class RefLockedError(LockError, FileLocked):
    """A lock stayed taken: a :class:`LockError` that dulwich knows as ``FileLocked``.

    Attributes:
      filename, lockfilename: as in dulwich's ``FileLocked``
    """

    def __init__(
        self, lock_path: str, age: float | None, waited: float, reason: str | None = None
    ) -> None:
        LockError.__init__(self, lock_path, age, waited, reason)
        self.filename = lock_path.removesuffix(".lock")
        self.lockfilename = lock_path

    def __str__(self) -> str:
        # OSError makes a message of its own if it has a file name.
        return str(self.args[0])


@contextmanager
def as_dulwich() -> Iterator[None]:
    """Turn the engine's lock errors into :class:`RefLockedError`."""
    try:
        yield
    except RefLockedError:
        raise
    except LockError as error:
        raise RefLockedError(error.lock_path, error.age, error.waited, error.reason) from error
