# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Walks through a table from its first byte, block by block.

After a block that cannot be read, the walk goes on at the next position of a block that is known
from the footer, from an index, or from the alignment of blocks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from ..engine.errors import CorruptTableError
from ..engine.format.block import Block
from ..engine.format.layout import INDEX, LOG, TYPES, Buffer, Layout
from ..engine.table.table import Table
from .ends import read_ends

__all__ = ["Inspection", "LostBlock"]


class LostBlock(NamedTuple):
    """A block that cannot be read.

    Attributes:
      position: its position in the file
      stop: the position of the next block, or of the end of all blocks
      error: the reason
    """

    position: int
    stop: int
    error: CorruptTableError


class Inspection:
    """A table, damaged or not.

    Args:
      filename: its name, for messages
      buffer: its bytes

    Attributes:
      filename, buffer: as given
      table: the table as readers open it; None if they refuse it
      damage: why readers refuse it, or None
      header: the header, or its copy in a sound footer; None if both are damaged
      footer: the footer; None if the file was cut
      layout: the layout for reading blocks; None without a header
    """

    def __init__(self, filename: str, buffer: Buffer) -> None:
        self.filename = filename
        self.buffer = buffer
        self.table: Table | None = None
        self.damage: CorruptTableError | None = None
        try:
            self.table = Table(filename, buffer)
        except CorruptTableError as error:
            self.damage = error
        self.header, self.footer = read_ends(buffer)
        self.layout: Layout | None = None
        self._starts: list[int] | None = None
        if self.header is not None:
            self.layout = Layout(
                filename,
                buffer,
                self.header.size,
                self.header.block_size,
                self.header.hash_size,
                self.header.min_update_index,
                self.footer.position if self.footer else len(buffer),
            )

    def blocks(self) -> Iterator[Block | LostBlock]:
        """Walk through the file.

        Yields: each block; a :class:`LostBlock` for one that cannot be read
        """
        layout = self.layout
        if layout is None:
            return
        position: int | None = self._first_position(layout)
        while position is not None and max(position, layout.header_size) < layout.end:
            try:
                block = Block(layout, position)
            except CorruptTableError as error:
                following = self._next_start(layout, position)
                yield LostBlock(position, following or layout.end, error)
                position = following
            else:
                yield block
                position = block.next_position

    def _first_position(self, layout: Layout) -> int:
        """Give the position of the first block: 0 if it shares the header of the file."""
        is_apart = self.footer is not None and self.footer.log == layout.header_size
        return layout.header_size if is_apart else 0

    def _next_start(self, layout: Layout, position: int) -> int | None:
        """Give the position of the block after one that cannot be read; None if it is unknown."""
        starts = self._told_starts(layout)
        at = bisect_right(starts, position)
        following = starts[at] if at < len(starts) else None
        stop = layout.end if following is None else min(following, layout.end)
        if layout.block_size and not self._is_in_logs(layout, position):
            # Blocks are aligned, except log blocks and those behind them.
            first = position - position % layout.block_size + layout.block_size
            for at in range(first, stop, layout.block_size):
                if layout.buffer[at : at + 1][0] in TYPES:
                    return at
        return following if following is not None and following < layout.end else None

    def _told_starts(self, layout: Layout) -> list[int]:
        """Collect positions of blocks from the footer, and from the indexes that it names."""
        if self._starts is None:
            footer = self.footer
            told = set(footer.starts) - {0} if footer and footer.is_sound else set()
            pending = sorted(told)
            while pending:
                position = pending.pop()
                if layout.buffer[position : position + 1] != bytes((INDEX,)):
                    continue
                try:
                    block = Block(layout, position)
                    _, below = block.index_records()
                except CorruptTableError:
                    continue
                # Behind it there may be another block of the same level.
                new = {at for at in (*below, block.next_position) if at < layout.end} - told
                told |= new
                pending += new
            self._starts = sorted(told)
        return self._starts

    def _is_in_logs(self, layout: Layout, position: int) -> bool:
        if self.footer is not None and self.footer.log and position >= self.footer.log:
            return True
        first = layout.header_size
        return layout.buffer[first : first + 1] == bytes((LOG,))
