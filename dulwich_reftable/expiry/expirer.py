# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Expiring the reflogs of a repository as ``git reflog expire`` does.

:mod:`dulwich_reftable.expiry.rule` has the rule; this module tells it which ids are reachable
(git: ``reflog_expiry_prepare``). The ids in the reflog of a ref are looked for from the tip of that
ref, those of a HEAD, of any worktree, from all refs. An id that is no commit, or is missing, counts
as reachable. Nothing is reachable from a ref that is a symref, is missing, or is no commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import cast

from dulwich.reflog import Entry
from dulwich.refs import Ref
from dulwich.repo import BaseRepo

from ..naming.names import place_of
from ..naming.symrefs import is_symref
from ..refs import reflog_changes
from ..refs.container import ReftableRefsContainer
from ..refs.transaction import is_zero
from .ancestry import Ancestors, Commits
from .rule import ExpirySettings, expired

__all__ = ["ReflogExpirer"]


class ReflogExpirer:
    """Expires reflogs.

    Args:
      repo: a repository whose refs are in the reftable format
      total: entries before it expire, in seconds since the epoch; None to read the configuration
      unreachable: entries before it expire that the ref does not reach; None likewise
      stale_fix: whether entries with a commit expire from which objects are missing
      rewrite: whether the old id of each entry becomes the new id of the entry now before it
      update_ref: whether to set a ref, unless it is a symref, to the new id of its newest entry
      dry_run: whether to change nothing
      tell: called with each entry, oldest first, and whether it expires
    Raises:
      ConfigurationError: if a limit in the configuration is not a time
    """

    def __init__(
        self,
        repo: BaseRepo,
        total: int | None = None,
        unreachable: int | None = None,
        *,
        stale_fix: bool = False,
        rewrite: bool = False,
        update_ref: bool = False,
        dry_run: bool = False,
        tell: Callable[[Entry, bool], None] | None = None,
    ) -> None:
        self._refs = cast(ReftableRefsContainer, repo.refs)
        self._settings = ExpirySettings.of(repo.get_config_stack(), total, unreachable)
        self._commits = Commits(repo)
        self._is_stale = self._lacks_objects if stale_fix else None
        self._rewrite = rewrite
        self._update_ref = update_ref
        self._dry_run = dry_run
        self._tell = tell

    def expire(self, name: bytes) -> int:
        """Expire a reflog.

        Args:
          name: of the ref
        Returns: how many entries were removed, or would be
        Raises:
          BadRefNameError: if the name is illegal
          LockError: if somebody else holds the lock
        """
        return reflog_changes.expire(
            self._refs.store,
            name,
            lambda entries: self._choose(name, entries),
            rewrite=self._rewrite,
            update_ref=self._update_ref,
            dry_run=self._dry_run,
        )

    def _choose(self, name: bytes, entries: list[Entry]) -> list[bool]:
        # The tip is read after the entries, so that it reaches the commits of the newest ones.
        chosen = expired(
            entries, self._settings.limits_of(name), self._reachability(name), self._is_stale
        )
        if self._tell is not None:
            for entry, goes in zip(entries, chosen, strict=True):
                self._tell(entry, goes)
        return chosen

    def _reachability(self, name: bytes) -> Callable[[bytes], bool]:
        """Make the function that tells whether a ref reaches an object id."""
        if place_of(name).name == b"HEAD":
            reached = Ancestors(self._commits, self._all_tips())
        else:
            tip = self._refs.read_ref(Ref(name))
            if tip is None or is_symref(tip) or self._commits.find(tip) is None:
                return lambda oid: False
            reached = Ancestors(self._commits, [tip])

        def is_reachable(oid: bytes) -> bool:
            commit = self._commits.find(oid)
            return commit is None or commit in reached

        return is_reachable

    def _all_tips(self) -> Iterator[bytes]:
        """Give the object ids of all refs; branches first, as most entries of HEAD are theirs."""
        refs = self._refs.snapshot()
        branches = refs.iter_refs(b"refs/heads/")
        for _, value in chain(branches, refs.iter_refs(b"refs/", exclude=[b"refs/heads/"])):
            if not is_symref(value):
                yield value

    def _lacks_objects(self, oid: bytes) -> bool:
        return not is_zero(oid) and not self._commits.is_complete(oid)
