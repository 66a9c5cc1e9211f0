# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The tables of a stack that there are, and what is wrong with the list of them."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from ..engine.errors import CorruptTableError, StorageError
from ..engine.stack.files import open_plain, read_all
from ..engine.stack.stale_files import LIST
from ..engine.stack.storage import MissingTableError, Storage
from .table import Inspection

__all__ = ["StackInspection", "inspect_stack"]

_RELOAD_SECONDS = 3.0
"""For how long a list is chased that changes meanwhile."""

_LONGEST_LIST = 1 << 24


class StackInspection(NamedTuple):
    """A stack, damaged or not.

    Attributes:
      names: of the tables that its list names, as far as it makes sense
      faults: what is wrong with the list, or with opening the tables
      tables: those that could be opened, oldest first
    """

    names: list[str]
    faults: list[CorruptTableError | StorageError]
    tables: list[Inspection]


def inspect_stack(storage: Storage) -> StackInspection:
    """Read a list and open the tables in it, while others may compact them.

    Args:
      storage: of the stack
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
    """Read a list; of a damaged one, the lines that make sense."""
    try:
        return list(storage.read_list().names), []
    except StorageError as error:
        return [], [error]
    except CorruptTableError as error:
        faults: list[CorruptTableError | StorageError] = [error]
    names: dict[str, None] = {}
    try:
        file, size = open_plain(os.path.join(storage.location, LIST))
        with file as fd:
            lines = read_all(fd, size).split(b"\n") if size <= _LONGEST_LIST else []
    except (CorruptTableError, OSError):
        return [], faults  # what is wrong with it has been said
    for line in lines:
        name = os.fsdecode(line)
        if name not in ("", ".", "..") and "/" not in name and "\0" not in name:
            names[name] = None
    return list(names), faults
