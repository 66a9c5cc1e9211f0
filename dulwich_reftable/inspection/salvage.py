# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Reads the records of a broken block, up to the break.

The restart table of such a block is damaged or missing. The block gets a new one, so that the
engine can decode it like any other, up to the first error.
"""

from __future__ import annotations

import zlib

from ..engine.errors import CorruptTableError
from ..engine.format.block import Block
from ..engine.format.coding import decode_uint24, encode_uint24
from ..engine.format.layout import LOG, TYPES
from .table import Inspection, LostBlock

__all__ = ["salvaged"]

_MOST = (1 << 24) - 64
"""Bytes of the largest block that can be made, not counting header and restarts."""

_STEP = 64
"""Bytes of a damaged log block that are inflated in one step."""


def salvaged(inspection: Inspection, lost: LostBlock) -> Block | None:
    """Make a block from the rest of one that was cut short, or whose length is damaged.

    Args:
      inspection: the table
      lost: the broken block
    Returns: a block with the same records up to the break; None if nothing is left
    """
    layout = inspection.layout
    if layout is None:
        return None
    start = 0 if lost.position else layout.header_size
    data = layout.buffer[lost.position : min(lost.stop, lost.position + _MOST)]
    head, body = data[: start + 4], data[start + 4 :]
    if len(head) < start + 4 or head[start] not in TYPES:
        return None
    if head[start] == LOG:
        body = _inflated(body, min(decode_uint24(head, start + 1), _MOST))
    # One restart, at the first record, is enough for any block.
    body += encode_uint24(start + 4) + b"\0\1"
    head = head[: start + 1] + encode_uint24(len(head) + len(body))
    body = zlib.compress(body) if head[start] == LOG else body
    stand_in = _Shifted(head + body, lost.position)
    try:
        return Block(layout._replace(buffer=stand_in, end=len(stand_in)), lost.position)
    except CorruptTableError:
        return None


class _Shifted:
    """A buffer that holds only some bytes of a file, from a position on."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def __len__(self) -> int:
        return self._position + len(self._data)

    def __getitem__(self, key: slice, /) -> bytes:
        begin, end, _ = key.indices(len(self))
        return self._data[max(begin - self._position, 0) : max(end - self._position, 0)]


def _inflated(packed: bytes, most: int) -> bytes:
    """Inflate bytes up to the first that are missing or damaged."""
    inflater = zlib.decompressobj()
    body = bytearray()
    try:
        # In small steps, because an error loses the output of its whole step.
        for at in range(0, len(packed), _STEP):
            body += inflater.decompress(packed[at : at + _STEP], max(most - len(body), 1))
            if inflater.eof or len(body) >= most:
                break
    except zlib.error:
        pass
    return bytes(body)
