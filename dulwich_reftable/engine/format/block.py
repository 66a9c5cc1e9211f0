# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Reading one block: restarts, search inside of it, decoding all of it at once.

A :class:`Block` holds the bytes of one block, inflated where it is a log block, so that every
offset of the format is an index into ``data``. There are two ways to read it. A search
(:meth:`Block.seek_ref`, :meth:`Block.seek_index`) bisects the restarts and decodes few keys. A scan
(:meth:`Block.ref_values` and the ``*_records``) decodes all of it and checks that keys ascend.
Malformed bytes raise ``CorruptTableError`` with the position of the block in its file.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import TypeVar

from ..errors import CorruptTableError
from .coding import decode_uint24, decode_varint
from .index_scan import index_records
from .key_scan import seek_record, skip_records
from .layout import LOG, OBJ, REF, TYPES, Layout
from .log_scan import LogText, log_entries
from .records import (
    LogRecord,
    ObjRecord,
    RefRecord,
    decode_key_header,
    decode_log,
    decode_obj,
    decode_position,
    decode_ref,
    skip_log,
    skip_obj,
    skip_position,
    skip_ref,
)
from .ref_scan import has_symref, ref_records, ref_values, seek_ref, skip_refs

__all__ = ["Block"]

_T = TypeVar("_T")
_Decode = Callable[[bytes, int, bytes, int], tuple[_T, int]]


class Block:
    """One block of a table.

    Args:
      layout: the table
      position: where the block begins in the file; 0 for the one that shares the header
    Raises:
      CorruptTableError: if there is no well-formed block
    """

    __slots__ = (
        "_restarts",
        "_sound_runs",
        "data",
        "first",
        "kind",
        "layout",
        "next_position",
        "position",
        "restart_offset",
    )

    def __init__(self, layout: Layout, position: int) -> None:
        self.layout = layout
        self.position = position
        self.kind = 0
        self._restarts: list[int] | None = None
        self._sound_runs: set[int] = set()
        start = 0 if position else layout.header_size
        head = layout.buffer[position + start : position + start + 4]
        if len(head) < 4 or position + start + 4 > layout.end:
            raise self._corrupt("block header runs into the footer")
        self.kind = head[0]
        if self.kind not in TYPES:
            raise self._corrupt(f"unknown block type 0x{self.kind:02x}")
        length = decode_uint24(head, 1)
        self.first = start + 4
        if length < self.first + 2:
            raise self._corrupt(f"block length {length} is too small")
        if self.kind == LOG:
            self.data = self._inflate(length)
        else:
            if position + length > layout.end:
                raise self._corrupt(f"block length {length} runs into the footer")
            self.data = layout.buffer[position : position + length]
            self.next_position = position + self._stride(length)
        restarts = (self.data[-2] << 8) | self.data[-1]
        self.restart_offset = length - 2 - 3 * restarts
        if not restarts or self.restart_offset <= self.first:
            raise self._corrupt(f"{restarts} restarts do not fit")

    def _stride(self, length: int) -> int:
        """Count the bytes to the next block: alignment counts only where padding follows."""
        size = self.layout.block_size
        behind = self.position + length
        if size and self.layout.buffer[behind : behind + 1] == b"\0":
            return length + -length % size
        return length

    def _inflate(self, length: int) -> bytes:
        """Inflate a log block's contents behind its header, so that offsets fit."""
        layout = self.layout
        begin = self.position + self.first
        # The bound of zlib for deflated data of this length: no more bytes are copied.
        most = length + (length >> 12) + (length >> 14) + (length >> 25) + 64
        inflater = zlib.decompressobj()
        packed = layout.buffer[begin : min(begin + most, layout.end)]
        try:
            # One byte more than expected shows that the stream is too long.
            body = inflater.decompress(packed, length - self.first + 1)
        except zlib.error as error:
            raise self._corrupt(f"log block does not inflate: {error}") from error
        if len(body) != length - self.first or not inflater.eof:
            raise self._corrupt(f"log block does not inflate to {length} bytes")
        self.next_position = begin + len(packed) - len(inflater.unused_data)
        return layout.buffer[self.position : begin] + body

    # Restarts and search

    @property
    def restarts(self) -> list[int]:
        """The offsets of the restarts; ascending, from the first record on."""
        if self._restarts is None:
            table = self.restart_offset
            numbers = self.data[table:-2]
            parts = zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
            offsets = [(high << 16) | (middle << 8) | low for high, middle, low in parts]
            if offsets[0] != self.first or offsets[-1] >= table:
                raise self._corrupt("restarts do not agree with the records", table)
            if offsets != sorted(set(offsets)):
                raise self._corrupt("restarts do not ascend", table)
            self._restarts = offsets
        return self._restarts

    def _check_run(self, i: int) -> None:
        """Check once that the records behind restart ``i`` end at the next restart.

        A search trusts restarts, and a restart inside of a record would mislead it. So a search
        checks the run before the restart that it uses, and the run behind it.
        """
        if i in self._sound_runs:
            return
        restarts = self.restarts
        start = restarts[i]
        end = restarts[i + 1] if i + 1 < len(restarts) else self.restart_offset
        if self.kind == LOG:
            behind = next(at for _, _, at in self._walk(self._skip_log, start) if at >= end)
        else:
            try:
                if self.kind == REF:
                    behind = skip_refs(self.data, start, end, self.layout.hash_size)
                else:
                    skip = skip_obj if self.kind == OBJ else skip_position
                    behind = skip_records(self.data, start, end, skip)
            except (IndexError, ValueError) as error:
                raise self._corrupt(str(error) or "record is cut short", start) from error
        if behind != end:
            raise self._corrupt("records do not agree with the restarts", start)
        self._sound_runs.add(i)

    def key_at(self, offset: int) -> bytes:
        """Decode the key of a restart or of the first record, which are not compressed."""
        data = self.data
        try:
            prefix, head, begin = data[offset], data[offset + 1], offset + 2
            if prefix > 0x7F or head > 0x7F:
                prefix, head, begin = decode_key_header(data, offset)
        except (IndexError, ValueError) as error:
            raise self._corrupt(str(error), offset) from error
        end = begin + (head >> 3)
        if prefix or end > self.restart_offset or end == begin:
            raise self._corrupt("no key that is not compressed", offset)
        return data[begin:end]

    @property
    def first_key(self) -> bytes:
        """The smallest key in the block."""
        return self.key_at(self.first)

    @property
    def last_key(self) -> bytes:
        """The largest key in the block."""
        return max(key for key, _, _ in self._walk(self._decoder, self.restarts[-1]))

    @property
    def _decoder(self) -> _Decode[RefRecord | LogRecord | ObjRecord | int]:
        """The function that decodes the values in this kind of block."""
        if self.kind == REF:
            return self._decode_ref
        if self.kind == LOG:
            return self._decode_log
        return decode_obj if self.kind == OBJ else decode_position

    def _run_with(self, key: bytes) -> int:
        """Give the number of the last restart whose key is not beyond ``key`` (or of the first).

        Only the run that is found, and the one before it, are checked. The other restarts that
        bisection meets may be wrong: the key belongs into that run all the same.
        """
        offsets = self.restarts
        i = max(bisect_right(offsets, key, key=self.key_at) - 1, 0)
        if i:
            self._check_run(i - 1)
        self._check_run(i)
        return i

    def _restart_before(self, key: bytes) -> int:
        return self.restarts[self._run_with(key)]

    def seek_ref(self, name: bytes) -> RefRecord | None:
        """Find the first ref that is not before ``name``, without decoding the block."""
        i = self._run_with(name)
        restarts = self.restarts
        # If no ref of this run qualifies, the first one of the next run does.
        start, end = restarts[i], restarts[i + 2] if i + 2 < len(restarts) else self.restart_offset
        return seek_ref(self.layout, self.data[start:end], self.position + start, name)

    def check_restarts(self) -> None:
        """Check that all restarts stand at records with uncompressed, ascending keys."""
        for i in range(len(self.restarts)):
            self._check_run(i)
        keys = [self.key_at(offset) for offset in self.restarts]
        if keys != sorted(set(keys)):
            raise self._corrupt("keys at restarts do not ascend", self.restart_offset)

    def seek_index(self, key: bytes) -> int | None:
        """Find, in an index block, the position of the block that would hold ``key``."""
        return self._seek(key, skip_position, decode_position)

    def seek_obj(self, prefix: bytes) -> ObjRecord | None:
        """Find, in an obj block, the first record that is not before an abbreviated object id."""
        return self._seek(prefix, skip_obj, decode_obj)

    def _seek(
        self, key: bytes, skip: Callable[[int, bytes, int], int], decode: _Decode[_T]
    ) -> _T | None:
        start, end = self._restart_before(key), self.restart_offset
        return seek_record(self.layout, self.data, start, end, self.position, key, skip, decode)

    def refs_with_object(self, object_id: bytes) -> list[RefRecord]:
        """Find the refs in this block whose value or peeled value is an object.

        The bytes of the id are searched for; only the runs that contain them are decoded.
        """
        found: list[RefRecord] = []
        restarts = self.restarts
        at = self.data.find(object_id, self.first, self.restart_offset)

        def decode(key: bytes, extra: int, data: bytes, pos: int) -> tuple[RefRecord | None, int]:
            behind = skip_ref(extra, data, pos, self.layout.hash_size)
            return self._decode_ref(key, extra, data, pos) if behind > at else (None, behind)

        while at >= 0:
            i = max(bisect_right(restarts, at) - 1, 0)
            self._check_run(i)
            behind = at
            for _, record, end in self._walk(decode, restarts[i]):
                if record is not None:  # the one that holds the occurrence
                    behind = end
                    if object_id in (record.value, record.peeled):
                        found.append(record)
                    break
            at = self.data.find(object_id, max(behind, at + 1), self.restart_offset)
        return found

    # Scanning

    def ref_values(self, *, is_one_of_many: bool = False) -> tuple[list[bytes], list[bytes | None]]:
        """Decode all records of a ref block to text: names, and beside each its value.

        A value is a hex object id, ``b"ref: <target>"`` for a symref, or None for a deletion.

        Args:
          is_one_of_many: whether hundreds of blocks are decoded; see :func:`.ref_scan.ref_values`
        """
        return ref_values(
            self.layout,
            self.data,
            self.first,
            self.restart_offset,
            self.position,
            is_one_of_many=is_one_of_many,
        )

    def has_symref(self) -> bool:
        """Tell whether a record of a ref block is a symref."""
        try:
            return has_symref(self.data, self.first, self.restart_offset, self.layout.hash_size)
        except (IndexError, ValueError) as error:
            raise self._corrupt(str(error) or "record is cut short", self.first) from error

    def ref_records(self) -> tuple[list[bytes], list[RefRecord]]:
        """Decode all records of a ref block; returns keys and records."""
        return ref_records(self.layout, self.data, self.first, self.restart_offset, self.position)

    def _decode_ref(self, key: bytes, extra: int, data: bytes, pos: int) -> tuple[RefRecord, int]:
        layout = self.layout
        return decode_ref(key, extra, data, pos, layout.hash_size, layout.min_update_index)

    def log_records(self) -> tuple[list[bytes], list[LogRecord]]:
        """Decode all records of a log block."""
        return self._all(self._decode_log)

    def log_records_between(
        self, start: bytes, stop: bytes | None
    ) -> tuple[list[bytes], list[LogRecord], bool]:
        """Decode the log records from ``start`` until before ``stop``.

        Returns: keys, records, and whether ``stop`` was reached
        """

        def decode(key: bytes, extra: int, data: bytes, pos: int) -> tuple[LogRecord | None, int]:
            return (self._skip_log if key < start else self._decode_log)(key, extra, data, pos)

        keys: list[bytes] = []
        records: list[LogRecord] = []
        for key, record, _ in self._walk(decode, self._restart_before(start)):
            if stop is not None and key >= stop:
                return keys, records, True
            if record is not None:
                keys.append(key)
                records.append(record)
        return keys, records, False

    def log_entries(
        self, name: bytes, *, is_inside: bool = False
    ) -> tuple[list[bytes], list[LogText | None], bool]:
        """Decode the log records of one ref as text; see :func:`.log_scan.log_entries`.

        Args:
          name: of the ref
          is_inside: whether the block before had records of the ref, or smaller ones: then there
            is nothing to be searched for
        """
        start = self.first if is_inside else self._restart_before(name + b"\0")
        end = self.restart_offset
        return log_entries(self.layout, self.data, start, end, self.position, name)

    def _decode_log(self, key: bytes, extra: int, data: bytes, pos: int) -> tuple[LogRecord, int]:
        return decode_log(key, extra, data, pos, self.layout.hash_size)

    def _skip_log(self, key: bytes, extra: int, data: bytes, pos: int) -> tuple[None, int]:
        return None, skip_log(extra, data, pos, self.layout.hash_size)

    def obj_records(self) -> tuple[list[bytes], list[ObjRecord]]:
        """Decode all records of an obj block."""
        return self._all(decode_obj)

    def index_records(self) -> tuple[list[bytes], list[int]]:
        """Decode all records of an index block: the positions of the blocks below."""
        return index_records(self.layout, self.data, self.first, self.restart_offset, self.position)

    def entries(self) -> Iterator[tuple[int, bytes, RefRecord | LogRecord | ObjRecord | int]]:
        """Decode records one by one; records before damage are yielded before the error is raised.

        Yields: offset of the record, its key, and the record (of an index: the position below)
        """
        offset = self.first
        for key, record, behind in self._walk(self._decoder, self.first):
            yield offset, key, record
            offset = behind

    def _all(self, decode: _Decode[_T]) -> tuple[list[bytes], list[_T]]:
        keys: list[bytes] = []
        records: list[_T] = []
        for key, record, _ in self._walk(decode, self.first):
            keys.append(key)
            records.append(record)
        return keys, records

    def _walk(self, decode: _Decode[_T], pos: int) -> Iterator[tuple[bytes, _T, int]]:
        """Decode records one by one.

        Args:
          decode: reads a value: called with key, type bits, data and position
          pos: offset of a record whose key is not compressed
        Yields: key, record, and the offset behind it
        """
        data, end = self.data, self.restart_offset
        key = b""
        start = pos
        try:
            while pos < end:
                start = pos
                prefix = data[pos]
                if prefix < 0x80:
                    pos += 1
                else:
                    prefix, pos = decode_varint(data, pos)
                head, pos = decode_varint(data, pos)
                if prefix > len(key):
                    raise ValueError("prefix is longer than the key before")
                value_at = pos + (head >> 3)
                if value_at > end:
                    raise ValueError("key runs into the restarts")
                before, key = key, key[:prefix] + data[pos:value_at]
                if key <= before:
                    raise ValueError("keys do not ascend")
                record, pos = decode(key, head & 7, data, value_at)
                if pos > end:
                    raise ValueError("record runs into the restarts")
                yield key, record, pos
        except (IndexError, ValueError) as error:
            raise self._corrupt(str(error) or "record is cut short", start) from error

    def _corrupt(self, reason: str, offset: int = 0) -> CorruptTableError:
        if self.kind == LOG and offset:
            # Offsets inside of a log block are those of its inflated form.
            reason = f"{reason} (inflated offset {offset})"
            offset = 0
        return CorruptTableError(self.layout.filename, self.position + offset, reason)
