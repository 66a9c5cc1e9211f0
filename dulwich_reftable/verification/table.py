# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Checks one table by itself, in one walk from its first byte to its last.

Each block is decoded in full, compared with the block before it, and released. Two things are kept:
the last key of each block, for the indexes, and the object ids that each ref block mentions, for
the obj blocks. A block that cannot be read is reported, and is not compared with others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..engine.errors import CorruptTableError
from ..engine.format.block import Block
from ..engine.format.layout import INDEX, LOG, OBJ, REF
from ..engine.format.records import LogRecord, ObjRecord, RefRecord
from ..inspection import Footer, Header, Inspection, LostBlock
from ..naming.names import is_well_formed
from .finding import ERROR, INFO, WARNING, Finding, corrupt
from .index import IndexBlock, check_index

__all__ = ["check_table"]

_ORDER = {REF: 0, OBJ: 1, LOG: 2}
_POSITION_BYTES = 8
_DIGEST_BYTES = 4  # from the end of an id; they distinguish ids with the same abbreviation


def check_table(inspection: Inspection) -> Iterator[Finding]:
    """Check a table.

    Args:
      inspection: the table
    Yields: the faults
    """
    if inspection.damage is not None:
        yield corrupt(inspection.damage, "table")
    if inspection.header is not None:
        yield from _Walk(inspection, inspection.header).findings()


class _Section:
    """The facts about a section that a walk keeps.

    Attributes:
      position: position of the first block
      last_keys: last key of each block, by position
      index: the blocks of its index, by position
    """

    def __init__(self, position: int) -> None:
        self.position = position
        self.last_keys: dict[int, bytes] = {}
        self.index: dict[int, IndexBlock] = {}


class _Walk:
    def __init__(self, inspection: Inspection, header: Header) -> None:
        self._inspection = inspection
        self._header = header
        self._footer = inspection.footer if inspection.damage is None else None
        self._sections: dict[int, _Section] = {}
        self._kind = 0  # of the section that the walk is in
        self._last_key = b""  # in that section
        self._id_length = self._footer.obj_id_length if self._footer else 0
        self._mentions: list[bytes] = []  # abbreviated id, position of the ref block, a digest
        self._are_sorted = False
        self._is_broken = False
        self._is_aligned = True

    def _error(self, check: str, message: str, offset: int | None = None) -> Finding:
        return Finding(ERROR, check, self._inspection.filename, message, offset)

    def findings(self) -> Iterator[Finding]:
        """Walk through the table.

        Yields: the faults
        """
        for block in self._inspection.blocks():
            if isinstance(block, LostBlock):
                self._is_broken = True
                yield corrupt(block.error, "block")
                continue
            yield from self._check_place(block)
            yield from self._check_block(block)
        if self._footer is None:
            return
        if not self._is_broken:
            yield from self._check_rest_of_objects()
        yield from self._check_footer(self._footer)

    # Blocks

    def _check_place(self, block: Block) -> Iterator[Finding]:
        """Check that a block of this type may stand here."""
        kind, position = block.kind, block.position
        if kind == INDEX:
            if not self._kind:
                yield self._error("order", "the table begins with an index", position)
            return
        block_size = self._header.block_size
        if self._is_aligned and kind != LOG and block_size and position % block_size:
            self._is_aligned = False  # git's library can write such tables, too
            message = f"blocks are not aligned to {block_size} bytes"
            yield Finding(INFO, "alignment", self._inspection.filename, message, position)
        if kind == self._kind:
            if self._sections[kind].index:
                yield self._error("order", f"'{kind:c}' block behind the index of such", position)
            return
        if _ORDER[kind] < _ORDER.get(self._kind, 0) or kind in self._sections:
            yield self._error("order", f"'{kind:c}' block behind '{self._kind:c}' blocks", position)
        self._sections.setdefault(kind, _Section(position))
        self._kind = kind
        self._last_key = b""

    def _check_block(self, block: Block) -> Iterator[Finding]:
        yield from self._check_padding(block)
        try:
            block.check_restarts()
            if block.kind == REF:
                names, refs = block.ref_records()
                yield from self._check_refs(block, refs)
            elif block.kind == LOG:
                names, logs = block.log_records()
                yield from self._check_logs(block, logs)
            elif block.kind == OBJ:
                names, objects = block.obj_records()
                yield from self._check_objects(block, objects)
            else:
                names, positions = block.index_records()
                if self._kind:
                    index = IndexBlock(names, positions)
                    self._sections[self._kind].index[block.position] = index
                return
        except CorruptTableError as error:
            self._is_broken = True
            yield corrupt(error, "record")
            return
        if names[0] <= self._last_key:
            yield self._error("order", "blocks do not ascend", block.position)
        self._last_key = names[-1]
        self._sections[block.kind].last_keys[block.position] = names[-1]

    def _check_padding(self, block: Block) -> Iterator[Finding]:
        if block.kind == LOG:
            return
        behind = block.position + len(block.data)
        stop = min(block.next_position, block.layout.end)
        padding = block.layout.buffer[behind:stop]
        if padding.strip(b"\0"):
            at = behind + len(padding) - len(padding.lstrip(b"\0"))
            yield self._error("padding", "padding is not zero", at)

    def _check_refs(self, block: Block, records: list[RefRecord]) -> Iterator[Finding]:
        newest = self._header.max_update_index
        if max(record.update_index for record in records) > newest:
            for record in records:
                if record.update_index > newest:
                    yield self._beyond(block, record.update_index, f"ref {_show(record.name)}")
        ids = {record.value for record in records if record.value is not None}
        ids.update(record.peeled for record in records if record.peeled is not None)
        if bytes(self._header.hash_size) in ids:
            for record in records:
                if record.value is not None and not any(record.value):
                    message = f"{_show(record.name)} points to the zero id"
                    yield self._error("zero-id", message, block.position)
        for record in records:
            if not is_well_formed(record.name):
                message = f"{_show(record.name)} is no legal ref name"
                yield self._error("name", message, block.position)
        if self._footer is not None and self._footer.obj:
            length = self._id_length
            at = block.position.to_bytes(_POSITION_BYTES, "big")
            self._mentions += [value[:length] + at + value[-_DIGEST_BYTES:] for value in ids]

    def _check_logs(self, block: Block, records: list[LogRecord]) -> Iterator[Finding]:
        last = None
        for record in records:
            if record.update_index > self._header.max_update_index:
                what = f"the reflog of {_show(record.name)}"
                yield self._beyond(block, record.update_index, what)
            if record.name != last:
                last = record.name
                if not is_well_formed(last):
                    message = f"reflog of {_show(last)}, which is no legal ref name"
                    yield self._error("name", message, block.position)

    def _beyond(self, block: Block, update_index: int, what: str) -> Finding:
        newest = self._header.max_update_index
        message = f"update index {update_index} of {what} is beyond the table's {newest}"
        return self._error("update-index", message, block.position)

    # Objects

    def _check_objects(self, block: Block, records: list[ObjRecord]) -> Iterator[Finding]:
        """Compare the obj records of a block with the ids that the ref blocks mention."""
        if self._footer is None or not self._footer.obj:
            return  # the check of the footer reports obj blocks that it does not name
        length = self._id_length
        for record in records:
            if len(record.prefix) != length:
                message = f"object id of {len(record.prefix)} bytes among those of {length}"
                yield self._error("object", message, block.position)
            elif not self._is_broken:
                yield from self._check_object(block, record)

    def _next_mention(self) -> tuple[bytes, list[int], int]:
        """Take the smallest abbreviated id that is left.

        Returns: the abbreviated id; the positions of the blocks that mention it; the number of full
          ids that it abbreviates
        """
        mentions, length = self._mentions, self._id_length
        prefix = mentions[-1][:length]
        positions: dict[int, None] = {}
        digests = set()
        while mentions and mentions[-1][:length] == prefix:
            mention = mentions.pop()
            positions[int.from_bytes(mention[length:-_DIGEST_BYTES], "big")] = None
            digests.add(mention[-_DIGEST_BYTES:])
        return prefix, list(positions), len(digests)

    def _check_object(self, block: Block, record: ObjRecord) -> Iterator[Finding]:
        """Compare a record with the mentions; both are in order."""
        if not self._are_sorted:
            self._mentions.sort(reverse=True)  # the smallest is then taken from the end
            self._are_sorted = True
        while self._mentions and self._mentions[-1][: self._id_length] < record.prefix:
            prefix, _, _ = self._next_mention()
            yield self._error("object", f"no obj record of id {prefix.hex()}", block.position)
        if not (self._mentions and self._mentions[-1].startswith(record.prefix)):
            message = f"obj record of id {record.prefix.hex()}, which no ref has"
            yield self._error("object", message, block.position)
            return
        prefix, positions, ids = self._next_mention()
        if ids > 1:
            # A search for one id finds both. Git makes abbreviations longer to avoid that.
            message = f"obj record of id {prefix.hex()}, with which {ids} ids begin"
            yield Finding(WARNING, "object", self._inspection.filename, message, block.position)
        if record.positions and list(record.positions) != positions:
            for at in sorted({*record.positions} - {*positions}):
                message = f"obj record says that the block at {at} has id {prefix.hex()}"
                yield self._error("object", message, block.position)
            for at in sorted({*positions} - {*record.positions}):
                message = f"obj record of id {prefix.hex()} leaves out the block at {at}"
                yield self._error("object", message, block.position)

    def _check_rest_of_objects(self) -> Iterator[Finding]:
        while self._mentions and OBJ in self._sections:
            prefix, _, _ = self._next_mention()
            message = f"no obj record of id {prefix.hex()}"
            yield self._error("object", message, self._sections[OBJ].position)

    # The footer, and the indexes that it names

    def _check_footer(self, footer: Footer) -> Iterator[Finding]:
        for kind, told in ((OBJ, footer.obj), (LOG, footer.log)):
            section = self._sections.get(kind)
            if section is None:
                if told and not self._is_broken:
                    message = f"the footer says that '{kind:c}' blocks begin at {told}"
                    yield self._error("footer", message, footer.position)
            elif section.position != told and (told or section.position):
                message = (
                    f"'{kind:c}' blocks begin at {section.position}, "
                    f"the footer says {told or 'that there are none'}"
                )
                yield self._error("footer", message, footer.position)
        for kind, root in (
            (REF, footer.ref_index),
            (OBJ, footer.obj_index),
            (LOG, footer.log_index),
        ):
            section = self._sections.get(kind)
            if section is not None:
                for message, offset in check_index(
                    root, section.index, section.last_keys, is_complete=not self._is_broken
                ):
                    yield self._error("index", message, offset or footer.position)
            elif root and not self._is_broken:
                message = f"the footer names an index of '{kind:c}' blocks, of which there are none"
                yield self._error("footer", message, footer.position)


def _show(name: bytes) -> str:
    return f"'{os.fsdecode(name)}'"
