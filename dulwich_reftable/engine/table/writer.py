# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Writing one table from sorted records.

The file holds refs, their index, objects, their index, logs, their index, footer, in this order. A
block is written as soon as it is full. The writer keeps the last key of each block until its
section ends, and the blocks that mention each object until the refs end. Given the same records and
options the file is git's to the byte (``reftable/writer.c``). That includes two things that the
document leaves open: when a section gets an index, and how far object ids are abbreviated.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, repeat

from ..errors import RecordError
from ..format.block_writer import BlockWriter, Encoded
from ..format.coding import MAX_UINT64, encode_varint
from ..format.layout import HASH_SIZES, INDEX, LOG, OBJ, REF, encode_footer, encode_header
from ..format.records import (
    LOG_UPDATE,
    REF_VAL1,
    LogRecord,
    RefRecord,
    encode_log,
    encode_obj,
    encode_ref,
    log_key,
)

__all__ = ["MAX_BLOCK_SIZE", "TableWriter", "WriteOptions"]

MAX_BLOCK_SIZE = (1 << 24) - 1
_LEAST_OBJ_ID_LENGTH = 2
_FEW = 1 << 16
"""Up to so many bytes, object ids and their positions are sorted at once."""

_MAX_OBJ_ID_LENGTH = 31  # five bits of the footer hold it
_POSITION = struct.Struct(">Q")  # of a block, as the writer remembers it

# A block with one ref: its header, prefix and suffix lengths, update index, restart and count.
_LEAST_OVERHEAD = 4 + 3 + 3 + 2

# Positions that overflow even an empty block are left out.
_SCAN_ALL = encode_obj(())

# More blocks than this in a section, or on a level of its index, get an index (level) on top.
_INDEX_THRESHOLD = 3
_INDEX_THRESHOLD_UNALIGNED = 1


@dataclass(frozen=True)
class WriteOptions:
    """How tables are written.

    Attributes:
      block_size: bytes of a block, at most 16 MiB - 1 (``reftable.blockSize``)
      restart_interval: records between restarts (``reftable.restartInterval``)
      index_objects: whether to write obj blocks (``reftable.indexObjects``)
      hash_size: bytes of an object id: 20 (SHA-1) or 32 (SHA-256)
      aligned: whether blocks are padded to the block size
    """

    block_size: int = 4096
    restart_interval: int = 16
    index_objects: bool = True
    hash_size: int = 20
    aligned: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.block_size <= MAX_BLOCK_SIZE:
            raise RecordError(f"block size {self.block_size} is not in 1..{MAX_BLOCK_SIZE}")
        if not 0 < self.restart_interval < 1 << 16:
            raise RecordError(f"restart interval {self.restart_interval} is not in 1..65535")
        if self.hash_size not in HASH_SIZES.values():
            raise RecordError(f"object ids of {self.hash_size} bytes are not known")

    def encode_header(self, min_update_index: int, max_update_index: int) -> bytes:
        """Encode the header of a table that is written so."""
        block_size = self.block_size if self.aligned else 0
        return encode_header(block_size, min_update_index, max_update_index, self.hash_size)

    def can_hold(self, name: bytes, target: bytes | None = None) -> bool:
        """Tell whether a ref may fit into a block; the writer knows it to the byte.

        Args:
          name: of the ref
          target: of a symref; None for an object id
        """
        size = len(name) + (self.hash_size if target is None else len(target))
        return size + _LEAST_OVERHEAD <= self.block_size


class TableWriter:
    """Writes one table.

    Add refs in the order of their names, then logs in the order of their keys, then
    :meth:`finish`.

    Args:
      write: takes the bytes, in order
      min_update_index: the smallest index of a ref record
      max_update_index: the largest index of any record
      options: block size and the like

    Attributes:
      is_empty: whether no record was added yet
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        min_update_index: int,
        max_update_index: int,
        options: WriteOptions,
    ) -> None:
        if not 0 <= min_update_index <= max_update_index <= MAX_UINT64:
            raise RecordError(f"update indexes {min_update_index}..{max_update_index} do not fit")
        self._write = write
        self._options = options
        self._min = min_update_index
        self._max = max_update_index
        self._header = options.encode_header(min_update_index, max_update_index)
        self._next = 0  # where the next block goes
        self._padding = 0  # zeros owed before it
        self._block: BlockWriter | None = None
        self._mentioned: list[bytes] = []  # object ids in the ref block that is open
        self._index: list[tuple[bytes, int]] = []  # last key and position of blocks done
        # By the first byte of object ids: ids and positions of the ref blocks that have them.
        self._blocks_of: defaultdict[int, bytearray] = defaultdict(bytearray)
        self._ref_index = self._obj = self._obj_id_length = self._obj_index = 0
        self._log: int | None = None
        self._log_index = 0
        self.is_empty = True

    def add_refs(self, records: Iterable[RefRecord]) -> None:
        """Add ref records.

        Args:
          records: in the order of their names
        Raises:
          RecordError: if a name does not sort behind the one before, an update index is out of
            the table's bounds, an id is of the wrong length, or a record is too large for a block
        """
        self._add(REF, self._encoded(records))

    def _encoded(self, records: Iterable[RefRecord]) -> Iterator[Encoded]:
        smallest, largest, size = self._min, self._max, self._options.hash_size
        encoded_index = -1
        for record in records:
            name, index, value, peeled, target = record
            if index != encoded_index:  # mostly the same for the whole table
                if not smallest <= index <= largest:
                    raise RecordError(f"update index {index} of {name!r} is out of bounds")
                delta = encode_varint(index - smallest)
                encoded_index = index
            if value is None:
                yield name, *encode_ref(record, smallest)
                continue
            if target is not None:
                raise RecordError(f"{name!r} has both an object id and a target")
            if len(value) != size or (peeled is not None and len(peeled) != size):
                raise RecordError(f"object id of {name!r} is not {size} bytes long")
            if peeled is None:
                yield name, REF_VAL1, delta + value
                self._mentioned.append(value)
            else:
                yield name, *encode_ref(record, smallest)
                self._mentioned += (value, peeled)
            # The consumer has added this record to the open block before it asks for the next.

    def add_logs(self, records: Iterable[LogRecord]) -> None:
        """Add log records; no ref can be added after them.

        Args:
          records: in the order of their keys
        Raises:
          RecordError: if a key does not sort behind the one before, an update index is beyond the
            table's, an id is of the wrong length, a number does not fit, or a record is too large
            for a block
        """
        encoded = self._encoded_logs(records)
        first = next(encoded, None)
        if first is None:
            return
        if self._block is None or self._block.kind != LOG:
            self._finish_refs()
            self._next -= self._padding  # log blocks are not aligned
            self._padding = 0
            self._start_block(LOG)
        self._add(LOG, chain((first,), encoded))

    def _encoded_logs(self, records: Iterable[LogRecord]) -> Iterator[Encoded]:
        largest, size = self._max, self._options.hash_size
        signed: tuple[object, ...] = ()  # who, when and why: mostly the same for a transaction
        signature = b""
        for record in records:
            name, index, update = record
            if not 0 <= index <= largest:
                raise RecordError(f"update index {index} of {name!r}'s log is out of bounds")
            if not name or b"\0" in name:
                raise RecordError(f"{name!r} cannot have a log")
            if update and not len(update.old_id) == len(update.new_id) == size:
                raise RecordError(f"object id in {name!r}'s log is not {size} bytes long")
            if update and update[2:] == signed:
                value = update.old_id + update.new_id + signature
                yield log_key(name, index), LOG_UPDATE, value
                continue
            try:
                log_type, value = encode_log(record)
            except (struct.error, ValueError) as error:
                raise RecordError(f"log record of {name!r} cannot be written: {error}") from error
            if update:
                signed, signature = update[2:], value[2 * size :]
            yield log_key(name, index), log_type, value

    def finish(self) -> int:
        """Write what is left and the footer.

        Returns: size of the table, in bytes
        """
        if self._block is not None and self._block.kind == LOG:
            self._log_index = self._finish_section()
        else:
            self._finish_refs()
        if not self._next:
            self._put(self._header, 0)
        self._next -= self._padding  # the last block is not padded
        self._padding = 0
        footer = encode_footer(
            self._header,
            self._ref_index,
            self._obj,
            self._obj_id_length,
            self._obj_index,
            self._log or 0,
            self._log_index,
        )
        self._put(footer, 0)
        return self._next

    # Blocks

    def _add(self, kind: int, records: Iterable[Encoded]) -> None:
        """Add records to the section that is open, block after block."""
        records = iter(records)
        left: Iterable[Encoded] = records
        while True:
            block = self._block or self._start_block(kind)
            if block.kind != kind:
                raise RecordError("a ref comes too late: its section is over")
            excess = block.add_many(left)
            if block.entries:
                self.is_empty = False
            if excess is None:
                return
            if block.entries:
                self._flush_block()
            elif kind == OBJ and excess[1:] != _SCAN_ALL:
                excess = excess[0], *_SCAN_ALL
            else:
                size = self._options.block_size
                raise RecordError(f"record {excess[0]!r} is too large for a block of {size} bytes")
            left = chain((excess,), records)

    def _start_block(self, kind: int) -> BlockWriter:
        options = self._options
        header = b"" if self._next else self._header
        self._block = BlockWriter(kind, options.block_size, options.restart_interval, header)
        return self._block

    def _flush_block(self) -> None:
        block, self._block = self._block, None
        if block is None or not block.entries:
            return
        data = block.finish()
        options = self._options
        padding = 0
        if block.kind == LOG:
            self._log = self._next if self._log is None else self._log
        elif options.aligned:
            padding = options.block_size - len(data)
        if options.index_objects:
            self._note_objects()
        self._mentioned.clear()
        self._index.append((block.last_key, self._next))
        self._put(data, padding)

    def _put(self, data: bytes, padding: int) -> None:
        if self._padding:
            self._write(bytes(self._padding))
        self._write(data)
        self._padding = padding
        self._next += len(data) + padding

    # Sections

    def _finish_section(self) -> int:
        """Write the open block and the index of the section, level upon level.

        Returns: position of the index's root, 0 if the section is too short to have one
        """
        self._flush_block()
        threshold = _INDEX_THRESHOLD if self._options.aligned else _INDEX_THRESHOLD_UNALIGNED
        root = 0
        while len(self._index) > threshold:
            root = self._next
            below, self._index = self._index, []
            self._add(INDEX, ((key, 0, encode_varint(position)) for key, position in below))
            self._flush_block()
            if len(self._index) >= len(below):
                raise RecordError("blocks are too small to be indexed")
        self._index = []
        return root

    def _finish_refs(self) -> None:
        self._ref_index = self._finish_section()
        if self._ref_index and self._options.index_objects:
            self._write_objects()
        self._blocks_of.clear()

    def _note_objects(self) -> None:
        """Remember what the ref block that is about to be written mentions."""
        blocks_of, position = self._blocks_of, _POSITION.pack(self._next)
        for object_id in self._mentioned:
            blocks_of[object_id[0]] += object_id + position

    def _write_objects(self) -> None:
        size = self._options.hash_size
        length = _LEAST_OBJ_ID_LENGTH
        if sum(map(len, self._blocks_of.values())) < _FEW:
            mentioned = b"".join(self._blocks_of.values())
            self._blocks_of.clear()
            if mentioned:
                self._blocks_of[0] += mentioned
        for mentions in self._blocks_of.values():
            ordered = sorted(_split(mentions, size + _POSITION.size))
            length = _abbreviation([mention[:size] for mention in ordered], length)
            mentions[:] = b"".join(ordered)
        self._obj_id_length = length
        self._obj = self._next if self._blocks_of else 0
        self._add(OBJ, self._encoded_objects(length))
        self._obj_index = self._finish_section()

    def _encoded_objects(self, length: int) -> Iterator[Encoded]:
        size = self._options.hash_size

        @lru_cache(maxsize=1 << 16)  # few blocks, many ids
        def encode_one(position: bytes) -> bytes:
            return encode_varint(int.from_bytes(position, "big"))

        for first in sorted(self._blocks_of):
            mentions = _split(self._blocks_of[first], size + _POSITION.size)
            prefixes = [mention[:length] for mention in mentions]
            if len({*prefixes}) == len(prefixes):  # as most often: one position each
                positions = [mention[size:] for mention in mentions]
                yield from zip(prefixes, repeat(1), map(encode_one, positions))
                continue
            prefix, position = b"", b""
            more: set[bytes] = set()  # further positions
            for mention in mentions:
                if mention[:length] == prefix:
                    if mention[size:] != position:
                        more.add(mention[size:])
                    continue
                if more:
                    yield prefix, *_encode_positions({position, *more})
                    more.clear()
                elif prefix:
                    yield prefix, 1, encode_one(position)
                prefix, position = mention[:length], mention[size:]
            if more:
                yield prefix, *_encode_positions({position, *more})
            else:
                yield prefix, 1, encode_one(position)


def _split(data: bytes | bytearray, size: int) -> list[bytes]:
    """Cut data into pieces of one size."""
    data = bytes(data)
    return [data[at : at + size] for at in range(0, len(data), size)]


def _encode_positions(positions: Iterable[bytes]) -> tuple[int, bytes]:
    return encode_obj(tuple(int.from_bytes(position, "big") for position in sorted(positions)))


def _abbreviation(ids: Sequence[bytes], length: int) -> int:
    """Give the shortest length, of at least ``length`` bytes, that tells object ids apart.

    Ids that not even the longest abbreviation tells apart share a record.
    """
    distinct = len({*ids})
    while length < _MAX_OBJ_ID_LENGTH and len({oid[:length] for oid in ids}) < distinct:
        length += 1
    return length
