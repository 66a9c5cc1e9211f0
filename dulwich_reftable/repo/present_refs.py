# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The refs whose objects exist, for fetches by dulwich's own code.

dulwich offers to fetch only such refs, and asks the object store for one object after the other.
Here all objects are looked up at once. That tells their types, too: so whoever advertises the refs
knows which of them are tags (:mod:`dulwich_reftable.patches.advertising`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from dulwich.objects import ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo as DulwichRepo

from ..compat import is_older
from ..objects.reader import ObjectReader

__all__ = ["PEELED_SUFFIX", "PresentRefs", "find_missing_objects"]

PEELED_SUFFIX = b"^{}"
"""Behind the name of a tag: that of what it peels to."""

_log = logging.getLogger(__name__)


class PresentRefs(dict[Ref, ObjectID]):
    """The refs of a repository whose objects exist: hex object ids by names.

    Args:
      repo: the repository

    Attributes:
      tags: the names of those that may peel to another object; the others do not
    """

    def __init__(self, repo: DulwichRepo) -> None:
        refs = repo.get_refs()
        with ObjectReader(repo.object_store) as objects:
            tags, missing = objects.tags_and_missing(refs.values())
        super().__init__(refs)
        if missing:
            for name in [name for name, oid in refs.items() if oid in missing]:
                _log.warning("ref %r points to %r, which does not exist", name, refs[name])
                del self[name]
        self.tags = {name for name, oid in self.items() if oid in tags} if tags else set()
        if is_older((0, 25)):
            self._add_peeled(repo)

    def _add_peeled(self, repo: DulwichRepo) -> None:
        """Add what tags peel to, under names of their own, as an older dulwich does."""
        for name in sorted(self.tags):
            peeled = Ref(name + PEELED_SUFFIX)
            self[peeled] = repo.get_peeled(name)
            self.tags.add(peeled)


class _Listed:
    """A proxy for a repository whose refs have been listed already."""

    def __init__(self, repo: DulwichRepo) -> None:
        self._repo = repo

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repo, name)

    def get_refs(self) -> dict[Ref, ObjectID]:
        return {}


def find_missing_objects(
    repo: DulwichRepo, determine_wants: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Do what ``BaseRepo.find_missing_objects`` does, with :class:`PresentRefs`.

    Args:
      repo: the repository
      determine_wants: takes the refs
      *args: see there
      **kwargs: see there
    """
    refs = PresentRefs(repo)

    def determine(_: object, *depth: Any) -> Any:
        return determine_wants(refs, *depth)

    # The original lists no refs, and so has none to look up.
    listed: Any = _Listed(repo)
    return DulwichRepo.find_missing_objects(listed, determine, *args, **kwargs)
