# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The fast way to decode all records of an index block.

As in :mod:`.ref_scan`, the loop is a shortcut for ``Block.entries``, which reads records of every
kind; the tests compare the two.
"""

from __future__ import annotations

from ..errors import CorruptTableError
from .coding import MAX_UINT64
from .layout import Layout
from .records import decode_key_header

__all__ = ["index_records"]


def index_records(
    layout: Layout, data: bytes, pos: int, end: int, position: int
) -> tuple[list[bytes], list[int]]:
    """Decode all records of an index block.

    Args:
      layout: the table
      data: the block
      pos: offset of the first record
      end: offset behind the last record
      position: of the block in the file
    Returns: keys, ascending; and beside each the position of the block below
    Raises:
      CorruptTableError: if the records are damaged
    """
    keys: list[bytes] = []
    positions: list[int] = []
    key = b""
    start = pos
    try:
        while pos < end:
            start = pos
            prefix = data[pos]
            head = data[pos + 1]
            if prefix < 0x80 and head < 0x80:
                pos += 2
            else:
                prefix, head, pos = decode_key_header(data, pos)
            if head & 7:
                raise ValueError(f"index record of type {head & 7}")
            if prefix > len(key):
                raise ValueError("prefix is longer than the key before")
            at = pos + (head >> 3)
            before, key = key, key[:prefix] + data[pos:at]
            if key <= before:
                raise ValueError("keys do not ascend")
            byte = data[at]
            pos = at + 1
            below = byte & 0x7F
            while byte > 0x7F:  # as ``decode_varint``
                byte = data[pos]
                pos += 1
                below = (below + 1) << 7 | byte & 0x7F
                if below > MAX_UINT64:
                    raise ValueError("varint exceeds 64 bits")
            keys.append(key)
            positions.append(below)
        if pos != end:
            raise ValueError("record runs into what is behind it")
    except (IndexError, ValueError) as error:
        reason = str(error) or "record is cut short"
        raise CorruptTableError(layout.filename, position + start, reason) from error
    return keys, positions
