# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Lock files: created exclusively beside what they lock, as git's are, and waited for.

A lock file excludes other processes and other threads alike; threads queue (:mod:`.lock_queue`)
before they try. A lock that its owner left behind is never broken, since nobody can know that the
owner is dead: the message says how old the lock is and what to do.

A lock may also be lost: somebody removes the file by hand, and somebody else takes the lock. So the
lock counts as held only while the file is the one that we made. An interrupted commit finds out in
the same way whether its rename has happened.

A lock that its owner has dropped, without releasing it, is released when the object goes. With
reference counts, as in CPython, that is at once. In other Pythons it is when the garbage is
collected. So threads of the same process have it collected before they give up; other processes
see the lock until then.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from ..errors import LockError, StorageError
from . import files
from .files import Descriptor
from .lock_queue import Waiter

__all__ = ["LockFile", "attempts"]

_log = logging.getLogger(__name__)

_SUFFIX = ".lock"

if not files.COUNTS_REFERENCES:
    atexit.register(gc.collect)  # a lock that was dropped would stay behind

_MOST_DENIALS = 35
"""Attempts to create a lock where there is no file; they take a fifth of a second."""

_FIRST_PAUSE = 0.001  # seconds
_LONGEST_PAUSE = 0.1
_PAUSE_GROWTH = 1 / 8
"""Share of the time waited so far that the next pause takes."""


def attempts(
    timeout: float | None, since: float | None = None, longest: float = _LONGEST_PAUSE
) -> Iterator[None]:
    """Yield at once, and again after growing, jittered pauses until the timeout is over.

    Args:
      timeout: seconds; 0 for one attempt, None for ever
      since: when the timeout began (:func:`time.monotonic`); None for now
      longest: seconds that a pause grows to
    """
    begun = time.monotonic() if since is None else since
    while True:
        yield
        waited = time.monotonic() - begun
        if timeout is not None and waited >= timeout:
            return
        pause = min(max(waited * _PAUSE_GROWTH, _FIRST_PAUSE), longest)
        # Jitter, so that those who wait together do not come back together.
        pause *= random.uniform(0.5, 1.5)
        time.sleep(pause if timeout is None else min(pause, timeout - waited))


def _queue_up(waiter: Waiter, timeout: float | None) -> bool:
    """Wait to be the first of the process's threads; tell whether this thread is."""
    if waiter.wait(timeout):
        return True
    if files.COUNTS_REFERENCES:
        return False
    gc.collect()
    return waiter.wait(0)


class LockFile:
    """A lock file that we hold.

    Args:
      path: the file to lock; the lock file is ``<path>.lock``
      timeout: seconds to wait for it; 0 to try once, None for ever

    Attributes:
      path: of the lock file
      file: its descriptor; :meth:`commit` leaves it open, for whoever else refers to it

    Raises:
      LockError: if it stayed taken
      StorageError: if it cannot be created
    """

    _is_over = True  # nothing to release, until the constructor has begun

    def __init__(self, path: str, timeout: float | None) -> None:
        self.path = path + _SUFFIX
        self._target = path
        self._owner = os.getpid()
        self.file = Descriptor()
        self._identity: tuple[int, int] | None = None
        self._is_renaming = False
        # A single try needs no queue: the file excludes others.
        self._waiter: Waiter | None = None
        if timeout != 0:
            self._waiter = Waiter(os.path.abspath(self.path), is_busy=True)
        self._is_over = False
        begun = time.monotonic()
        try:
            if self._waiter is not None and not _queue_up(self._waiter, timeout):
                raise self._taken(begun)
            if not self._create(timeout, self._waiter.since if self._waiter else begun):
                raise self._taken(begun)
        except BaseException:
            self.release()
            raise

    def __del__(self) -> None:
        # An interrupt can come before anybody could release it.
        if not self._is_over:
            self.release()

    def _create(self, timeout: float | None, since: float) -> bool:
        denied: OSError | None = None
        denials = 0
        for _ in attempts(timeout, since):
            try:
                files.create(self.file, self.path)
                self._identify()
            except OSError as error:
                if not files.is_taken(error):
                    raise StorageError.of(error, "lock", self.path) from error
                self._tell_queue(is_busy=False)
                # What Windows denies although nothing is there, it may deny for ever.
                denied = None if os.path.lexists(self.path) else error
                denials = denials + 1 if denied else 0
                if denials == _MOST_DENIALS:
                    break
                continue
            self._tell_queue(is_busy=True)
            return True
        if isinstance(denied, PermissionError):
            raise StorageError.of(denied, "lock", self.path) from denied
        return False

    def _tell_queue(self, *, is_busy: bool) -> None:
        """Tell the threads behind this one whether it is busy, or waits for another process."""
        if self._waiter is not None:
            self._waiter.is_busy = is_busy

    def _identify(self) -> None:
        found = os.fstat(self.fd)
        self._identity = found.st_dev, found.st_ino

    def _taken(self, begun: float) -> LockError:
        age = None
        with suppress(OSError):
            age = max(time.time() - os.stat(self.path).st_mtime, 0.0)
        return LockError(self.path, age, time.monotonic() - begun)

    @property
    def fd(self) -> int:
        """Descriptor to write the new contents to; -1 when it was closed."""
        return self.file.fd

    def close(self) -> None:
        """Close the descriptor, and keep the lock."""
        self.file.close()  # the contents were synced, or are not needed

    def is_held(self) -> bool:
        """Tell whether the lock file exists and is the one that we made.

        Raises:
          OSError: if the file cannot be looked at
        """
        # A forked child inherits the object, but the lock stays its parent's.
        if self._is_over or self._owner != os.getpid():
            return False
        if self._identity is None:
            if self.file.fd < 0:
                return False
            self._identify()
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    @property
    def is_committed(self) -> bool:
        """Whether the rename of :meth:`commit` has happened, even if the call did not return.

        It may have been interrupted, and a network file system can report an error for a rename
        that it has done.
        """
        try:
            return self._is_renaming and not self.is_held()
        except OSError:
            return True  # the caller keeps what the renamed file may name

    def commit(self) -> None:
        """Rename the lock file over what it locks, which also releases the lock.

        The caller has called :meth:`is_held` right before.

        Raises:
          OSError: if that fails
        """
        self._is_renaming = True
        files.when_unused(partial(os.replace, self.path, self._target))
        self.file = Descriptor()
        self._finish(had_lock=True)

    def release(self) -> None:
        """Remove the lock file, if it is ours; harmless if the lock is not held any more."""
        had_lock = self._identity is not None
        try:
            is_ours = self.is_held()
        except OSError:
            is_ours = not self._is_renaming  # it was ours, and probably still is
        if is_ours:
            self._is_renaming = False
            self._unlink()
        self._finish(had_lock=had_lock)

    def _unlink(self) -> None:
        self.close()  # Windows removes no open file
        for tries_left in reversed(range(2)):
            try:
                files.when_unused(partial(os.unlink, self.path))
                return
            except FileNotFoundError:
                return
            except OSError as error:
                if not tries_left:
                    _log.warning("cannot remove the lock '%s': %s", self.path, error)
                    return
                time.sleep(_FIRST_PAUSE)

    def _finish(self, *, had_lock: bool) -> None:
        self.close()
        if self._waiter is not None and self._owner == os.getpid():
            self._waiter.leave(had_lock=had_lock)
        self._is_over = True
