"""Making tables that this engine's writer would not make, but the format allows, or just forbids.

Other writers decide otherwise where the document leaves room: one index block however large it
gets, log blocks of twice the size, a log-only file whose first block does not share the header. And
tests of damage need tables whose parts contradict each other.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

from dulwich_reftable.engine.format.block_writer import BlockWriter
from dulwich_reftable.engine.format.coding import encode_varint
from dulwich_reftable.engine.format.layout import INDEX, LOG, OBJ, REF
from dulwich_reftable.engine.format.records import (
    LogRecord,
    RefRecord,
    encode_log,
    encode_obj,
    encode_ref,
    log_key,
)
from dulwich_reftable.engine.table.writer import MAX_BLOCK_SIZE, WriteOptions

BOUNDS = (1, 100)


class Assembly:
    """A table put together block by block; each method gives the position of its block."""

    def __init__(self, block_size: int = 0, header: bytes = b"") -> None:
        options = WriteOptions(block_size=block_size or 4096, aligned=bool(block_size))
        self.block_size = block_size
        self.data = bytearray(header or options.encode_header(*BOUNDS))
        self.header_size = len(self.data)

    def raw(
        self, kind: int, entries: Iterable[tuple[bytes, int, bytes]], interval: int = 16
    ) -> int:
        """Append a block of records given as key, type bits and value."""
        shares_header = len(self.data) == self.header_size
        header = bytes(self.data) if shares_header else b""
        writer = BlockWriter(kind, MAX_BLOCK_SIZE, interval, header)
        for entry in entries:
            assert writer.add(*entry)
        if shares_header:
            self.data.clear()
        position = len(self.data)
        self.data += writer.finish()
        return position

    def refs(self, records: Iterable[RefRecord], interval: int = 16) -> int:
        """Append a ref block."""
        return self.raw(REF, [(r.name, *encode_ref(r, BOUNDS[0])) for r in records], interval)

    def logs(self, records: Iterable[LogRecord]) -> int:
        """Append a log block."""
        entries = [(log_key(r.name, r.update_index), *encode_log(r)) for r in records]
        return self.raw(LOG, entries)

    def index(self, entries: Iterable[tuple[bytes, int]], interval: int = 16) -> int:
        """Append an index block, from last keys and positions."""
        return self.raw(INDEX, [(key, 0, encode_varint(at)) for key, at in entries], interval)

    def objects(self, entries: Iterable[tuple[bytes, tuple[int, ...]]]) -> int:
        """Append an obj block, from prefixes and positions."""
        return self.raw(OBJ, [(prefix, *encode_obj(at)) for prefix, at in entries])

    def pad(self) -> None:
        """Append zeros up to the next multiple of the block size."""
        self.data += bytes(-len(self.data) % self.block_size)

    def end_header(self) -> None:
        """Let the header stand for itself: the next block does not share it.

        Such a block counts its offsets from its own start.
        """
        self.header_size = -1

    def finish(
        self,
        *,
        ref_index: int = 0,
        obj: int = 0,
        id_length: int = 0,
        obj_index: int = 0,
        log: int = 0,
        log_index: int = 0,
    ) -> bytes:
        """Append the footer and give the table."""
        header = bytes(self.data[: 24 if self.data[4] == 1 else 28])
        positions = (ref_index, obj << 5 | id_length, obj_index, log, log_index)
        footer = header + struct.pack(">QQQQQ", *positions)
        return bytes(self.data) + footer + struct.pack(">I", zlib.crc32(footer))
