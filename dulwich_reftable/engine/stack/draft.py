# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What an addition is about to write: its records, and the table that they make.

A compaction may be due at once. Whether it is, and what it merges, depends on the size of the new
table. Mostly bounds of the size tell, without encoding a record; then the records are merged as
they are, and the new table is never written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import lt

from ..format.records import LogRecord, RefRecord, log_key
from ..table.writer import WriteOptions
from .storage import NewTable

__all__ = ["Draft", "NewRecords"]

_LEAST_REF = 4
"""Bytes of a ref record without its values: three numbers, and a byte of its name."""

_LONG = 16
"""From this length on, a name's takes another byte."""

_MOST_NUMBERS = 24
"""Maximum bytes of a record's numbers, its restart included; of a reflog's entry, of each half."""

_HEADER_AND_RESTARTS = 4 + 3 + 2
"""Bytes of a block with one restart and no record."""

_WASTE = 8
"""How many times larger blocks, their padding and their index may be than the records in them.

Two neighbouring blocks hold more than one block's bytes of records, so half of them may be padding;
the same goes for each level of an index.
"""


class Draft:
    """A table that is being written; it stays in memory while it is small.

    Args:
      begin: makes the file
      small: maximum bytes in memory
    """

    def __init__(self, begin: Callable[[], NewTable], small: int) -> None:
        self._begin = begin
        self._small = small
        self._file: NewTable | None = None
        self._chunks: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        if self._file is not None:
            self._file.write(data)
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > self._small:
            self.save()

    @property
    def data(self) -> bytes:
        """All bytes; none if they are in a file."""
        return b"".join(self._chunks)

    def save(self) -> None:
        """Move it into a file."""
        if self._file is None:
            self._file = self._begin()
            for chunk in self._chunks:
                self._file.write(chunk)
            self._chunks.clear()


class NewRecords:
    """The records of a table that is not written yet; to a compaction they are a table.

    Args:
      refs: in the order of their names
      logs: in the order of their keys
      min_update_index, max_update_index: of the table
    """

    def __init__(
        self,
        refs: Sequence[RefRecord],
        logs: Sequence[LogRecord],
        min_update_index: int,
        max_update_index: int,
    ) -> None:
        self._refs = list(refs)
        self._logs = list(logs)
        # The fields of all refs, each by itself: then the loops over them are C's.
        names, indexes, values, peeled, targets = zip(*refs, strict=True) if refs else ((),) * 5
        self._names: list[bytes] = list(names)
        self._indexes: tuple[int, ...] = indexes
        self._ids = 2 * len(refs) - values.count(None) - peeled.count(None)
        self._targets: list[bytes] = [*filter(None, targets)]
        self._keys = [log_key(log.name, log.update_index) for log in logs]
        self.min_update_index = min_update_index
        self.max_update_index = max_update_index

    @property
    def are_in_order(self) -> bool:
        """Whether names and keys ascend, and update indexes are within the table's bounds."""
        smallest, largest = self.min_update_index, self.max_update_index
        indexes, names, keys = self._indexes, self._names, self._keys
        return (
            min(indexes, default=smallest) >= smallest
            and max(indexes, default=largest) <= largest
            and all(map(lt, names, names[1:]))
            and all(map(lt, keys, keys[1:]))
        )

    def ref_records(self) -> Iterator[tuple[list[bytes], list[RefRecord]]]:
        """Give names, and beside each its record, as a table does."""
        if self._refs:
            yield self._names, self._refs

    def log_records(self) -> Iterator[tuple[list[bytes], list[LogRecord]]]:
        """Give keys, and beside each its record, as a table does."""
        if self._logs:
            yield self._keys, self._logs

    def weights(self, options: WriteOptions) -> tuple[int, int]:
        """Give bounds of the table's size without header and footer, never zero.

        Args:
          options: the table's
        """
        least = most = 1
        if self._refs:
            values = self._ids * options.hash_size + sum(map(len, self._targets))
            least += len(self._refs) * _LEAST_REF + len(self._names[0]) - 1 + values
            least += _HEADER_AND_RESTARTS + (len(self._names[0]) >= _LONG)
            if len(self._refs) == 1 and not self._logs and not self._targets:
                return least, least  # but in a batch of very many steps
            most += len(self._refs) * _MOST_NUMBERS + sum(map(len, self._names)) + values
            if most > options.block_size and options.index_objects:
                most += self._ids * (options.hash_size + _MOST_NUMBERS)
        for log in self._logs:
            most += 2 * _MOST_NUMBERS + len(log.name)
            if log.update is not None:
                _, _, name, email, _, _, message = log.update
                most += 2 * options.hash_size + len(name) + len(email) + len(message)
        if most + 2 * _MOST_NUMBERS > options.block_size:
            most = _WASTE * most + 4 * options.block_size
        return least, most + 2 * _MOST_NUMBERS
