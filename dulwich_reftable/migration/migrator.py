# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The steps of a migration, which depend on the new format; :mod:`.run` calls them in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack

from ..config.settings import Settings
from ..engine.stack.stack import Stack
from ..refs.store import RefStore
from .layout import git_dirs
from .ref_files import Peel
from .report import Tally
from .swap import StagingDirectory

__all__ = ["Migrator", "open_stack"]


def open_stack(path: str, settings: Settings) -> Stack:
    """Open the stack of a control directory."""
    return RefStore(path, path, settings, lambda oid: None, lambda: b"").shared


class Migrator(ABC):
    """A migration to one of the formats.

    Args:
      common_dir: the repository's control directory
      settings: of the repository
      peel: tells what an annotated tag finally points to, where its ref does not
      tally: counts, and takes what is broken
    """

    def __init__(self, common_dir: str, settings: Settings, peel: Peel, tally: Tally) -> None:
        self._common_dir = common_dir
        self._settings = settings
        self._peel = peel
        self._tally = tally
        self._git_dirs = git_dirs(common_dir)

    @abstractmethod
    def lock(self, held: ExitStack) -> None:
        """Keep others from writing, as far as that can be done."""

    @abstractmethod
    def prepare(self, tree: str) -> None:
        """Write what the new format consists of.

        Args:
          tree: directory that it is put into, laid out like a control directory
        Raises:
          MigrationError: if something cannot be carried over
        """

    @abstractmethod
    def check(self) -> None:
        """Make sure that nobody has written to the repository meanwhile.

        Raises:
          MigrationError: if somebody has
        """

    @abstractmethod
    def put(self, staging: StagingDirectory) -> None:
        """Put what was prepared in place."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the files that were read: some file systems keep one that is open."""

    @abstractmethod
    def is_late(self, staging: StagingDirectory) -> bool:
        """Tell whether somebody has written in the old format after :meth:`check`."""
