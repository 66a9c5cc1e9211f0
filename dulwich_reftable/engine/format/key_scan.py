# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The fast ways to find an index record or an obj record, and to skip a run of them.

As in :mod:`.ref_scan`, each loop is a shortcut for ``Block.entries``, which reads records of every
kind; the tests compare them with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..errors import CorruptTableError
from .layout import Layout
from .records import decode_key_header

__all__ = ["seek_record", "skip_records"]

_T = TypeVar("_T")


def seek_record(
    layout: Layout,
    data: bytes,
    pos: int,
    end: int,
    position: int,
    sought: bytes,
    skip: Callable[[int, bytes, int], int],
    decode: Callable[[bytes, int, bytes, int], tuple[_T, int]],
) -> _T | None:
    """Find the first record whose key is not before another one.

    Args:
      layout: the table
      data: the block
      pos: offset of a record whose key is not compressed
      end: offset behind the last record
      position: of the block in the file
      sought: the key
      skip: takes type bits, data and the offset of a value; gives the offset behind it
      decode: takes a key and the same; gives the record, too
    Returns: the record; None if all keys are before it
    Raises:
      CorruptTableError: if damage was met on the way
    """
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
            if prefix > len(key):
                raise ValueError("prefix is longer than the key before")
            at = pos + (head >> 3)
            before, key = key, key[:prefix] + data[pos:at]
            if key <= before:
                raise ValueError("keys do not ascend")
            pos = skip(head & 7, data, at)
            if pos > end:
                raise ValueError("record runs into the restarts")
            if key >= sought:
                return decode(key, head & 7, data, at)[0]
    except (IndexError, ValueError) as error:
        reason = str(error) or "record is cut short"
        raise CorruptTableError(layout.filename, position + start, reason) from error
    return None


def skip_records(data: bytes, pos: int, end: int, skip: Callable[[int, bytes, int], int]) -> int:
    """Skip the records of a run without building their keys.

    Args:
      data: the block
      pos: offset of the first record
      end: offset behind the last one
      skip: as for :func:`seek_record`
    Returns: the offset behind the record that reaches ``end``
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
        pos = skip(head & 7, data, pos)
    return pos
