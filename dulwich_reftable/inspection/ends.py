# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Header and footer of a table, of which one may have to stand in for the other."""

from __future__ import annotations

import zlib
from typing import NamedTuple

from ..engine.format.layout import Buffer
from ..engine.table.table import HASH_SIZES, HEADER, POSITIONS

__all__ = ["Footer", "Header", "read_ends"]


class Header(NamedTuple):
    """What the header says.

    Attributes:
      version: of the format
      block_size: in bytes; 0 for an unaligned table
      min_update_index, max_update_index: bounds of what the records tell
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
        return 24 if self.version == 1 else 28

    @classmethod
    def at(cls, buffer: Buffer, position: int) -> Header | None:
        """Read a header, or its copy in the footer; None if there is none."""
        data = buffer[max(position, 0) : max(position, 0) + 28]
        if position < 0 or len(data) < 28:
            return None
        magic, word, low, high = HEADER.unpack(data[:24])
        version = word >> 24
        hash_size = 20 if version == 1 else HASH_SIZES.get(data[24:])
        if magic != b"REFT" or version not in (1, 2) or hash_size is None:
            return None
        return cls(version, word & 0xFFFFFF, low, high, hash_size)


class Footer(NamedTuple):
    """What the footer says behind its copy of the header; positions are 0 for what is not there.

    Attributes:
      position: where it begins
      ref_index, obj, obj_index, log, log_index: where these begin
      obj_id_length: bytes to which obj blocks abbreviate ids
      checksum: as it is stored
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
    def starts(self) -> tuple[int, ...]:
        """The positions that are told."""
        told = (self.ref_index, self.obj, self.obj_index, self.log, self.log_index)
        return tuple(position for position in told if position)

    @classmethod
    def at(cls, buffer: Buffer, position: int, header_size: int) -> Footer:
        """Read a footer, be its checksum right or not."""
        data = buffer[position : position + header_size + POSITIONS.size]
        ref_index, obj, obj_index, log, log_index, checksum = POSITIONS.unpack(data[header_size:])
        is_sound = checksum == zlib.crc32(data[:-4])
        return cls(
            position, ref_index, obj >> 5, obj & 31, obj_index, log, log_index, checksum, is_sound
        )


def read_ends(buffer: Buffer) -> tuple[Header | None, Footer | None]:
    """Read header and footer; a footer whose checksum is right is believed more than the header."""
    size = len(buffer)
    header = Header.at(buffer, 0)
    for header_size in (24, 28):
        position = size - header_size - POSITIONS.size
        if position < header_size:
            continue
        footer = Footer.at(buffer, position, header_size)
        copy = Header.at(buffer, position)
        if copy is not None and copy.size == header_size:
            if footer.is_sound or header is None:
                return copy, footer
            if header.size == header_size:
                return header, footer
        elif header is not None and header.size == header_size:
            # Its first bytes may be what is damaged.
            told = buffer[position + 8 : position + 24]
            if footer.is_sound or told == buffer[8:24]:
                return header, footer
    return header, None
