# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The fast way to read a reflog: the log records of one ref, as text.

It is a shortcut for the plain loop ``Block.log_records``, and makes no records. The tests compare
the two. Most entries of a reflog have the committer of the entry before: that is compared as
bytes, and decoded where it differs.
"""

from __future__ import annotations

import struct
from binascii import b2a_hex

from ..errors import CorruptTableError
from .coding import MAX_UINT64, decode_varint
from .layout import Layout
from .records import (
    LOG_DELETION,
    LOG_UPDATE,
    decode_key_header,
    decode_string,
    skip_log,
)

__all__ = ["LogText", "is_existence_marker", "log_entries"]

LogText = tuple[bytes, bytes, bytes, int, int, bytes]
"""An entry as text: old and new hex id, ``b"Name <address>"``, seconds since the epoch, the time
zone as ``±hhmm``, and the message without the newline at its end."""

_NEWLINE = ord("\n")

_BEHIND_COMMITTER = struct.Struct(">5BhB")
"""A time of five bytes, the time zone, and the first byte of the message's length."""

_ZONE_AND_LENGTH = struct.Struct(">hB")

_CONTINUED = 0x7F << 28 | 0x7F << 21 | 0x7F << 14 | 0x7F << 7
"""What the marks of the bytes that go on add to a time of five bytes (``decode_varint``)."""


def log_entries(
    layout: Layout, data: bytes, pos: int, end: int, position: int, name: bytes
) -> tuple[list[bytes], list[LogText | None], bool]:
    """Decode the log records of one ref.

    Args:
      layout: the table
      data: the inflated block
      pos: offset of a record whose key is not compressed; others may stand before the ref's
      end: where the restarts begin
      position: of the block in the file
      name: of the ref
    Returns: the last eight bytes of each key, and beside each its entry (None for a tombstone);
      and whether another ref follows
    Raises:
      CorruptTableError: if one of the records is malformed
    """
    keys: list[bytes] = []
    entries: list[LogText | None] = []
    size, unpack = layout.hash_size, _BEHIND_COMMITTER.unpack_from
    first, stop = name + b"\0", name + b"\1"
    known = MAX_UINT64  # bytes of a key that are not looked at again, once they are the ref's
    key = tail = committer = coded = b""  # ``tail`` is what of the key stands behind those
    start = pos
    try:
        while pos < end:
            start = pos
            shared, head = data[pos], data[pos + 1]
            if shared < 0x80 and head < 0x80:
                pos += 2
            else:
                shared, head, pos = decode_key_header(data, pos)
            at = pos + (head >> 3)
            if at > end:
                raise ValueError("key runs into the restarts")
            if shared >= known:  # it is of the ref that the one before is of
                shared -= known
                if shared > len(tail):
                    raise ValueError("prefix is longer than the key before")
                before, tail = tail, tail[:shared] + data[pos:at]
                if tail <= before:
                    raise ValueError("keys do not ascend")
            else:
                if known < MAX_UINT64:
                    key = first + tail
                if shared > len(key):
                    raise ValueError("prefix is longer than the key before")
                before, key = key, key[:shared] + data[pos:at]
                if key <= before:
                    raise ValueError("keys do not ascend")
                if key < first:
                    pos = skip_log(head & 7, data, at, size)
                    continue
                if key >= stop:
                    return keys, entries, True
                known = len(first)
                tail = key[known:]
            if head & 7 == LOG_DELETION:
                pos = at
                entry = None
            elif head & 7 == LOG_UPDATE:
                middle = at + 2 * size
                ids = b2a_hex(data[at:middle])
                if coded and data.startswith(coded, middle):
                    at = middle + len(coded)
                else:
                    who, at = decode_string(data, middle)
                    email, at = decode_string(data, at)
                    coded = data[middle:at]
                    committer = b"%b <%b>" % (who, email)
                a, b, c, d, e, zone, count = unpack(data, at)
                if a & b & c & d > 0x7F >= e:  # the time has five bytes, from 1978 to 3058
                    time = (a << 28) + (b << 21) + (c << 14) + (d << 7) + e - _CONTINUED
                    at += 8
                else:
                    time, at = decode_varint(data, at)
                    zone, count = _ZONE_AND_LENGTH.unpack_from(data, at)
                    at += 3
                if count > 0x7F:
                    count, at = decode_varint(data, at - 1)
                pos = at + count
                if pos > end:
                    raise ValueError("record runs into the restarts")
                message = data[at : pos - 1 if count and data[pos - 1] == _NEWLINE else pos]
                entry = ids[: 2 * size], ids[2 * size :], committer, time, zone, message
            else:
                raise ValueError(f"unknown log type {head & 7}")
            if len(tail) == 8:  # else it is of a name that goes on behind a NUL
                keys.append(tail)
                entries.append(entry)
    except (IndexError, ValueError, struct.error) as error:
        reason = "record is cut short" if isinstance(error, struct.error) else str(error)
        reason = f"{reason} (inflated offset {start})"
        raise CorruptTableError(layout.filename, position, reason) from error
    return keys, entries, False


def is_existence_marker(entry: LogText) -> bool:
    """Tell whether both ids are zero: this says that the reflog exists, and is no entry."""
    return entry[0] == entry[1] and not entry[0].strip(b"0")
