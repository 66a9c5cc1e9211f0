# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Reflog entries and the refs of other worktrees keep objects alive, as in git.

dulwich asks only for the refs of one worktree, and does not read reflogs yet. It would remove
objects that git relies on: ``git fsck`` then reports a broken repository, and ``stash@{1}`` or the
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
from ..refs.worktrees import worktree_ids

__all__ = ["find_reachable"]


def find_reachable(original: Callable[..., set[ObjectID]]) -> Callable[..., set[ObjectID]]:
    """Patch ``dulwich.gc.find_reachable_objects``, on which gc and prune rely."""

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
            # An object that only an old reflog entry names may be gone already.
            found = {oid for oid in found if oid not in roots.uncertain or oid in object_store}
        return found

    return find_reachable_objects


class _Roots:
    """The part of a refs container that the search for reachable objects uses.

    Its keys are the refs of this worktree, and the ids that other worktrees and reflogs name.

    Attributes:
      uncertain: ids that only reflogs name
    """

    def __init__(self, refs: ReftableRefsContainer, include_reflogs: bool) -> None:
        own = refs.snapshot()
        self._values: dict[bytes, ObjectID] = dict(own.as_dict().items())
        self._names = own.allkeys()
        elsewhere: set[ObjectID] = set()
        logged: set[ObjectID] = set()
        for reader in _readers(refs):
            elsewhere.update(reader.as_dict().values())
            for name in reader.reflogs() if include_reflogs else ():
                for entry in reader.read_reflog(name):
                    logged.update((entry.old_sha, entry.new_sha))
        self.uncertain = {oid for oid in logged - elsewhere if oid.strip(b"0")}
        self._values.update((oid, oid) for oid in elsewhere | self.uncertain)

    def allkeys(self) -> set[bytes]:
        return self._names | self._values.keys()

    def __getitem__(self, key: bytes) -> ObjectID:
        return self._values[key]  # KeyError for a dangling symref, as with files


def _readers(refs: ReftableRefsContainer) -> Iterator[RefsReader]:
    """Yield the refs of this worktree, then those of all others."""
    yield refs.snapshot()
    common_dir = refs.store.common_dir
    if common_dir is None:
        return  # there are no worktrees
    others = [common_dir]
    others += [os.path.join(common_dir, "worktrees", name) for name in worktree_ids(common_dir)]
    for path in others:
        if os.path.isdir(os.path.join(path, "reftable")):
            other = ReftableRefsContainer(common_dir, worktree_path=path)
            try:
                yield other
            finally:
                other.close()
