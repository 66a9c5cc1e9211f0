# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Annotated tags: the objects that they point to, read from the object store."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from dulwich.object_store import BaseObjectStore
from dulwich.objects import ObjectID, Tag, object_class
from dulwich.repo import BaseRepo

__all__ = ["TAG_HEADER", "peeler_of", "tag_chain"]

_KEPT = 1024

TAG_HEADER = re.compile(rb"object ([0-9a-f]{40,64})\ntype (commit|tree|blob|tag)\n")
"""The beginning of a tag: id and type of its object."""


def tag_chain(store: BaseObjectStore, oid: bytes) -> list[bytes]:
    """Follow a tag: give its object, and as long as that is a tag, the next one.

    As in git, a broken tag and a tag with the wrong type of its object cannot be followed, and
    neither can a tag of such a tag (``PEEL_OBJECT_VERIFY_TAGGED_OBJECT_TYPE``).

    Args:
      store: where the objects are
      oid: hex object id
    Returns: hex object ids, the last of which is no tag; an empty list if the object is no tag or
      cannot be followed
    Raises:
      KeyError: if an object is missing
    """
    chain: list[bytes] = []
    kind, text = store.get_raw(ObjectID(oid))
    while kind == Tag.type_num:
        header = TAG_HEADER.match(text)
        if header is None:
            return []
        kind, text = store.get_raw(ObjectID(header[1]))
        found = object_class(kind)
        if found is None or header[2] != found.type_name:
            return []
        chain.append(header[1])
    return chain


def peeler_of(repo: BaseRepo) -> Callable[[bytes], bytes | None]:
    """Make the function that peels the tags of a repository for its refs container.

    Args:
      repo: whose objects are read; those read last are remembered, as they never change
    Returns: takes a hex object id and gives the id that an annotated tag finally points to; None
      for any other object, and for one that is missing
    """

    @lru_cache(maxsize=_KEPT)
    def peeled(oid: bytes) -> bytes | None:
        chain = tag_chain(repo.object_store, oid)
        return chain[-1] if chain else None

    def peel(oid: bytes) -> bytes | None:
        try:
            return peeled(oid)
        except (KeyError, AssertionError):
            # It is missing, or dulwich opened an alternate with the other hash.
            return None

    return peel
