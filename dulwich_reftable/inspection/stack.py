# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Opens the tables of a stack as far as possible, and reports the faults of its list."""

from __future__ import annotations

import time
from typing import NamedTuple

from ..engine.errors import CorruptTableError, StorageError
from ..engine.stack.storage import Listing, MissingTableError, Storage
from .table import Inspection

__all__ = ["StackInspection", "inspect_stack"]

_RELOAD_SECONDS = 3.0
"""How long reading is repeated while the list changes."""


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
        listing, names, faults = _read_list(storage)
        tables = []
        is_missing = False
        for name in names:
            try:
                (buffer,) = storage.open_tables(listing, (name,))
            except (CorruptTableError, StorageError) as error:
                is_missing = is_missing or isinstance(error, MissingTableError)
                faults.append(error)
            else:
                tables.append(Inspection(f"{storage.location}/{name}", buffer))
        is_steady = not is_missing or _read_list(storage)[1] == names
        if is_steady or time.monotonic() > deadline:
            return StackInspection(names, faults, tables)


def _read_list(
    storage: Storage,
) -> tuple[Listing | None, list[str], list[CorruptTableError | StorageError]]:
    """Read a list; of a damaged one, the names that can be names of tables."""
    try:
        listing = storage.refresh(None)
    except StorageError as error:
        return None, [], [error]
    except CorruptTableError as error:
        return None, storage.salvaged_names(), [error]
    return listing, list(listing.names), []
