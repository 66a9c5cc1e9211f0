# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What can go wrong with an object store, told apart.

Every kind is a :class:`~dulwich_reftable.engine.errors.StorageError`. A missing object is the only
one that may ever mean "there is nothing here": a missing bucket, refused credentials and a store
that does not answer are kinds of their own.
"""

from __future__ import annotations

import errno

from ..engine.errors import StorageError

__all__ = [
    "AccessError",
    "ConditionError",
    "ConflictError",
    "MissingBucketError",
    "MissingObjectError",
    "NotModifiedError",
    "UnavailableError",
    "UnfitStoreError",
]


class MissingObjectError(StorageError):
    """The bucket has no object of that name (``ENOENT``)."""

    def __init__(self, location: str) -> None:
        super().__init__(errno.ENOENT, "no such object", location)


class MissingBucketError(StorageError):
    """The bucket itself is not there (``ENXIO``)."""

    def __init__(self, location: str) -> None:
        super().__init__(errno.ENXIO, "the bucket does not exist", location)


class AccessError(StorageError):
    """The store refused the credentials, or what they were used for (``EACCES``)."""

    def __init__(self, location: str, reason: str) -> None:
        super().__init__(errno.EACCES, f"the store refused access: {reason}", location)


class ConditionError(StorageError):
    """A conditional write found another state than it asked for, and wrote nothing (``EEXIST``).

    A client that repeats requests by itself may get this answer although an earlier try of the
    same write succeeded: read the object back to know.
    """

    def __init__(self, location: str) -> None:
        super().__init__(errno.EEXIST, "the object exists, or is not the one to replace", location)


class ConflictError(StorageError):
    """Another write of the object was under way; nothing was written, try again (``EAGAIN``)."""

    def __init__(self, location: str) -> None:
        super().__init__(errno.EAGAIN, "another write of the object was under way", location)


class NotModifiedError(StorageError):
    """The object still is in the version that a read already knows (``EEXIST``)."""

    def __init__(self, location: str) -> None:
        super().__init__(errno.EEXIST, "the object has not changed", location)


class UnavailableError(StorageError):
    """The store did not answer, or asked to be left alone (``ETIMEDOUT``).

    Attributes:
      was_sent: False if the request certainly never reached the store; otherwise a write may have
        happened, or may happen yet
    """

    def __init__(self, location: str, reason: str, *, was_sent: bool = True) -> None:
        super().__init__(errno.ETIMEDOUT, f"the store does not answer: {reason}", location)
        self.was_sent = was_sent


class UnfitStoreError(StorageError):
    """The store cannot keep a repository, because it ignores conditions (``ENOTSUP``)."""

    def __init__(self, location: str, reason: str) -> None:
        super().__init__(errno.ENOTSUP, f"the store cannot keep refs: {reason}", location)
