# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Dumps tables as one JSON document, which is written piece by piece, one block per line."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from ..engine.errors import ReftableError
from ..engine.format.block import Block
from ..engine.format.layout import INDEX, TYPES
from ..engine.format.records import LogRecord, ObjRecord, RefRecord
from ..inspection import Inspection
from ..verification import Finding
from .dump_renderer import DumpRenderer, Entries, damage_of, last_key

__all__ = ["JsonDump"]


class JsonDump(DumpRenderer):
    """Writes the document."""

    def __init__(self) -> None:
        self._is_first = True  # in the innermost list
        self._is_in_list = False  # or the table is all of the document
        self._faults: list[str] = []  # of the stack

    def _write(self, text: str) -> None:
        sys.stdout.write(text)

    def _item(self, text: str) -> None:
        self._write(("" if self._is_first else ",\n") + text)
        self._is_first = False

    def begin(self, kind: str) -> None:
        """Begin a document with several stacks or tables.

        Args:
          kind: ``"stacks"`` or ``"tables"``
        """
        self._write(f'{{"{kind}": [')
        self._is_in_list = True
        self._is_first = True

    def end(self) -> None:
        self._write("]}\n")

    def begin_stack(self, location: str, worktree: bytes | None, names: list[str]) -> None:
        fields = {"location": location, "worktree": _text(worktree), "list": names}
        self._item(_open(fields, "tables"))
        self._is_first = True
        self._faults = []

    def fault(self, error: ReftableError) -> None:
        self._faults.append(str(error))

    def end_stack(self) -> None:
        self._write(f'], "faults": {json.dumps(self._faults)}}}')
        self._is_first = False

    def begin_table(self, inspection: Inspection) -> None:
        footer = inspection.footer
        fields: dict[str, Any] = {
            "file": inspection.filename,
            "size": len(inspection.buffer),
            "damage": None if inspection.damage is None else _damage(inspection.damage),
            "header": inspection.header and inspection.header._asdict(),
            "footer": footer and footer._asdict(),
        }
        self._item(_open(fields, "blocks"))
        self._is_first = True

    def damage(self, error: ReftableError) -> None:
        self._item(json.dumps({"damage": _damage(error)}))

    def block(
        self,
        block: Block,
        section: int,
        records: int,
        entries: Entries | None,
        damage: ReftableError | None,
    ) -> None:
        fields: dict[str, Any] = {
            "type": TYPES[block.kind],
            "position": block.position,
            "length": len(block.data),
            "next_position": block.next_position,
            "restarts": None if damage else block.restarts,
        }
        if block.kind == INDEX:
            fields["of"] = TYPES.get(section)
        if damage is not None:
            fields["damage"] = _damage(damage)
        if entries is not None:
            fields["records"] = [
                {"offset": offset, **_record(key, record, section)}
                for offset, key, record in entries
            ]
        self._item(json.dumps(fields))

    def end_table(self, findings: list[Finding]) -> None:
        wrong = [{"offset": finding.offset, "reason": finding.message} for finding in findings]
        end = "}" if self._is_in_list else "}\n"
        self._write(f'], "contradictions": {json.dumps(wrong)}{end}')
        self._is_first = False


def _open(fields: dict[str, Any], last: str) -> str:
    """Format a JSON object up to the beginning of its last field, a list."""
    return json.dumps(fields)[:-1] + f', "{last}": ['


def _text(data: bytes | None) -> str | None:
    return None if data is None else os.fsdecode(data)


def _damage(error: ReftableError) -> dict[str, Any]:
    return damage_of(error)._asdict()


def _record(key: bytes, record: object, section: int) -> dict[str, Any]:
    if isinstance(record, RefRecord):
        fields: dict[str, Any] = {"name": _text(key), "update_index": record.update_index}
        if record.value is not None:
            fields["value"] = record.value.hex()
        if record.peeled is not None:
            fields["peeled"] = record.peeled.hex()
        if record.target is not None:
            fields["target"] = _text(record.target)
        return {**fields, "deleted": True} if record.is_deletion else fields
    if isinstance(record, LogRecord):
        fields = {"name": _text(record.name), "update_index": record.update_index}
        update = record.update
        if update is None:
            return {**fields, "deleted": True}
        return {
            **fields,
            "old": update.old_id.hex(),
            "new": update.new_id.hex(),
            "committer": _text(update.name),
            "email": _text(update.email),
            "time": update.time,
            "tz_offset": update.tz_offset,
            "message": _text(update.message),
        }
    if isinstance(record, ObjRecord):
        return {"prefix": record.prefix.hex(), "positions": list(record.positions)}
    return {**_last_key(key, section), "position": record}


def _last_key(key: bytes, section: int) -> dict[str, Any]:
    name, update_index, prefix = last_key(key, section)
    if prefix is not None:
        return {"prefix": prefix.hex()}
    if update_index is not None:
        return {"name": _text(name), "update_index": update_index}
    return {"name": _text(name)}
