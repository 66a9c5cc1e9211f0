# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable dump``: show the contents of tables, or of all tables of a repository.

A damaged table is shown as far as it can be read, with a note at each damaged place. Each block is
shown when it has been read, so that memory use does not depend on the size of the table.
"""

from __future__ import annotations

import argparse
import os

from ..engine.errors import CorruptTableError, ReftableError
from ..engine.format.block import Block
from ..engine.format.layout import INDEX, LOG, OBJ, REF, Buffer
from ..engine.stack.directory import DirectoryStorage
from ..inspection import Inspection, LostBlock, inspect_stack, salvaged
from ..verification.finding import limited
from ..verification.table import check_table
from .dump_json import JsonDump
from .dump_renderer import DumpRenderer
from .dump_text import TextDump
from .repository import opened
from .stores import add_store_options, is_store_url, store_options

__all__ = ["add_arguments", "run"]

_CONTRADICTIONS = frozenset(
    ("footer", "index", "object", "order", "padding", "update-index"),
)
"""Checks that compare the parts of a table with each other."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Without any of --refs, --logs, --objs and --index, all blocks are shown. "
        "The exit code is 1 if a table is damaged."
    )
    parser.add_argument("--refs", action="store_true", help="show ref blocks")
    parser.add_argument("--logs", action="store_true", help="show log blocks")
    parser.add_argument("--objs", action="store_true", help="show obj blocks")
    parser.add_argument("--index", action="store_true", help="show index blocks")
    parser.add_argument("--no-records", action="store_true", help="show blocks without records")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON document; bytes that are not UTF-8 become lone surrogates in it",
    )
    add_store_options(parser)
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="TABLE|REPO",
        help="table files, or a directory in a repository (as for verify)",
    )


def run(parsed: argparse.Namespace) -> int:
    chosen = {
        kind
        for kind, is_chosen in (
            (REF, parsed.refs),
            (LOG, parsed.logs),
            (OBJ, parsed.objs),
            (INDEX, parsed.index),
        )
        if is_chosen
    }
    dump: DumpRenderer = JsonDump() if parsed.json else TextDump()
    walk = _Walk(dump, chosen or {REF, LOG, OBJ, INDEX}, not parsed.no_records)
    paths: list[str] = parsed.paths
    if not paths or any(map(_is_repository, paths)):
        if len(paths) > 1:
            raise ReftableError("give either one directory or table files")
        with opened(paths[0] if paths else None, options=store_options(parsed)) as (_, refs):
            dump.begin("stacks")
            for worktree, stack in refs.store.all_stacks():
                names, faults, tables = inspect_stack(stack.storage)
                dump.begin_stack(stack.storage.location, worktree, names)
                for fault in faults:
                    walk.is_damaged = True
                    dump.fault(fault)
                for table in tables:
                    walk.table(table)
                dump.end_stack()
            dump.end()
    else:
        inspections = [Inspection(path, _open_table(path)) for path in paths]
        if len(paths) > 1:
            dump.begin("tables")
        for inspection in inspections:
            walk.table(inspection)
        if len(paths) > 1:
            dump.end()
    return int(walk.is_damaged)


def _is_repository(path: str) -> bool:
    return is_store_url(path) or os.path.isdir(path)


def _open_table(path: str) -> Buffer:
    directory, name = os.path.split(path)
    (buffer,) = DirectoryStorage(directory or os.curdir).open_tables(None, (name,))
    return buffer


class _Walk:
    """Walks through tables and has them printed.

    Args:
      dump: prints them
      chosen: kinds of blocks to show
      with_records: whether to show records

    Attributes:
      is_damaged: whether any damage was found
    """

    def __init__(self, dump: DumpRenderer, chosen: set[int], with_records: bool) -> None:
        self._dump = dump
        self._chosen = chosen
        self._with_records = with_records
        self.is_damaged = False

    def table(self, inspection: Inspection) -> None:
        """Show one table."""
        self._dump.begin_table(inspection)
        self.is_damaged = self.is_damaged or inspection.damage is not None
        section = 0
        for block in inspection.blocks():
            if isinstance(block, LostBlock):
                self.is_damaged = True
                self._dump.damage(block.error)
                left = salvaged(inspection, block)
                if left is None:
                    continue
                block = left
            if block.kind != INDEX:
                section = block.kind
            self._block(block, section)
        # Faults that no block shows by itself.
        findings = [
            finding
            for finding in limited(check_table(inspection))
            if finding.check in _CONTRADICTIONS
        ]
        self.is_damaged = self.is_damaged or bool(findings)
        self._dump.end_table(findings)

    def _block(self, block: Block, section: int) -> None:
        entries = []
        damage: CorruptTableError | None = None
        try:
            for entry in block.entries():
                entries.append(entry)
            block.check_restarts()
        except CorruptTableError as error:
            self.is_damaged = True
            damage = error
        self._dump.count(block, section, len(entries))
        if block.kind in self._chosen or damage is not None:
            shown = entries if self._with_records and block.kind in self._chosen else None
            self._dump.block(block, section, len(entries), shown, damage)
