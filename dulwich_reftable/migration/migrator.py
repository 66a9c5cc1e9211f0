# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The steps of a migration, which depend on the new format; :mod:`.run` calls them in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack

from ..config.settings import Settings
from ..engine.stack.stack import Stack
from ..refs.store import RefStore
from ..refs.worktrees import ControlDirectories
from .layout import git_dirs
from .ref_files import Peel
from .report import Tally
from .swap import StagingDirectory

__all__ = ["Migrator", "open_stack"]


def open_stack(path: str, settings: Settings) -> Stack:
    """Open the stack in a control directory, as the only one of a repository."""
    storages = ControlDirectories(path, path, settings)
    return RefStore(storages, settings, lambda oid: None, lambda: b"").shared


class Migrator(ABC):
    """A migration to one of the formats.

    Args:
      common_dir: the repository's control directory
      settings: the repository's ref settings
      peel: finds the object that an annotated tag finally points to
      tally: counts what is migrated, and collects what cannot be
    """

    def __init__(self, common_dir: str, settings: Settings, peel: Peel, tally: Tally) -> None:
        self._common_dir = common_dir
        self._settings = settings
        self._peel = peel
        self._tally = tally
        self._git_dirs = git_dirs(common_dir)

    @abstractmethod
    def lock(self, held: ExitStack) -> None:
        """Take the locks that keep others from writing.

        Args:
          held: releases the locks at its end
        """

    @abstractmethod
    def prepare(self, tree: str) -> None:
        """Write the files of the new format into a directory.

        Args:
          tree: the directory, which has the layout of a control directory
        Raises:
          MigrationError: if a ref or reflog cannot be migrated
        """

    @abstractmethod
    def check(self) -> None:
        """Check that nobody has written to the repository since :meth:`prepare`.

        Raises:
          MigrationError: if somebody has
        """

    @abstractmethod
    def put(self, staging: StagingDirectory) -> None:
        """Move the prepared files into place."""

    @abstractmethod
    def close(self) -> None:
        """Close the files that were read: some file systems keep an open file."""

    @abstractmethod
    def is_late(self, staging: StagingDirectory) -> bool:
        """Tell whether somebody has written in the old format since :meth:`check`."""
