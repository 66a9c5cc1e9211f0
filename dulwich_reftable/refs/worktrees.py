# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Where the stacks of a repository are: in its control directories, or in one place elsewhere.

On disk, the main worktree and each linked one have a control directory with a stack. A repository
that lives elsewhere has one stack and no worktrees.
"""

from __future__ import annotations

import os
from typing import Protocol

from ..config.format_watch import FormatWatch
from ..config.settings import Settings
from ..engine.errors import StorageError
from ..engine.stack.directory import DirectoryStorage
from ..engine.stack.storage import Storage

__all__ = ["ControlDirectories", "SingleStorage", "StackStorages", "worktree_ids"]


class StackStorages(Protocol):
    """The storages of a repository's stacks, as one worktree sees them."""

    @property
    def common_dir(self) -> str | None:
        """The repository's control directory; None if there is none."""

    @property
    def git_dir(self) -> str | None:
        """The control directory of the worktree; None if there is none."""

    @property
    def worktree(self) -> bytes | None:
        """The id of the linked worktree; None for the main one."""

    def open(self, worktree: bytes | None) -> Storage:
        """Give the storage of a worktree's stack; None is the main worktree.

        The stack need not have been written to.
        """

    def worktrees(self) -> list[bytes]:
        """List the ids of the linked worktrees that have a stack."""

    def require(self, worktree: bytes) -> None:
        """Check that there is a linked worktree.

        Raises:
          StorageError: if there is none of this id
        """


class ControlDirectories:
    """The stacks in a repository's control directories.

    Args:
      common_dir: the repository's
      git_dir: the worktree's; the same for the main worktree
      settings: the repository's
    """

    def __init__(self, common_dir: str, git_dir: str, settings: Settings) -> None:
        self.common_dir = common_dir
        self.git_dir = git_dir
        self._settings = settings
        self._watch = FormatWatch(common_dir, "reftable")
        self.worktree: bytes | None = None
        if os.path.realpath(common_dir) != os.path.realpath(git_dir):
            self.worktree = os.fsencode(os.path.basename(os.path.realpath(git_dir)))

    def open(self, worktree: bytes | None) -> DirectoryStorage:
        """Give the storage ``reftable`` in a control directory."""
        if worktree is None:
            git_dir = self.common_dir
        elif worktree == self.worktree:
            git_dir = self.git_dir
        else:
            git_dir = self._linked(worktree)
        settings = self._settings
        return DirectoryStorage(
            os.path.join(git_dir, "reftable"),
            fsync=settings.fsync_refs,
            adjust_mode=settings.adjust_mode,
            confirm=self._watch.check,
        )

    def worktrees(self) -> list[bytes]:
        """List the control directories of worktrees with a ``reftable`` in them."""
        ids = map(os.fsencode, worktree_ids(self.common_dir))
        return [name for name in ids if os.path.isdir(os.path.join(self._linked(name), "reftable"))]

    def require(self, worktree: bytes) -> None:
        """Look for the control directory."""
        git_dir = self._linked(worktree)
        if not os.path.isdir(git_dir):
            raise StorageError(None, "no such worktree", git_dir)

    def _linked(self, worktree: bytes) -> str:
        return os.path.join(self.common_dir, "worktrees", os.fsdecode(worktree))


class SingleStorage:
    """One stack, in a place that is no directory; there are no worktrees.

    Args:
      storage: of the stack
    """

    common_dir = git_dir = worktree = None

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def open(self, worktree: bytes | None) -> Storage:
        """Give the storage."""
        return self._storage

    def worktrees(self) -> list[bytes]:
        """Give no ids."""
        return []

    def require(self, worktree: bytes) -> None:
        """Raise: no id is that of a worktree."""
        place = f"{self._storage.location}/worktrees/{os.fsdecode(worktree)}"
        raise StorageError(None, "no such worktree", place)


def worktree_ids(common_dir: str) -> list[str]:
    """List the ids of the linked worktrees, which are directories below ``worktrees``."""
    directory = os.path.join(common_dir, "worktrees")
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []
