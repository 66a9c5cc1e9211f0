# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Several tables seen as one: the newest record of a key wins, and a tombstone hides the key.

Tables stand oldest first, as in ``tables.list``. Scans merge *chunks* rather than records: up to
the smallest of the tables' current last keys, the keys of all chunks are overlaid, oldest first; a
stretch of keys from only one table passes through as it is. So a scan costs little more than that
of its largest table, and holds one block of each.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol, TypeVar

from ..format.log_scan import LogText
from ..format.records import LogRecord, RefRecord, log_key
from ..format.ref_scan import SYMREF_PREFIX, ref_text
from .table import Table

__all__ = ["Chunk", "Merged", "Seeker", "merge_chunks"]

_T = TypeVar("_T")

Chunk = tuple[list[bytes], list[_T]]
"""Keys, ascending, and beside each its record."""


class Seeker(Protocol):
    """Finds the first name that is not before a given one, again and again."""

    def first_from(self, start: bytes) -> RefRecord | None:
        """Find the first name in any table that is not before ``start``.

        Returns: its newest record, which may be a deletion; None if there is none
        """


class Merged:
    """An immutable view of tables.

    Args:
      tables: oldest first
    """

    def __init__(self, tables: tuple[Table, ...]) -> None:
        self._tables = tables
        self._newest_first = newest_first = tables[::-1]
        # A lookup asks the sections: a call less for each table.
        self._lookups = [table.refs.lookup_ref for table in newest_first if table.refs is not None]
        self._all_remote = [table.remote for table in tables if table.remote is not None]
        self._remote = self._all_remote if len(tables) > 1 else []
        self._waits = True

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables, oldest first."""
        return self._tables

    @property
    def max_update_index(self) -> int:
        """The update index of the newest transaction; 0 if there was none."""
        return self.tables[-1].max_update_index if self.tables else 0

    # Refs

    def lookup_ref(self, name: bytes) -> RefRecord | None:
        """Find a ref that exists.

        Returns: its newest record, or None if there is no such ref
        Raises:
          CorruptTableError: if a table that was read is damaged
        """
        if self._remote:
            return self._lookup_remote(name)
        for lookup in self._lookups:
            record = lookup(name)
            if record is not None:
                return None if record.is_deletion else record
        return None

    def _lookup_remote(self, name: bytes) -> RefRecord | None:
        """Find a ref where some tables are fetched when they are looked at.

        All of them are asked at once, until a lookup did not have to wait for any.
        """
        remote = self._remote
        fetches = sum(buffer.fetches for buffer in remote)
        lookups = [partial(lookup, name) for lookup in self._lookups]
        records: Iterable[RefRecord | None] = (
            remote[0].side_by_side(lookups) if self._waits else (lookup() for lookup in lookups)
        )
        record = next((found for found in records if found is not None), None)
        self._waits = sum(buffer.fetches for buffer in remote) > fetches
        return None if record is None or record.is_deletion else record

    def ref_value(self, name: bytes) -> bytes | None:
        """Find a ref that exists, as text: a hex object id or ``b"ref: <target>"``."""
        record = self.lookup_ref(name)
        return None if record is None else ref_text(record)

    def ref_values(
        self, start: bytes = b"", stop: bytes | None = None
    ) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """Scan refs in order of their names, as text.

        Args:
          start: the first name
          stop: the name to stop before; None for the end
        Yields: names, and beside each its value: a hex object id or ``b"ref: <target>"``
        """
        self._read_ahead(start, stop)
        chunks = merge_chunks([table.ref_values(start, stop) for table in self.tables])
        for names, values in chunks:
            if not all(values):
                living = [pair for pair in zip(names, values, strict=True) if pair[1] is not None]
                if not living:
                    continue
                names, values = map(list, zip(*living, strict=True))
            yield names, values  # type: ignore[misc]  # the None are gone

    def symrefs(self) -> dict[bytes, bytes]:
        """Give all symrefs, by name, as ``b"ref: <target>"``; in no order.

        Each table tells its own, and these few are looked up.
        """
        self._read_ahead(b"", None)
        names = {name for table in self.tables for name in table.symref_names()}
        values = self.values_of(names)
        return {name: value for name, value in values.items() if value.startswith(SYMREF_PREFIX)}

    def ref_dict(
        self, is_suspect: Callable[[list[bytes]], bool]
    ) -> tuple[dict[bytes, bytes], set[bytes]]:
        """Give all refs as text, in no order: this saves the merge.

        Args:
          is_suspect: takes many names, tells whether one of them may be illegal
        Returns: values by name; and the odd names among them: those of symrefs, those not below
          ``refs/``, and all names of a block in which one may be illegal
        """
        refs: dict[bytes, bytes | None] = {}
        odd: set[bytes] = set()
        suspects: set[bytes] = set()
        self._read_ahead(b"", None)
        for table in self.tables:
            for names, values in table.ref_values():
                refs.update(zip(names, values, strict=False))
                is_odd = names[0] < b"refs/" or names[-1] >= b"refs0"
                if is_odd or _has_odd(values):
                    odd.update(names)
                if is_suspect(names):
                    suspects.update(names)
        for name in tuple(odd):
            value = refs[name]
            if value is None:
                del refs[name]
                odd.discard(name)
            elif name.startswith(b"refs/") and not value.startswith(SYMREF_PREFIX):
                odd.discard(name)
        odd.update(name for name in suspects if name in refs)
        return refs, odd  # type: ignore[return-value]  # the None are gone

    def ref_records(
        self, start: bytes = b"", stop: bytes | None = None
    ) -> Iterator[tuple[list[bytes], list[RefRecord]]]:
        """Scan ref records in order of their names, tombstones included."""
        self._read_ahead(start, stop)
        return merge_chunks([table.ref_records(start, stop) for table in self.tables])

    def _read_ahead(self, start: bytes, stop: bytes | None) -> None:
        """Have tables that are fetched come side by side, if all of their refs are read."""
        if self._all_remote and not start and stop is None:
            first = self._all_remote[0]
            first.side_by_side([buffer.read_ahead for buffer in self._all_remote])

    def seeker(self) -> Seeker:
        """Give a :class:`Seeker`."""
        return _TablesSeeker(self._newest_first)

    def values_of(self, names: Iterable[bytes]) -> dict[bytes, bytes]:
        """Find many refs, as text; those that do not exist are left out."""
        wanted = sorted(names)
        found: dict[bytes, bytes | None] = {}
        if self._remote:
            asked = [partial(table.values_among, wanted) for table in self._tables]
            for told in self._remote[0].side_by_side(asked):
                found.update(told)  # by newer ones
            return {name: value for name, value in found.items() if value is not None}
        for table in self._newest_first:
            told = table.values_among(wanted)
            if told:
                found.update(told)
                wanted = [name for name in wanted if name not in told]
        return {name: value for name, value in found.items() if value is not None}

    def refs_with_object(
        self,
        object_id: bytes,
        beside: Callable[[Table, bytes], Iterable[RefRecord]] = lambda table, object_id: (),
    ) -> list[RefRecord]:
        """Find the refs whose value or peeled value is an object, in order of their names.

        Args:
          object_id: in bytes
          beside: gives further records of a table that lead to the object, such as unpeeled tags
        """
        found: dict[bytes, RefRecord] = {}
        newest_first = self.tables[::-1]
        for i, table in enumerate(newest_first):
            newer = newest_first[:i]  # they may have replaced the ref
            for record in (*table.refs_with_object(object_id), *beside(table, object_id)):
                if all(other.lookup_ref(record.name) is None for other in newer):
                    found[record.name] = record
        return [found[name] for name in sorted(found)]

    # Logs

    def log_records(
        self, start: bytes = b"", stop: bytes | None = None
    ) -> Iterator[tuple[list[bytes], list[LogRecord]]]:
        """Scan log records in order of their keys, tombstones included."""
        return merge_chunks([table.log_records(start, stop) for table in self.tables])

    def logs_of(self, name: bytes) -> Iterator[LogRecord]:
        """Give a ref's log records, newest first: no tombstones, but existence markers."""
        for _, records in self.log_records(log_key(name, (1 << 64) - 1), name + b"\1"):
            for record in records:
                if record.update is not None and record.name == name:
                    yield record

    def log_entries(self, name: bytes) -> Iterator[tuple[list[bytes], list[LogText | None]]]:
        """Read a ref's log records as text, newest first; tombstones and existence markers are in.

        Yields: the last eight bytes of each key, and beside each its entry; None for a tombstone
        """
        return merge_chunks([table.log_entries(name) for table in self.tables])

    def log_names(self) -> Iterator[bytes]:
        """Give the names of all refs that have a reflog, in order."""
        last = None
        for _, records in self.log_records():
            for record in records:
                if record.update is not None and record.name != last:
                    last = record.name
                    yield last


class _TablesSeeker:
    """A seeker over tables.

    For each table it remembers the last gap between two names: the next name is mostly in the same
    gap, if names come in order.

    Args:
      newest_first: the tables
    """

    def __init__(self, newest_first: tuple[Table, ...]) -> None:
        self._tables = newest_first
        # The table has no name from the first one until before the record.
        self._gaps: list[tuple[bytes, RefRecord | None] | None] = [None] * len(newest_first)

    def first_from(self, start: bytes) -> RefRecord | None:
        first = None
        for i, table in enumerate(self._tables):
            gap = self._gaps[i]
            if gap is None or start < gap[0] or (gap[1] is not None and start > gap[1].name):
                gap = self._gaps[i] = start, table.first_ref_from(start)
            record = gap[1]
            if record is not None and (first is None or record.name < first.name):
                first = record
        return first


def _has_odd(values: list[bytes | None]) -> bool:
    """Tell whether a symref or a deletion is among values as text."""
    try:
        return b" " in b"".join(values)  # type: ignore[arg-type]  # None raises
    except TypeError:
        return True


def merge_chunks(sources: Iterable[Iterator[Chunk[_T]]]) -> Iterator[Chunk[_T]]:
    """Merge sorted chunks; of equal keys, the record of the later source wins.

    Args:
      sources: for each table, oldest first, its chunks
    """
    # Of each source: the chunk at hand, how much of it is spent, and the chunks to come.
    heads: list[tuple[list[bytes], list[_T], int, Iterator[Chunk[_T]]]] = []
    for source in sources:
        for keys, items in source:
            heads.append((keys, items, 0, source))
            break
    while len(heads) > 1:
        bound = min(keys[-1] for keys, _, _, _ in heads)
        cuts: list[tuple[list[bytes], list[_T]]] = []
        left: list[tuple[list[bytes], list[_T], int, Iterator[Chunk[_T]]]] = []
        for keys, items, spent, source in heads:
            upto = len(keys) if keys[-1] == bound else bisect_right(keys, bound, spent)
            if upto > spent:
                cuts.append((keys[spent:upto], items[spent:upto]))
            if upto < len(keys):
                left.append((keys, items, upto, source))
            else:
                following = next(source, None)
                if following is not None:
                    left.append((*following, 0, source))
        heads = left
        if len(cuts) == 1:
            yield cuts[0]
        else:
            overlay: dict[bytes, _T] = {}
            for keys, items in cuts:
                overlay.update(zip(keys, items, strict=True))
            merged = sorted(overlay)
            yield merged, [overlay[key] for key in merged]
    for keys, items, spent, source in heads:
        yield (keys[spent:], items[spent:]) if spent else (keys, items)
        yield from source
