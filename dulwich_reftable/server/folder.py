# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A folder of repositories, as servers see it.

Everything below the folder may be served, and nothing else, whatever paths and symbolic links say.
Each request opens the repositories that it needs and closes them: that takes about a millisecond,
while dulwich's object stores are not made for several threads.
"""

from __future__ import annotations

import os
import secrets
import shutil
from types import TracebackType

from dulwich.errors import NotGitRepository
from dulwich.server import Backend

from ..config_files import config_in_force
from ..repo import Repo

__all__ = ["Folder", "Session"]


class Folder:
    """A folder of repositories.

    Args:
      root: the folder
      create: whether a push to a repository that does not exist makes one, bare and on reftables
    """

    def __init__(self, root: str | os.PathLike[str], *, create: bool = False) -> None:
        self.root = os.path.realpath(root)
        self._creates = create
        if not os.path.isdir(self.root):
            raise NotADirectoryError(f"'{os.fspath(root)}' is no directory")

    def find(self, path: str | bytes, *, for_push: bool = False) -> Repo:
        """Open a repository.

        Args:
          path: as the client has it; ``.git`` at its end may be left out
          for_push: whether it may be made
        Returns: the repository, which the caller closes
        Raises:
          NotGitRepository: if there is none, or it is not in the folder
        """
        place = self._place(os.fsdecode(path))
        for candidate in (place, place + ".git"):
            repo = self._open(candidate)
            if repo is not None:
                return repo
        if self._creates and for_push and not os.path.lexists(place):
            self._make(place)
            repo = self._open(place)
            if repo is not None:
                return repo
        raise NotGitRepository(f"no repository at {os.fsdecode(path)!a}")

    def _place(self, path: str) -> str:
        """Give the place of a path in the folder; symbolic links are not looked at."""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts or "\0" in path or os.path.isabs(os.path.join(*parts, "")):
            raise NotGitRepository(f"no repository at {path!a}")
        if parts and parts[-1] == ".git":
            parts.pop()  # a repository with a working tree is asked for by that
        return os.path.join(self.root, *parts)

    def _open(self, place: str) -> Repo | None:
        if not self._has(place):
            return None
        try:
            repo = Repo(place)
        except NotGitRepository:
            return None
        if self._has(repo.controldir()) and self._has(repo.commondir()):
            return repo
        repo.close()
        return None

    def _has(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self.root or real.startswith(os.path.join(self.root, ""))

    def _make(self, place: str) -> None:
        """Make a repository, elsewhere first, so that nobody sees half of one."""
        parent, name = os.path.split(place)
        if name.startswith(".") or not self._has(parent) or self._is_in_repository(parent):
            raise NotGitRepository(f"no repository can be made at {name!a}")
        os.makedirs(parent, exist_ok=True)
        made = os.path.join(self.root, f".new-{secrets.token_hex(8)}")
        os.mkdir(made)
        try:
            Repo.init_bare(made, default_branch=_default_branch()).close()
            os.rename(made, place)
        except OSError:
            if not os.path.isdir(place):  # somebody else was faster
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _is_in_repository(self, place: str) -> bool:
        while self._has(place):
            marks = (os.path.join(place, mark) for mark in ("HEAD", ".git"))
            if any(map(os.path.lexists, marks)):
                return True
            place = os.path.dirname(place)
        return False

    def session(self) -> Session:
        """Begin a request."""
        return Session(self)


class Session(Backend):
    """The repositories of one request; a context manager that closes them."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._opened: dict[str, Repo] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for repo in self._opened.values():
            repo.close()
        self._opened.clear()

    def open_repository(self, path: str | bytes, *, for_push: bool = False) -> Repo:
        """Open a repository, unless it is.

        Args:
          path: as the client has it
          for_push: whether it may be made
        Raises:
          NotGitRepository: if there is none
        """
        key = os.fsdecode(path)
        if key not in self._opened:
            self._opened[key] = self._folder.find(key, for_push=for_push)
        return self._opened[key]


def _default_branch() -> bytes:
    try:
        return config_in_force().get((b"init",), b"defaultBranch")
    except KeyError:
        return b"main"
