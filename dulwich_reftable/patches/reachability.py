# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What keeps objects alive: reflog entries and other worktrees, too, as in git.

dulwich asks the refs of one worktree only, and has the reflogs on its list. What it would throw
away, git takes for there: ``git fsck`` then reports a broken repository, and ``stash@{1}`` or the
checked-out commit of a worktree is gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from dulwich.objects import ObjectID
from dulwich.refs import RefsContainer

from ..refs.container import ReftableRefsContainer
from ..refs.reader import RefsReader
from ..refs.store import worktree_ids

__all__ = ["find_reachable"]


def find_reachable(original: Callable[..., set[ObjectID]]) -> Callable[..., set[ObjectID]]:
    """Make ``dulwich.gc.find_reachable_objects``, on which gc and prune rely."""

    @wraps(original)
    def find_reachable_objects(
        object_store: Any,
        refs_container: RefsContainer,
        include_reflogs: bool = True,
        progress: Callable[[str], None] | None = None,
    ) -> set[ObjectID]:
        roots: Any = refs_container
        if isinstance(refs_container, ReftableRefsContainer):
            roots = _Roots(refs_container, include_reflogs)
        found = original(object_store, roots, include_reflogs, progress)
        if roots is not refs_container:
            # What only an old entry names may be gone long since.
            found = {oid for oid in found if oid not in roots.uncertain or oid in object_store}
        return found

    return find_reachable_objects


class _Roots:
    """As much of a refs container as the search for reachable objects asks for.

    Its keys are this worktree's refs, and the ids that are found elsewhere.

    Attributes:
      uncertain: ids that only reflogs name
    """

    def __init__(self, refs: ReftableRefsContainer, include_reflogs: bool) -> None:
        own = refs.snapshot()
        self._values: dict[bytes, ObjectID] = dict(own.as_dict().items())
        self._names = own.allkeys()
        elsewhere: set[ObjectID] = set()
        logged: set[ObjectID] = set()
        for view in _views(refs):
            elsewhere.update(view.as_dict().values())
            for name in view.reflogs() if include_reflogs else ():
                for entry in view.read_reflog(name):
                    logged.update((entry.old_sha, entry.new_sha))
        self.uncertain = {oid for oid in logged - elsewhere if oid.strip(b"0")}
        self._values.update((oid, oid) for oid in elsewhere | self.uncertain)

    def allkeys(self) -> set[bytes]:
        return self._names | self._values.keys()

    def __getitem__(self, key: bytes) -> ObjectID:
        return self._values[key]  # a symref to nowhere is reported, as it would be in files


def _views(refs: ReftableRefsContainer) -> Iterator[RefsReader]:
    """Give the refs as each worktree sees them."""
    yield refs.snapshot()
    common_dir = os.fsdecode(refs.path)
    others = [common_dir]
    others += [os.path.join(common_dir, "worktrees", name) for name in worktree_ids(common_dir)]
    for path in others:
        if os.path.isdir(os.path.join(path, "reftable")):
            other = ReftableRefsContainer(refs.path, worktree_path=path)
            try:
                yield other
            finally:
                other.close()
