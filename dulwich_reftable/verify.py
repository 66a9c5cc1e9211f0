# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Looking for damage in a stack: what reading everything, and comparing it, can tell."""

from __future__ import annotations

import os
from collections.abc import Iterator

from .engine.errors import ReftableError
from .engine.stack import Stack
from .engine.table import Table
from .names import is_legal

__all__ = ["verify"]


def verify(stack: Stack) -> Iterator[str]:
    """Check a stack.

    Every table is read in full and its lookups are held against its scan; update indexes must
    stay within the tables' bounds, and those must ascend; names must be legal and not in each
    other's way.

    Yields: what is wrong, a sentence each
    """
    try:
        snapshot = stack.snapshot()
    except ReftableError as error:
        yield str(error)
        return
    newest = 0
    for table in snapshot.tables:
        if table.min_update_index <= newest:
            yield (
                f"{table.filename}: begins at update index {table.min_update_index}, "
                f"but the tables before it end at {newest}"
            )
        newest = max(newest, table.max_update_index)
        try:
            yield from _verify_table(table)
        except ReftableError as error:
            yield str(error)
            return
    for names, _ in snapshot.ref_values():
        for name in names:
            where = f"{stack.storage.location}: '{os.fsdecode(name)}'"
            if not is_legal(name):
                yield f"{where} is no legal ref name"
            below = snapshot.first_ref_in(name + b"/", name + b"0")
            if below is not None:
                yield f"{where} is in the way of '{os.fsdecode(below)}'"


def _verify_table(table: Table) -> Iterator[str]:
    for names, records in table.ref_records():
        for name, record in zip(names, records, strict=True):
            if record.update_index > table.max_update_index:
                yield f"{table.filename}: update index of '{os.fsdecode(name)}' is out of bounds"
            if table.lookup_ref(name) != record:
                yield f"{table.filename}: '{os.fsdecode(name)}' is not found by its name"
    for _, logs in table.log_records():
        for log in logs:
            if log.update_index > table.max_update_index:
                yield (
                    f"{table.filename}: update index in the reflog of '{os.fsdecode(log.name)}' "
                    "is out of bounds"
                )
