# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What the container needs to know of objects: what annotated tags finally point to.

The repository knows its objects and gives a function. A :class:`Peeler` can do the same for very
many objects at once, which takes a fraction of the time; any other function is asked one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

__all__ = ["OneByOne", "Peeler", "as_peeler"]


class Peeler(Protocol):
    """Peels annotated tags."""

    def __call__(self, oid: bytes, /) -> bytes | None:
        """Peel an object.

        Args:
          oid: hex object id
        Returns: the hex id of what an annotated tag finally points to; None for any other object,
          and for one that does not exist
        """

    def many(self, oids: Iterable[bytes]) -> dict[bytes, bytes]:
        """Peel many objects.

        Args:
          oids: hex object ids
        Returns: what the annotated tags among them finally point to, by their hex ids
        """


class OneByOne:
    """A peeler that asks a function.

    Args:
      peel: as :meth:`Peeler.__call__`
    """

    def __init__(self, peel: Callable[[bytes], bytes | None]) -> None:
        self._peel = peel

    def __call__(self, oid: bytes, /) -> bytes | None:
        """Peel an object."""
        return self._peel(oid)

    def many(self, oids: Iterable[bytes]) -> dict[bytes, bytes]:
        """Peel many objects."""
        return {oid: final for oid in oids if (final := self._peel(oid)) is not None}


def as_peeler(peel: Peeler | Callable[[bytes], bytes | None]) -> Peeler:
    """Make a peeler of a function, unless it is one."""
    return peel if hasattr(peel, "many") else OneByOne(peel)
