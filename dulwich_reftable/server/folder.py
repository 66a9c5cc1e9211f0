# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A folder of repositories to serve.

The server serves repositories below the folder only, whatever paths and symbolic links say. It does
not serve other users' repositories unless ``safe.directory`` allows it. Each request opens its own
repository and closes it, because dulwich's object stores are not thread-safe; opening takes about a
millisecond.
"""

from __future__ import annotations

import logging
import os
from typing import Any, Protocol

from dulwich.errors import NotGitRepository
from dulwich.server import Backend

from ..repo.repo import Repo
from .access import is_safe
from .creation import STAGING, Creation, Maker, UnbornRepo, UnfitNameError, parts_of

__all__ = ["AnyFolder", "Folder", "Session"]

_log = logging.getLogger("dulwich_reftable.server")

_EXPORT_OK = "git-daemon-export-ok"


class AnyFolder(Protocol):
    """Repositories to serve: a :class:`Folder`, or one in an object store."""

    root: str

    def find(self, path: str | bytes) -> Any:
        """Open a repository; see :meth:`Folder.find`."""

    def find_for_push(self, path: str | bytes) -> Any:
        """Open a repository, or give a stand-in; see :meth:`Folder.find_for_push`."""

    def release(self, repo: Any) -> None:
        """Take back what one of these gave, at the end of a request."""

    def name_of(self, repo: Any) -> str:
        """Give the real path of a repository below the folder."""

    def session(self) -> Session:
        """Begin a request."""


class Folder:
    """A folder of repositories.

    Args:
      root: the folder
      create: whether a push to a repository that does not exist creates it, bare and on reftables;
        :func:`.creation.parts_of` says which names are allowed
      export_ok: whether only repositories are served that hold the file ``git-daemon-export-ok``,
        as by ``git daemon`` without ``--export-all``
    """

    def __init__(
        self, root: str | os.PathLike[str], *, create: bool = False, export_ok: bool = False
    ) -> None:
        self._export_ok = export_ok
        self.root = os.path.realpath(root)
        if not os.path.isdir(self.root):
            raise NotADirectoryError(f"'{os.fspath(root)}' is no directory")
        self._maker = Maker(self.root, self._look) if create else None

    def find(self, path: str | bytes) -> Repo:
        """Open a repository.

        Args:
          path: as the client sent it; ``.git`` at its end may be missing
        Returns: the repository, which the caller closes
        Raises:
          NotGitRepository: if there is none, it is outside of the folder, or another user owns it
        """
        repo = self._look(os.fsdecode(path))
        if repo is None:
            raise NotGitRepository(f"no repository at {os.fsdecode(path)!a}")
        return repo

    def find_for_push(self, path: str | bytes) -> Repo | UnbornRepo:
        """Open a repository, or give a stand-in for one that the push may create.

        Args:
          path: as the client sent it
        Returns: the repository or stand-in, which the caller closes
        Raises:
          NotGitRepository: if there is none, and none can be created
        """
        name = os.fsdecode(path)
        if self._maker is None:
            return self.find(name)
        repo = self._look(name)
        if repo is not None:
            return repo
        place = os.path.join(self.root, *parts_of(name))
        parent = os.path.dirname(place)
        is_taken = any(map(os.path.lexists, (place, place.removesuffix(".git"))))
        if is_taken or not self._has(parent) or self._is_in_repository(parent):
            raise UnfitNameError(f"no repository can be made at {name!a}: something else is there")
        maker = self._maker
        return UnbornRepo(place, lambda timeout: Creation(maker, name, place, timeout))

    def _look(self, path: str) -> Repo | None:
        """Open a repository; None if it does not exist or must not be served."""
        place = self._place(path)
        for candidate in (place, place + ".git"):
            repo = self._open(candidate)
            if repo is not None:
                return repo
        return None

    def _place(self, path: str) -> str:
        """Turn a path of a client into a path in the folder, without following symbolic links."""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if (
            ".." in parts
            or "\0" in path
            or os.path.isabs(os.path.join(*parts, ""))
            or any(part.startswith(STAGING) for part in parts)
        ):
            raise NotGitRepository(f"no repository at {path!a}")
        if parts and parts[-1] == ".git":
            parts.pop()  # clients name a repository with a working tree in this way
        return os.path.join(self.root, *parts)

    def _open(self, place: str) -> Repo | None:
        if not self._has(place):
            return None
        try:
            repo = Repo(place)
        except NotGitRepository:
            return None
        if self._has(repo.controldir()) and self._has(repo.commondir()) and self._is_exported(repo):
            if is_safe(repo):
                return repo
            _log.warning("%a belongs to another user; safe.directory could allow it", place)
        repo.close()
        return None

    def _is_exported(self, repo: Repo) -> bool:
        return not self._export_ok or os.path.exists(os.path.join(repo.controldir(), _EXPORT_OK))

    def name_of(self, repo: Repo | UnbornRepo) -> str:
        """Give the real path of a repository below the folder, without ``/.git``.

        A linked working tree has the name of its repository.
        """
        place = repo.place if isinstance(repo, UnbornRepo) else repo.commondir()
        name = os.path.relpath(os.path.realpath(place), self.root).replace(os.sep, "/")
        return name.removesuffix("/.git")

    def _has(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self.root or real.startswith(os.path.join(self.root, ""))

    def _is_in_repository(self, place: str) -> bool:
        while self._has(place):
            is_bare = all(
                os.path.lexists(os.path.join(place, part)) for part in ("HEAD", "objects", "refs")
            )
            if is_bare or os.path.lexists(os.path.join(place, ".git")):
                return True
            place = os.path.dirname(place)
        return False

    def release(self, repo: Repo | UnbornRepo) -> None:
        """Close a repository at the end of a request."""
        repo.close()

    def session(self) -> Session:
        """Begin a request; the repositories that it opens are closed at its end."""
        return Session(self)


class Session(Backend):
    """The open repositories of one request; a context manager that closes them."""

    def __init__(self, folder: AnyFolder) -> None:
        self._folder = folder
        self._opened: dict[str, Any] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        for repo in self._opened.values():
            self._folder.release(repo)
        self._opened.clear()

    def open_repository(self, path: str | bytes, *, for_push: bool = False) -> Any:
        """Open a repository, or give the one that is already open.

        Args:
          path: as the client sent it
          for_push: whether a repository that does not exist may be created
        Raises:
          NotGitRepository: if there is none
        """
        key = os.fsdecode(path)
        if key not in self._opened:
            folder = self._folder
            self._opened[key] = folder.find_for_push(key) if for_push else folder.find(key)
        return self._opened[key]

    def name_of(self, repo: Repo | UnbornRepo) -> str:
        """Give the real path of an open repository below the folder."""
        return self._folder.name_of(repo)
