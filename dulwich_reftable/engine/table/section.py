# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""One section of a table: the run of its ref, obj or log blocks, and the index above them.

A section finds the block that would hold a key. At first it walks down the index, which reads one
block a level. After some searches it flattens the lowest level of the index into two lists, last
keys and positions, and bisects those. A section without an index has few blocks: their first keys
take the place of the index. :mod:`.ref_section` says what more is kept of refs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache

from ..errors import CorruptTableError
from ..format.block import Block
from ..format.layout import INDEX, LOG, Layout

__all__ = ["Section"]

_SEARCHES_BEFORE_FLATTENING = 16
"""To flatten an index costs about as much as this many walks down."""

_BLOCKS_KEPT = 128
"""Blocks that stay in memory, the latest ones."""

_END = -1  # where a block behind the last one would be


class Section:
    """The blocks of one type.

    Args:
      layout: the table
      kind: their type
      position: where the first one begins
      index_position: where the root of their index begins; 0 if there is none
      starts: where, by the footer, sections and roots of indexes begin
    """

    def __init__(
        self,
        layout: Layout,
        kind: int,
        position: int,
        index_position: int,
        starts: tuple[int, ...],
    ) -> None:
        self.layout = layout
        self.kind = kind
        self.position = position
        self.index_position = index_position
        self._starts = starts

    # What searches need is made by the first of them: most tables that are opened are never
    # searched in all of their sections.
    _searches = 0
    _flat: tuple[list[bytes], list[int]] | None = None

    @cached_property
    def _reads(self) -> defaultdict[int, int]:
        """How often each block was read, by its position."""
        return defaultdict(int)

    @cached_property
    def _sound_gaps(self) -> set[int]:
        """The blocks before which a gap was checked."""
        return set()

    @cached_property
    def block(self) -> Callable[[int], Block]:
        """A function that reads the block at a position, and remembers the latest ones."""
        layout, reads = self.layout, self._reads

        # No reference to the section: without a cycle, a table is closed with its last user.
        @lru_cache(maxsize=_BLOCKS_KEPT)
        def read(position: int) -> Block:
            reads[position] += 1
            return Block(layout, position)

        return read

    @cached_property
    def is_one_block(self) -> bool:
        """Whether the section has one block and no more."""
        if self.index_position:
            return False
        block = self._checked(Block(self.layout, self.position))
        return not self._goes_on(block.next_position, block.position)

    def blocks(self, key: bytes = b"") -> Iterator[Block]:
        """Read the blocks in order; the first one is that which would hold ``key``."""
        position: int | None = self.find(key) if key else self.position
        if position is None:
            self._check_end(key)
        # Seeks come back to the same blocks, and a reflog has several, which are inflated.
        is_kept = bool(key) and self.kind == LOG
        last = _END
        while position is not None:
            block = self.block(position) if key or is_kept else Block(self.layout, position)
            if key:
                self._check_gap(key, self._checked(block))
                key = b""
            if block.kind != self.kind:
                self._check_end_before(block, last)
                break
            yield block
            last = position
            position = block.next_position if block.next_position < self.layout.end else None

    def _goes_on(self, position: int, last: int) -> bool:
        """Tell whether there is another block.

        Args:
          position: where it would be
          last: position of the block before
        Raises:
          CorruptTableError: if a block of another type stands where the section cannot end
        """
        layout = self.layout
        if position >= layout.end:
            return False
        if layout.buffer[position : position + 1] == bytes((self.kind,)):
            return True
        if self.index_position or position not in self._starts:
            self._check_end_before(Block(layout, position), last)
        return False

    def _check_end_before(self, block: Block, last: int) -> None:
        """Check that a block of another type stands where the section may end."""
        position = block.position
        if position == self.position:
            raise self._corrupt(position, f"section does not begin with '{chr(self.kind)}'")
        is_end = position in self._starts
        if self.index_position:
            # The lowest level of the index, which the footer does not name, follows the section.
            is_end = block.kind == INDEX and self._last_position() == last
        if not is_end:
            raise self._corrupt(position, f"block of type '{chr(block.kind)}' inside of a section")

    def find(self, key: bytes) -> int | None:
        """Give the position of the block that would hold ``key``.

        Returns: a position, or None if all keys are smaller
        Raises:
          CorruptTableError: if the index is damaged
        """
        if self._flat is None:
            self._searches += 1
            if self.index_position and self._searches < _SEARCHES_BEFORE_FLATTENING:
                return self._descend(key)
        keys, positions = self._flat or self._flatten()
        if self.index_position:
            i = bisect_left(keys, key)
            return positions[i] if i < len(positions) else None
        return positions[max(bisect_right(keys, key) - 1, 0)]

    def _flatten(self) -> tuple[list[bytes], list[int]]:
        if self._flat is None:
            self._flat = self._flattened() if self.index_position else self._first_keys()
        return self._flat

    def _last_position(self) -> int:
        """Give the position of the last block, by the index."""
        if self._flat is not None:
            return self._flat[1][-1]
        (*_, block) = self._root()
        while True:
            below = self._below(block, block.index_records()[1][-1])
            if below.kind == self.kind:
                return below.position
            block = below

    def block_for(self, key: bytes) -> Block | None:
        """Give the block that would hold ``key``, or None if all keys are smaller."""
        position = self.find(key)
        if position is None:
            self._check_end(key)
            return None
        block = self._checked(self.block(position))
        self._check_gap(key, block)
        return block

    def block_behind(self, block: Block) -> Block | None:
        """Give the block that follows one; None if that is the last.

        Raises:
          CorruptTableError: if there is an index, which tells what each block reaches to
        """
        if self.index_position:
            raise self.beyond(block.position)
        _, positions = self._flatten()
        i = bisect_right(positions, block.position)
        return self._checked(self.block(positions[i])) if i < len(positions) else None

    def _check_gap(self, key: bytes, block: Block) -> None:
        """Check that a key before the first key of its block is not in the block before it.

        The key may belong into the gap between two blocks. Or the index is damaged, and names a
        wrong last key of the block before; that is checked once for each block.
        """
        if block.position in self._sound_gaps or key >= block.first_key:
            return
        if self.index_position and block.position != self.position:
            self._check_last_key(*self._entry_before(key, block))
        self._sound_gaps.add(block.position)

    def _entry_before(self, key: bytes, block: Block) -> tuple[bytes, int]:
        """Give the last key and the position of the block before one, by the index.

        Args:
          key: belongs by the index into that block
          block: not the first one
        """
        found = self._lowest(key) if self._flat is None else None
        if found is not None:
            keys, positions = found[0].index_records()
            i = bisect_left(keys, key)
            if i and positions[i] == block.position:
                return keys[i - 1], self._below(found[0], positions[i - 1]).position
        keys, positions = self._flatten()
        if self.find(key) != block.position:
            raise self._corrupt(self.index_position, "levels of the index disagree")
        i = bisect_left(positions, block.position) - 1
        return keys[i], positions[i]

    def _check_end(self, key: bytes) -> None:
        """Check that a key behind all keys of the index is not in the last block."""
        if _END in self._sound_gaps:
            return
        keys, positions = self._flatten()
        if self.find(key) is not None:
            raise self._corrupt(self.index_position, "levels of the index disagree")
        self._check_last_key(keys[-1], positions[-1])
        self._sound_gaps.add(_END)

    def _check_last_key(self, key: bytes, position: int) -> None:
        if self._checked(Block(self.layout, position)).last_key != key:
            raise self._corrupt(position, "index disagrees with the block")

    def beyond(self, block_position: int) -> CorruptTableError:
        """Give the error of a key that by the index is in the block, and sorts behind it."""
        return self._corrupt(block_position, "index disagrees with the block")

    def _checked(self, block: Block) -> Block:
        if block.kind != self.kind:
            raise self._corrupt(block.position, f"not a block of type '{chr(self.kind)}'")
        return block

    def _root(self) -> Iterator[Block]:
        """Read the blocks of the index's highest level, which may be several."""
        position = self.index_position
        while position < self.layout.end:
            block = Block(self.layout, position)
            if block.kind != INDEX:
                if position == self.index_position:
                    raise self._corrupt(position, "not an index block")
                return
            yield block
            position = block.next_position

    def _descend(self, key: bytes) -> int | None:
        found = self._lowest(key)
        return None if found is None else found[1]

    def _lowest(self, key: bytes) -> tuple[Block, int] | None:
        """Walk down the index to the block that would hold ``key``.

        Returns: the block of the lowest level that names it, and its position; None if all keys are
          smaller
        """
        for block in self._root():
            position = block.seek_index(key)
            while position is not None:
                below = self._below(block, position)
                if below.kind == self.kind:
                    return block, position
                block = below
                position = block.seek_index(key)
                if position is None:
                    raise self._corrupt(block.position, "index disagrees with the one above it")
        return None

    def _below(self, block: Block, position: int) -> Block:
        """Read a block that an index block names; lower levels always stand further ahead."""
        if not self.position <= position < block.position:
            raise self._corrupt(block.position, f"index names position {position}")
        below = self.block(position)
        if below.kind not in (self.kind, INDEX):
            raise self._corrupt(block.position, f"index names position {position} of other type")
        return below

    def _flattened(self) -> tuple[list[bytes], list[int]]:
        """Read the whole index, down to the level that names the section's blocks."""
        level = list(self._root())
        while True:
            keys: list[bytes] = []
            positions: list[int] = []
            for block in level:
                more_keys, more_positions = block.index_records()
                if keys and more_keys[0] <= keys[-1]:
                    raise self._corrupt(block.position, "index keys do not ascend")
                keys += more_keys
                positions += more_positions
            before = self.position - 1
            for position in positions:
                if not before < position < level[0].position:
                    raise self._corrupt(level[0].position, f"index names position {position}")
                before = position
            if not positions or self._below(level[0], positions[0]).kind == self.kind:
                return keys, positions
            level = [self._below(level[0], position) for position in positions]
            for block in level:
                if block.kind != INDEX:
                    raise self._corrupt(block.position, "not an index block")

    def _first_keys(self) -> tuple[list[bytes], list[int]]:
        blocks = list(self.blocks())
        return [block.first_key for block in blocks], [block.position for block in blocks]

    def _corrupt(self, position: int, reason: str) -> CorruptTableError:
        return CorruptTableError(self.layout.filename, position, reason)
