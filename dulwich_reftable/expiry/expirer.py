# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Expiring the reflogs of a repository as ``git reflog expire`` does.

:mod:`dulwich_reftable.expiry.rule` has the rule. Here are the answers that it needs: an entry of a
ref is reachable from the tip of that ref, one of HEAD from any ref, in whichever worktree that HEAD
is (git: ``reflog_expiry_prepare``). What is no commit, or is not there any more, counts as
reachable; and nothing is reachable from a ref that is a symref, is gone, or leads to no commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import cast

from dulwich.reflog import Entry
from dulwich.refs import Ref
from dulwich.repo import Repo

from ..refs import reflog
from ..refs.container import ReftableRefsContainer
from ..refs.names import place_of
from ..refs.symrefs import is_symref
from ..refs.transaction import is_zero
from .ancestry import Ancestors, Commits
from .rule import ExpirySettings, expired

__all__ = ["ReflogExpirer"]


class ReflogExpirer:
    """Expires reflogs.

    Args:
      repo: a repository whose refs are in the reftable format
      total: entries before it go, in seconds since the epoch; None to go by the configuration
      unreachable: entries before it go that the ref does not reach; None for the configuration
      stale_fix: whether entries go that lead to a commit from which objects are missing
      rewrite: whether an entry shall go on where the one that is now before it ended
      update_ref: whether to set the ref to where its newest entry leads; not of a symref
      dry_run: whether to change nothing
      tell: is told of each entry, the oldest first, and whether it goes
    Raises:
      ConfigurationError: if a limit in the configuration is no time
    """

    def __init__(
        self,
        repo: Repo,
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
        Returns: how many entries went, or would go
        Raises:
          BadRefNameError: if the name is illegal
          LockError: if somebody else writes
        """
        return reflog.expire(
            self._refs.store,
            name,
            lambda entries: self._choose(name, entries),
            rewrite=self._rewrite,
            update_ref=self._update_ref,
            dry_run=self._dry_run,
        )

    def _choose(self, name: bytes, entries: list[Entry]) -> list[bool]:
        # The tip is read after the entries: it reaches what the newest of them have brought.
        chosen = expired(
            entries, self._settings.limits_of(name), self._reachability(name), self._is_stale
        )
        if self._tell is not None:
            for entry, goes in zip(entries, chosen, strict=True):
                self._tell(entry, goes)
        return chosen

    def _reachability(self, name: bytes) -> Callable[[bytes], bool]:
        """Give what tells of an object id whether a ref reaches it."""
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
        """Give what refs point to, branches first, since HEAD's entries are most often theirs."""
        view = self._refs.snapshot()
        branches = view.iter_refs(b"refs/heads/")
        for _, value in chain(branches, view.iter_refs(b"refs/", exclude=[b"refs/heads/"])):
            if not is_symref(value):
                yield value

    def _lacks_objects(self, oid: bytes) -> bool:
        return not is_zero(oid) and not self._commits.is_complete(oid)
