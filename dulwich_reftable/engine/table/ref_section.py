# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The refs of a table: which way a lookup takes, and what is kept for the next one.

This is the policy of all lookups. Each way costs more to prepare than the one before, and less to
repeat; a table never changes, so that nothing that is kept gets old.

======================== ======================================= ==============================
way                      taken                                   kept
======================== ======================================= ==============================
index and restarts       by the first 16 searches in a section   the latest 128 blocks
flat index, restarts     by further searches                     last key of each block
hash index of a block    in a block once 12 units were spent on  at most 16,384 hash indexes
                         it: 3 for a reading, 1 for a search
dictionary of all        in a table of one block, once searches  all records of the block
                         cost more than to decode it
a block's values at once for 8 names and more in one block,      512 KiB of blocks, decoded
                         and by scans of some refs
======================== ======================================= ==============================

The first two serve logs and objects as well; :mod:`.section` has them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache

from ..format.block import Block
from ..format.hash_index import BlockHashIndex
from ..format.records import RefRecord
from ..format.ref_scan import ref_text
from .section import Section

__all__ = ["RefSection"]

_Decoded = tuple[list[bytes], list[bytes | None], int]
"""Names in a block, beside each its value as text, and the position behind the block."""

_READ = 3
"""Cost of reading a block, in searches of a block that is kept."""

_HASH_INDEX = 12
"""Cost of the searches in a block at which its hash index is made, which costs about twice that."""

_HASH_INDEXES_KEPT = 1 << 14

_BYTES_PER_REF = 24
"""Approximate minimum bytes of a ref."""

_REFS_DECODED_PER_SEARCH = 8
"""Refs that are decoded in the time of one search."""

_WORTH_A_BLOCK = 8
"""Searches in one block that cost more than to decode all of it."""

_BYTES_DECODED = 1 << 19
"""Bytes of the blocks that are kept decoded; decoded they take about ten times as many."""


class RefSection(Section):
    """The ref blocks of a table; arguments are those of :class:`~.section.Section`."""

    _by_name: dict[bytes, RefRecord] | None = None
    _names: Sequence[bytes] = ()  # the keys of that
    _single_searches = 0

    @cached_property
    def _searches_in(self) -> defaultdict[int, int]:
        """How often each block was searched, by its position."""
        return defaultdict(int)

    @cached_property
    def _hash_indexes(self) -> dict[int, BlockHashIndex]:
        """By position of the block."""
        return {}

    @cached_property
    def _size(self) -> int:
        """Bytes of the table."""
        return len(self.layout.buffer)

    def lookup_ref(self, name: bytes) -> RefRecord | None:
        """Find a ref.

        Returns: its record, or None if it is not in the section
        Raises:
          CorruptTableError: if what had to be read of the section is damaged
        """
        flat = self._flat
        if flat is not None and self.index_position:
            keys, positions = flat  # what :meth:`find` does: a call less
            i = bisect_left(keys, name)
            position = positions[i] if i < len(positions) else None
        elif self._by_name is not None:
            return self._by_name.get(name)
        else:
            if self.is_one_block and self._size <= BlockHashIndex.LARGEST:
                self._decode_if_worth_it()
                if self._by_name is not None:
                    return self._by_name.get(name)
            position = self.find(name)
        if position is None:
            self._check_end(name)
            return None
        if self._flat is not None:
            index = self._hash_indexes.get(position) or self._hash_index(position)
            if index is not None:
                record = index.lookup(name)
                if record is None and name < index.first_name:
                    self._check_gap(name, self.block(position))
                return record
        block = self._checked(self.block(position))
        self._check_gap(name, block)
        found = block.seek_ref(name)
        if found is None and self.index_position:
            raise self.beyond(position)
        return found if found is not None and found.name == name else None

    def _hash_index(self, position: int) -> BlockHashIndex | None:
        """Make the hash index of a block, if it is worth it and the block not too large."""
        self._searches_in[position] += 1
        if self._searches_in[position] + _READ * self._reads[position] < _HASH_INDEX:
            return None
        block = self._checked(self.block(position))
        if len(block.data) > BlockHashIndex.LARGEST:
            return None
        index = BlockHashIndex(block)
        if self.index_position:
            keys, positions = self._flatten()
            if keys[bisect_left(positions, position)] != index.last_name:
                raise self.beyond(position)
        if len(self._hash_indexes) >= _HASH_INDEXES_KEPT:
            self._hash_indexes.clear()
        self._hash_indexes[position] = index
        return index

    def _decode_if_worth_it(self) -> None:
        """Decode the only block of the section, if further searches would cost more."""
        self._single_searches += 1
        if self._single_searches * _REFS_DECODED_PER_SEARCH > self._size // _BYTES_PER_REF:
            self._names, records = Block(self.layout, self.position).ref_records()
            self._by_name = dict(zip(self._names, records, strict=True))

    def first_from(self, start: bytes) -> RefRecord | None:
        """Find the first record, a deletion or not, whose name is not before ``start``."""
        if self._by_name is not None:
            i = bisect_left(self._names, start)
            return self._by_name[self._names[i]] if i < len(self._names) else None
        block = self.block_for(start)
        if block is None:
            return None
        found = block.seek_ref(start)
        if found is None:
            following = self.block_behind(block)
            found = following.seek_ref(start) if following is not None else None
        return found

    def values_among(self, names: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """Find what the section says of many refs; a block that holds several is decoded once.

        Args:
          names: sorted
        Returns: those that it mentions, and their values as text
        """
        found: dict[bytes, bytes | None] = {}
        for group, decoded in self._by_blocks(names):
            if decoded is not None:
                known = dict(zip(decoded[0], decoded[1], strict=True))
                found.update({name: known[name] for name in group if name in known})
            else:
                for name in group:
                    record = self.lookup_ref(name)
                    if record is not None:
                        found[name] = ref_text(record)
        return found

    def _by_blocks(
        self, keys: Sequence[bytes]
    ) -> Iterator[tuple[Sequence[bytes], _Decoded | None]]:
        """Divide sorted keys by the blocks that would hold them.

        Yields: keys; and what is in the block, or None if to decode it is not worth it
        """
        if len(keys) < _WORTH_A_BLOCK:
            yield keys, None
            return
        for position, group in self.batches(keys):
            block = None
            if position is not None and len(group) >= _WORTH_A_BLOCK:
                block = self.block_for(group[0])
            decoded = self._values_at(block.position) if block else None
            if decoded and block and self.index_position and decoded[0][-1] < group[-1]:
                raise self.beyond(block.position)
            yield group, decoded

    @cached_property
    def _blocks_decoded(self) -> int:
        """How many blocks are kept decoded."""
        return _BYTES_DECODED // (self.layout.block_size or self._size)

    @cached_property
    def _values_at(self) -> Callable[[int], _Decoded]:
        """A function that decodes the block at a position, and remembers the latest ones.

        A search for many refs looks for what is above and below them as well.
        """
        block = self.block

        # Like :attr:`block`, it does not refer to the section.
        @lru_cache(maxsize=self._blocks_decoded)
        def values(position: int) -> _Decoded:
            found = block(position)
            return *found.ref_values(), found.next_position

        return values

    def values_from(self, start: bytes) -> Iterator[tuple[int, list[bytes], list[bytes | None]]]:
        """Scan blocks as text; the first one is that which would hold ``start``.

        What is decoded is kept, up to the first blocks of a long scan; but nothing of a large table
        that is scanned from its beginning. The lists are not for the caller to change.

        Yields: the position of a block, its names, and beside each its value
        """
        first = self.block_for(start) if start else None
        if start and first is None:
            return
        is_large = self._size > _BYTES_DECODED
        if first is None or (first.position == self.position and is_large):
            for block in self.blocks(start):
                yield block.position, *block.ref_values(is_one_of_many=is_large)
            return
        layout, values_at, kept = self.layout, self._values_at, self._blocks_decoded
        position = first.position
        while True:
            if kept > 0:
                names, values, following = values_at(position)
                kept -= 1
            else:
                block = Block(layout, position)
                names, values = block.ref_values(is_one_of_many=True)
                following = block.next_position
            yield position, names, values
            if not self._goes_on(following, position):
                return
            position = following

    def batches(self, keys: Sequence[bytes]) -> Iterator[tuple[int | None, Sequence[bytes]]]:
        """Divide sorted keys by the block that would hold them.

        Yields: that block's position, None if all keys of the section are smaller; and the keys
        """
        bounds, positions = self._flatten()
        at = 0
        while at < len(keys):
            if self.index_position:
                i = bisect_left(bounds, keys[at])
                if i == len(bounds):
                    yield None, keys[at:]
                    return
                upto = bisect_right(keys, bounds[i], at)
            else:
                i = max(bisect_right(bounds, keys[at]) - 1, 0)
                upto = bisect_left(keys, bounds[i + 1], at) if i + 1 < len(bounds) else len(keys)
            yield positions[i], keys[at:upto]
            at = upto
