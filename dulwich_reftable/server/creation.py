# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The first push to a repository can create it.

Before that, the client sees an empty repository that exists only in memory. The push goes to a
repository in a staging directory. If it updates a ref, the last step renames the directory to its
final place. Pushes that would create the same repository run one after another, in all processes
of a server, so the second one finds the repository of the first one.

Names are restricted (:func:`parts_of`), because the client chooses a name and operators, backup
scripts and web pages have to handle the directory.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable
from typing import Any, Protocol

from dulwich.errors import NotGitRepository
from dulwich.repo import MemoryRepo

from ..config.files import config_in_force
from ..config.values import GitStackedConfig
from ..engine.stack.lock_queue import Waiter
from ..repo.repo import Repo
from .errors import RefusedError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "STAGING",
    "AnyCreation",
    "Creation",
    "Maker",
    "UnbornRepo",
    "UnfitNameError",
    "default_branch",
    "parts_of",
]

STAGING = ".new-"
"""Prefix of the names of staging directories, which are not served."""

LONGEST_PART = 100
LONGEST_PATH = 255

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_RESERVED = frozenset(
    (
        *("head", "fetch_head", "orig_head", "merge_head", "config", "config.worktree"),
        *("description", "index", "objects", "refs", "reftable", "hooks", "info", "logs"),
        *("branches", "remotes", "worktrees", "modules", "packed-refs", "shallow"),
        *("commondir", "gitdir", "git-upload-pack", "git-receive-pack", "git-upload-archive"),
    )
)
"""Names inside a repository, and names of services; compared without regard to case."""

_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_STALE = 24 * 3600
_POLL = 0.02
_TAKES_LONG = "another push is making this repository; try again later"


class UnfitNameError(NotGitRepository):
    """A new repository cannot have this name; the message is for the client."""


def parts_of(path: str) -> list[str]:
    """Check the name of a new repository.

    Each part is made of ASCII letters, digits, ``_``, ``.``, ``+`` and ``-``, begins with one of
    the first three, and does not end in ``.`` or ``.lock``. Names of parts of a repository
    (``HEAD``, ``objects``, ...) and of Windows' devices are not allowed. A part has up to 100
    characters, all together have 255. The last part may end in ``.git``, the others may not.

    Args:
      path: as the client has it
    Returns: the parts; the last one ends in ``.git``
    Raises:
      UnfitNameError: if the name is not allowed
    """
    parts = path.removeprefix("/").split("/")
    if len(path) > LONGEST_PATH:
        raise UnfitNameError("no repository can be made: the name is too long")
    *folders, last = parts
    stem = last.removesuffix(".git")
    for part in (*folders, stem):
        lower = part.lower()
        if (
            not _PART.fullmatch(part)
            or len(part) > LONGEST_PART
            or lower.endswith((".", ".git", ".lock"))
            or lower in _RESERVED
            or _DEVICES.fullmatch(lower)
        ):
            raise UnfitNameError(f"no repository can be made at {path!a}: {part!a} is no fit name")
    return [*folders, stem + ".git"]


class Maker:
    """Creates repositories in a folder.

    Args:
      root: the folder
      find: takes a path and opens the repository there; gives None if there is none
    """

    def __init__(self, root: str, find: Callable[[str], Repo | None]) -> None:
        self.root = root
        self.find = find
        self._remove_stale()

    def _remove_stale(self) -> None:
        """Remove the staging directories that killed servers left long ago."""
        with os.scandir(self.root) as entries:
            for entry in entries:
                if entry.name.startswith(STAGING) and entry.is_dir(follow_symlinks=False):
                    age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                    if age > _STALE:
                        shutil.rmtree(entry.path, ignore_errors=True)


class AnyCreation(Protocol):
    """Creates one repository; a context manager.

    Attributes:
      repo: the repository to push to; another push may have created it meanwhile

    Raises:
      RefusedError: on entry, if another push takes too long to create it
    """

    repo: Any

    def __enter__(self) -> AnyCreation: ...

    def __exit__(self, *error: object) -> None: ...

    def publish(self) -> None:
        """Let others find the repository; ``repo`` is open there from then on.

        Raises:
          OSError: if that fails
        """


class UnbornRepo(MemoryRepo):
    """Stands for a repository that a push may create; it is empty.

    Args:
      place: where the repository will be
      begin: takes seconds to wait for other pushes, and begins to create the repository
    """

    def __init__(self, place: str, begin: Callable[[float], AnyCreation]) -> None:
        super().__init__()
        self.place = place
        self._begin = begin

    def get_config_stack(self) -> GitStackedConfig:
        """Give the configuration that applies outside of a repository."""
        return config_in_force()

    def creation(self, timeout: float) -> AnyCreation:
        """Begin to create the repository.

        Args:
          timeout: seconds to wait for other pushes that create it; each one that is over gives
            those behind it the same time again
        """
        return self._begin(timeout)


class Creation:
    """Creates one repository; a context manager.

    Attributes:
      repo: the repository to push to: one in a staging directory, or one that another push
        has created meanwhile; it is closed at the end

    Raises:
      RefusedError: on entry, if another push takes too long to create it
    """

    repo: Repo

    def __init__(self, maker: Maker, path: str, place: str, timeout: float) -> None:
        self._maker = maker
        self._path = path
        self._place = place
        self._timeout = timeout
        self._turn = Waiter(place)
        self._staging: str | None = None
        self._lock: _ProcessLock | None = None

    def __enter__(self) -> Creation:
        if not self._turn.wait(self._timeout):
            raise RefusedError(_TAKES_LONG)
        try:
            self._lock = _ProcessLock(self._maker.root, self._place, self._timeout)
            found = self._maker.find(self._path)
            self.repo = found or self._stage()
        except BaseException:
            self._clean()
            raise
        return self

    def _stage(self) -> Repo:
        staging = os.path.join(self._maker.root, STAGING + secrets.token_hex(8))
        os.mkdir(staging)
        self._staging = staging
        Repo.init_bare(staging, default_branch=default_branch()).close()
        # Open it again: the repository that `init` returns has not read the configuration.
        return Repo(staging)

    def publish(self) -> None:
        """Move the repository to its place, and open it there as ``repo``.

        Raises:
          OSError: if something else is at that place
        """
        if self._staging is None:
            return
        self.repo.close()
        os.makedirs(os.path.dirname(self._place), exist_ok=True)
        os.rename(self._staging, self._place)
        self._staging = None
        self.repo = Repo(self._place)

    def __exit__(self, *error: object) -> None:
        self.repo.close()
        self._clean()

    def _clean(self) -> None:
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()
        self._turn.leave(had_lock=True)


class _ProcessLock:
    """Keeps other processes from creating the same repository; a killed one holds it no longer.

    Args:
      root: the folder of all repositories
      place: the directory of the repository
      timeout: seconds to wait

    Raises:
      RefusedError: if another process holds it for too long
    """

    def __init__(self, root: str, place: str, timeout: float) -> None:
        self._fd = -1
        if fcntl is None:
            return  # the rename at the end fails if another process is faster
        name = hashlib.sha256(os.fsencode(place)).hexdigest()[:32]
        self._path = os.path.join(root, f"{STAGING}{name}.lock")
        deadline = time.monotonic() + timeout
        while not self._try():
            if time.monotonic() > deadline:
                raise RefusedError(_TAKES_LONG)
            time.sleep(_POLL)

    def _try(self) -> bool:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The process that held it may have removed the file before we had the lock.
            if os.path.samestat(os.fstat(fd), os.stat(self._path)):
                self._fd, fd = fd, -1
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        finally:
            if fd != -1:
                os.close(fd)
        return False

    def release(self) -> None:
        """Let others have it."""
        if self._fd != -1:
            os.unlink(self._path)
            os.close(self._fd)
            self._fd = -1


def default_branch() -> bytes:
    """Give the short name of the branch that HEAD leads to in a new repository."""
    try:
        return config_in_force().get((b"init",), b"defaultBranch")
    except KeyError:
        return b"main"
