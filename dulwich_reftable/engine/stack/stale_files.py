# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Stale files: the files in a stack's directory that dead writers left.

The caller holds the list's lock, so that the only live writers are compactions. A compaction holds
locks of listed tables, and gives its table the final name only under the list's lock. So:

* a table under a final name that is not listed is stale;
* a temporary file is stale unless a listed table is locked (as is a table under an odd name:
  JGit's temporary files look like that);
* the lock of a table that is not listed is stale;
* a file that says who holds a lock (``core.lockfilePid``) is stale without that lock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

__all__ = [
    "LIST",
    "LOCK_SUFFIX",
    "PID_SUFFIX",
    "TABLE_NAME",
    "TABLE_SUFFIX",
    "TEMPORARY",
    "StaleFile",
    "find_stale_files",
]

LIST = "tables.list"
TABLE_SUFFIX = ".ref"
TEMPORARY = ".temp."
LOCK_SUFFIX = ".lock"
PID_SUFFIX = "~pid.lock"

TABLE_NAME = re.compile(
    r"(?:0x)?([0-9a-f]{12,16})-(?:0x)?([0-9a-f]{12,16})-(?:0x)?[0-9a-f]{8}\.ref"
)
"""How writers name tables: min, max and a random number; JGit leaves out the 0x."""


class StaleFile(NamedTuple):
    """A file that no live writer needs.

    Attributes:
      name: of the file
      update_index: by its name, the newest one in it; None if it is no table
    """

    name: str
    update_index: int | None


def find_stale_files(found: Iterable[str], listed: Iterable[str]) -> list[StaleFile]:
    """Find the stale files.

    Args:
      found: names of all files
      listed: names of the tables in the list
    """
    found = set(found)
    listed = set(listed)
    is_compacting = any(name + LOCK_SUFFIX in found for name in listed)
    stale = []
    for name in sorted(found - listed):
        table = TABLE_NAME.fullmatch(name)
        if table:
            stale.append(StaleFile(name, int(table[2], 16)))
        elif name.endswith(TABLE_SUFFIX):
            if not is_compacting:
                stale.append(StaleFile(name, 0))
        elif TEMPORARY in name:
            if not is_compacting:
                stale.append(StaleFile(name, None))
        elif _is_dead_lock(name, found, listed):
            stale.append(StaleFile(name, None))
    return stale


def _is_dead_lock(name: str, found: set[str], listed: set[str]) -> bool:
    """Tell whether a lock, or a file that says who holds one, is stale."""
    if name.endswith(PID_SUFFIX):
        locked = name[: -len(PID_SUFFIX)]
        lock = locked + LOCK_SUFFIX
        # The list's lock is ours at the moment, and we do not write such files.
        return locked == LIST or lock not in found or _is_dead_lock(lock, found, listed)
    if name.endswith(TABLE_SUFFIX + LOCK_SUFFIX):
        return name[: -len(LOCK_SUFFIX)] not in listed
    return False
