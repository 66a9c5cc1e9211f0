# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Ref, log and obj records: their keys, their values, and how values are encoded and decoded.

A record on disk is a key, prefix compressed against the key before it, three bits of type, and a
value. Blocks read and write the keys. This module does the rest: ``encode_*`` gives ``(type, value
bytes)`` of a record, ``decode_*`` reads a value at a position and gives the record and the position
behind it. Object ids are raw bytes (20 or 32) throughout the engine.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from .coding import MAX_UINT64, decode_varint, encode_varint

__all__ = [
    "LOG_DELETION",
    "LOG_UPDATE",
    "REF_DELETION",
    "REF_SYMREF",
    "REF_VAL1",
    "REF_VAL2",
    "LogRecord",
    "LogUpdate",
    "ObjRecord",
    "RefRecord",
    "decode_key_header",
    "decode_log",
    "decode_log_key",
    "decode_obj",
    "decode_position",
    "decode_ref",
    "decode_string",
    "encode_log",
    "encode_obj",
    "encode_ref",
    "log_index",
    "log_key",
    "make_record",
    "skip_log",
    "skip_obj",
    "skip_position",
    "skip_ref",
]

# Value types of a ref record (format: "ref record").
REF_DELETION = 0
REF_VAL1 = 1
REF_VAL2 = 2
REF_SYMREF = 3

# Types of a log record (format: "log record").
LOG_DELETION = 0
LOG_UPDATE = 1

_UINT64 = struct.Struct(">Q")
_INT16 = struct.Struct(">h")


class RefRecord(NamedTuple):
    """What one table says of one ref.

    Attributes:
      name: full name of the ref
      update_index: the transaction that wrote it
      value: the object id that it points to (None for a symref and for a deletion)
      peeled: the object id that an annotated tag finally points to, else None
      target: the name that a symref points to, else None
    """

    name: bytes
    update_index: int
    value: bytes | None = None
    peeled: bytes | None = None
    target: bytes | None = None

    @property
    def is_deletion(self) -> bool:
        """Whether this is a tombstone: the ref is gone, whatever older tables say."""
        return self.value is None and self.target is None


class LogUpdate(NamedTuple):
    """One update in a reflog.

    Attributes:
      old_id: object id before, all zero for "did not exist"
      new_id: object id after, all zero for "was deleted"
      name: committer's name
      email: committer's address without the angle brackets
      time: seconds since the epoch
      tz_offset: the time zone as the decimal number ``±hhmm`` (``+0530`` is 530), the way git
        writes it; the format document says minutes
      message: one line that ends in a newline, or nothing
    """

    old_id: bytes
    new_id: bytes
    name: bytes
    email: bytes
    time: int
    tz_offset: int
    message: bytes

    @property
    def is_existence_marker(self) -> bool:
        """Whether both ids are zero: this says that the reflog exists, and is no entry."""
        return not any(self.old_id) and not any(self.new_id)


class LogRecord(NamedTuple):
    """One reflog entry, or (``update`` is None) the deletion of one.

    Attributes:
      name: full name of the ref
      update_index: the transaction that made the entry; with the name it is the record's key
      update: the entry; None for a tombstone
    """

    name: bytes
    update_index: int
    update: LogUpdate | None = None


class ObjRecord(NamedTuple):
    """The ref blocks that mention an object.

    Attributes:
      prefix: abbreviated object id
      positions: positions of the blocks in the file, ascending; empty means "some ref has it:
        scan them all" (format: "obj record", ``cnt_large = 0``)
    """

    prefix: bytes
    positions: tuple[int, ...]


def decode_key_header(data: bytes, pos: int) -> tuple[int, int, int]:
    """Decode the two varints that every record begins with.

    Returns: length of the prefix that the key shares with the one before; length of the rest of the
      key and type, as ``length << 3 | type``; and the position behind both
    Raises:
      IndexError, ValueError: if they are malformed
    """
    prefix, first, second = data[pos], data[pos + 1], data[pos + 2]
    if prefix < 0x80 <= first and second < 0x80:
        # Keys at restarts are whole, and mostly of 16 bytes and more: so their length takes two.
        return prefix, (first - 0x7F) << 7 | second, pos + 3
    prefix, pos = decode_varint(data, pos)
    head, pos = decode_varint(data, pos)
    return prefix, head, pos


def encode_ref(record: RefRecord, min_update_index: int) -> tuple[int, bytes]:
    """Encode a ref record's value.

    Args:
      record: the record
      min_update_index: the table's, which the record's index is stored relative to
    Returns: value type, value bytes
    """
    delta = encode_varint(record.update_index - min_update_index)
    _, _, value, peeled, target = record
    if target is not None:
        return REF_SYMREF, delta + encode_varint(len(target)) + target
    if value is None:
        return REF_DELETION, delta
    if peeled is None:
        return REF_VAL1, delta + value
    return REF_VAL2, delta + value + peeled


# Makes a record of a tuple of all its fields; calling the class takes longer.
make_record: Callable[[type[RefRecord], tuple[Any, ...]], RefRecord] = tuple.__new__


def decode_ref(
    name: bytes, value_type: int, data: bytes, pos: int, hash_size: int, min_update_index: int
) -> tuple[RefRecord, int]:
    """Decode a ref record's value.

    Args:
      name: the record's key
      value_type: the three bits of type beside the key
      data: the block
      pos: where the value begins
      hash_size: bytes of an object id
      min_update_index: the table's
    Returns: the record, and the position behind it
    Raises:
      IndexError, ValueError: if the value is malformed
    """
    delta, pos = decode_varint(data, pos)
    index = min_update_index + delta
    if value_type == REF_VAL1:
        end = pos + hash_size
        return RefRecord(name, index, _take(data, pos, end)), end
    if value_type == REF_VAL2:
        middle, end = pos + hash_size, pos + 2 * hash_size
        value, peeled = _take(data, pos, middle), _take(data, middle, end)
        return RefRecord(name, index, value, peeled), end
    if value_type == REF_SYMREF:
        target, end = decode_string(data, pos)
        return RefRecord(name, index, None, None, target), end
    if value_type == REF_DELETION:
        return RefRecord(name, index), pos
    raise ValueError(f"reserved ref value type {value_type}")


def skip_ref(value_type: int, data: bytes, pos: int, hash_size: int) -> int:
    """Give the position behind a ref record's value, without decoding it.

    Raises:
      IndexError, ValueError: if the value is malformed
    """
    while data[pos] > 0x7F:  # the update index
        pos += 1
    pos += 1
    if value_type < REF_SYMREF:
        return pos + value_type * hash_size  # deletion, one id, two ids
    if value_type == REF_SYMREF:
        return _skip_string(data, pos)
    raise ValueError(f"reserved ref value type {value_type}")


def log_key(name: bytes, update_index: int) -> bytes:
    """Give the key of a log record, which sorts a ref's newest entry first."""
    return name + b"\0" + _UINT64.pack(MAX_UINT64 - update_index)


def log_index(key: bytes) -> int:
    """Give the update index that a log record's key ends in.

    Args:
      key: eight bytes or more
    """
    index: int = MAX_UINT64 - _UINT64.unpack(key[-8:])[0]
    return index


def decode_log_key(key: bytes) -> tuple[bytes, int]:
    """Split a log record's key into ref name and update index.

    Raises:
      ValueError: if it is none
    """
    if len(key) < 10 or key[-9] != 0:
        raise ValueError("malformed log record key")
    return key[:-9], log_index(key)


def encode_log(record: LogRecord) -> tuple[int, bytes]:
    """Encode a log record's value.

    Returns: log type, value bytes
    """
    update = record.update
    if update is None:
        return LOG_DELETION, b""
    return LOG_UPDATE, b"".join(
        (
            update.old_id,
            update.new_id,
            encode_varint(len(update.name)),
            update.name,
            encode_varint(len(update.email)),
            update.email,
            encode_varint(update.time),
            _INT16.pack(update.tz_offset),
            encode_varint(len(update.message)),
            update.message,
        )
    )


def decode_log(
    key: bytes, log_type: int, data: bytes, pos: int, hash_size: int
) -> tuple[LogRecord, int]:
    """Decode a log record's value.

    Args:
      key: the record's key
      log_type: the three bits of type beside the key
      data: the inflated block
      pos: where the value begins
      hash_size: bytes of an object id
    Returns: the record, and the position behind it
    Raises:
      IndexError, ValueError: if key or value are malformed
    """
    name, update_index = decode_log_key(key)
    if log_type == LOG_DELETION:
        return LogRecord(name, update_index), pos
    if log_type != LOG_UPDATE:
        raise ValueError(f"unknown log type {log_type}")
    middle, end = pos + hash_size, pos + 2 * hash_size
    old_id, new_id = data[pos:middle], data[middle:end]
    # If the block ends before all of this, the strings behind it are refused.
    who, pos = decode_string(data, end)
    email, pos = decode_string(data, pos)
    time, pos = decode_varint(data, pos)
    tz_offset = data[pos] << 8 | data[pos + 1]
    if tz_offset > 0x7FFF:
        tz_offset -= 0x10000
    message, pos = decode_string(data, pos + 2)
    update = LogUpdate(old_id, new_id, who, email, time, tz_offset, message)
    return LogRecord(name, update_index, update), pos


def skip_log(log_type: int, data: bytes, pos: int, hash_size: int) -> int:
    """Give the position behind a log record's value, without decoding it.

    Raises:
      IndexError, ValueError: if the value is malformed
    """
    if log_type == LOG_DELETION:
        return pos
    if log_type != LOG_UPDATE:
        raise ValueError(f"unknown log type {log_type}")
    pos = _skip_string(data, _skip_string(data, pos + 2 * hash_size))
    while data[pos] > 0x7F:  # the time
        pos += 1
    return _skip_string(data, pos + 3)


def encode_obj(positions: tuple[int, ...]) -> tuple[int, bytes]:
    """Encode an obj record's value.

    Returns: ``cnt_3``, value bytes
    """
    count = len(positions)
    if count == 1:
        return 1, encode_varint(positions[0])
    small = count if 0 < count < 8 else 0
    out = [] if small else [encode_varint(count)]
    prior = 0
    for position in positions:
        out.append(encode_varint(position - prior))
        prior = position
    return small, b"".join(out)


def decode_obj(prefix: bytes, cnt_3: int, data: bytes, pos: int) -> tuple[ObjRecord, int]:
    """Decode an obj record's value.

    Returns: the record, and the position behind it
    Raises:
      IndexError, ValueError: if the value is malformed
    """
    count = cnt_3
    if not count:
        count, pos = decode_varint(data, pos)
        if count > len(data):
            raise ValueError(f"{count} positions cannot fit")
    positions = []
    position = 0
    for i in range(count):
        delta, pos = decode_varint(data, pos)
        if i and not delta:
            raise ValueError("positions do not ascend")
        position += delta
        positions.append(position)
    return ObjRecord(prefix, tuple(positions)), pos


def skip_obj(cnt_3: int, data: bytes, pos: int) -> int:
    """Give the position behind an obj record's value, without decoding it.

    Raises:
      IndexError, ValueError: if the value is malformed
    """
    count = cnt_3
    if count == 1:  # as most have
        while data[pos] > 0x7F:
            pos += 1
        return pos + 1
    if not count:
        count, pos = decode_varint(data, pos)
    while count:
        while data[pos] > 0x7F:
            pos += 1
        pos += 1
        count -= 1
    return pos


def decode_position(key: bytes, extra: int, data: bytes, pos: int) -> tuple[int, int]:
    """Decode an index record's value.

    Returns: the position of a block, and the position behind the value
    Raises:
      IndexError, ValueError: if the value is malformed
    """
    if extra:
        raise ValueError(f"index record of type {extra}")
    return decode_varint(data, pos)


def skip_position(extra: int, data: bytes, pos: int) -> int:
    """Give the position behind an index record's value, without decoding it.

    Raises:
      IndexError, ValueError: if the value is malformed
    """
    if extra:
        raise ValueError(f"index record of type {extra}")
    while data[pos] > 0x7F:
        pos += 1
    return pos + 1


def decode_string(data: bytes, pos: int) -> tuple[bytes, int]:
    """Decode a string, which begins with its length.

    Returns: the string, and the position behind it
    Raises:
      IndexError, ValueError: if it is cut short
    """
    length = data[pos]
    if length < 0x80:  # as most are
        pos += 1
    else:
        length, pos = decode_varint(data, pos)
    end = pos + length
    return _take(data, pos, end), end


def _skip_string(data: bytes, pos: int) -> int:
    length = data[pos]
    if length < 0x80:
        return pos + 1 + length
    length, pos = decode_varint(data, pos)
    return pos + length


def _take(data: bytes, pos: int, end: int) -> bytes:
    """Slice; refuse a slice that would be cut short."""
    if end > len(data):
        raise ValueError("value runs past the end of its block")
    return data[pos:end]
