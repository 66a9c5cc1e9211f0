# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The fast ways to read obj records: find one, skip them.

As in :mod:`.ref_scan`, each loop is a shortcut for ``Block.entries``, which reads records of every
kind; the tests compare them with it.
"""

from __future__ import annotations

from ..errors import CorruptTableError
from .layout import Layout
from .records import ObjRecord, decode_key_header, decode_obj, skip_obj

__all__ = ["seek_obj", "skip_objs"]


def seek_obj(
    layout: Layout, data: bytes, pos: int, end: int, position: int, prefix: bytes
) -> ObjRecord | None:
    """Find the first record that is not before an abbreviated object id.

    Args:
      layout: the table
      data: an obj block
      pos: offset of a record whose key is not compressed
      end: offset behind the last record
      position: of the block in the file
      prefix: the abbreviated id
    Returns: the record; None if there is none
    Raises:
      CorruptTableError: if damage was met on the way
    """
    key = b""
    start = pos
    try:
        while pos < end:
            start = pos
            shared = data[pos]
            head = data[pos + 1]
            if shared < 0x80 and head < 0x80:
                pos += 2
            else:
                shared, head, pos = decode_key_header(data, pos)
            if shared > len(key):
                raise ValueError("prefix is longer than the key before")
            value_at = pos + (head >> 3)
            before, key = key, key[:shared] + data[pos:value_at]
            if key <= before:
                raise ValueError("keys do not ascend")
            pos = skip_obj(head & 7, data, value_at)
            if pos > end:
                raise ValueError("record runs into the restarts")
            if key >= prefix:
                return decode_obj(key, head & 7, data, value_at)[0]
    except (IndexError, ValueError) as error:
        reason = str(error) or "record is cut short"
        raise CorruptTableError(layout.filename, position + start, reason) from error
    return None


def skip_objs(data: bytes, pos: int, end: int) -> int:
    """Skip the records of a run without building their keys.

    Returns: the position behind the record that reaches ``end``
    Raises:
      IndexError, ValueError: if damage was met on the way
    """
    while pos < end:
        head = data[pos + 1]
        if data[pos] < 0x80 and head < 0x80:
            pos += 2 + (head >> 3)
        else:
            _, head, pos = decode_key_header(data, pos)
            pos += head >> 3
        pos = skip_obj(head & 7, data, pos)
    return pos
