# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Refs in files: dulwich's container, which also notices when they were migrated."""

from __future__ import annotations

import os

from dulwich.objects import ObjectID
from dulwich.refs import DiskRefsContainer, Ref

from ..config.format_watch import FormatWatch
from ..refs.writer import Logger

__all__ = ["WatchedFilesRefs", "loose_refs"]


class WatchedFilesRefs(DiskRefsContainer):
    """Refs in files, of a repository that may be migrated while it is open.

    Args are those of ``DiskRefsContainer``. Every use of refs asks for the path of a file or for
    ``packed-refs``, so these two methods check the format.
    """

    def __init__(
        self,
        path: str | bytes | os.PathLike[str],
        worktree_path: str | bytes | os.PathLike[str] | None = None,
        logger: Logger | None = None,
    ) -> None:
        super().__init__(path, worktree_path, logger=logger)
        self._watch = FormatWatch(os.fsdecode(self.path), "files")

    def check_format(self) -> None:
        """Check that the refs are still in files.

        Raises:
          RefsMovedError: if they are not
          ConfigurationError: if the configuration does not tell
          StorageError: if the configuration cannot be read
        """
        self._watch.check()

    def refpath(self, name: bytes) -> bytes:
        """Return the disk path of a ref; raises as :meth:`check_format`."""
        self.check_format()
        return super().refpath(name)

    def get_packed_refs(self) -> dict[Ref, ObjectID]:
        """Get contents of the packed-refs file; raises as :meth:`check_format`."""
        self.check_format()
        return super().get_packed_refs()


class _LooseRefs(DiskRefsContainer):
    """The refs that have a file of their own."""

    def get_packed_refs(self) -> dict[Ref, ObjectID]:
        """Get no refs, instead of reading the packed-refs file."""
        return {}


def loose_refs(refs: DiskRefsContainer) -> dict[bytes, bytes]:
    """Read HEAD and the refs below ``refs/`` that have a file of their own.

    Args:
      refs: those of a repository
    Returns: by their names the values, hex object ids and symrefs; a broken file may give anything
    """
    loose = _LooseRefs(refs.path, refs.worktree_path)
    values = ((name, loose.read_loose_ref(name)) for name in loose.allkeys())
    return {name: value for name, value in values if value}
