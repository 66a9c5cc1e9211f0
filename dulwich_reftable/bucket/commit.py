# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Swapping the head object: yes, no, or unknown.

A conditional put that is not answered by success leaves a doubt. It may have been applied before
the answer was lost, it may be applied later, and a client that repeats it by itself is told that
its own success was a failure. So the answer is never trusted: the head is read back, and the chain
of nonces in it tells what became of the put (:meth:`~.head.Head.fate_of`).

* Our nonce follows the base's: the swap has happened. What was *read* is the list now, since others
  may have built on ours.
* Another nonce follows the base's: ours is lost for good, because its condition can never be met
  again.
* The base is still there: the same body is put again. If both arrive, only one is applied.

If time runs out while the base is still there, a late put might yet be applied. A head that differs
from the base by its nonce alone is swapped in, as a fence. Once it is there, ours is lost for good.
If that cannot be done, the outcome is unknown.
"""

from __future__ import annotations

import errno
import threading
import time
from typing import NamedTuple

from ..engine.errors import (
    OutcomeUnknownError,
    RefsMovedError,
    ReftableError,
    StaleListError,
    StorageError,
)
from .client import Bucket, Version
from .errors import (
    ConditionError,
    ConflictError,
    MissingObjectError,
    UnavailableError,
)
from .head import MAX_SIZE, WRITER_DIGITS, Fate, Head, new_nonce
from .probe import check_conditions
from .requests import tries

__all__ = ["HEAD", "FasterError", "HeadObject", "Installed"]

HEAD = "head"
"""The key of the head object."""

_FENCE_SECONDS = 5.0
"""Seconds spent on making sure that an update which failed stays so."""


class Installed(NamedTuple):
    """A head, and the version of the object that says so."""

    head: Head
    version: Version


class FasterError(StaleListError):
    """Somebody else has replaced the head.

    Attributes:
      found: the head that was read then
    """

    def __init__(self, location: str, found: Installed) -> None:
        super().__init__(f"{location}: somebody else has replaced the head")
        self.found = found


class _Tried(NamedTuple):
    """How a series of puts ended.

    Attributes:
      found: a head that is not the base any more; None if time ran out before
      failure: what happened last
      in_doubt: whether one of the puts may yet be applied
    """

    found: Installed | None
    failure: ReftableError | None
    in_doubt: bool


class HeadObject:
    """The head object of one stack. Threads may share it.

    Args:
      bucket: where the stack is
      patience: seconds for which a swap is tried while the store does not answer; None for the
        client's deadline

    Attributes:
      location: of the object, for messages
    """

    def __init__(self, bucket: Bucket, *, patience: float | None = None) -> None:
        self.location = bucket.locate(HEAD)
        self._bucket = bucket
        self._patience = bucket.client.deadline if patience is None else patience
        self._pace_lock = threading.Lock()
        self._next_put = float("-inf")

    def create(self, head: Head) -> Installed:
        """Make the first head of a new stack.

        Raises:
          StorageError: one of :mod:`.errors`; ``EEXIST`` if there is a head already
          OutcomeUnknownError: if nobody knows whether this head is, or will be, there
        """
        check_conditions(self._bucket)
        failure: StorageError | None = None
        for _ in tries(self._patience):
            try:
                return Installed(head, self._bucket.create(HEAD, head.encode()))
            except (ConditionError, ConflictError, UnavailableError) as error:
                failure = error
            try:
                found = self.read()
            except (RefsMovedError, UnavailableError):
                continue
            first = found.head.nonce_of(0)
            if first == head.nonce:
                return found
            raise StorageError(errno.EEXIST, "refs are kept here already", self.location)
        raise OutcomeUnknownError(self.location, str(failure))

    def read(self, known: Installed | None = None) -> Installed:
        """Read the head.

        Args:
          known: an earlier one
        Returns: ``known`` itself if it is current
        Raises:
          RefsMovedError: if there is no head
          CorruptTableError: if it is damaged
          StorageError: one of :mod:`.errors`
        """
        unless = None if known is None else known.version
        try:
            found = self._bucket.get(HEAD, unless, limit=MAX_SIZE)
        except MissingObjectError:
            raise RefsMovedError(self.location, "no refs are kept here") from None
        if found is None:
            assert known is not None
            return known
        return Installed(Head.decode(found.data, self.location), found.version)

    def swap(self, base: Installed, head: Head) -> Installed:
        """Put a head in place of another.

        Args:
          base: what it replaces
          head: a successor of it
        Returns: the head that is in place; it may be one that builds on ``head``
        Raises:
          FasterError: if another was faster; nothing has happened, nor will it
          RefsMovedError: if there is no head any more
          StorageError: one of :mod:`.errors`; the same
          OutcomeUnknownError: if nobody knows whether it has happened, or will happen
        """
        check_conditions(self._bucket)
        tried = self._try(base, head, self._patience)
        fence = None
        if tried.found is None:
            assert tried.failure is not None
            if not tried.in_doubt:
                raise tried.failure
            fence = base.head.successor(new_nonce(head.nonce[:WRITER_DIGITS]), time.time())
            failure, tried = tried.failure, self._try(base, fence, _FENCE_SECONDS)
        found = tried.found
        fate = Fate.UNKNOWN if found is None else found.head.fate_of(head.nonce, base.head)
        if fate is Fate.APPLIED and found is not None:
            return found
        if fate is Fate.LOST and found is not None:
            if fence is not None and found.head.fate_of(fence.nonce, base.head) is Fate.APPLIED:
                raise failure
            raise FasterError(self.location, found)
        raise OutcomeUnknownError(self.location, str(tried.failure))

    def _try(self, base: Installed, head: Head, seconds: float) -> _Tried:
        """Put a head in place of another until it is known that one took the base's place."""
        body = head.encode()
        version = base.version
        failure: ReftableError | None = None
        in_doubt = False
        for _ in tries(seconds):
            self._keep_pace()
            try:
                put = self._bucket.replace(HEAD, body, version)
                return _Tried(Installed(head, put), None, False)
            except ConflictError as error:
                failure = error  # certainly not applied
                continue
            except UnavailableError as error:
                failure = error
                if not error.was_sent:
                    continue
            except ConditionError as error:
                failure = error
            except StorageError as error:
                return _Tried(None, error, in_doubt)
            is_first, in_doubt = not in_doubt, True
            try:
                found = self.read()
            except ReftableError as error:
                if isinstance(error, RefsMovedError) and isinstance(failure, ConditionError):
                    # No put is under way that could bring the head back.
                    return _Tried(None, error, not is_first)
                failure = error
                if isinstance(error, UnavailableError):
                    continue
                break
            if found.head.fate_of(head.nonce, base.head) is not Fate.PENDING:
                return _Tried(found, failure, False)
            version = found.version
        return _Tried(None, failure, in_doubt)

    def _keep_pace(self) -> None:
        """Wait until the store allows one more write of the object."""
        pace = self._bucket.client.pace
        if pace:
            with self._pace_lock:
                time.sleep(max(self._next_put - time.monotonic(), 0.0))
                self._next_put = time.monotonic() + pace
