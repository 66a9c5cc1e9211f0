# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What is left of a block that is broken: the records before the break.

Such a block has no restarts that could be trusted, or none at all. It gets a restart table of its
own, so that the engine can decode it like any other, up to where that ends in an error.
"""

from __future__ import annotations

import zlib

from ..engine.errors import CorruptTableError
from ..engine.format.block import Block
from ..engine.format.coding import decode_uint24, encode_uint24
from ..engine.format.layout import LOG, TYPES
from .table import Inspection, Lost

__all__ = ["salvaged"]

_MOST = (1 << 24) - 64
"""Bytes of the largest block that can be made, without header and restarts."""

_STEP = 64
"""Bytes of a damaged log block that are inflated at once."""


def salvaged(inspection: Inspection, lost: Lost) -> Block | None:
    """Make a block of what is left of one that was cut short, or whose length is damaged.

    Args:
      inspection: of the table
      lost: the block
    Returns: one whose records are its own up to where it breaks; None if nothing is left
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
    # One restart, at the first record, is what any block may have.
    body += encode_uint24(start + 4) + b"\0\1"
    head = head[: start + 1] + encode_uint24(len(head) + len(body))
    body = zlib.compress(body) if head[start] == LOG else body
    stand_in = _Shifted(head + body, lost.position)
    try:
        return Block(layout._replace(buffer=stand_in, end=len(stand_in)), lost.position)
    except CorruptTableError:
        return None


class _Shifted:
    """Bytes that stand at a position of a file of which nothing else is there."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def __len__(self) -> int:
        return self._position + len(self._data)

    def __getitem__(self, key: slice, /) -> bytes:
        begin, end, _ = key.indices(len(self))
        return self._data[max(begin - self._position, 0) : max(end - self._position, 0)]


def _inflated(packed: bytes, most: int) -> bytes:
    """Inflate what can be; bytes that are cut or damaged end it."""
    inflater = zlib.decompressobj()
    body = bytearray()
    try:
        # In small steps, since an error takes with it all that its step would have given.
        for at in range(0, len(packed), _STEP):
            body += inflater.decompress(packed[at : at + _STEP], max(most - len(body), 1))
            if inflater.eof or len(body) >= most:
                break
    except zlib.error:
        pass
    return bytes(body)
