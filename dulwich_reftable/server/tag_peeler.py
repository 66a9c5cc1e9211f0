# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Peel tags by the object store, where a ref record does not say what a tag points to."""

from __future__ import annotations

from dulwich.objects import Tag

from ..objects.reader import ObjectReader
from ..repo.tags import TAG_HEADER

__all__ = ["TagPeeler"]

_KEPT = 1 << 16
"""How many answers are kept."""


class TagPeeler:
    """Tells what tags finally point to, and remembers it.

    As in git, the type that a tag names for its object is believed, so the last object need not
    exist. A tag that leads to a broken tag is not peeled.

    Args:
      objects: those of the repository
    """

    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects
        self._peeled: dict[bytes, bytes | None] = {}

    def peel(self, oid: bytes) -> bytes | None:
        """Peel a tag.

        Args:
          oid: hex object id
        Returns: the hex id of what the tag finally points to; None if the object is no tag
        """
        if oid not in self._peeled:
            if len(self._peeled) >= _KEPT:
                self._peeled.clear()
            self._follow(oid)
        return self._peeled[oid]

    def _follow(self, oid: bytes) -> None:
        """Remember the answer for a tag and for each tag on the way."""
        tags: list[bytes] = []
        final: bytes | None = oid
        while final is not None and final not in self._peeled:
            tags.append(final)
            header = self._header(final)
            final = None if header is None else header[0]
            if header is not None and header[1] != Tag.type_name:
                break
        else:
            final = None if final is None else self._peeled[final]
        self._peeled.update(dict.fromkeys(tags, final))

    def _header(self, oid: bytes) -> tuple[bytes, bytes] | None:
        """Read the object id and the type that a tag names; None if the object is no tag."""
        if self._objects.type_of(oid) != Tag.type_num:
            return None
        found = TAG_HEADER.match(self._objects.get_raw(oid)[1])
        return None if found is None else (found[1], found[2])
