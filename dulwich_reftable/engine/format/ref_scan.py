# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The hot loops over ref records: finding one, and decoding all of them, to text or to records.

They work on a run of records, which begins with one whose key is not compressed. They agree with
the plain way, in which a :class:`~.block.Block` reads records of every kind; the tests see to it.
"""

from __future__ import annotations

from binascii import b2a_hex
from functools import lru_cache

from ..errors import CorruptTableError
from .coding import decode_varint, shared_prefix
from .layout import Layout
from .records import (
    REF_DELETION,
    REF_SYMREF,
    REF_VAL1,
    REF_VAL2,
    RefRecord,
    decode_ref,
    make_record,
)

__all__ = [
    "LARGEST_SLICED",
    "SYMREF_PREFIX",
    "plain_steps",
    "ref_records",
    "ref_text",
    "ref_values",
    "seek_ref",
]

SYMREF_PREFIX = b"ref: "
"""How a symref's value is told apart from an object id where both are text."""

LARGEST_SLICED = 1 << 16
"""Up to this many bytes of a block, :func:`ref_values` keeps a slice object for each."""

# Suffix length by the second byte of a ref record, where that byte alone says it and the value is
# one object id; -1 for every record that needs the general path.
_SHORT_VAL1 = [b >> 3 if b < 0x80 and b & 7 == REF_VAL1 else -1 for b in range(256)]


def seek_ref(layout: Layout, run: bytes, position: int, name: bytes) -> RefRecord | None:
    """Find the first ref in a run of records that is not before ``name``.

    Keys are not put together: of the key before, only ``matched``, the length that it has in
    common with ``name``, is kept. A record that shares more than that with its predecessor is,
    like it, smaller than ``name``.

    Args:
      layout: the table
      run: the records; the first is not compressed
      position: where they stand in the file
      name: of the ref
    Returns: its record; or that of the one behind it, if there is no such ref; or None
    Raises:
      CorruptTableError: if the records are damaged, as far as that is seen
    """
    hash_size = layout.hash_size
    steps, behind_key = plain_steps(hash_size), 1 + hash_size
    end = len(run)
    sought = name + b"\0"  # so that there is a byte behind what of the name is matched
    following = sought[0]
    matched = start = pos = 0
    try:
        while pos < end:
            start = pos
            prefix = run[pos]
            step = steps[run[pos + 1]]
            if (
                step
                and (prefix > matched or (prefix == matched and run[pos + 2] < following))
                and prefix < 128
                and run[pos + step - behind_key] < 128
            ):
                # Before the name, and no closer to it than the one before: half of a run is such.
                pos += step
                continue
            head = run[pos + 1]
            if prefix < 0x80 and head < 0x80:
                pos += 2
            else:
                prefix, pos = decode_varint(run, pos)
                head, pos = decode_varint(run, pos)
            value_at = pos + (head >> 3)
            if prefix <= matched:
                suffix, rest = run[pos:value_at], name[prefix:]
                if suffix >= rest:
                    key = name if suffix == rest else name[:prefix] + suffix
                    base = layout.min_update_index
                    is_plain = head & 7 == REF_VAL1 and run[value_at] < 128
                    if is_plain and value_at + hash_size < end:
                        value = run[value_at + 1 : value_at + 1 + hash_size]
                        return make_record(
                            RefRecord, (key, base + run[value_at], value, None, None)
                        )
                    return decode_ref(key, head & 7, run, value_at, hash_size, base)[0]
                if prefix:  # mostly they share a byte or two
                    matched = prefix
                    while pos < value_at and run[pos] == sought[matched]:
                        matched += 1
                        pos += 1
                else:
                    matched = shared_prefix(suffix, rest)
                following = sought[matched]
            pos = value_at
            while run[pos] > 127:
                pos += 1
            value_type = head & 7
            if value_type == REF_VAL1:
                pos += 1 + hash_size
            elif value_type == REF_VAL2:
                pos += 1 + 2 * hash_size
            elif value_type == REF_SYMREF:
                length, pos = decode_varint(run, pos + 1)
                pos += length
            elif value_type == REF_DELETION:
                pos += 1
            else:
                raise ValueError(f"reserved ref value type {value_type}")
        if pos != end:
            raise ValueError("record runs into what is behind it")
    except (IndexError, ValueError) as error:
        reason = str(error) or "record is cut short"
        raise CorruptTableError(layout.filename, position + start, reason) from error
    return None


def ref_values(
    layout: Layout, data: bytes, pos: int, end: int, position: int
) -> tuple[list[bytes], list[bytes | None]]:
    """Decode all refs of a run to text, for those who list them.

    One turn a ref makes this the hottest loop of the package. What it saves on: hex digits of the
    whole block at once, taken out by slice objects that exist already; two header bytes that need
    no varint decoding; a shared prefix that is cut once for a run of records.

    Args:
      layout: the table
      data: a block, of at most ``LARGEST_SLICED`` bytes
      pos: where its records begin
      end: where they end
      position: of the block in the file
    Returns: names, ascending; and beside each its value: a hex object id, ``b"ref: <target>"`` for
      a symref, or None for a deletion
    Raises:
      CorruptTableError: if the records are damaged
    """
    hash_size = layout.hash_size
    digits = b2a_hex(data)
    id_at = _hex_slices(hash_size, (len(data) | 0xFFF) + 1)
    short = _SHORT_VAL1
    names: list[bytes] = []
    values: list[bytes | None] = []
    add_name, add_value = names.append, values.append
    name = head = b""
    cut = start = 0
    try:
        while pos < end:
            start = pos
            prefix = data[pos]
            suffix_length = short[data[pos + 1]]
            if suffix_length < 0 or prefix > 127:
                prefix, pos = decode_varint(data, pos)
                suffix_length, pos = decode_varint(data, pos)
                value_type = suffix_length & 7
                suffix_length >>= 3
            else:
                pos += 2
                value_type = REF_VAL1
            if prefix != cut:
                if prefix > len(name):
                    raise ValueError("prefix is longer than the key before")
                head = name[:prefix]
                cut = prefix
            value_at = pos + suffix_length
            key = head + data[pos:value_at]
            if key <= name:
                raise ValueError("keys do not ascend")
            name = key
            pos = value_at
            while data[pos] > 127:  # the update index is of no interest here
                pos += 1
            pos += 1
            if value_type == REF_VAL1:
                add_name(name)
                add_value(digits[id_at[pos]])
                pos += hash_size
            else:
                record, pos = decode_ref(name, value_type, data, value_at, hash_size, 0)
                add_name(name)
                add_value(ref_text(record))
        if pos != end:
            raise ValueError("record runs into what is behind it")
    except (IndexError, ValueError) as error:
        reason = str(error) or "record is cut short"
        raise CorruptTableError(layout.filename, position + start, reason) from error
    return names, values


def ref_records(
    layout: Layout, data: bytes, pos: int, end: int, position: int
) -> tuple[list[bytes], list[RefRecord]]:
    """Decode all refs of a run to records, for those who merge or write them.

    What it saves is what :func:`ref_values` saves, but for the hex digits.

    Args:
      layout: the table
      data: a block
      pos: where its records begin
      end: where they end
      position: of the block in the file
    Returns: names, ascending; and beside each its record
    Raises:
      CorruptTableError: if the records are damaged
    """
    hash_size, base = layout.hash_size, layout.min_update_index
    short = _SHORT_VAL1
    names: list[bytes] = []
    records: list[RefRecord] = []
    add_name, add_record = names.append, records.append
    make = make_record
    name = head = b""
    cut = start = 0
    try:
        while pos < end:
            start = pos
            prefix = data[pos]
            suffix_length = short[data[pos + 1]]
            if suffix_length < 0 or prefix > 127:
                prefix, pos = decode_varint(data, pos)
                suffix_length, pos = decode_varint(data, pos)
                value_type = suffix_length & 7
                suffix_length >>= 3
            else:
                pos += 2
                value_type = REF_VAL1
            if prefix != cut:
                if prefix > len(name):
                    raise ValueError("prefix is longer than the key before")
                head = name[:prefix]
                cut = prefix
            value_at = pos + suffix_length
            key = head + data[pos:value_at]
            if key <= name:
                raise ValueError("keys do not ascend")
            name = key
            delta = data[value_at]
            if value_type == REF_VAL1 and delta < 128:
                pos = value_at + 1 + hash_size
                value = data[value_at + 1 : pos]
                record = make(RefRecord, (name, base + delta, value, None, None))
            else:
                record, pos = decode_ref(name, value_type, data, value_at, hash_size, base)
            add_name(name)
            add_record(record)
        if pos != end:
            raise ValueError("record runs into what is behind it")
    except (IndexError, ValueError) as error:
        reason = str(error) or "record is cut short"
        raise CorruptTableError(layout.filename, position + start, reason) from error
    return names, records


def ref_text(record: RefRecord) -> bytes | None:
    """Give a ref's value as text: hex digits, ``ref: <target>``, or None for a deletion."""
    if record.target is not None:
        return SYMREF_PREFIX + record.target
    return None if record.value is None else b2a_hex(record.value)


@lru_cache(maxsize=3)
def plain_steps(hash_size: int) -> list[int]:
    """Give, by the second byte of a ref record, its length, where other bytes do not matter.

    That is so if the shared prefix and the update index take one byte each; 0 stands where the
    byte does not say it, and everywhere if there are no object ids.
    """
    if not hash_size:
        return [0] * 256
    return [2 + length + 1 + hash_size if length > 0 else 0 for length in _SHORT_VAL1]


@lru_cache(maxsize=16)
def _hex_slices(hash_size: int, count: int) -> list[slice]:
    """Give, for each position in a block, the slice of its hex digits that is an object id."""
    return [slice(2 * i, 2 * (i + hash_size)) for i in range(count + 1)]
