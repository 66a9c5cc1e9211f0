# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Annotated tags: what they lead to, by their objects."""

from __future__ import annotations

import re

from dulwich.object_store import BaseObjectStore
from dulwich.objects import ObjectID, Tag, object_class

__all__ = ["TAG_HEADER", "way_of"]

TAG_HEADER = re.compile(rb"object ([0-9a-f]{40,64})\ntype (commit|tree|blob|tag)\n")
"""How a tag begins: with its object's id and type."""


def way_of(store: BaseObjectStore, oid: bytes) -> list[bytes]:
    """Give the objects that a tag leads to: its own, and if that is a tag, what that leads to.

    As in git, a tag that is broken, or that calls its object what it is not, leads nowhere, and
    neither does a tag of it (``peel_object`` with ``PEEL_OBJECT_VERIFY_TAGGED_OBJECT_TYPE``).

    Args:
      store: where the objects are
      oid: hex object id
    Returns: hex object ids, the last of which is no tag; none if the object is no tag
    Raises:
      KeyError: if an object is not there
    """
    way: list[bytes] = []
    kind, text = store.get_raw(ObjectID(oid))
    while kind == Tag.type_num:
        header = TAG_HEADER.match(text)
        if header is None:
            return []
        kind, text = store.get_raw(ObjectID(header[1]))
        found = object_class(kind)
        if found is None or header[2] != found.type_name:
            return []
        way.append(header[1])
    return way
