"""A file system that keeps a removed file under another name while somebody has it open, as NFS."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import pytest

needs_proc = pytest.mark.skipif(
    not os.path.exists("/proc/self/maps"), reason="needs a list of the process's open files"
)
"""Skip a test where it cannot be told which files are open."""


class Ghosts:
    """The files ``.nfs<number>`` that are left; one goes when nobody has it open any more."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._unlink, self._rename = os.unlink, os.rename
        self._left: dict[str, tuple[int, tuple[int, int]]] = {}

    def names(self) -> list[str]:
        """Name those that are left."""
        for name, (directory, identity) in list(self._left.items()):
            if not _is_open(identity):
                with suppress(FileNotFoundError):  # its directory was removed
                    self._unlink(name, dir_fd=directory)
                os.close(directory)
                del self._left[name]
        return sorted(self._left)

    def keep(self, path: Any, dir_fd: int | None) -> bool:
        """Keep a file that is to be removed or replaced, if it is open."""
        self.names()
        try:
            found = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        identity = found.st_dev, found.st_ino
        if not stat.S_ISREG(found.st_mode) or not _is_open(identity):
            return False
        place, old = os.path.split(os.fsdecode(path))
        if old in self._left:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        directory = os.open(place or os.curdir, os.O_RDONLY, dir_fd=dir_fd)
        name = f".nfs{next(self._numbers):08}"
        self._rename(old, name, src_dir_fd=directory, dst_dir_fd=directory)
        self._left[name] = directory, identity
        return True


def _is_open(identity: tuple[int, int]) -> bool:
    """Tell whether this process has a file open, or mapped."""
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found = os.stat(int(fd))
            if (found.st_dev, found.st_ino) == identity:
                return True
    with open("/proc/self/maps") as maps:
        return any(line.split()[4] == str(identity[1]) for line in maps)


@contextmanager
def keeping_open_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ghosts]:
    """Have ``os`` remove and replace files in this way.

    Yields: what was left
    """
    ghosts = Ghosts()
    unlink, rename, replace, rmdir = os.unlink, os.rename, os.replace, os.rmdir

    def remove(path: Any, *, dir_fd: int | None = None) -> None:
        if not ghosts.keep(path, dir_fd):
            unlink(path, dir_fd=dir_fd)

    def remove_directory(path: Any, *, dir_fd: int | None = None) -> None:
        ghosts.names()
        rmdir(path, dir_fd=dir_fd)

    def moving(original: Any) -> Any:
        def move(src: Any, dst: Any, **kwargs: Any) -> None:
            ghosts.keep(dst, kwargs.get("dst_dir_fd"))
            original(src, dst, **kwargs)

        return move

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", remove)
        patch.setattr(os, "remove", remove)
        patch.setattr(os, "rmdir", remove_directory)
        patch.setattr(os, "rename", moving(rename))
        patch.setattr(os, "replace", moving(replace))
        yield ghosts
