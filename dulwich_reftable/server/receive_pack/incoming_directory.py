# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The directory of a push, and removing those of pushes whose process died.

A push holds a lock (``flock``) on a file in its directory. The system releases it when the process
ends, however it ends. So if the lock can be taken, nobody uses the directory. Where there are no
such locks, a directory is stale after two days.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["IncomingDirectory", "remove_stale"]

_PREFIX = "incoming-"
_LOCK = "in-use"
_FORGOTTEN = 48 * 3600
"""Seconds after which a directory is stale if a lock does not tell."""


class IncomingDirectory:
    """A new directory, which this process uses until :meth:`remove`.

    Args:
      place: the directory of the objects; None for the system's temporary directory

    Attributes:
      path: of the directory
    """

    def __init__(self, place: str | None) -> None:
        self.path = tempfile.mkdtemp(prefix=_PREFIX, dir=place)
        self._lock = -1
        if fcntl is None:
            return
        # It gets its name when it is locked, so that nobody finds it without its lock.
        early = os.path.join(self.path, _LOCK + ".new")
        self._lock = os.open(early, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with suppress(OSError):  # a file system without locks: then the age tells
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(early, os.path.join(self.path, _LOCK))

    def remove(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock != -1:
            os.close(self._lock)
            self._lock = -1


def remove_stale(place: str) -> list[str]:
    """Remove the directories that no process uses.

    Args:
      place: the directory of the objects
    Returns: the paths of those that were removed
    """
    removed = []
    with suppress(FileNotFoundError):
        for entry in os.scandir(place):
            with suppress(FileNotFoundError):
                if entry.name.startswith(_PREFIX) and _is_stale(entry):
                    shutil.rmtree(entry.path, ignore_errors=True)
                    removed.append(entry.path)
    return removed


def _is_stale(entry: os.DirEntry[str]) -> bool:
    if not entry.is_dir(follow_symlinks=False):
        return False
    if fcntl is not None:
        with suppress(FileNotFoundError):
            fd = os.open(os.path.join(entry.path, _LOCK), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            except OSError:
                pass  # no locks here
            else:
                return True
            finally:
                os.close(fd)
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > _FORGOTTEN
