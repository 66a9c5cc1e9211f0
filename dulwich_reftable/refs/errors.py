# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Kinds of our errors that are also dulwich's.

dulwich's servers and porcelain catch its own kinds: ``RefFormatError`` for a bad name,
``FileLocked`` for a taken lock, ``OSError`` for a write that failed. What leaves the refs container
is of those kinds too, so that they report it rather than crash.
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
    """A lock stayed taken; the kind of :class:`LockError` that dulwich knows.

    Attributes:
      filename, lockfilename: as of dulwich's ``FileLocked``
    """

    def __init__(self, lock_path: str, age: float | None, waited: float) -> None:
        LockError.__init__(self, lock_path, age, waited)
        self.filename = lock_path[: -len(".lock")]
        self.lockfilename = lock_path

    def __str__(self) -> str:
        # An OSError that has a file name would make up a message of its own.
        return str(self.args[0])


@contextmanager
def as_dulwich() -> Iterator[None]:
    """Turn the engine's lock errors into ones that are dulwich's as well."""
    try:
        yield
    except RefLockedError:
        raise
    except LockError as error:
        raise RefLockedError(error.lock_path, error.age, error.waited) from error
