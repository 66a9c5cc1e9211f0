# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The fast ways to read ref records: find one, skip them, decode all of them.

Each loop works on a run of records, whose first key is not compressed, and is a shortcut for the
plain loop ``Block.entries``, which reads records of every kind. The tests compare them with it.

=================== ==================================== ==========================
loop                result                               used by
=================== ==================================== ==========================
``seek_ref``        the first record not before a name   a search in a block
``skip_refs``       where the run ends                   the check of a restart
``has_symref``      whether there is one in the run      a list of the symrefs
``split_refs``      names, and places of their values    scans, the hash index
``Block.entries``   offset, key and record, one by one   inspection, the tests
=================== ==================================== ==========================
"""

from __future__ import annotations

from binascii import b2a_hex
from functools import lru_cache
from typing import NamedTuple

from ..errors import CorruptTableError
from .coding import decode_varint, shared_prefix
from .layout import Layout
from .records import (
    REF_SYMREF,
    REF_VAL1,
    REF_VAL2,
    RefRecord,
    decode_key_header,
    decode_ref,
    make_record,
    skip_ref,
)

__all__ = [
    "SYMREF_PREFIX",
    "RefRun",
    "has_symref",
    "ref_records",
    "ref_text",
    "ref_values",
    "seek_ref",
    "skip_refs",
    "split_refs",
]

SYMREF_PREFIX = b"ref: "
"""Marks the value of a symref where values are text."""

_LARGEST_AT_ONCE = 1 << 16
"""Up to this many bytes of a block, :func:`ref_values` makes hex digits of all of it at once."""


def seek_ref(layout: Layout, run: bytes, position: int, name: bytes) -> RefRecord | None:
    """Find the first ref in a run of records that is not before ``name``.

    The loop does not build keys. It keeps ``matched``, the length that the last key has in common
    with ``name``. A record that shares more than that with its predecessor is also smaller than
    ``name``.

    Args:
      layout: the table
      run: the records; the first is not compressed
      position: where they stand in the file
      name: of the ref
    Returns: its record; without such a ref the record of the next one; None at the end of the run
    Raises:
      CorruptTableError: if damage was met on the way
    """
    hash_size = layout.hash_size
    steps, behind_key = _plain_steps(hash_size), 1 + hash_size
    end = len(run)
    sought = name + b"\0"  # there is always a byte behind the matched part
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
                # Before the name, and no closer to it than the last key: half of a run is so.
                pos += step
                continue
            head = run[pos + 1]
            if prefix < 0x80 and head < 0x80:
                pos += 2
            else:
                prefix, head, pos = decode_key_header(run, pos)
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
                if prefix:  # mostly a byte or two more match
                    matched = prefix
                    while pos < value_at and run[pos] == sought[matched]:
                        matched += 1
                        pos += 1
                else:
                    matched = shared_prefix(suffix, rest)
                following = sought[matched]
            if head & 7 == REF_VAL1 and run[value_at] < 128:
                pos = value_at + behind_key
            else:
                pos = skip_ref(head & 7, run, value_at, hash_size)
        if pos != end:
            raise ValueError("record runs into what is behind it")
    except (IndexError, ValueError) as error:
        reason = str(error) or "record is cut short"
        raise CorruptTableError(layout.filename, position + start, reason) from error
    return None


def skip_refs(data: bytes, pos: int, end: int, hash_size: int) -> int:
    """Skip the refs of a run without building their keys.

    Returns: the position behind the record that reaches ``end``
    Raises:
      IndexError, ValueError: if damage was met on the way
    """
    steps, behind_key = _plain_steps(hash_size), 1 + hash_size
    while pos < end:
        step = steps[data[pos + 1]]
        if step and data[pos] < 0x80 and data[pos + step - behind_key] < 0x80:
            pos += step  # most refs take this way
        else:
            _, head, pos = decode_key_header(data, pos)
            pos = skip_ref(head & 7, data, pos + (head >> 3), hash_size)
    return pos


def has_symref(data: bytes, pos: int, end: int, hash_size: int) -> bool:
    """Tell whether one of the refs of a run is a symref, as :func:`skip_refs` skips them.

    Raises:
      IndexError, ValueError: if damage was met on the way
    """
    steps, behind_key = _plain_steps(hash_size), 1 + hash_size
    while pos < end:
        step = steps[data[pos + 1]]
        if step and data[pos] < 0x80 and data[pos + step - behind_key] < 0x80:
            pos += step
        else:
            _, head, pos = decode_key_header(data, pos)
            if head & 7 == REF_SYMREF:
                return True
            pos = skip_ref(head & 7, data, pos + (head >> 3), hash_size)
    if pos != end:
        raise ValueError("record runs into what is behind it")
    return False


class RefRun(NamedTuple):
    """The refs of a run, split; those that have an object id are not decoded.

    Attributes:
      names: of the refs, ascending
      places: beside each the offset of the last byte of its update index, behind which ids stand
      peeled: the numbers of the refs with two ids
      deltas: of each ref whose update index takes more than one byte its number, and by how much
        the update index exceeds the table's least
      others: of each ref without an id, a symref or a deletion, its number, record and end
    """

    names: list[bytes]
    places: list[int]
    peeled: list[int]
    deltas: list[tuple[int, int]]
    others: list[tuple[int, RefRecord, int]]


def split_refs(layout: Layout, data: bytes, pos: int, end: int, position: int) -> RefRun:
    """Find names and places of all refs of a run; this is the hottest loop of the package.

    It takes most pairs of header bytes without decoding varints, and cuts a shared prefix once for
    all neighbours that share it. The caller makes values of the places, in one expression for all.

    Args:
      layout: the table
      data: a block
      pos: offset of the first record
      end: offset behind the last record
      position: of the block in the file
    Raises:
      CorruptTableError: if the records are damaged
    """
    hash_size, base = layout.hash_size, layout.min_update_index
    to_end, to_end_of_peeled = 1 + hash_size, 1 + 2 * hash_size
    run = RefRun([], [], [], [], [])
    names, places, peeled, deltas, others = run
    add_name, add_place = names.append, places.append
    name = shared = b""
    cut = start = 0
    try:
        while pos < end:
            start = pos
            prefix = data[pos]
            head = data[pos + 1]
            if prefix < 0x80 and head < 0x80:
                pos += 2
            else:
                prefix, head, pos = decode_key_header(data, pos)
            if prefix != cut:
                if prefix > len(name):
                    raise ValueError("prefix is longer than the key before")
                shared = name[:prefix]
                cut = prefix
            place = pos + (head >> 3)
            key = shared + data[pos:place]
            if key <= name:
                raise ValueError("keys do not ascend")
            name = key
            add_name(name)
            add_place(place)
            value_type = head & 7
            if value_type == REF_VAL1 and data[place] < 0x80:
                pos = place + to_end
            elif value_type == REF_VAL2 and data[place] < 0x80:
                peeled.append(len(names) - 1)
                pos = place + to_end_of_peeled
            elif value_type in (REF_VAL1, REF_VAL2):
                delta, pos = decode_varint(data, place)
                places[-1] = pos - 1
                deltas.append((len(names) - 1, delta))
                if value_type == REF_VAL2:
                    peeled.append(len(names) - 1)
                pos += value_type * hash_size
            else:
                record, pos = decode_ref(name, value_type, data, place, hash_size, base)
                others.append((len(names) - 1, record, pos))
        if pos != end:
            raise ValueError("record runs into what is behind it")
    except (IndexError, ValueError) as error:
        reason = str(error) or "record is cut short"
        raise CorruptTableError(layout.filename, position + start, reason) from error
    return run


def ref_values(
    layout: Layout, data: bytes, pos: int, end: int, position: int, *, is_one_of_many: bool
) -> tuple[list[bytes], list[bytes | None]]:
    """Decode all refs of a run to text, for listings.

    It makes hex digits of the whole block at once and takes ids out of them. Slice objects that are
    made once for all blocks take a third off that; but to make them takes as long as to decode some
    dozen blocks.

    Args:
      layout: the table
      data: a block
      pos: offset of the first record
      end: offset behind the last record
      position: of the block in the file
      is_one_of_many: whether so many blocks are decoded that slice objects are worth it
    Returns: names, ascending; and beside each its value: a hex object id, ``b"ref: <target>"`` for
      a symref, or None for a deletion
    Raises:
      CorruptTableError: if the records are damaged
    """
    names, places, _, _, others = split_refs(layout, data, pos, end, position)
    values: list[bytes | None]
    if len(data) > _LARGEST_AT_ONCE:
        behind = 1 + layout.hash_size
        values = [b2a_hex(data[place + 1 : place + behind]) for place in places]
    elif is_one_of_many:
        digits = b2a_hex(data)
        id_behind = _hex_slices(layout.hash_size, -(-len(data) // 0x1000) * 0x1000)
        values = [digits[id_behind[place]] for place in places]
    else:
        digits, width = b2a_hex(data), 2 * layout.hash_size
        values = [digits[(at := 2 * place + 2) : at + width] for place in places]
    for number, record, _ in others:
        values[number] = ref_text(record)
    return names, values


def ref_records(
    layout: Layout, data: bytes, pos: int, end: int, position: int
) -> tuple[list[bytes], list[RefRecord]]:
    """Decode all refs of a run to records, for merging and writing.

    Args:
      layout: the table
      data: a block
      pos: offset of the first record
      end: offset behind the last record
      position: of the block in the file
    Returns: names, ascending; and beside each its record
    Raises:
      CorruptTableError: if the records are damaged
    """
    names, places, peeled, deltas, others = split_refs(layout, data, pos, end, position)
    base, one, two = layout.min_update_index, 1 + layout.hash_size, 1 + 2 * layout.hash_size
    make = make_record
    records = [
        make(RefRecord, (name, base + data[at], data[at + 1 : at + one], None, None))
        for name, at in zip(names, places, strict=True)
    ]
    for number in peeled:
        at = places[number]
        value, peeled_value = data[at + 1 : at + one], data[at + one : at + two]
        fields = (names[number], base + data[at], value, peeled_value, None)
        records[number] = make(RefRecord, fields)
    for number, delta in deltas:
        name, _, *ids = records[number]
        records[number] = make(RefRecord, (name, base + delta, *ids))
    for number, record, _ in others:
        records[number] = record
    return names, records


def ref_text(record: RefRecord) -> bytes | None:
    """Give a ref's value as text: hex digits, ``ref: <target>``, or None for a deletion."""
    if record.target is not None:
        return SYMREF_PREFIX + record.target
    return None if record.value is None else b2a_hex(record.value)


@lru_cache(maxsize=2)
def _plain_steps(hash_size: int) -> list[int]:
    """Give the length of a ref record by its second byte, where other bytes do not matter.

    That is so for one object id, if the shared prefix and the update index take one byte each. 0
    stands for "the second byte does not tell it".
    """
    fixed = 2 + 1 + hash_size
    return [fixed + (b >> 3) if 7 < b < 0x80 and b & 7 == REF_VAL1 else 0 for b in range(256)]


@lru_cache(maxsize=16)
def _hex_slices(hash_size: int, count: int) -> list[slice]:
    """Give, for each place in a block, the slice of its hex digits that is the object id behind it.

    A place is the offset of the last byte of an update index.
    """
    return [slice(2 * i, 2 * (i + hash_size)) for i in range(1, count + 2)]
