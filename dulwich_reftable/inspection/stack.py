# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Opens the tables of a stack as far as possible, and reports the faults of its list."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from ..engine.errors import CorruptTableError, StorageError
from ..engine.stack.directory import parse_list
from ..engine.stack.files import open_plain, read_all
from ..engine.stack.stale_files import LIST
from ..engine.stack.storage import MissingTableError, Storage
from .table import Inspection

__all__ = ["StackInspection", "inspect_stack"]

_RELOAD_SECONDS = 3.0
"""How long reading is repeated while the list changes."""

_LONGEST_LIST = 1 << 24


class StackInspection(NamedTuple):
    """A stack, damaged or not.

    Attributes:
      names: the names in the list that can be names of tables
      faults: the faults of the list, and the errors on opening tables
      tables: the tables that could be opened, oldest first
    """

    names: list[str]
    faults: list[CorruptTableError | StorageError]
    tables: list[Inspection]


def inspect_stack(storage: Storage) -> StackInspection:
    """Read a list and open its tables; others may compact them meanwhile.

    Args:
      storage: the storage of the stack
    Returns: names, faults and tables
    """
    deadline = time.monotonic() + _RELOAD_SECONDS
    while True:
        names, faults = _read_list(storage)
        tables = []
        is_missing = False
        for name in names:
            try:
                buffer = storage.open_table(name)
            except (CorruptTableError, StorageError) as error:
                is_missing = is_missing or isinstance(error, MissingTableError)
                faults.append(error)
            else:
                tables.append(Inspection(f"{storage.location}/{name}", buffer))
        is_steady = not is_missing or _read_list(storage)[0] == names
        if is_steady or time.monotonic() > deadline:
            return StackInspection(names, faults, tables)


def _read_list(storage: Storage) -> tuple[list[str], list[CorruptTableError | StorageError]]:
    """Read a list; of a damaged one, the lines that can be names of tables."""
    try:
        return list(storage.read_list().names), []
    except StorageError as error:
        return [], [error]
    except CorruptTableError as error:
        faults: list[CorruptTableError | StorageError] = [error]
    try:
        file, size = open_plain(os.path.join(storage.location, LIST))
        with file as fd:
            names, _ = parse_list(read_all(fd, size) if size <= _LONGEST_LIST else b"")
    except (CorruptTableError, OSError):
        return [], faults  # the fault is in the list already
    return names, faults
