# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What a migration tells: how far it is, what came of it, and what it cannot carry over.

What cannot be carried over is collected rather than raised where it is found, so that all of it is
told at once. Nothing of the repository has changed by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from ..engine.errors import ReftableError

__all__ = ["WRITTEN_MEANWHILE", "Migration", "MigrationError", "Progress", "Tally"]

_T = TypeVar("_T")

Progress = Callable[[str, int, "int | None"], object]
"""Is called with what is being written (``"refs"`` or ``"reflogs"``), how many refs or entries are
done, and how many there are, None if that is not known. The last call of a phase has both equal.
Each linked worktree has phases of its own.
"""

WRITTEN_MEANWHILE = "somebody has written to the repository meanwhile; try again"

_STEP = 1024
_TOLD = 20


class MigrationError(ReftableError):
    """The repository was not migrated, and is in the format in which it was.

    Or, and then the message says so: it was migrated, but somebody wrote to the files in the
    moment of the swap, and what was written is kept beside.

    Attributes:
      broken: refs and reflogs that the other format cannot take, a sentence each; empty if
        something else is the reason
    """

    def __init__(self, reason: str, broken: Iterable[str] = ()) -> None:
        self.broken = tuple(broken)
        lines = [reason, *self.broken[:_TOLD]]
        if len(self.broken) > _TOLD:
            lines.append(f"and {len(self.broken) - _TOLD} more")
        super().__init__("\n  ".join(lines))


@dataclass(frozen=True)
class Migration:
    """What came of a migration.

    Attributes:
      ref_format: the new format, ``"reftable"`` or ``"files"``
      path: the repository's control directory; after a dry run the directory with the result, which
        is laid out like a control directory
      refs: how many refs were carried over: symrefs, ``HEAD`` and other root refs included, and
        those of linked worktrees
      reflogs: how many reflogs
      entries: how many entries in them
      worktrees: how many linked worktrees
      notes: what was left behind, because git does not see it either, a sentence each
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
    """What is counted and found on the way."""

    progress: Progress | None = None
    refs: int = 0
    reflogs: int = 0
    entries: int = 0
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def watched(self, phase: str, items: Iterable[_T], total: int | None) -> Iterator[_T]:
        """Pass items through, and tell of the progress now and then."""
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
        """Give up if something cannot be carried over.

        Raises:
          MigrationError: that names it
        """
        if self.broken:
            raise MigrationError("these cannot be migrated; nothing was changed:", self.broken)
