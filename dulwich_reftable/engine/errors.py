# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The exception family: everything that this package raises on its own account.

Each kind says *which file, where and what* in its message and keeps the same facts as
attributes, so that a server can report them without parsing text. Nothing here knows dulwich;
:mod:`dulwich_reftable.compat.errors` adds the kinds that are also dulwich's.
"""

from __future__ import annotations

import errno
import os

__all__ = [
    "ConfigurationError",
    "CorruptTableError",
    "LockError",
    "OutcomeUnknownError",
    "RecordError",
    "RefConflictError",
    "RefsMovedError",
    "ReftableError",
    "StaleListError",
    "StorageError",
    "TransactionError",
]


class ReftableError(Exception):
    """Base of every exception that this package defines."""


class ConfigurationError(ReftableError, ValueError):
    """A setting of the repository has a value that it cannot have."""


class CorruptTableError(ReftableError):
    """Bytes on disk break the format.

    Attributes:
      filename: the table or list, as its storage names it
      offset: position in the file, in bytes, of the structure that is broken (None: the whole file)
      reason: what is wrong there
    """

    def __init__(self, filename: str, offset: int | None, reason: str) -> None:
        where = "" if offset is None else f" at offset {offset}"
        super().__init__(f"{filename}: corrupt{where}: {reason}")
        self.filename = filename
        self.offset = offset
        self.reason = reason


class RecordError(ReftableError, ValueError):
    """A record cannot be written: out of order, too large for a block, or a value out of range."""


class StorageError(ReftableError, OSError):
    """The storage under a stack failed: no space, no permission, an I/O error, a missing table.

    It is an :class:`OSError`: ``errno``, ``strerror`` and ``filename`` are set.
    """

    @classmethod
    def of(cls, error: OSError, doing: str, path: str) -> StorageError:
        """Wrap an operating system's error.

        Args:
          error: what the system call raised
          doing: what was attempted, such as ``"write"``
          path: the file that it concerned
        """
        return cls(error.errno, f"cannot {doing}: {error.strerror or error}", path)


class RefsMovedError(StorageError):
    """The refs are not kept here any more; nothing was written.

    The repository was migrated to another ref format after it was opened, or its stack was removed.
    Open the repository again.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(errno.ESTALE, f"{reason}; open the repository again", path)


class OutcomeUnknownError(StorageError):
    """Nobody can tell whether an update stands, or will stand; read the refs again later.

    The storage was told to do it, and then did not answer. Nothing was removed. Directories never
    leave that open; object stores may.
    """

    def __init__(self, location: str, reason: str) -> None:
        super().__init__(
            errno.EIO, f"nobody can tell whether the update has happened: {reason}", location
        )


class LockError(ReftableError, OSError):
    """A lock stayed taken for longer than the timeout, or other writers were faster all the time.

    Attributes:
      lock_path: the lock file; without a lock, the place of the stack
      age: seconds since the lock was taken (None if it was gone when we looked)
      waited: seconds for which we tried
      reason: what kept us from writing, where that is no lock file; else None
    """

    def __init__(
        self, lock_path: str, age: float | None, waited: float, reason: str | None = None
    ) -> None:
        held = "" if age is None else f", held for {age:.1f} s"
        message = (
            f"cannot lock: '{lock_path}' exists{held} (waited {waited:.2f} s). Another process "
            "may be updating the repository; if none is running, one may have been killed: "
            "make sure of it, then remove the file by hand to continue."
        )
        if reason is not None:
            message = f"cannot lock '{lock_path}': {reason} (waited {waited:.2f} s)"
        super().__init__(message)
        self.lock_path = lock_path
        self.age = age
        self.waited = waited
        self.reason = reason


class StaleListError(ReftableError):
    """The list of tables is not the one that was to be replaced; nothing was written.

    In a directory, the list changed although it was locked. A storage without locks finds out in
    this way that another writer was faster.
    """


class TransactionError(ReftableError):
    """An update found the ref in another state than it expected; nothing was written.

    Attributes:
      ref: name of the ref
      expected: what the caller said would be there (hex id, ``b"ref: <target>"``, or None for
        "no such ref")
      actual: what is there, in the same form
    """

    def __init__(
        self, ref: bytes, expected: bytes | None, actual: bytes | None, reason: str | None = None
    ) -> None:
        if reason is None:
            reason = f"expected {_say(expected)}, found {_say(actual)}"
        super().__init__(f"cannot update ref '{os.fsdecode(ref)}': {reason}")
        self.ref = ref
        self.expected = expected
        self.actual = actual


class RefConflictError(ReftableError, OSError):
    """A ref name would be both a ref and a directory of refs (``a`` against ``a/b``).

    Attributes:
      ref: the name that was to be created
      other: the ref in its way
    """

    def __init__(self, ref: bytes, other: bytes) -> None:
        super().__init__(
            f"cannot create ref '{os.fsdecode(ref)}': '{os.fsdecode(other)}' is in the way"
        )
        self.ref = ref
        self.other = other


def _say(value: bytes | None) -> str:
    return "no such ref" if value is None else os.fsdecode(value)
