# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Bisection: ``refs/bisect/*`` and ``BISECT_EXPECTED_REV`` are refs; git keeps the rest in files.

dulwich writes these refs as files, lists their directory and opens them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from dulwich.bisect import BisectState
from dulwich.objects import ObjectID

from ..compat import THIS_REPOSITORY
from .files import refs_as_files
from .subclassing import is_reftable, reclassing_constructor

__all__ = ["ReftableBisectState", "command_run", "construct"]

_REFS = (b"refs/bisect/", b"BISECT_EXPECTED_REV")


class ReftableBisectState(BisectState):
    """A bisection in a reftable repository.

    All methods are dulwich's, with the refs shown to them as files.
    """

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Start a bisection; see the base class."""
        with refs_as_files(self.repo, *_REFS):
            super().start(*args, **kwargs)

    def mark_bad(self, rev: ObjectID | None = None) -> ObjectID | None:
        """Mark a commit as bad and return the next one to test; see the base class."""
        with refs_as_files(self.repo, *_REFS):
            return super().mark_bad(rev)

    def mark_good(self, rev: ObjectID | None = None) -> ObjectID | None:
        """Mark a commit as good and return the next one to test; see the base class."""
        with refs_as_files(self.repo, *_REFS):
            return super().mark_good(rev)

    def skip(self, revs: Sequence[ObjectID] | None = None) -> ObjectID | None:
        """Leave commits out and return the next one to test; see the base class."""
        with refs_as_files(self.repo, *_REFS):
            return super().skip(revs)

    def reset(self, commit: ObjectID | None = None) -> None:
        """End the bisection; see the base class."""
        with refs_as_files(self.repo, *_REFS):
            super().reset(commit)

    def _find_next_commit(self) -> ObjectID | None:
        # porcelain calls it, too.
        with refs_as_files(self.repo, *_REFS):
            return super()._find_next_commit()


construct = reclassing_constructor(ReftableBisectState)
"""Patch ``BisectState.__init__``."""


def command_run(original: Callable[..., int]) -> Callable[..., int]:
    """Patch ``dulwich bisect``, which reads the first bad commit from ``refs/bisect/bad``."""

    @wraps(original)
    def run(self: object, args: Sequence[str]) -> int:
        from dulwich import porcelain

        if list(args[:1]) != ["bad"]:
            return original(self, args)
        with porcelain.open_repo_closing(THIS_REPOSITORY) as repo:
            if not is_reftable(repo):
                return original(self, args)
            with refs_as_files(repo, *_REFS):
                return original(self, args)

    return run
