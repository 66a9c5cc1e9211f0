"""Small helpers of the engine's tests: making tables, reading all of them, and a plain model."""

from __future__ import annotations

import hashlib
import struct
import zlib
from binascii import b2a_hex
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

from dulwich_reftable.engine.format.block import Block
from dulwich_reftable.engine.format.block_writer import BlockWriter
from dulwich_reftable.engine.format.layout import REF, Layout
from dulwich_reftable.engine.format.log_scan import LogText
from dulwich_reftable.engine.format.records import (
    LogRecord,
    LogUpdate,
    RefRecord,
    encode_ref,
    log_key,
)
from dulwich_reftable.engine.table.table import Table
from dulwich_reftable.engine.table.writer import TableWriter, WriteOptions

_T = TypeVar("_T")

LARGEST_BLOCK = (1 << 24) - 1
FOOTER = {1: 68, 2: 72}
HEADER = {1: 24, 2: 28}


def oid(number: int, size: int = 20) -> bytes:
    """An object id; equal numbers give equal ids, and ids do not resemble each other."""
    return hashlib.sha256(b"%d" % number).digest()[:size]


def ref(name: bytes, number: int | None = None, index: int = 1, size: int = 20) -> RefRecord:
    """A ref that points to an object, or (no number) the deletion of one."""
    return RefRecord(name, index, None if number is None else oid(number, size))


def log(
    name: bytes, index: int, number: int | None = None, message: bytes = b"", size: int = 20
) -> LogRecord:
    """A reflog entry that leads to an object, or (no number) the deletion of one."""
    if number is None:
        return LogRecord(name, index)
    update = LogUpdate(
        oid(number - 1, size), oid(number, size), b"A U Thor", b"a@example.com",
        1_700_000_000 + index, -230, message,
    )  # fmt: skip
    return LogRecord(name, index, update)


def numbered(count: int, *, size: int = 20, pattern: bytes = b"refs/heads/%05d") -> list[RefRecord]:
    """Refs with a tag, a symref and a deletion among every ten."""
    records = []
    for i in range(count):
        name = pattern % i
        records.append({
            3: RefRecord(name, 1 + i % 4, oid(i, size), oid(i + 1, size)),
            5: RefRecord(name, 1 + i % 4, None, None, b"refs/heads/target-%d" % i),
            7: RefRecord(name, 1 + i % 4),
        }.get(i % 10, RefRecord(name, 1 + i % 4, oid(i, size))))  # fmt: skip
    return records


def write(
    refs: Iterable[RefRecord] = (),
    logs: Iterable[LogRecord] = (),
    options: WriteOptions | None = None,
    bounds: tuple[int, int] = (1, 1 << 20),
) -> bytes:
    """Write one table from sorted records."""
    parts: list[bytes] = []
    writer = TableWriter(parts.append, *bounds, options or WriteOptions())
    for ref_record in refs:
        writer.add_refs([ref_record])
    writer.add_logs(logs)
    writer.finish()
    return b"".join(parts)


def table_of(*args: object, **kwargs: object) -> Table:
    """Write a table and open it; arguments are those of :func:`write`."""
    return Table("t.ref", write(*args, **kwargs))  # type: ignore[arg-type]


def sorted_logs(records: Iterable[LogRecord]) -> list[LogRecord]:
    """Put log records into the order in which tables hold them."""
    return sorted(records, key=lambda record: log_key(record.name, record.update_index))


def flat(chunks: Iterator[tuple[list[bytes], list[_T]]]) -> list[_T]:
    """Join the records of all chunks."""
    return list(chain.from_iterable(records for _, records in chunks))


def pairs(chunks: Iterator[tuple[list[bytes], list[_T]]]) -> list[tuple[bytes, _T]]:
    """Join all chunks, keys beside records."""
    return [pair for keys, records in chunks for pair in zip(keys, records, strict=True)]


def as_text(record: RefRecord) -> bytes | None:
    """What a listing shows of a ref: the model of ``ref_values``."""
    if record.target is not None:
        return b"ref: " + record.target
    return None if record.value is None else b2a_hex(record.value)


def layout_of(data: bytes, *, hash_size: int = 20, header_size: int = 0, **more: int) -> Layout:
    """A layout for bytes that are blocks and no more."""
    defaults = {"block_size": 0, "min_update_index": 0, "max_update_index": 1 << 40}
    fields = {**defaults, "end": len(data), **more}
    known = {name: value for name, value in fields.items() if name in Layout._fields}
    return Layout("t.ref", data, header_size, hash_size=hash_size, **known)


def section_blocks(data: bytes, kind: int) -> list[Block]:
    """All blocks of a type in a table, found by walking the file from its start."""
    layout = Table("t.ref", data).layout
    blocks = []
    position = 0
    while position + (0 if position else layout.header_size) < layout.end:
        block = Block(layout, position)
        if block.kind == kind:
            blocks.append(block)
        position = block.next_position
    return blocks


def footer_positions(data: bytes) -> tuple[int, ...]:
    """The footer's ref index, obj (with id length), obj index, log and log index fields."""
    return struct.unpack(">QQQQQ", data[-44:-4])


def reseal(
    data: bytes, positions: tuple[int, ...] | None = None, header: bytes | None = None
) -> bytes:
    """Replace header or footer positions of a table, so that its checksum fits again."""
    version = data[4]
    header = header or data[: HEADER[version]]
    body = data[HEADER[version] : -FOOTER[version]]
    footer = header + struct.pack(">QQQQQ", *(positions or footer_positions(data)))
    return header + body + footer + struct.pack(">I", zlib.crc32(footer))


def ref_block(
    records: Sequence[RefRecord], interval: int = 16, *, size: int = 20, base: int = 1_000
) -> Block:
    """A block of refs that follows a file's header."""
    writer = BlockWriter(REF, LARGEST_BLOCK, interval, bytes(24))
    for record in records:
        assert writer.add(record.name, *encode_ref(record, base))
    data = writer.finish()
    return Block(
        layout_of(data, hash_size=size, header_size=24, min_update_index=base), 0
    )  # fmt: skip


def log_text(record: LogRecord) -> LogText | None:
    """What an entry is as text; None for a tombstone."""
    update = record.update
    if update is None:
        return None
    return (
        update.old_id.hex().encode(),
        update.new_id.hex().encode(),
        update.name + b" <" + update.email + b">",
        update.time,
        update.tz_offset,
        update.message.removesuffix(b"\n"),
    )
