# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Scan the entries of a tree one after another, without an object for each.

A tree may have a million entries. dulwich's ``Tree`` makes several objects of each and keeps them;
here one entry is looked at and forgotten. Modes are read as git does (``tree-walk.c``): what is
neither directory, file nor symbolic link is a link to a commit of another repository.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from dulwich.objects import Blob, Commit, Tree

from ..errors import PackError

__all__ = ["BrokenTreeError", "TreeEntry", "count_entries", "scan_tree"]


class BrokenTreeError(PackError):
    """A tree that is not well-formed."""


class TreeEntry(NamedTuple):
    """An entry of a tree.

    Attributes:
      mode: as it is written, in octal digits
      name: of the entry
      oid: binary id
    """

    mode: bytes
    name: bytes
    oid: bytes

    @property
    def type_num(self) -> int:
        """The type of object that it names; a commit is in another repository."""
        found = _USUAL.get(self.mode)
        if found is None:
            kind = stat.S_IFMT(int(self.mode[-6:], 8) & 0xFFFF)
            found = {stat.S_IFDIR: Tree.type_num, stat.S_IFREG: Blob.type_num}.get(kind)
            if found is None:
                found = Blob.type_num if kind == stat.S_IFLNK else Commit.type_num
        return found

    @property
    def sort_key(self) -> bytes:
        """What entries of a tree are sorted by: a directory's name ends in a slash."""
        return self.name + b"/" if self.type_num == Tree.type_num else self.name


_USUAL = {
    b"100644": Blob.type_num,
    b"100755": Blob.type_num,
    b"120000": Blob.type_num,
    b"40000": Tree.type_num,
    b"160000": Commit.type_num,
}


@cache
def _entry(id_length: int) -> re.Pattern[bytes]:
    return re.compile(rb"([0-7]+) ([^\0]+)\0(.{%d})" % id_length, re.DOTALL)


def scan_tree(tree: bytes, id_length: int) -> Iterator[TreeEntry]:
    """Give the entries of a tree.

    Args:
      tree: its content
      id_length: bytes of an object id
    Raises:
      BrokenTreeError: if it is not well-formed, or an entry has no name
    """
    match, position, end = _entry(id_length).match, 0, len(tree)
    while position < end:
        found = match(tree, position)
        if found is None:
            raise BrokenTreeError("a tree has an entry that is not well-formed")
        yield TreeEntry(*found.groups())
        position = found.end()


def count_entries(tree: bytes, id_length: int, enough: int) -> int:
    """Count the entries of a tree.

    Args:
      tree: its content
      id_length: bytes of an object id
      enough: no need to count much further
    Returns: their number, or a bound of it; either is above `enough` only if the number is
    """
    shortest = id_length + 4
    most = len(tree) // shortest
    if most <= enough:
        return most
    count = position = 0
    while count <= enough:
        position = tree.find(b"\0", position) + 1
        if not position:
            break
        position += id_length
        count += 1
    return count
