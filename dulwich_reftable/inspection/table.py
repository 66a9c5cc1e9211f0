# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Walking through a table from its first byte, block by block.

Behind a block that makes no sense the walk goes on where the next one must begin, if anything tells
where that is: the footer, an index, or the alignment of blocks.
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

__all__ = ["Inspection", "Lost"]


class Lost(NamedTuple):
    """A block that cannot be read.

    Attributes:
      position: where it begins in the file
      stop: where the next one does, or the blocks end
      error: what is wrong with it
    """

    position: int
    stop: int
    error: CorruptTableError


class Inspection:
    """A table, damaged or not.

    Args:
      filename: its name, which messages tell
      buffer: its bytes

    Attributes:
      filename, buffer: as given
      table: as readers see it; None if they refuse it
      damage: why they do, or None
      header: as it is, or as a sound footer repeats it; None if neither makes sense
      footer: None if the file has none: it was cut
      layout: for blocks; None without a header
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

    def blocks(self) -> Iterator[Block | Lost]:
        """Walk through the file.

        Yields: each block, or that there should be one
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
                yield Lost(position, following or layout.end, error)
                position = following
            else:
                yield block
                position = block.next_position

    def _first_position(self, layout: Layout) -> int:
        """Tell where the first block begins: mostly it shares the header."""
        is_apart = self.footer is not None and self.footer.log == layout.header_size
        return layout.header_size if is_apart else 0

    def _next_start(self, layout: Layout, position: int) -> int | None:
        """Tell where the next block begins behind one that cannot be read; None if nobody knows."""
        starts = self._told_starts(layout)
        at = bisect_right(starts, position)
        following = starts[at] if at < len(starts) else None
        stop = layout.end if following is None else min(following, layout.end)
        if layout.block_size and not self._is_in_logs(layout, position):
            # Blocks are aligned, but for those of logs and what is behind them.
            first = position - position % layout.block_size + layout.block_size
            for at in range(first, stop, layout.block_size):
                if layout.buffer[at : at + 1][0] in TYPES:
                    return at
        return following if following is not None and following < layout.end else None

    def _told_starts(self, layout: Layout) -> list[int]:
        """Give where blocks begin by the footer, and by the indexes that it names."""
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
