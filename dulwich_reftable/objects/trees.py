# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The entries of trees, as git reads them (``tree-walk.c``)."""

from __future__ import annotations

import re
import stat
from collections.abc import Set
from functools import cache

from dulwich.errors import ObjectFormatException
from dulwich.objects import Blob, Commit, Tree

__all__ = ["TreeEntry", "entry_pattern", "entry_type", "new_entries"]

_USUAL = {
    b"100644": Blob.type_num,
    b"100755": Blob.type_num,
    b"120000": Blob.type_num,
    b"40000": Tree.type_num,
    b"160000": Commit.type_num,
}


def entry_type(mode: bytes) -> int:
    """Give the type of the object that an entry names.

    Args:
      mode: of the entry, in octal digits
    Returns: the number of the type; an entry that is neither a directory, a file nor a symbolic
      link is a commit of another repository
    """
    found = _USUAL.get(mode)
    if found is None:
        kind = stat.S_IFMT(int(mode[-6:], 8) & 0xFFFF)
        found = {stat.S_IFDIR: Tree.type_num, stat.S_IFREG: Blob.type_num}.get(kind)
        if found is None:
            found = Blob.type_num if kind == stat.S_IFLNK else Commit.type_num
    return found


TreeEntry = tuple[bytes, bytes, bytes]
"""An entry of a tree: its mode in octal digits, its name, and the binary id of its object."""


@cache
def entry_pattern(id_length: int) -> re.Pattern[bytes]:
    """Give the expression of one entry: mode, name and binary object id.

    Args:
      id_length: bytes of an object id
    """
    return re.compile(rb"([0-7]+) ([^\0]+)\0(.{%d})" % id_length, re.DOTALL)


@cache
def _entry_or_junk(id_length: int) -> re.Pattern[bytes]:
    return re.compile(entry_pattern(id_length).pattern + rb"|.", re.DOTALL)


def new_entries(tree: bytes, id_length: int, known: Set[bytes]) -> list[TreeEntry]:
    """Read those entries of a tree whose objects are not known; the walk over a clone lives here.

    Args:
      tree: its content
      id_length: bytes of an object id
      known: binary ids of objects
    Returns: the entries; two may have the same object
    Raises:
      ObjectFormatException: if the tree is malformed
    """
    entries = [entry for entry in _entry_or_junk(id_length).findall(tree) if entry[2] not in known]
    # A byte that is part of no entry is found as an entry of nothing, which is never known.
    if any(not entry[2] for entry in entries):
        raise ObjectFormatException("a tree has an entry that is not well-formed")
    return entries
