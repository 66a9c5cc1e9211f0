# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The limits of a pushed pack: git's limit of its size, and two limits of our own."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import PackError
from .tree_scan import count_entries

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """The limits of a pack; None for no limit.

    Attributes:
      input_size: bytes of the pack, and of any object in it
      object_size: bytes of any object
      tree_entries: entries of any tree
    """

    input_size: int | None = None
    object_size: int | None = None
    tree_entries: int | None = None

    def check(self, size: int) -> None:
        """Check the size of an object.

        Raises:
          PackError: if it is too large
        """
        if self.input_size is not None and size > self.input_size:
            raise PackError(
                f"an object of {size} bytes exceeds the maximum input size"
                f" of {self.input_size} bytes (receive.maxInputSize)"
            )
        if self.object_size is not None and size > self.object_size:
            raise PackError(
                f"an object of {size} bytes exceeds the {self.object_size} bytes"
                " of receive.maxObjectSize"
            )

    def check_tree(self, tree: bytes, id_length: int) -> None:
        """Check the number of entries of a tree.

        Args:
          tree: its content
          id_length: bytes of an object id

        Raises:
          PackError: if there are too many
        """
        most = self.tree_entries
        if most is not None and count_entries(tree, id_length, most) > most:
            raise PackError(f"a tree has more than the {most} entries of receive.maxTreeEntries")
