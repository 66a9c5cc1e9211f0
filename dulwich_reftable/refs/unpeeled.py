# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Annotated tags that a table holds without what they point to.

git and we store tags peeled; ``git refs migrate`` and dulwich do not. So a record without a peeled
value may be a tag, unless it is a branch, and the obj blocks know nothing of what it points to. The
objects tell. They are asked once a table, since tables never change.

To ask for each of very many objects takes long. But whoever stores one tag peeled peels all of a
transaction: in a large table, the transactions that have a peeled tag are not asked for.
"""

from __future__ import annotations

from binascii import a2b_hex, b2a_hex
from collections.abc import Callable, Iterable, Iterator
from weakref import WeakKeyDictionary

from ..engine.format.records import RefRecord
from ..engine.table.table import Table

__all__ = ["UnpeeledTags"]

_LARGE = 1 << 18
"""Bytes of a table that has too many refs to ask for each: about ten thousand."""

_TAGS = (b"refs/tags/", b"refs/tags0")
_BRANCHES = (b"refs/heads/", b"refs/heads0")


class UnpeeledTags:
    """Finds what tags point to that tables do not tell.

    Args:
      peel: takes a hex object id and gives what an annotated tag finally points to, None for any
        other object or one that does not exist
    """

    def __init__(self, peel: Callable[[bytes], bytes | None]) -> None:
        self._peel = peel
        self._known: WeakKeyDictionary[Table, dict[bytes, list[RefRecord]]] = WeakKeyDictionary()

    def pointing_at(self, table: Table, object_id: bytes) -> Iterable[RefRecord]:
        """Give the refs to tags of an object that a table holds unpeeled.

        Args:
          table: where to look
          object_id: what the tags finally point to, in bytes
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
        for record in _not_branches(table):
            if record.value is None or record.peeled is not None or record.update_index in peeling:
                continue
            peeled = self._peel(b2a_hex(record.value))
            if peeled is not None:
                found.setdefault(a2b_hex(peeled), []).append(record)
        return found


def _records(table: Table, start: bytes, stop: bytes | None) -> Iterator[RefRecord]:
    for _, records in table.ref_records(start, stop):
        yield from records


def _not_branches(table: Table) -> Iterator[RefRecord]:
    """Give all that may be a tag."""
    yield from _records(table, b"", _BRANCHES[0])
    yield from _records(table, _BRANCHES[1], None)
