# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Reads reflogs from files: one file below ``logs/`` per ref, one line per entry, oldest first.

Each entry gets an update index of its own (format document, "Importing logs"). The indexes are
given in the order of git's walk through ``logs/``, as ``git refs migrate`` does it, so that our
tables equal git's. A table holds entries by name, newest first. So each file is read twice, first
to count its entries, and only one file is in memory at a time.
"""

from __future__ import annotations

import os
import re
from binascii import a2b_hex, b2a_hex
from collections.abc import Iterator
from typing import NamedTuple

from ..engine.format.records import LogRecord, LogUpdate
from ..naming.names import is_legal, is_well_formed
from ..refs.signature import message_line
from .layout import GitDir, walk
from .report import MigrationError, Tally

__all__ = ["ReflogFiles", "format_entry"]

_ENTRY = (
    rb"^([0-9a-fA-F]{%d}) ([0-9a-fA-F]{%d}) ([^<>\n]*)<([^>\n]*)> "
    rb"([0-9]{1,19}) ([-+][0-9]{4})\t?([^\n]*)\n"
)


class _Reflog(NamedTuple):
    name: bytes
    path: str
    first_index: int
    entries: int


class ReflogFiles:
    """The reflogs of one control directory.

    Args:
      git_dir: the directory
      hash_size: bytes of an object id
      block_size: of the table, in bytes; it limits the length of messages
      first_index: update index of the first entry
      tally: counts the reflogs and their entries, and collects what is broken

    Attributes:
      last_index: update index of the last entry; ``first_index`` if there are no entries
      entries: number of entries
    """

    def __init__(
        self, git_dir: GitDir, hash_size: int, block_size: int, first_index: int, tally: Tally
    ) -> None:
        self._pattern = re.compile(_ENTRY % (2 * hash_size, 2 * hash_size), re.MULTILINE)
        self._marker = LogUpdate(bytes(hash_size), bytes(hash_size), b"", b"", 0, 0, b"")
        self._block_size = block_size
        self._first_index = first_index
        self._reflogs: list[_Reflog] = []
        index = first_index
        for name, entry in walk(git_dir.file("logs"), ""):
            if not entry.is_file(follow_symlinks=False) or not is_well_formed(
                os.fsencode(entry.name)
            ):
                continue  # git ignores such files
            if not is_legal(name):
                tally.broken.append(f"'{entry.path}': is the reflog of an illegal ref name")
            elif not git_dir.holds(name):
                tally.notes.append(
                    f"'{entry.path}': a reflog of this name does not belong in this directory"
                )
            else:
                count = self._count(entry.path, tally)
                self._reflogs.append(_Reflog(name, entry.path, index, count))
                index += count
        self._reflogs.sort()
        self.entries = index - first_index
        self.last_index = max(index - 1, first_index)
        tally.reflogs += len(self._reflogs)
        tally.entries += self.entries

    def _count(self, path: str, tally: Tally) -> int:
        with open(path, "rb") as file:
            data = file.read()
        count = sum(1 for _ in self._pattern.finditer(data))
        lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
        if lines != count:
            tally.notes.append(f"'{path}': {lines - count} of {lines} lines are not reflog entries")
        return count

    def records(self) -> Iterator[LogRecord]:
        """Read all reflogs.

        Yields: records in the order of their keys; an empty reflog gives an existence marker
        Raises:
          MigrationError: if a file has changed since it was counted
        """
        for name, path, first, count in self._reflogs:
            with open(path, "rb") as file:
                found = self._pattern.findall(file.read())
            if len(found) != count:
                raise MigrationError(f"'{path}' was written to meanwhile")
            if not found:
                yield LogRecord(name, self._first_index, self._marker)
            for at in reversed(range(count)):
                old, new, who, email, time, zone, message = found[at]
                update = LogUpdate(
                    a2b_hex(old),
                    a2b_hex(new),
                    who.strip(b" "),
                    email,
                    int(time),
                    int(zone),
                    message_line(message, self._block_size),
                )
                yield LogRecord(name, first + at, update)


def format_entry(update: LogUpdate) -> bytes | None:
    """Format an entry as a line of a reflog file.

    Args:
      update: the entry
    Returns: the line with its newline; None if a file cannot hold the committer
    """
    _, _, name, email, time, zone, message = update
    who = name + b" <" + email + b">"
    if b"\n" in who or who.count(b"<") != 1 or who.count(b">") != 1:
        return None
    text = b" ".join(message.rstrip(b"\n").split(b"\n"))
    return b"%b %b %b %d %b%04d%b\n" % (
        b2a_hex(update.old_id),
        b2a_hex(update.new_id),
        who,
        time,
        b"-" if zone < 0 else b"+",
        abs(zone),
        b"\t" + text if text else b"",
    )
