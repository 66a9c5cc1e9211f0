# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Scan the entries of a tree one after another, in little memory.

A tree may have a million entries. dulwich's ``Tree`` makes several objects of each entry and keeps
them; this scan keeps none. It reads modes as git does (``tree-walk.c``): an entry that is neither a
directory, a file nor a symbolic link is a commit of another repository.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dulwich.objects import Tree

from ...objects.trees import entry_pattern, entry_type
from ..errors import PackError

__all__ = ["BrokenTreeError", "TreeEntry", "count_entries", "scan_tree"]


class BrokenTreeError(PackError):
    """A tree is malformed."""


class TreeEntry(NamedTuple):
    """An entry of a tree.

    Attributes:
      mode: as it is in the tree, in octal digits
      name: of the entry
      oid: binary id
    """

    mode: bytes
    name: bytes
    oid: bytes

    @property
    def type_num(self) -> int:
        """The type of the object; a commit is in another repository."""
        return entry_type(self.mode)

    @property
    def sort_key(self) -> bytes:
        """The key by which git sorts entries: a directory's name ends in a slash."""
        return self.name + b"/" if self.type_num == Tree.type_num else self.name


def scan_tree(tree: bytes, id_length: int) -> Iterator[TreeEntry]:
    """Scan the entries of a tree.

    Args:
      tree: its content
      id_length: bytes of an object id
    Raises:
      BrokenTreeError: if it is malformed, or an entry has no name
    """
    match, position, end = entry_pattern(id_length).match, 0, len(tree)
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
      enough: the count stops soon after this number
    Returns: a number that is greater than ``enough`` exactly if there are more entries than that
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
