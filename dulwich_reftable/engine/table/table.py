# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""One immutable table: header, footer, sections; lookup, scan, refs by object id, logs.

A table is opened from its bytes, usually a memory map, and reads only the blocks that it needs. A
scan yields *chunks*: the keys of one block and, beside them, its records. So Python iterates over
blocks, not over records.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar, cast

from ..errors import CorruptTableError
from ..format.block import Block
from ..format.layout import (
    FOOTER_SIZES,
    HEADER_SIZES,
    LOG,
    LONGEST_HEADER,
    OBJ,
    REF,
    Buffer,
    Footer,
    Header,
    Layout,
    RemoteBuffer,
)
from ..format.log_scan import LogText
from ..format.records import LogRecord, RefRecord
from ..format.ref_scan import SYMREF_PREFIX
from .ref_section import RefSection
from .section import Section

__all__ = ["Table"]

_T = TypeVar("_T")


class Table:
    """A table.

    Args:
      filename: its name, which messages tell
      buffer: its bytes

    Attributes:
      filename: as given
      size: in bytes
      version: of the format, 1 or 2
      hash_size: bytes of an object id
      block_size: in bytes; 0 for an unaligned table
      min_update_index, max_update_index: bounds of what its records tell
      obj_id_length: bytes to which obj blocks abbreviate ids; 0 without obj blocks
      refs, objs, logs: its sections; None where there is none
      remote: its bytes, if they are fetched when they are asked for; else None

    Raises:
      CorruptTableError: if header or footer are damaged
    """

    def __init__(self, filename: str, buffer: Buffer) -> None:
        self.filename = filename
        self.size = size = len(buffer)
        is_remote = getattr(buffer, "side_by_side", None) is not None
        self.remote = cast("RemoteBuffer", buffer) if is_remote else None
        head = buffer[: LONGEST_HEADER + 1]
        (
            self.version,
            self.block_size,
            self.min_update_index,
            self.max_update_index,
            self.hash_size,
        ) = Header.decode(filename, head)
        header_size = HEADER_SIZES[self.version]
        end = size - FOOTER_SIZES[self.version]
        if end < header_size:
            raise CorruptTableError(filename, 0, f"{size} bytes are too few for a table")
        tail = buffer[end:size]
        _, ref_index, obj, obj_id_length, obj_index, log, log_index, _, is_sound = Footer.decode(
            tail, end
        )
        if tail[:header_size] != head[:header_size]:
            raise CorruptTableError(filename, end, "footer does not repeat the header")
        if not is_sound:
            raise CorruptTableError(filename, size - 4, "checksum of the footer does not match")
        if self.min_update_index > self.max_update_index:
            raise CorruptTableError(filename, 8, "update indexes are out of order")
        starts = ref_index, obj, obj_index, log, log_index
        if max(starts) >= end:
            i = next(i for i, position in enumerate(starts) if position >= end)
            at = end + header_size + 8 * i
            raise CorruptTableError(filename, at, f"position {starts[i]} is behind the blocks")

        block_size, hash_size, base = self.block_size, self.hash_size, self.min_update_index
        # Calling the class takes longer.
        layout: Layout = tuple.__new__(
            Layout, (filename, buffer, header_size, block_size, hash_size, base, end)
        )
        self.layout = layout
        first = head[header_size] if end > header_size else 0
        self.obj_id_length = 0
        self.refs: RefSection | None = None
        self.objs: Section | None = None
        self.logs: Section | None = None
        if first == REF:
            self.refs = RefSection(layout, REF, 0, ref_index, starts)
            is_odd = bool(log_index and not log)
        elif first == LOG:
            is_odd = bool(ref_index or obj or log > header_size)
        else:
            is_odd = end > header_size or any(starts)
        if is_odd:
            raise CorruptTableError(filename, header_size, f"unexpected block type 0x{first:02x}")
        if obj:
            self.obj_id_length = obj_id_length
            if not 2 <= self.obj_id_length <= self.hash_size:
                at = end + header_size + 8
                raise CorruptTableError(filename, at, f"ids cut to {self.obj_id_length} bytes")
            self.objs = Section(layout, OBJ, obj, obj_index, starts)
        if first == LOG or log:
            # At position 0 the first block shares the header, which is what git writes.
            self.logs = Section(layout, LOG, log, log_index, starts)
            if first == LOG:
                self.logs.block(log)  # what cannot be inflated may be refs

    def __repr__(self) -> str:
        return f"<Table {self.filename}>"

    # Refs

    def lookup_ref(self, name: bytes) -> RefRecord | None:
        """Find what the table says of a ref.

        Returns: its record, which may be a deletion; None if the table does not mention it
        """
        return self.refs.lookup_ref(name) if self.refs is not None else None

    def values_among(self, names: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """Find what the table says of many refs.

        Args:
          names: sorted
        Returns: the refs that it mentions, and their values as :meth:`ref_values` gives them
        """
        return self.refs.values_among(names) if self.refs is not None else {}

    def first_ref_from(self, start: bytes) -> RefRecord | None:
        """Find the first record, a deletion or not, whose name is not before ``start``."""
        return self.refs.first_from(start) if self.refs is not None else None

    def ref_values(
        self, start: bytes = b"", stop: bytes | None = None
    ) -> Iterator[tuple[list[bytes], list[bytes | None]]]:
        """Scan refs as text; see :meth:`~dulwich_reftable.engine.format.block.Block.ref_values`.

        Args:
          start: the first name
          stop: the name to stop before; None for the end
        Yields: lists that are not for the caller to change
        """
        if self.refs is None:
            return iter(())
        return _cut(self.filename, self.refs.values_from(start), start, stop)

    def symref_names(self) -> list[bytes]:
        """Give the names of all symrefs; only the blocks that have one are decoded."""
        return [
            name
            for block in (self.refs.blocks() if self.refs is not None else ())
            if block.has_symref()
            for name, value in zip(*block.ref_values(), strict=True)
            if value is not None and value.startswith(SYMREF_PREFIX)
        ]

    def ref_records(
        self, start: bytes = b"", stop: bytes | None = None
    ) -> Iterator[tuple[list[bytes], list[RefRecord]]]:
        """Scan ref records, from the name ``start`` until before ``stop``."""
        return _chunks(self.refs, Block.ref_records, start, stop)

    def refs_with_object(self, object_id: bytes) -> list[RefRecord]:
        """Find the refs whose value or peeled value is an object.

        Uses the obj blocks where there are any; else looks for the id in every ref block.
        """
        if self.refs is None:
            return []
        blocks: Iterator[Block]
        if self.objs is None:
            blocks = self.refs.blocks()
        else:
            prefix = object_id[: self.obj_id_length]
            block = self.objs.block_for(prefix)
            record = block.seek_obj(prefix) if block else None
            if block and record is None and self.objs.index_position:
                raise self.objs.beyond(block.position)
            if record is None or record.prefix != prefix:
                return []
            if record.positions:
                refs = self.refs
                blocks = (self._ref_block(refs, position) for position in record.positions)
            else:
                blocks = self.refs.blocks()
        return [record for block in blocks for record in block.refs_with_object(object_id)]

    def _ref_block(self, refs: Section, position: int) -> Block:
        if position < self.layout.end:
            block = refs.block(position)
            if block.kind == REF:
                return block
        raise CorruptTableError(self.filename, position, "an obj record names no ref block")

    # Logs

    def log_records(
        self, start: bytes = b"", stop: bytes | None = None
    ) -> Iterator[tuple[list[bytes], list[LogRecord]]]:
        """Scan log records; ``start`` and ``stop`` are keys, as ``log_key`` gives them."""
        self._check_that_there_are_no_logs()
        if not start:
            return _chunks(self.logs, Block.log_records, start, stop)
        return self._log_records_from(start, stop)

    def _check_that_there_are_no_logs(self) -> None:
        """Check that the first block has refs: the footer does not name logs that come first."""
        if self.logs is None and self.refs is not None:
            _ = self.refs.block(0).restarts

    def log_entries(self, name: bytes) -> Iterator[tuple[list[bytes], list[LogText | None]]]:
        """Read the log records of one ref as text, newest first.

        Yields: the last eight bytes of each key, and beside each its entry; None for a tombstone
        """
        self._check_that_there_are_no_logs()
        last = b""
        is_inside = False
        for block in self.logs.blocks(name + b"\0") if self.logs else ():
            keys, entries, is_end = block.log_entries(name, is_inside=is_inside)
            is_inside = True
            if keys:
                if keys[0] <= last:
                    raise CorruptTableError(self.filename, block.position, "blocks do not ascend")
                last = keys[-1]
                yield keys, entries
            if is_end:
                return

    def _log_records_from(
        self, start: bytes, stop: bytes | None
    ) -> Iterator[tuple[list[bytes], list[LogRecord]]]:
        """Scan log records without decoding all of the first block and of the last one."""
        last = b""
        for block in self.logs.blocks(start) if self.logs else ():
            keys, records, is_end = block.log_records_between(start, stop)
            if keys:
                if keys[0] <= last:
                    raise CorruptTableError(self.filename, block.position, "blocks do not ascend")
                last = keys[-1]
                yield keys, records
            if is_end:
                return


def _chunks(
    section: Section | None,
    decode: Callable[[Block], tuple[list[bytes], list[_T]]],
    start: bytes,
    stop: bytes | None,
) -> Iterator[tuple[list[bytes], list[_T]]]:
    """Decode a section's blocks, cut to the keys from ``start`` until before ``stop``."""
    if section is None:
        return iter(())
    blocks = ((block.position, *decode(block)) for block in section.blocks(start))
    return _cut(section.layout.filename, blocks, start, stop)


def _cut(
    filename: str,
    blocks: Iterable[tuple[int, list[bytes], list[_T]]],
    start: bytes,
    stop: bytes | None,
) -> Iterator[tuple[list[bytes], list[_T]]]:
    """Cut the contents of blocks to the keys from ``start`` until before ``stop``.

    Args:
      filename: of the table
      blocks: the position of each, its keys, and beside each its record
      start: the first key
      stop: the key to stop before; None for the end
    """
    last = b""
    for position, keys, records in blocks:
        if keys[0] <= last:
            raise CorruptTableError(filename, position, "blocks do not ascend")
        last = keys[-1]
        if last < start:
            continue
        low = bisect_left(keys, start) if keys[0] < start else 0
        high = len(keys)
        if stop is not None and last >= stop:
            high = bisect_left(keys, stop)
        if low < high:
            if high - low < len(keys):
                keys, records = keys[low:high], records[low:high]
            yield keys, records
        if stop is not None and last >= stop:
            return
