"""Other file systems, played on this one: the functions of ``os`` behave as they would there.

``windows``
    A file that is open or mapped can be neither removed, nor renamed, nor replaced; ``os.rename``
    replaces nothing; a directory cannot be opened; some names are refused, some become others,
    and case makes no difference. There are drives, backslashes, and no ``fork``.
``nfs``
    A removed file that is open stays as ``.nfs<number>``. What another host has removed is stale.
``caseless``
    Case and Unicode normalization make no difference between names, but are kept.
``nosync``
    Directories cannot be synced.

Git, and every other program that a test starts, sees the real file system.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import mmap
import os
import re
import shutil
import stat
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import pytest

import dulwich_reftable.engine.stack.files as engine_files
import dulwich_reftable.objects.reader  # noqa: F401 (before mmap, which it names, is replaced)
from support.garbage import COUNTS_REFERENCES

GHOST = ".nfs"
KINDS = ("windows", "nfs", "caseless", "nosync")

needs_proc = pytest.mark.skipif(
    not os.path.exists("/proc/self/maps"), reason="needs a list of the process's open files"
)
"""Skip a test where it cannot be told which files are open."""

moves_open_files = pytest.mark.plain_filesystem(
    "removes, replaces or moves what is open or mapped", on=("windows",)
)
"""Skip a test that does itself what only POSIX lets it do."""

syncs_directories = pytest.mark.plain_filesystem("directories are not synced", on=("windows",))
"""Skip a test of how directories are synced."""

_ONE_PATH = (
    *("open", "stat", "lstat", "unlink", "rmdir", "mkdir", "chmod", "utime", "access"),
    *("listdir", "scandir", "readlink", "truncate"),
)
_TWO_PATHS = ("rename", "replace", "link")

_real_open, _real_stat, _real_lstat = os.open, os.stat, os.lstat
_real_listdir, _real_readlink, _real_unlink = os.listdir, os.readlink, os.unlink
_real_rename, _real_mmap = os.rename, mmap.mmap

Patch = pytest.MonkeyPatch
Identity = tuple[int, int]


def _identity_of(path: Any, dir_fd: int | None = None) -> Identity | None:
    """Identify a plain file; None if there is none."""
    try:
        found = _real_stat(path, dir_fd=dir_fd, follow_symlinks=False)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _require_counts() -> None:
    if not COUNTS_REFERENCES:
        pytest.skip("files stay open until garbage is collected")


def is_open(identity: Identity) -> bool:
    """Tell whether this process has a file open, or mapped."""
    for fd in _real_listdir("/proc/self/fd"):
        with suppress(OSError):
            found = _real_stat(int(fd))
            if (found.st_dev, found.st_ino) == identity:
                return True
    with open("/proc/self/maps") as maps:
        return any(line.split()[4] == str(identity[1]) for line in maps)


def _open_below(directory: str) -> bool:
    """Tell whether this process has a file open, or mapped, below a directory."""
    below = os.path.realpath(directory) + "/"
    for fd in _real_listdir("/proc/self/fd"):
        with suppress(OSError):
            if _real_readlink(f"/proc/self/fd/{fd}").startswith(below):
                return True
    with open("/proc/self/maps") as maps:
        return any(below in line for line in maps)


@contextmanager
def playing(kind: str, monkeypatch: Patch) -> Iterator[None]:
    """Play a file system; skip the test if this Python keeps files open that nobody refers to.

    Args:
      kind: one of :data:`KINDS`
      monkeypatch: the fixture
    """
    if kind in ("windows", "nfs"):
        _require_counts()
    with monkeypatch.context() as patch:
        if kind == "windows":
            _play_windows(patch)
        elif kind == "nfs":
            _play_nfs(patch)
        elif kind == "caseless":
            _play_names(patch, _Names())
        else:
            _play_nosync(patch)
        yield


_real_scandir, _real_rmdir = os.scandir, os.rmdir


def remove_tree(path: Any) -> None:
    """Remove a directory to begin again, whatever is open in it, as no played file system does."""
    with _real_scandir(path) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                remove_tree(entry.path)
            else:
                with suppress(FileNotFoundError):  # a ghost that has gone
                    _real_unlink(entry.path)
    _real_rmdir(path)


def names_in(directory: Any) -> list[str]:
    """Name the files in a directory, but for the ghosts of NFS that somebody has open."""
    return sorted(name for name in os.listdir(directory) if not name.startswith(GHOST))


# Names


def folded(name: str) -> str:
    """Give the same text for all spellings of a name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class _Names:
    """Names whose case makes no difference."""

    def real(self, path: Any) -> Any:
        """Give the spelling in which a file exists, or would be made."""
        text = os.fsdecode(path)
        if _exists(text):
            return path
        place, name = text.rpartition("/")[::2]
        if not name:
            return path
        if place and not _exists(place):
            place = self.real(place)
        with suppress(OSError):
            for found in _real_listdir(place or ("/" if text[0] == "/" else os.curdir)):
                if folded(found) == folded(name):
                    name = found
                    break
        made = f"{place}/{name}" if "/" in text else name
        return os.fsencode(made) if isinstance(path, bytes) else made


def _exists(path: str) -> bool:
    try:
        _real_lstat(path)
    except OSError:
        return False
    return True


class _WindowsNames(_Names):
    r"""Drives and backslashes; characters that no name has; ends of names that do not count.

    A device, such as ``NUL``, is in every directory.
    """

    _REFUSED = re.compile(r'[<>:"|?*\x00-\x1f]')
    _DEVICE = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?", re.IGNORECASE)

    def real(self, path: Any) -> Any:
        text = re.sub(r"^[A-Za-z]:(?=[/\\])", "", os.fsdecode(path)).replace("\\", "/")
        if text.startswith(("/proc/", "/dev/")):
            return path
        parts = [part if part in (".", "..") else part.rstrip(". ") for part in text.split("/")]
        if any(map(self._REFUSED.search, parts)):
            error = OSError(errno.EINVAL, "The filename, directory name, or ... is incorrect", path)
            error.winerror = 123  # type: ignore[attr-defined,unused-ignore]
            raise error
        if self._DEVICE.fullmatch(parts[-1]):
            return os.devnull
        text = "/".join(parts)
        return super().real(os.fsencode(text) if isinstance(path, bytes) else text)


def _play_names(patch: Patch, names: _Names) -> None:
    def by_path(real: Any) -> Callable[..., Any]:
        def call(path: Any = os.curdir, *args: Any, **kwargs: Any) -> Any:
            if isinstance(path, int) or kwargs.get("dir_fd") is not None:
                return real(path, *args, **kwargs)
            return real(names.real(os.fspath(path)), *args, **kwargs)

        return call

    def by_paths(real: Any) -> Callable[..., Any]:
        def call(src: Any, dst: Any, **kwargs: Any) -> Any:
            if kwargs.get("src_dir_fd") is not None or kwargs.get("dst_dir_fd") is not None:
                return real(src, dst, **kwargs)
            return real(names.real(os.fspath(src)), names.real(os.fspath(dst)), **kwargs)

        return call

    for name in _ONE_PATH:
        patch.setattr(os, name, by_path(getattr(os, name)))
    patch.setattr(os, "remove", os.unlink)
    for name in _TWO_PATHS:
        patch.setattr(os, name, by_paths(getattr(os, name)))
    patch.setattr(io, "open", by_path(io.open))
    patch.setattr(builtins, "open", io.open)


# Windows


def _in_use(path: Any) -> PermissionError:
    error = PermissionError(errno.EACCES, "The process cannot access the file: it is in use", path)
    error.winerror = 32  # type: ignore[attr-defined,unused-ignore]
    return error


def _is_directory(path: Any, dir_fd: int | None = None) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISDIR(_real_stat(path, dir_fd=dir_fd, follow_symlinks=False).st_mode)
    return False


def _play_windows(patch: Patch) -> None:
    unlink, rename, replace, rmdir, fsync = os.unlink, os.rename, os.replace, os.rmdir, os.fsync

    def refuse_open(path: Any, dir_fd: int | None = None) -> None:
        identity = _identity_of(path, dir_fd)
        if identity is not None and is_open(identity):
            raise _in_use(path)

    def refuse_directory(path: Any, dir_fd: int | None = None) -> None:
        if _is_directory(path, dir_fd):
            raise PermissionError(errno.EACCES, "Access is denied", path)

    def opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        refuse_directory(path, dir_fd)
        if path == os.devnull:
            flags &= ~(os.O_CREAT | os.O_EXCL)
        return _real_open(path, flags, mode, dir_fd=dir_fd)

    def removed(path: Any, *, dir_fd: int | None = None) -> None:
        refuse_directory(path, dir_fd)
        refuse_open(path, dir_fd)
        unlink(path, dir_fd=dir_fd)

    def moved(src: Any, dst: Any, *, is_replacing: bool) -> None:
        if _exists(dst) and not is_replacing and src != dst:
            raise FileExistsError(errno.EEXIST, "Cannot create a file that exists", src, None, dst)
        refuse_open(src)
        refuse_open(dst)
        if _is_directory(src) and _open_below(src):
            raise PermissionError(errno.EACCES, "Access is denied", src)
        if is_replacing:
            refuse_directory(dst)
            replace(src, dst)
        else:
            rename(src, dst)

    def synced(fd: int) -> None:
        if isinstance(fd, int) and _is_read_only(fd):
            raise OSError(errno.EBADF, "Bad file descriptor")
        fsync(fd)

    patch.setattr(os, "open", opened)
    patch.setattr(os, "unlink", removed)
    patch.setattr(os, "rename", lambda src, dst: moved(src, dst, is_replacing=False))
    patch.setattr(os, "replace", lambda src, dst: moved(src, dst, is_replacing=True))
    patch.setattr(os, "rmdir", rmdir)
    patch.setattr(os, "fsync", synced)
    patch.setattr(mmap, "mmap", _MapOfWindows)
    patch.setattr(shutil, "_use_fd_functions", False)
    if hasattr(shutil, "_rmtree_impl"):  # from Python 3.15 on, it is chosen at import
        patch.setattr(shutil, "_rmtree_impl", getattr(shutil, "_rmtree_unsafe"))  # noqa: B009
    _play_names(patch, _WindowsNames())
    patch.setattr(engine_files, "IS_WINDOWS", True)


def _is_read_only(fd: int) -> bool:
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY


class _MapOfWindows(mmap.mmap):
    """A map that keeps its file open, and knows no way not to."""

    def __new__(cls, fd: int, length: int, *, access: int = 0) -> _MapOfWindows:
        made: _MapOfWindows = super().__new__(cls, fd, length, access=access)
        return made


# NFS


class Ghosts:
    """The files ``.nfs<number>`` that are left; one goes when nobody has it open any more."""

    def __init__(self, close: Callable[[int], None]) -> None:
        self._close = close
        self._lock = threading.RLock()
        self._numbers = count(1)
        self._left: dict[str, tuple[int, Identity]] = {}
        self._stale: set[Identity] = set()
        self._is_elsewhere = False
        self._is_clearing = False

    def names(self) -> list[str]:
        """Name those that are left."""
        with self._lock:
            if not self._is_clearing:  # garbage that is collected here closes files
                self._is_clearing = True
                try:
                    self._clear()
                finally:
                    self._is_clearing = False
            return sorted(self._left)

    def _clear(self) -> None:
        with self._lock:
            for name, (directory, identity) in list(self._left.items()):
                if not is_open(identity):
                    with suppress(FileNotFoundError):  # its directory was removed
                        _real_unlink(name, dir_fd=directory)
                    self._close(directory)
                    del self._left[name]

    def keep(self, path: Any, dir_fd: int | None) -> bool:
        """Keep a file that is to be removed or replaced, if it is open."""
        with self._lock:
            return self._keep(path, dir_fd)

    def _keep(self, path: Any, dir_fd: int | None) -> bool:
        self.names()
        identity = _identity_of(path, dir_fd)
        if identity is None or not is_open(identity):
            return False
        if self._is_elsewhere:
            self._stale.add(identity)
            return False
        place, old = os.path.split(os.fsdecode(path))
        if old in self._left:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        directory = _real_open(place or os.curdir, os.O_RDONLY, dir_fd=dir_fd)
        name = f"{GHOST}{next(self._numbers):08}"
        _real_rename(old, name, src_dir_fd=directory, dst_dir_fd=directory)
        self._left[name] = directory, identity
        return True

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Remove files on another host: who has one open here cannot read it any more."""
        self._is_elsewhere = True
        try:
            yield
        finally:
            self._is_elsewhere = False

    def refuse_stale(self, fd: int) -> None:
        """Raise an error if another host has removed the open file."""
        found = _real_stat(fd)
        if (found.st_dev, found.st_ino) in self._stale and not found.st_nlink:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def _play_nfs(patch: Patch) -> Ghosts:
    ghosts = Ghosts(os.close)
    unlink, rename, replace, close = os.unlink, os.rename, os.replace, os.close

    def removed(path: Any, *, dir_fd: int | None = None) -> None:
        if not ghosts.keep(path, dir_fd):
            unlink(path, dir_fd=dir_fd)

    def after_them(original: Any) -> Any:
        """Remove the ghosts that nobody has open any more before something is done."""

        def call(*args: Any, **kwargs: Any) -> Any:
            ghosts.names()
            return original(*args, **kwargs)

        return call

    def closed(fd: int) -> None:
        close(fd)
        ghosts.names()

    def moving(original: Any) -> Any:
        def moved(src: Any, dst: Any, **kwargs: Any) -> None:
            ghosts.keep(dst, kwargs.get("dst_dir_fd"))
            original(src, dst, **kwargs)

        return moved

    def looking(original: Any) -> Any:
        def looked(fd: int, *args: Any, **kwargs: Any) -> Any:
            ghosts.refuse_stale(fd)
            return original(fd, *args, **kwargs)

        return looked

    patch.setattr(os, "unlink", removed)
    patch.setattr(os, "remove", removed)
    patch.setattr(os, "close", closed)
    for name in ("rmdir", "listdir", "scandir"):
        patch.setattr(os, name, after_them(getattr(os, name)))
    patch.setattr(os, "rename", moving(rename))
    patch.setattr(os, "replace", moving(replace))
    patch.setattr(os, "read", looking(os.read))
    patch.setattr(os, "fstat", looking(os.fstat))

    class Map(mmap.mmap):
        def __new__(cls, fd: int, *args: Any, **kwargs: Any) -> Map:
            ghosts.refuse_stale(fd)
            made: Map = super().__new__(cls, fd, *args, **kwargs)
            return made

    patch.setattr(mmap, "mmap", Map)
    return ghosts


@contextmanager
def nfs(monkeypatch: Patch) -> Iterator[Ghosts]:
    """Play NFS, as :func:`playing` does.

    Yields: what was left
    """
    _require_counts()
    with monkeypatch.context() as patch:
        yield _play_nfs(patch)


# Directories that cannot be synced


def _play_nosync(patch: Patch) -> None:
    fsync = os.fsync

    def synced(fd: Any) -> None:
        if isinstance(fd, int) and stat.S_ISDIR(_real_stat(fd).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(fd)

    patch.setattr(os, "fsync", synced)
