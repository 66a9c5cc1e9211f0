# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Annotated tags that a table holds unpeeled.

git and we store tags peeled; ``git refs migrate`` and dulwich do not. So a record without a peeled
value may be a tag, unless it is a branch, and the obj blocks do not have the object that it points
to. So the objects are read: once for each table, since tables never change.

Reading very many objects takes long. But a writer that stores one tag of a transaction peeled
stores all of them peeled. So in a large table, the transactions with a peeled tag are skipped.
"""

from __future__ import annotations

from binascii import a2b_hex, b2a_hex
from collections.abc import Iterable, Iterator
from weakref import WeakKeyDictionary

from ..engine.format.records import RefRecord
from ..engine.table.table import Table
from .peeling import Peeler

__all__ = ["UnpeeledTags"]

_LARGE = 1 << 18
"""Size in bytes of a table with too many refs to read the object of each: about ten thousand."""

_TAGS = (b"refs/tags/", b"refs/tags0")
_BRANCHES = (b"refs/heads/", b"refs/heads0")


class UnpeeledTags:
    """Finds unpeeled tags by the objects that they point to.

    Args:
      peel: tells what annotated tags finally point to
    """

    def __init__(self, peel: Peeler) -> None:
        self._peel = peel
        self._known: WeakKeyDictionary[Table, dict[bytes, list[RefRecord]]] = WeakKeyDictionary()

    def pointing_at(self, table: Table, object_id: bytes) -> Iterable[RefRecord]:
        """Give the unpeeled tags of a table that finally point to an object.

        Args:
          table: where to look
          object_id: of that object, in raw bytes
        """
        found = self._known.get(table)
        if found is None:
            found = self._known[table] = self._find(table)
        return found.get(object_id, ())

    def _find(self, table: Table) -> dict[bytes, list[RefRecord]]:
        found: dict[bytes, list[RefRecord]] = {}
        peeling: set[int] = set()
        if table.size > _LARGE:
            for record in _records(table, *_TAGS):
                if record.peeled is not None:
                    peeling.add(record.update_index)
                    if table.min_update_index == table.max_update_index:
                        return found
            peeling.update(r.update_index for r in _not_branches(table) if r.peeled is not None)

        def candidates() -> Iterator[tuple[bytes, RefRecord]]:
            for record in _not_branches(table):
                has_peeled = record.peeled is not None or record.update_index in peeling
                if record.value is not None and not has_peeled:
                    yield b2a_hex(record.value), record

        peeled = self._peel.many(oid for oid, _ in candidates())
        for oid, record in candidates() if peeled else ():
            if oid in peeled:
                found.setdefault(a2b_hex(peeled[oid]), []).append(record)
        return found


def _records(table: Table, start: bytes, stop: bytes | None) -> Iterator[RefRecord]:
    for _, records in table.ref_records(start, stop):
        yield from records


def _not_branches(table: Table) -> Iterator[RefRecord]:
    """Give the records of a table that are not branches, and so may be tags."""
    yield from _records(table, b"", _BRANCHES[0])
    yield from _records(table, _BRANCHES[1], None)
