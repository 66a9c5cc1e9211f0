# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The layout of the file: header, footer, block types; and what a block needs to know of them.

This module alone knows the magic number, the versions, the sizes of header and footer, and the ids
of hashes (format: "Header", "Footer").
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar
from zlib import crc32

from ..errors import CorruptTableError

__all__ = [
    "FOOTER_SIZES",
    "HASH_SIZES",
    "HEADER_SIZES",
    "INDEX",
    "LOG",
    "LONGEST_HEADER",
    "OBJ",
    "REF",
    "TYPES",
    "Buffer",
    "Footer",
    "Header",
    "Layout",
    "RemoteBuffer",
    "encode_footer",
    "encode_header",
]

# Block types (format: the first byte of each block).
REF = ord("r")
LOG = ord("g")
OBJ = ord("o")
INDEX = ord("i")
TYPES = {REF: "ref", LOG: "log", OBJ: "obj", INDEX: "index"}
"""The names of all block types."""

_MAGIC = b"REFT"
_HEADER = struct.Struct(">4sIQQ")
_HASH_ID = slice(24, 28)
_POSITIONS = struct.Struct(">QQQQQ")
_FOOTER = struct.Struct(">QQQQQI")  # behind the copy of the header

HEADER_SIZES = {1: 24, 2: 28}
"""Bytes of the header by version: version 2 appends a hash id."""

FOOTER_SIZES = {version: size + _FOOTER.size for version, size in HEADER_SIZES.items()}
"""Bytes of the footer by version: a copy of the header, five positions, a checksum."""

LONGEST_HEADER = max(HEADER_SIZES.values())

HASH_SIZES = {b"sha1": 20, b"s256": 32}
"""Bytes of an object id by hash id. Version 1 has no hash id, and ids of 20 bytes."""


_T = TypeVar("_T")


class Buffer(Protocol):
    """A table's bytes: ``bytes`` or a memory map; slicing it gives ``bytes``."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: slice, /) -> bytes: ...


class RemoteBuffer(Buffer, Protocol):
    """Bytes that are fetched when they are asked for, which takes its time."""

    @property
    def fetches(self) -> int:
        """How often bytes had to be fetched."""

    def read_ahead(self) -> None:
        """Prepare for a reader of all refs, in their order: fetch the first ones, and many."""

    def side_by_side(self, calls: Sequence[Callable[[], _T]], /) -> list[_T]:
        """Make several calls at once, and give their results in order."""


class Header(NamedTuple):
    """The file header.

    Attributes:
      version: of the format, 1 or 2
      block_size: alignment in bytes; 0 for an unaligned table
      min_update_index, max_update_index: bounds of the update indexes in the table
      hash_size: bytes of an object id
    """

    version: int
    block_size: int
    min_update_index: int
    max_update_index: int
    hash_size: int

    @property
    def size(self) -> int:
        """Bytes of the header itself."""
        return HEADER_SIZES[self.version]

    @classmethod
    def decode(cls, filename: str, data: bytes) -> Header:
        """Decode a header.

        Args:
          filename: the table's name, for messages
          data: the first bytes of the table, or of its footer; 28 or more where there are as many
        Raises:
          CorruptTableError: if this is no header
        """
        if len(data) < _HEADER.size:
            raise CorruptTableError(filename, 0, f"{len(data)} bytes are too few for a table")
        magic, word, min_update_index, max_update_index = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise CorruptTableError(filename, 0, "magic number is missing")
        version = word >> 24
        if version not in HEADER_SIZES:
            raise CorruptTableError(filename, 4, f"unknown version {version}")
        hash_id = b"sha1" if version == 1 else data[_HASH_ID]
        if hash_id not in HASH_SIZES:
            raise CorruptTableError(filename, 24, f"unknown hash id {hash_id!r}")
        block_size, hash_size = word & 0xFFFFFF, HASH_SIZES[hash_id]
        return tuple.__new__(
            cls, (version, block_size, min_update_index, max_update_index, hash_size)
        )


def encode_header(
    block_size: int, min_update_index: int, max_update_index: int, hash_size: int
) -> bytes:
    """Encode a header: version 1 for SHA-1, as git does, version 2 for everything else."""
    version, hash_id = (1, b"") if hash_size == 20 else (2, b"s256")
    word = version << 24 | block_size
    return _HEADER.pack(_MAGIC, word, min_update_index, max_update_index) + hash_id


class Footer(NamedTuple):
    """The footer behind its copy of the header. A position of 0 stands for "there is none".

    Attributes:
      position: where it begins in the file
      ref_index: position of the root of the refs' index
      obj: position of the first obj block
      obj_id_length: bytes to which obj blocks abbreviate object ids
      obj_index: position of the root of the objects' index
      log: position of the first log block
      log_index: position of the root of the logs' index
      checksum: as the file has it
      is_sound: whether that is the checksum of the footer
    """

    position: int
    ref_index: int
    obj: int
    obj_id_length: int
    obj_index: int
    log: int
    log_index: int
    checksum: int
    is_sound: bool

    @property
    def starts(self) -> tuple[int, int, int, int, int]:
        """The five positions, in the order of the file."""
        return self.ref_index, self.obj, self.obj_index, self.log, self.log_index

    @classmethod
    def decode(cls, data: bytes, position: int) -> Footer:
        """Decode a footer; its checksum may be wrong.

        Args:
          data: all of it, the copy of the header included
          position: where it begins in the file
        """
        ref_index, obj, obj_index, log, log_index, checksum = _FOOTER.unpack(data[-_FOOTER.size :])
        is_sound = checksum == crc32(data[:-4])
        # fmt: off
        return tuple.__new__(cls, (
            position, ref_index, obj >> 5, obj & 31, obj_index, log, log_index, checksum, is_sound
        ))
        # fmt: on


def encode_footer(
    header: bytes,
    ref_index: int,
    obj: int,
    obj_id_length: int,
    obj_index: int,
    log: int,
    log_index: int,
) -> bytes:
    """Encode a footer, copy of the header and checksum included; see :class:`Footer`."""
    word = obj << 5 | obj_id_length
    data = header + _POSITIONS.pack(ref_index, word, obj_index, log, log_index)
    return data + crc32(data).to_bytes(4, "big")


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
