# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Which files in a stack's directory are nobody's: what writers left there when they died.

It is asked under the list's lock, when the only live writers are compactions. Those hold locks of
tables that are listed, and give a table its final name only when they have the list's lock. So:

* a table that is not listed, under a name that tables finally get, is nobody's;
* a temporary file is nobody's unless a listed table is locked (so with a table under an odd name:
  JGit's temporary files look like that);
* the lock of a table that is not listed keeps nobody from anything;
* a file that tells who holds a lock (``core.lockfilePid``) is nobody's without that lock.
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
    """A file that is nobody's.

    Attributes:
      name: of the file
      update_index: the newest that it tells of, if it is a table; None if it is something else
    """

    name: str
    update_index: int | None


def find_stale_files(found: Iterable[str], listed: Iterable[str]) -> list[StaleFile]:
    """Find the files that are nobody's.

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
    """Tell of a lock, or of a file that tells who holds one, whether it means nothing."""
    if name.endswith(PID_SUFFIX):
        locked = name[: -len(PID_SUFFIX)]
        lock = locked + LOCK_SUFFIX
        # The list's lock is ours at the moment, and we do not write such files.
        return locked == LIST or lock not in found or _is_dead_lock(lock, found, listed)
    if name.endswith(TABLE_SUFFIX + LOCK_SUFFIX):
        return name[: -len(LOCK_SUFFIX)] not in listed
    return False
