# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Objects of dulwich's classes that become ours when they turn out to deal with reftables.

Which class an object is to have is known only while its constructor runs; and dulwich's other
modules have the class itself in hand, so that no other one can be given to them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache, wraps
from typing import Any

from ..refs.container import ReftableRefsContainer

__all__ = ["combined", "is_reftable", "reclass", "reclassing_constructor"]


def is_reftable(repo: object) -> bool:
    """Tell whether a repository's refs are in our reftables."""
    return isinstance(getattr(repo, "refs", None), ReftableRefsContainer)


def reclass(instance: object, ours: type) -> None:
    """Make an object one of our class, or of a class that is both its own and ours.

    Args:
      instance: of our class's base, or of another class derived from that
      ours: class that overrides methods of its base and adds no data
    """
    if not isinstance(instance, ours):
        instance.__class__ = combined(type(instance), ours)


def combined(theirs: type, ours: type) -> Any:
    """Give the class that is both: their methods first, then ours, then dulwich's.

    Args:
      theirs: our class's base, or another class derived from that
      ours: class that overrides methods of its base
    """
    if theirs is ours.__base__:
        return ours
    return _make_combined(theirs, ours)


@cache
def _make_combined(theirs: Hashable, ours: Hashable) -> Any:
    assert isinstance(theirs, type)
    assert isinstance(ours, type)
    return type(theirs.__name__, (theirs, ours), {"__module__": theirs.__module__})


def reclassing_constructor(ours: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give the maker of a constructor whose first argument is a repository.

    Args:
      ours: class to be, if the repository's refs are in reftables
    """

    def make(original: Callable[..., None]) -> Callable[..., None]:
        @wraps(original)
        def __init__(self: object, repo: object, *args: Any, **kwargs: Any) -> None:
            original(self, repo, *args, **kwargs)
            if is_reftable(repo):
                reclass(self, ours)

        return __init__

    return make
