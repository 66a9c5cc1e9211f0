# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A transaction of very many plain updates: checked in one pass, and encoded as it is written.

It does the same as :mod:`.prepared_update`, which has an entry in several dictionaries for each
update. Here an update costs its name and its ids: what is kept are the refs that exist already and
those that are left out. Records are made one by one, when the table is written.

Refs are looked up, except those that must not exist: the search for names in their way shows
whether they do.
"""

from __future__ import annotations

from binascii import a2b_hex, b2a_hex
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice

from ..engine.errors import RefConflictError, ReftableError, TransactionError
from ..engine.format.records import LogRecord, RefRecord, make_record
from ..engine.format.ref_scan import SYMREF_PREFIX
from ..engine.stack.addition import Addition
from ..engine.table.merged import Merged
from ..naming.conflicts import (
    ExistingRefs,
    existing_conflicts,
    find_conflicts,
    refuse_conflicts,
)
from .peeling import Peeler
from .ref_updates import PlainUpdate
from .signature import Signature

__all__ = ["BulkUpdate", "is_branch"]

_BRANCHES, _BEHIND_BRANCHES = b"refs/heads/", b"refs/heads0"

_PEELED_AT_ONCE = 1 << 18
"""Objects that are peeled together; more at once would take more memory than time."""


class BulkUpdate:
    """Plain updates of refs of one stack.

    Args:
      updates: by their names in the stack; see :class:`~.ref_updates.PlainUpdate`
      before: the stack before them
      seen: the same, and all else that the worktree sees
      signature: for reflog entries; None to write none
      hash_size: bytes of an object id

    Attributes:
      is_plain: whether none of the refs is a symref; else this class cannot do the updates
      rejected: the updates that are left out, by their names: why
    """

    def __init__(
        self,
        updates: Mapping[bytes, bytes],
        before: Merged,
        seen: ExistingRefs,
        signature: Signature | None,
        hash_size: int,
    ) -> None:
        self._updates = updates
        self._signature = signature
        self._size = hash_size
        self._names = sorted(updates)
        self._existing: dict[bytes, bytes] = {}
        self._conflicts: dict[bytes, bytes] = {}  # with refs that exist
        self._search(before, seen)
        # Ids sort before what symrefs begin with.
        self.is_plain = max(self._existing.values(), default=b"") < SYMREF_PREFIX
        self._unchanged: set[bytes] = set()
        self._peeled: dict[bytes, bytes] = {}
        self.rejected: dict[bytes, ReftableError] = {}

    def _search(self, before: Merged, seen: ExistingRefs) -> None:
        """Find the refs that exist, and those that are in the way of the others."""
        updates, size = self._updates, self._size
        existing = self._existing
        to_look_up = [name for name in self._names if len(updates[name]) > size]
        if to_look_up:
            existing.update(before.values_of(to_look_up))
        if len(existing) < len(self._names):
            absent = [name for name in self._names if name not in existing]
            conflicts = self._conflicts = dict(existing_conflicts(absent, seen))
            if conflicts:
                existing.update(before.values_of(conflicts))

    def check(self) -> Iterator[TransactionError]:
        """Check what is expected, in the order of the updates.

        Yields: the errors of refs that are not as expected; they are left out
        """
        size, existing = self._size, self._existing
        for name, packed in self._updates.items():
            value = existing.get(name)
            if value is None:
                if len(packed) <= size + 1:
                    continue
                before = None
            else:
                before = a2b_hex(value)
                if packed[size:] == before and not packed.startswith(before):
                    continue  # as most often
            expects, old = PlainUpdate.expectation(packed, size)
            if expects and old != before:
                expected = None if old is None else b2a_hex(old)
                error = self.rejected[name] = TransactionError(name, expected, value)
                yield error
            elif packed[:size] == before:
                self._unchanged.add(name)

    def refuse_conflicts(self) -> None:
        """Check that the new refs conflict neither with each other nor with existing refs.

        Raises:
          RefConflictError: if there is a conflict
        """
        refuse_conflicts(self._created(self._names), self._beside())

    def reject_conflicts(self) -> None:
        """Leave out the new refs that conflict with others."""
        created = self._created(self._updates)
        for name, other in find_conflicts(created, self._beside()).items():
            self.rejected[name] = RefConflictError(name, other)

    def _created(self, names: Iterable[bytes]) -> list[bytes]:
        existing, rejected = self._existing, self.rejected
        return [name for name in names if name not in existing and name not in rejected]

    def _beside(self) -> list[tuple[bytes, bytes]]:
        """Give the new refs that conflict with existing ones, and with which."""
        return [(name, self._conflicts[name]) for name in self._created(self._conflicts)]

    def peel(self, peeler: Peeler) -> None:
        """Peel what the refs are pointed at; branches point to commits."""
        size, updates, names = self._size, self._updates, self._names
        first, behind = bisect_left(names, _BRANCHES), bisect_left(names, _BEHIND_BRANCHES)
        others = chain(islice(names, first), islice(names, behind, None))
        values = (updates[name][:size] for name in others)
        while some := {*islice(values, _PEELED_AT_ONCE)}:
            for oid, final in peeler.many(map(b2a_hex, some)).items():
                self._peeled[a2b_hex(oid)] = a2b_hex(final)

    def write(
        self,
        addition: Addition,
        update_index: int,
        branch_of_head: bytes | None,
        is_logged: Callable[[bytes], bool],
    ) -> None:
        """Write the table, if anything is left to write.

        Args:
          addition: to the stack
          update_index: of the update
          branch_of_head: the branch that HEAD points to, if an update of it logs to HEAD, too
          is_logged: tells whether a ref gets a reflog entry
        """
        changed = self._changed()
        first = next(changed, None)
        if first is None:
            return
        logs: Iterable[LogRecord] = ()
        if self._signature is not None:
            logs = self._logs(self._signature, update_index, branch_of_head, is_logged)
        addition.write(self._refs(chain((first,), changed), update_index), logs)

    def _changed(self) -> Iterator[bytes]:
        """Give the names of the refs that get another value, in their order."""
        unchanged, rejected = self._unchanged, self.rejected
        if not unchanged and not rejected:
            return iter(self._names)
        return (name for name in self._names if name not in unchanged and name not in rejected)

    def _refs(self, names: Iterable[bytes], update_index: int) -> Iterator[RefRecord]:
        updates, peeled, size, make = self._updates, self._peeled, self._size, make_record
        for name in names:
            value = updates[name][:size]
            final = None if not peeled or is_branch(name) else peeled.get(value)
            yield make(RefRecord, (name, update_index, value, final, None))

    def _logs(
        self,
        signature: Signature,
        update_index: int,
        branch_of_head: bytes | None,
        is_logged: Callable[[bytes], bool],
    ) -> Iterator[LogRecord]:
        """Give the reflog entries: first that of HEAD, whose name sorts before all others."""
        zero = b"0" * (2 * self._size)

        def entry(name: bytes, of: bytes) -> LogRecord:
            new = b2a_hex(self._updates[of][: self._size])
            update = signature.update(self._existing.get(of, zero), new)
            return LogRecord(name, update_index, update)

        is_head_moved = (
            branch_of_head in self._updates
            and branch_of_head not in self._unchanged
            and branch_of_head not in self.rejected
        )
        if branch_of_head is not None and is_head_moved and is_logged(b"HEAD"):
            yield entry(b"HEAD", branch_of_head)
        for name in self._changed():
            if is_logged(name):
                yield entry(name, name)


def is_branch(name: bytes) -> bool:
    """Tell whether a ref points to a commit, which cannot be peeled."""
    return name.startswith(_BRANCHES)
