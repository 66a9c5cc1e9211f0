# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Lock files: created exclusively beside what they lock, as git's are, and waited for.

A lock file excludes other processes and our own threads alike. Threads queue for a mutex first,
so that those of one process do not race each other for the file; the mutex is shared by all
stacks on the same path. A lock that its owner left behind is never broken: nobody can know that
the owner is dead, so the message tells how old it is and what to do.
"""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import suppress
from weakref import WeakValueDictionary

from .errors import LockError, StorageError

__all__ = ["LockFile"]

_FIRST_PAUSE = 0.001  # seconds
_LONGEST_PAUSE = 0.1


class _Mutex:
    """A lock that can be referred to weakly."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


_mutexes: WeakValueDictionary[str, _Mutex] = WeakValueDictionary()
_mutexes_guard = threading.Lock()


def _mutex_for(path: str) -> _Mutex:
    with _mutexes_guard:
        mutex = _mutexes.get(path)
        if mutex is None:
            mutex = _mutexes[path] = _Mutex()
        return mutex


def _forget_threads() -> None:
    """Free every mutex in a forked child: the threads that held them are not there."""
    global _mutexes_guard
    _mutexes_guard = threading.Lock()
    for mutex in list(_mutexes.values()):
        mutex.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


class LockFile:
    """A lock file that we hold.

    Args:
      path: the file to lock; the lock file is ``<path>.lock``
      timeout: seconds to wait for it; 0 to try once, None for ever

    Attributes:
      path: of the lock file
      fd: descriptor to write the new contents to

    Raises:
      LockError: if it stayed taken
      StorageError: if it cannot be created
    """

    def __init__(self, path: str, timeout: float | None) -> None:
        self.path = path + ".lock"
        self.fd = -1
        self._target = path
        self._owner = os.getpid()
        self._mutex = _mutex_for(os.path.abspath(self.path))
        self._lock = self._mutex.lock
        begun = time.monotonic()
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            raise self._taken(time.monotonic() - begun)
        try:
            self._create(begun, timeout)
        except BaseException:
            self._lock.release()
            raise
        self._held = True

    def _create(self, begun: float, timeout: float | None) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
                self.fd = os.open(self.path, flags, 0o666)
                return
            except FileExistsError:
                waited = time.monotonic() - begun
                if timeout is not None and waited >= timeout:
                    raise self._taken(waited) from None
            except OSError as error:
                raise StorageError.of(error, "lock", self.path) from error
            # Jitter, so that those who wait together do not come back together.
            rest = pause * random.uniform(0.5, 1.5)
            time.sleep(rest if timeout is None else max(min(rest, timeout - waited), 0))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _taken(self, waited: float) -> LockError:
        age = None
        with suppress(OSError):
            age = max(time.time() - os.stat(self.path).st_mtime, 0.0)
        return LockError(self.path, age, waited)

    def close(self) -> None:
        """Close the descriptor and go on holding the lock."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def commit(self) -> None:
        """Rename the lock file over what it locks, which also releases the lock.

        Raises:
          OSError: if that fails; the lock is still held
        """
        os.replace(self.path, self._target)
        self._release_mutex()

    def release(self) -> None:
        """Remove the lock file; harmless if the lock is not held any more."""
        with suppress(OSError):
            self.close()
        # A forked child inherits the object, but the lock stays its parent's.
        if self._held and self._owner == os.getpid():
            with suppress(OSError):
                os.unlink(self.path)
            self._release_mutex()

    def _release_mutex(self) -> None:
        if self._held:
            self._held = False
            self._lock.release()
