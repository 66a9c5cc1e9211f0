# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Dumps tables as text: header and footer, then each block, then a summary of the sections."""

from __future__ import annotations

from ..engine.errors import ReftableError
from ..engine.format.block import Block
from ..engine.format.layout import INDEX, LOG, TYPES
from ..engine.format.records import LogRecord, LogUpdate, ObjRecord, RefRecord
from ..inspection import Footer, Header, Inspection
from ..verification import Finding
from .columns import aligned
from .dump_renderer import DumpRenderer, Entries, damage_of, last_key
from .repository import printable

__all__ = ["TextDump"]

_HASHES = {20: "SHA-1", 32: "SHA-256"}
_WIDEST_NAME = 48


class TextDump(DumpRenderer):
    """Prints text."""

    def __init__(self) -> None:
        # Of each section and each index: begin, end, number of blocks, number of records.
        self._sections: dict[tuple[int, bool], list[int]] = {}
        self._gap = ""  # before the next table

    def begin_stack(self, location: str, worktree: bytes | None, names: list[str]) -> None:
        self._gap = "\n"
        whose = "" if worktree is None else f" of the worktree {printable(worktree)}"
        print(f"stack{whose}: {printable(location)}, {_count(len(names), 'table')}")

    def fault(self, error: ReftableError) -> None:
        print(f"  !! {printable(str(error))}")

    def begin_table(self, inspection: Inspection) -> None:
        self._sections = {}
        print(
            f"{self._gap}table   {printable(inspection.filename)}, {len(inspection.buffer)} bytes"
        )
        if inspection.damage is not None:
            self.damage(inspection.damage)
        print(f"header  {_header(inspection.header)}")
        print(f"footer  {_footer(inspection.footer)}")
        self._gap = "\n"

    def damage(self, error: ReftableError) -> None:
        self._damage(*damage_of(error))

    def _damage(self, offset: int | None, reason: str) -> None:
        where = "" if offset is None else f" at {offset}"
        print(f"  !! corrupt{where}: {printable(reason)}")

    def count(self, block: Block, section: int, records: int) -> None:
        key = section, block.kind == INDEX
        counted = self._sections.setdefault(key, [block.position, 0, 0, 0])
        counted[1] = block.next_position
        counted[2] += 1
        counted[3] += records

    def block(
        self,
        block: Block,
        section: int,
        records: int,
        entries: Entries | None,
        damage: ReftableError | None,
    ) -> None:
        kind = TYPES[block.kind]
        if block.kind == INDEX and section:
            kind = f"{TYPES[section]} index"
        restarts = frozenset() if damage else frozenset(block.restarts)
        length = f"{len(block.data)} bytes"
        if block.kind == LOG:
            length += f" deflated to {block.next_position - block.position}"
        counts = _count(records, "record")
        if not damage:
            counts += f", {_count(len(restarts), 'restart')}"
        print(f"\n{kind} block at {block.position}: {length}, {counts}")
        if entries is not None:
            rows = [
                (offset, "*" if offset in restarts else " ", *_columns(key, record, section))
                for offset, key, record in entries
            ]
            width = min(max((len(row[2]) for row in rows), default=0), _WIDEST_NAME)
            for offset, mark, name, rest in rows:
                print(f"  {offset:>6} {mark} {name:<{width}}  {rest}".rstrip())
        if damage is not None:
            self.damage(damage)

    def end_table(self, findings: list[Finding]) -> None:
        if findings:
            print()
        for finding in findings:
            self._damage(finding.offset, finding.message)
        rows = [("section", "position", "bytes", "blocks", "records")]
        for (section, is_index), (begin, end, blocks, records) in self._sections.items():
            name = f"{TYPES.get(section, '')} index".lstrip() if is_index else TYPES[section]
            rows.append((name, str(begin), str(end - begin), str(blocks), str(records)))
        if len(rows) > 1:
            print()
            for line in aligned(rows):
                print(line)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _header(header: Header | None) -> str:
    if header is None:
        return "none that makes sense"
    size = f"blocks of {header.block_size}" if header.block_size else "unaligned"
    return (
        f"version {header.version} ({_HASHES[header.hash_size]}), {size}, "
        f"update indexes {header.min_update_index} to {header.max_update_index}"
    )


def _footer(footer: Footer | None) -> str:
    if footer is None:
        return "none"
    parts = [f"at {footer.position}"]
    for name, position in (
        ("ref index", footer.ref_index),
        (f"objects (ids of {footer.obj_id_length} bytes)", footer.obj),
        ("obj index", footer.obj_index),
        ("logs", footer.log),
        ("log index", footer.log_index),
    ):
        if position:
            parts.append(f"{name} at {position}")
    is_right = "right" if footer.is_sound else "wrong"
    return ", ".join([*parts, f"checksum {footer.checksum:08x} is {is_right}"])


def _columns(key: bytes, record: object, section: int) -> tuple[str, str]:
    if isinstance(record, RefRecord):
        return printable(key), f"@{record.update_index} {_value(record)}"
    if isinstance(record, LogRecord):
        what = "deleted" if record.update is None else _update(record.update)
        return printable(record.name), f"@{record.update_index} {what}"
    if isinstance(record, ObjRecord):
        positions = " ".join(map(str, record.positions))
        return record.prefix.hex(), positions or "in any block"
    return _last_key(key, section), f"block at {record}"


def _value(record: RefRecord) -> str:
    if record.target is not None:
        return f"-> {printable(record.target)}"
    if record.value is None:
        return "deleted"
    peeled = "" if record.peeled is None else f" peeled {record.peeled.hex()}"
    return record.value.hex() + peeled


def _update(update: LogUpdate) -> str:
    if update.is_existence_marker:
        return "exists"
    who = f"{printable(update.name)} <{printable(update.email)}>"
    message = printable(update.message.removesuffix(b"\n"))
    ids = f"{update.old_id.hex()} {update.new_id.hex()}"
    return f"{ids} {who} {update.time} {update.tz_offset:+05d} {message}"


def _last_key(key: bytes, section: int) -> str:
    name, update_index, prefix = last_key(key, section)
    if name is None:
        return (prefix or b"").hex()
    return printable(name) if update_index is None else f"{printable(name)} @{update_index}"
