# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Checks a stack: its list, the tables that the list names, and the other files in its directory.

Readers stop at the first damage. Here the list is read line by line, and each table is opened by
itself, so that all of them are checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..engine.errors import CorruptTableError, StorageError
from ..engine.stack.directory import DirectoryStorage
from ..engine.stack.stack import Stack
from ..engine.stack.stale_files import (
    LIST,
    LOCK_SUFFIX,
    PID_SUFFIX,
    TABLE_NAME,
    find_stale_files,
)
from ..engine.stack.storage import MissingTableError
from ..engine.table.merged import Merged
from ..engine.table.table import Table
from ..inspection import inspect_stack
from .finding import ERROR, INFO, WARNING, Finding, corrupt
from .table import check_table

__all__ = ["StackCheck"]

_REMOVED = (".nfs", ".fuse_hidden")
"""Prefixes of files that were removed while they were open, on NFS and on FUSE."""

_MISLEADING = frozenset(("table", "block", "record", "order", "index"))
"""Checks whose failure makes the contents of a table doubtful."""


class StackCheck:
    """The check of one stack.

    Args:
      stack: the stack; a missing one is empty

    Attributes:
      merged: the refs of all tables; None before the check, and if some refs may be lost
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._location = stack.storage.location
        self._is_complete = True
        self.merged: Merged | None = None

    def findings(self) -> Iterator[Finding]:
        """Check the stack.

        Yields: the faults
        """
        names, faults, inspections = inspect_stack(self._stack.storage)
        self._is_complete = not faults
        for fault in faults:
            yield self._fault(fault)
        newest = 0
        tables = []
        for inspection in inspections:
            for finding in check_table(inspection):
                self._is_complete = self._is_complete and finding.check not in _MISLEADING
                yield finding
            table = inspection.table
            if table is not None:
                yield from self._check_header(table, newest)
                newest = max(newest, table.max_update_index)
                tables.append(table)
        if isinstance(self._stack.storage, DirectoryStorage):
            yield from self._check_directory(names, newest)
        else:
            yield from self._check_unlisted(names)
        if self._is_complete:
            self.merged = Merged(tuple(tables))

    def _fault(self, error: CorruptTableError | StorageError) -> Finding:
        if isinstance(error, CorruptTableError):
            return corrupt(error, "list")
        missing = isinstance(error, MissingTableError)
        message = "is listed, but missing" if missing else error.strerror or str(error)
        return Finding(ERROR, "list", error.filename or self._location, message)

    def _check_header(self, table: Table, newest: int) -> Iterator[Finding]:
        """Compare a table with its name, and with the tables before it."""

        def error(check: str, message: str) -> Finding:
            return Finding(ERROR, check, table.filename, message)

        low, high = table.min_update_index, table.max_update_index
        named = TABLE_NAME.fullmatch(os.path.basename(table.filename))
        if named is None:
            message = "other writers do not take a file of this name for a table"
            yield Finding(WARNING, "table-name", table.filename, message)
        elif (int(named[1], 16), int(named[2], 16)) != (low, high):
            yield error("table-name", f"its name contradicts its update indexes, {low} to {high}")
        if low <= newest:
            message = f"begins at update index {low}, but the tables before it end at {newest}"
            yield error("update-index", message)
        hash_size = self._stack.options.hash_size
        if table.hash_size != hash_size:
            self._is_complete = False
            message = f"has object ids of {table.hash_size} bytes, the repository of {hash_size}"
            yield error("hash", message)

    def _check_unlisted(self, names: list[str]) -> Iterator[Finding]:
        """Check the tables that the list does not name, where there is no directory."""
        try:
            found = self._stack.storage.stale_files(names)
        except StorageError as error:
            yield Finding(ERROR, "directory", self._location, error.strerror or str(error))
            return
        for stale_file in found:
            message = "is not listed: somebody is writing it, or died before it was listed"
            yield Finding(INFO, "stray", f"{self._location}/{stale_file.name}", message)

    def _check_directory(self, names: list[str], newest: int) -> Iterator[Finding]:
        """Check the files that the list does not name."""
        try:
            found = set(os.listdir(self._location))
        except FileNotFoundError:
            return
        except OSError as error:
            yield Finding(ERROR, "directory", self._location, error.strerror or str(error))
            return
        unlisted = {stale_file.name: stale_file for stale_file in find_stale_files(found, names)}
        for name in sorted(found - {LIST, *names}):
            path = os.path.join(self._location, name)
            stale_file = unlisted.get(name)
            if name.startswith(_REMOVED):
                message = "was removed, but somebody has it open"
                yield Finding(INFO, "stray", path, message)
            elif name == LIST + PID_SUFFIX and LIST + LOCK_SUFFIX in found:
                yield Finding(INFO, "lock", path, "names the process that holds the lock beside it")
            elif stale_file is not None:
                if self._stack.newest_in(stale_file) > newest:
                    message = f"is not listed, but contains updates beyond {newest}"
                    yield Finding(WARNING, "stray", path, message)
                else:
                    yield Finding(INFO, "stray", path, "was left by a dead writer")
            elif name.endswith(LOCK_SUFFIX):
                message = "a lock: somebody is writing, or was killed while writing"
                yield Finding(INFO, "lock", path, message)
            else:
                yield Finding(WARNING, "stray", path, "does not belong here")
