# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Objects of dulwich's classes get a subclass of ours when they deal with a reftable repository.

Only the constructor of an object learns which repository it deals with. Other modules of dulwich
have imported the class itself, so it cannot be exchanged for a subclass under its name. Therefore
the constructor is patched, and changes the class of the object.
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
    """Change an object's class to ours, or to a combination of its own class and ours.

    Args:
      instance: object of the base of our class, or of another subclass of that base
      ours: class that overrides methods of its base and adds no data
    """
    if not isinstance(instance, ours):
        instance.__class__ = combined(type(instance), ours)


def combined(theirs: type, ours: type) -> Any:
    """Return a subclass of two classes. Their methods come first, then ours, then dulwich's.

    Args:
      theirs: the base of our class, or another subclass of that base
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
    """Return what makes the replacement of a constructor that takes a repository first.

    Args:
      ours: class that objects get if the refs of the repository are in reftables
    """

    def make(original: Callable[..., None]) -> Callable[..., None]:
        @wraps(original)
        def __init__(self: object, repo: object, *args: Any, **kwargs: Any) -> None:
            original(self, repo, *args, **kwargs)
            if is_reftable(repo):
                reclass(self, ours)

        return __init__

    return make
