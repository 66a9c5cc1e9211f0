# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A hash index of the refs in one block, in memory: a lookup reads one record.

Without it, a lookup reads half of the records between two restarts. The format knows nothing of
hash indexes; :mod:`dulwich_reftable.engine.table.ref_section` decides which blocks get one, and
when.

For each record the index holds its offset, its parent, and a fingerprint: two bytes of the hash of
the name. That is six bytes a ref, and no names. The parent of a record is the last record before it
with a shorter shared prefix: of ``refs/heads/a``, ``refs/heads/bc`` and ``refs/heads/bd``, the
parent of the third is the second, whose suffix ``bc`` holds the last byte of the prefix that both
share.

A lookup searches the fingerprints by ``bytes.find``. If none agrees, there is no such ref. If one
agrees, the lookup compares the name piece by piece: its end with the suffix of the record, the rest
with the suffixes of the parents, mostly one or two. So a lookup never returns another ref, and its
answers are those of a scan, as the tests check.
"""

from __future__ import annotations

import sys
from array import array

from .block import Block
from .coding import decode_varint
from .records import REF_VAL1, RefRecord, decode_key_header, decode_ref, make_record
from .ref_scan import split_refs

__all__ = ["BlockHashIndex"]

_HEADER_SIZE = 20
"""Maximum bytes of the two varints at the beginning of a record."""


class BlockHashIndex:
    """The hash index of one block.

    Args:
      block: of refs; at most :attr:`LARGEST` bytes

    Attributes:
      first_name, last_name: of the refs in it

    Raises:
      CorruptTableError: if a record is damaged, or names do not ascend
    """

    LARGEST = 1 << 16
    """Maximum bytes of a block, as offsets take two bytes; in larger blocks bisection is faster."""

    __slots__ = (
        "_fingerprints",
        "_layout",
        "_places",
        "_position",
        "first_name",
        "last_name",
    )

    def __init__(self, block: Block) -> None:
        self._layout = layout = block.layout
        self._position = block.position
        data, end = block.data, block.restart_offset
        run = split_refs(layout, data, block.first, end, block.position)
        names, places, peeled, _, others = run
        behind = 1 + layout.hash_size
        offsets = [block.first, *map(behind.__add__, places)]
        for number in peeled:
            offsets[number + 1] += layout.hash_size
        for number, _, record_end in others:
            offsets[number + 1] = record_end
        parents = _parents(data, offsets[:-1])
        self.first_name, self.last_name = names[0], names[-1]
        self._fingerprints = _fingerprints(names)
        # Offset and parent of each, and the end of the last.
        numbers = [0] * (2 * len(names) + 1)
        numbers[::2] = offsets
        numbers[1::2] = parents
        self._places = array("H", numbers)

    def lookup(self, name: bytes) -> RefRecord | None:
        """Find a ref.

        Returns: its record, or None if it is not in this block
        """
        fingerprints = self._fingerprints
        sought = (hash(name) & 0xFFFF).to_bytes(2, "little")
        at = fingerprints.find(sought)
        while at >= 0:
            if not at & 1:
                record = self._record_if(at >> 1, name)
                if record is not None:
                    return record
            at = fingerprints.find(sought, at + 1)
        return None

    def _record_if(self, number: int, name: bytes) -> RefRecord | None:
        """Decode the record of this number if it has this name."""
        layout, places, position = self._layout, self._places, self._position
        buffer = layout.buffer
        record = buffer[position + places[2 * number] : position + places[2 * number + 2]]
        prefix, head, at = record[0], record[1], 2
        if prefix > 0x7F or head > 0x7F:
            prefix, head, at = decode_key_header(record, 0)
        value_at = at + (head >> 3)
        if record[at:value_at] != name[prefix:]:
            return None
        while prefix:
            number = places[2 * number + 1]
            start = position + places[2 * number]
            parent = buffer[start : start + _HEADER_SIZE + prefix]
            shared, at = parent[0], 2
            if shared > 0x7F or parent[1] > 0x7F:
                shared, _, at = decode_key_header(parent, 0)
            if parent[at : at + prefix - shared] != name[shared:prefix]:
                return None
            prefix = shared
        hash_size, base = layout.hash_size, layout.min_update_index
        if head & 7 == REF_VAL1 and record[value_at] < 0x80:
            fields = (name, base + record[value_at], record[value_at + 1 :], None, None)
            return make_record(RefRecord, fields)
        return decode_ref(name, head & 7, record, value_at, hash_size, base)[0]


def _parents(data: bytes, offsets: list[int]) -> list[int]:
    """Find the parent of each record.

    Args:
      data: the block
      offsets: of its records
    Returns: the number of each one's parent; any number where it shares nothing
    """
    prefixes = list(map(data.__getitem__, offsets))
    if max(prefixes) > 0x7F:
        prefixes = [decode_varint(data, offset)[0] for offset in offsets]
    parents: list[int] = []
    add_parent = parents.append
    # Of the shorter prefixes that stand before: their lengths, and the parents of such records.
    lengths, outer = [-1], [0]
    last = parent = 0
    for number, prefix in enumerate(prefixes):
        if prefix > last:
            lengths.append(last)
            outer.append(parent)
            parent = number - 1
            last = prefix
        elif prefix < last:
            while lengths[-1] >= prefix:
                lengths.pop()
                parent = outer.pop()
            last = prefix
        add_parent(parent)
    return parents


def _fingerprints(names: list[bytes]) -> bytes:
    """Give two bytes of each name's hash, without a loop in Python."""
    hashes = array("q", map(hash, names))
    if sys.byteorder == "big":
        hashes.byteswap()
    data = hashes.tobytes()
    fingerprints = bytearray(2 * len(names))
    fingerprints[::2], fingerprints[1::2] = data[::8], data[1::8]
    return bytes(fingerprints)
