# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Loose objects: their types, from the first bytes of their files."""

from __future__ import annotations

import os
import re
import zlib

from dulwich.object_store import DiskObjectStore
from dulwich.objects import Blob, Commit, Tag, Tree

__all__ = ["loose_objects", "loose_type"]

_HEADER = re.compile(rb"(commit|tree|blob|tag) [0-9]")
_TYPES = {kind.type_name: kind.type_num for kind in (Commit, Tree, Blob, Tag)}
_ENOUGH = 64
"""Bytes of a file that hold the type: the deflated header is hardly longer than the header."""


def loose_type(store: DiskObjectStore, oid: bytes) -> int | None:
    """Give the type of a loose object.

    Args:
      store: where it may be
      oid: hex object id
    Returns: the number of the type; 0 if the header cannot be read; None if there is no such file
    """
    name = oid.decode()
    try:
        with open(os.path.join(store.path, name[:2], name[2:]), "rb", buffering=0) as file:
            start = file.read(_ENOUGH)
        header = _HEADER.match(zlib.decompressobj().decompress(start, _ENOUGH))
    except FileNotFoundError:
        return None
    except (OSError, zlib.error):
        return 0
    return 0 if header is None else _TYPES[header[1]]


def loose_objects(store: DiskObjectStore, prefix: bytes) -> frozenset[bytes]:
    """List the loose objects whose ids begin with a byte.

    Args:
      store: where to look
      prefix: the byte, as two hex digits
    Returns: hex object ids; names of other files may be among them
    """
    try:
        names = os.listdir(os.path.join(store.path, prefix.decode()))
    except OSError:
        return frozenset()
    return frozenset(prefix + os.fsencode(name) for name in names)
