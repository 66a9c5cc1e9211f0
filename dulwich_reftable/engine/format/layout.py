# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What a block needs to know of the file around it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["INDEX", "LOG", "OBJ", "REF", "TYPES", "Buffer", "Layout"]

# Block types (format: the first byte of each block).
REF = ord("r")
LOG = ord("g")
OBJ = ord("o")
INDEX = ord("i")
TYPES = {REF: "ref", LOG: "log", OBJ: "obj", INDEX: "index"}
"""All of them, and what they are called."""


class Buffer(Protocol):
    """A table's bytes: ``bytes`` or a memory map; slicing it gives ``bytes``."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: slice, /) -> bytes: ...


class Layout(NamedTuple):
    """What a block needs to know of its table.

    Attributes:
      filename: the table's name, for messages
      buffer: all of its bytes
      header_size: bytes of the file header, which the first block shares
      block_size: alignment in bytes; 0 for an unaligned table
      hash_size: bytes of an object id
      min_update_index: what ref records count from
      end: where the footer begins
    """

    filename: str
    buffer: Buffer
    header_size: int
    block_size: int
    hash_size: int
    min_update_index: int
    end: int
