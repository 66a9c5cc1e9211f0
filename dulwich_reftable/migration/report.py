# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The progress of a migration, its result, and its errors.

Refs and reflogs that cannot be migrated are collected, and then reported in one error. The
repository has not changed by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from ..engine.errors import ReftableError

__all__ = ["WRITTEN_MEANWHILE", "Migration", "MigrationError", "Progress", "Tally"]

_T = TypeVar("_T")

Progress = Callable[[str, int, "int | None"], object]
"""Takes the phase (``"refs"`` or ``"reflogs"``), the number of refs or entries that are done, and
their total number, or None if that is unknown. In the last call of a phase both numbers are equal.
Each linked worktree has phases of its own.
"""

WRITTEN_MEANWHILE = "somebody has written to the repository meanwhile; try again"

_STEP = 1024
_TOLD = 20


class MigrationError(ReftableError):
    """The repository was not migrated; it still has its old format.

    There is one exception, which the message names: the repository was migrated, but somebody wrote
    to the old files during the swap. These files are kept in a directory that the message names.

    Attributes:
      broken: the refs and reflogs that the new format cannot hold, one sentence each; empty if
        there is another reason
    """

    def __init__(self, reason: str, broken: Iterable[str] = ()) -> None:
        self.broken = tuple(broken)
        lines = [reason, *self.broken[:_TOLD]]
        if len(self.broken) > _TOLD:
            lines.append(f"and {len(self.broken) - _TOLD} more")
        super().__init__("\n  ".join(lines))


@dataclass(frozen=True)
class Migration:
    """The result of a migration.

    Attributes:
      ref_format: the new format, ``"reftable"`` or ``"files"``
      path: the repository's control directory; after a dry run the directory with the result, which
        has the layout of a control directory
      refs: number of refs, including symrefs, root refs such as ``HEAD``, and those of linked
        worktrees
      reflogs: number of reflogs
      entries: number of reflog entries
      worktrees: number of linked worktrees
      notes: what was left behind because git does not see it either, one sentence each
    """

    ref_format: str
    path: str
    refs: int
    reflogs: int
    entries: int
    worktrees: int
    notes: tuple[str, ...]


@dataclass
class Tally:
    """Counts what is migrated, and collects notes and what is broken.

    Args:
      progress: told of the progress now and then
    """

    progress: Progress | None = None
    refs: int = 0
    reflogs: int = 0
    entries: int = 0
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def watched(self, phase: str, items: Iterable[_T], total: int | None) -> Iterator[_T]:
        """Pass items through, and report the progress every now and then."""
        if self.progress is None:
            yield from items
            return
        done = 0
        for item in items:
            if not done % _STEP:
                self.progress(phase, done, total)
            yield item
            done += 1
        self.progress(phase, done, done)

    def raise_broken(self) -> None:
        """Raise if anything is broken.

        Raises:
          MigrationError: names all that is broken
        """
        if self.broken:
            raise MigrationError("these cannot be migrated; nothing was changed:", self.broken)
