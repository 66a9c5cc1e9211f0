# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Annotated tags: the objects that they point to.

Most objects that refs point to are no tags. So the types of objects are found first, without
reading any object (:mod:`dulwich_reftable.objects.reader`); then only the tags are read.
"""

from __future__ import annotations

import re
import threading
from binascii import a2b_hex, b2a_hex
from collections.abc import Iterable

from dulwich.objects import Tag, object_class
from dulwich.repo import BaseRepo

from ..objects.reader import ObjectReader

__all__ = ["TAG_HEADER", "RepoPeeler", "tag_chain"]

_KEPT = 1 << 12
"""How many tags are remembered."""

TAG_HEADER = re.compile(rb"object ([0-9a-f]{40,64})\ntype (commit|tree|blob|tag)\n")
"""The beginning of a tag: id and type of its object."""


def tag_chain(objects: ObjectReader, oid: bytes) -> list[bytes]:
    """Follow a tag: give its object, and as long as that is a tag, the next one.

    As in git, a broken tag and a tag with the wrong type of its object cannot be followed, and
    neither can a tag of such a tag (``PEEL_OBJECT_VERIFY_TAGGED_OBJECT_TYPE``).

    Args:
      objects: those of the repository
      oid: hex object id
    Returns: hex object ids, the last of which is no tag; an empty list if the object is no tag or
      cannot be followed
    Raises:
      KeyError: if an object is missing
    """
    chain: list[bytes] = []
    kind = _type_of(objects, oid)
    while kind == Tag.type_num:
        header = TAG_HEADER.match(objects.get_raw(oid)[1])
        if header is None:
            return []
        oid = header[1]
        kind = _type_of(objects, oid)
        found = object_class(kind)
        if found is None or header[2] != found.type_name:
            return []
        chain.append(oid)
    return chain


def _type_of(objects: ObjectReader, oid: bytes) -> int:
    kind = objects.type_of(oid)
    if kind is None:
        raise KeyError(oid)
    return kind


class RepoPeeler:
    """Peels the tags of a repository for its refs container (a ``Peeler``). Thread-safe.

    Args:
      repo: whose objects are read
    """

    def __init__(self, repo: BaseRepo) -> None:
        self._repo = repo
        self._lock = threading.Lock()
        self._objects: ObjectReader | None = None
        self._known: dict[bytes, bytes | None] = {}

    def __call__(self, oid: bytes, /) -> bytes | None:
        """Peel an object."""
        with self._lock:
            return self._peel(oid)

    def many(self, oids: Iterable[bytes]) -> dict[bytes, bytes]:
        """Peel many objects."""
        with self._lock:
            tags = map(a2b_hex, self._reader().tags_among(oids))
            in_order = map(b2a_hex, self._reader().in_order(tags))
            found = {oid: self._peel(oid) for oid in in_order}
        return {oid: final for oid, final in found.items() if final is not None}

    def close(self) -> None:
        """Close the packs; the next call opens them again."""
        with self._lock:
            if self._objects is not None:
                self._objects.close()
                self._objects = None

    def _reader(self) -> ObjectReader:
        if self._objects is None or self._objects.store is not self._repo.object_store:
            self._objects = ObjectReader(self._repo.object_store)
        return self._objects

    def _peel(self, oid: bytes) -> bytes | None:
        if oid in self._known:
            return self._known[oid]
        objects = self._reader()
        try:
            if objects.type_of(oid) != Tag.type_num:
                return None
            chain = tag_chain(objects, oid)
        except (KeyError, AssertionError):
            # It is missing, or dulwich opened an alternate with the other hash.
            return None
        if len(self._known) >= _KEPT:
            self._known.clear()
        final = self._known[oid] = chain[-1] if chain else None
        return final
