# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The stash is the reflog of ``refs/stash``; dulwich reads and edits it as a file.

dulwich's list, drop and pop of a stash go through the two methods that are overridden here.
"""

from __future__ import annotations

from dulwich.objects import ObjectID
from dulwich.reflog import Entry
from dulwich.stash import Stash

from ..refs.container import ReftableRefsContainer
from .subclassing import reclassing_constructor

__all__ = ["ReftableStash", "construct"]


class ReftableStash(Stash):
    """The stash of a reftable repository."""

    def _refs(self) -> ReftableRefsContainer:
        refs = self._repo.refs
        assert isinstance(refs, ReftableRefsContainer)
        return refs

    def stashes(self) -> list[Entry]:
        """Return the entries, newest first."""
        return list(self._refs().read_reflog(self._ref, newest_first=True))

    def drop(self, index: int) -> None:
        """Remove an entry; with the last one, remove ``refs/stash``.

        Args:
          index: of the entry; 0 is the newest
        Raises:
          ValueError: if there is no such entry
        """
        refs = self._refs()
        refs.drop_reflog_entry(self._ref, index, rewrite=True)
        newest = next(refs.read_reflog(self._ref, newest_first=True), None)
        if newest is None:
            del refs[self._ref]  # this also deletes its empty reflog
        elif index == 0:
            refs[self._ref] = ObjectID(newest.new_sha)


construct = reclassing_constructor(ReftableStash)
"""Patch ``Stash.__init__``."""
