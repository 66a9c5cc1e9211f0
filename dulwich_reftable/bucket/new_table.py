# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A table on its way into a bucket.

Its bytes are collected in memory, or in a temporary file if they are many. A small table stays
here until the head takes it in. A large one is uploaded when it is sealed.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

from ..engine.errors import ReftableError, StorageError
from .current import CurrentHead
from .head import LONGEST_END, Ends, ListedTable, table_digest
from .requests import is_ending

__all__ = ["TABLES", "WHOLE", "BucketTable", "table_key"]

TABLES = "tables"
"""The prefix of the tables' keys."""

_INLINE = 16 << 10
"""Maximum bytes of a table inside the head: what an addition merges at once, too."""

WHOLE = 256 << 10
"""Maximum bytes of a table that is fetched at once; of larger ones, what is needed is."""

_IN_MEMORY = 4 << 20
_AT_ONCE = 1 << 20


def table_key(name: str) -> str:
    """Give the key of a table's object."""
    return f"{TABLES}/{name}"


class BucketTable:
    """A table that is being written; see :class:`~..engine.stack.storage.NewTable`.

    Args:
      current: the head of the stack
      unlisted: the tables that nobody lists yet, by their names; this one is among them until it is
        discarded or done
      min_update_index, max_update_index: of the table

    Attributes:
      name: of the table
      size: in bytes, so far
      epoch: of the newest head that was known when the upload began; None if it is not uploaded
    """

    def __init__(
        self,
        current: CurrentHead,
        unlisted: dict[str, BucketTable],
        min_update_index: int,
        max_update_index: int,
    ) -> None:
        base = f"0x{min_update_index:012x}-0x{max_update_index:012x}"
        self.name = f"{base}-{secrets.token_hex(4)}.ref"
        self.size = 0
        self.epoch: int | None = None
        self._current = current
        self._bucket = current.bucket
        self._unlisted = unlisted
        self._chunks: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._digest = ""
        self._ends: Ends | None = None
        unlisted[self.name] = self

    def __del__(self) -> None:
        self._close()

    def write(self, data: bytes, /) -> None:
        """Append bytes."""
        self._chunks.append(data)
        self.size += len(data)
        if self.size > _IN_MEMORY:
            self._spill()

    def _spill(self) -> None:
        try:
            if self._file is None:
                number, path = tempfile.mkstemp(suffix=".ref")
                self._file = os.fdopen(number, "w+b")
                self._path = path
            self._file.writelines(self._chunks)
            self._chunks.clear()
            self._file.flush()
        except OSError as error:
            raise StorageError.of(error, "write", tempfile.gettempdir()) from error

    def seal(self) -> None:
        """Upload the table, unless it is small."""
        if self.size > _INLINE:
            self.upload()

    def upload(self) -> None:
        """Make an object of it; harmless if that is done."""
        if self.epoch is not None:
            return
        epoch = self._current.latest().head.epoch
        key = table_key(self.name)
        self._digest = table_digest(self._read())
        self._ends = self._cut_ends() if self.size > WHOLE else None
        if self._file is None:
            self._bucket.put(key, b"".join(self._chunks))
        else:
            self._spill()
            self._bucket.put_file(key, self._path)
        self.epoch = epoch

    def _read(self) -> Iterator[bytes]:
        if self._file is not None:
            self._spill()
            self._file.seek(0)
            while chunk := self._file.read(_AT_ONCE):
                yield chunk
            self._file.seek(0, os.SEEK_END)
        yield from self._chunks

    def _cut_ends(self) -> Ends:
        first = last = b""
        for chunk in self._read():
            if len(first) < LONGEST_END:
                first += chunk[:LONGEST_END]
            last = (last + chunk[-LONGEST_END:])[-LONGEST_END:]
        return Ends.of(first, last)

    def commit(self) -> str:
        """Give the name; the table has had it from the beginning."""
        return self.name

    def listed(self) -> ListedTable:
        """Give its line of the list."""
        if self.epoch is not None:
            return ListedTable(self.name, self.size, self._digest, None, self._ends)
        return ListedTable(self.name, self.size, None, b"".join(self._chunks))

    def discard(self) -> None:
        """Remove the table; nobody lists it."""
        self._unlisted.pop(self.name, None)
        self._close()
        if self.epoch is not None:
            self.epoch = None
            if not is_ending():  # the next sweep finds it
                with suppress(ReftableError):
                    self._bucket.delete([table_key(self.name)])

    def done(self) -> None:
        """Let go of the bytes: it is listed."""
        self._unlisted.pop(self.name, None)
        self._close()

    def _close(self) -> None:
        self._chunks = []
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()
            with suppress(OSError):
                os.unlink(self._path)
