# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Reading refs: dulwich's ``RefsContainer``, answered from snapshots of the stacks.

A call reads one snapshot of each stack, also where it follows symrefs. The live container takes the
latest snapshots for each call; a :class:`RefsSnapshot` keeps those of the moment it was made. A
linked worktree sees the shared refs of the shared stack, and its own refs of its own stack.
"""

from __future__ import annotations

import os
from binascii import a2b_hex, b2a_hex
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, compress
from typing import TypeVar

from dulwich.errors import RefFormatError
from dulwich.objects import ObjectID
from dulwich.reflog import Entry
from dulwich.refs import HEADREF, Ref, RefsContainer, SymrefLoop

from ..engine.format.records import RefRecord
from ..engine.format.ref_scan import SYMREF_PREFIX
from ..engine.stack.snapshot import Snapshot
from ..engine.stack.stack import Stack
from ..engine.table.merged import Chunk, Merged, merge_chunks
from ..naming.names import (
    FILE_REFS,
    PER_WORKTREE,
    collapse,
    directory_prefix,
    is_legal,
    may_be_illegal,
    prefix_end,
    ranges_below,
)
from ..naming.symrefs import (
    MAX_SYMREF_DEPTH,
    is_symref,
    resolve,
    resolved_id,
    symref_target,
    symref_to,
)
from . import reflog
from .store import Moment, RefStore

__all__ = ["RefsReader", "RefsSnapshot", "SnapshotOf"]

_T = TypeVar("_T")
_Chunks = Iterator[tuple[list[bytes], list[bytes]]]
SnapshotOf = Callable[[Stack], Merged]
"""Gives the snapshot of a stack that one call reads."""


class RefsReader(RefsContainer):
    """The methods of a refs container that read.

    Args:
      store: the stacks that the refs are in

    Attributes:
      store: as given; for code that works on stacks, tables and settings rather than on refs
    """

    def __init__(self, store: RefStore) -> None:
        super().__init__()
        self.store = store

    def _snapshot_of(self, stack: Stack) -> Merged:
        """Give the snapshot of a stack, for a call that reads from one stack once."""
        raise NotImplementedError

    def _moment(self) -> SnapshotOf:
        """Give the snapshots for a call that reads more than once."""
        raise NotImplementedError

    # One ref

    def _record(self, name: bytes, snapshot_of: SnapshotOf) -> RefRecord | None:
        """Find a ref, without following it; a ref with an illegal name counts as missing."""
        try:
            stack, local = self.store.find(name)
        except (RefFormatError, OSError):
            return None
        record = snapshot_of(stack).lookup_ref(local)
        if record is None:
            return self._record(collapse(name), snapshot_of) if b"//" in name else None
        return record if is_legal(local) else None

    def read_ref(self, refname: Ref) -> bytes | None:
        """Read a ref, without following it.

        Args:
          refname: its full name
        Returns: a hex object id, ``b"ref: <target>"`` for a symref, None if there is no such ref
        Raises:
          CorruptTableError: if a table is damaged
          StorageError: if the stack cannot be read
        """
        return self._value(refname, self._snapshot_of)

    def _value(self, refname: bytes, snapshot_of: SnapshotOf) -> bytes | None:
        record = self._record(refname, snapshot_of)
        if record is None:
            return self._read_file_ref(refname) if refname in FILE_REFS else None
        if record.target is not None:
            return symref_to(record.target)
        return b2a_hex(record.value or b"")

    def read_loose_ref(self, name: Ref) -> bytes | None:
        """Read a ref as :meth:`read_ref` does; there are no loose refs here."""
        return self.read_ref(name)

    def _read_file_ref(self, name: bytes) -> bytes | None:
        """Read the first object id of ``FETCH_HEAD`` or ``MERGE_HEAD``, which stay files."""
        size, git_dir = self.store.hex_size, self.store.git_dir
        if git_dir is None:
            return None
        try:
            with open(os.path.join(git_dir, os.fsdecode(name)), "rb") as file:
                value = file.read(size)
            return value if len(a2b_hex(value)) == size // 2 else None
        except (OSError, ValueError):
            return None

    def follow(self, name: Ref) -> tuple[list[Ref], ObjectID | None]:
        """Follow symrefs.

        Args:
          name: of the first ref
        Returns: the names of the refs in the chain, and the object id at its end; None if the last
          one does not exist
        Raises:
          SymrefLoop: if the chain has more than five refs
        """
        return self._follow(name, self._moment())

    def _follow(self, name: Ref, snapshot_of: SnapshotOf) -> tuple[list[Ref], ObjectID | None]:
        def read(name: bytes) -> bytes | None:
            return self._value(name, snapshot_of)

        names, value = resolve(name, read, MAX_SYMREF_DEPTH + 1)
        if value is not None and len(names) > MAX_SYMREF_DEPTH:
            raise SymrefLoop(name, len(names))
        return names, value  # type: ignore[return-value]  # bytes are Refs and ObjectIDs

    def get_peeled(self, name: Ref) -> ObjectID | None:
        """Give the object that a ref peels to, if the tables have it.

        Returns: a hex object id: of an annotated tag the peeled one, of a branch its own, as it is
        no
          tag; None where only the object store can tell, since not every writer peels
        """
        snapshot_of = self._moment()
        last: bytes = name
        record = self._record(last, snapshot_of)
        if record is not None and record.target is not None:
            names, _ = resolve(last, lambda name: self._value(name, snapshot_of))
            last = names[-1]
            record = self._record(last, snapshot_of)
        if record is None:
            return None
        if record.peeled is not None:
            return ObjectID(b2a_hex(record.peeled))
        if record.value is None or not last.startswith(b"refs/heads/"):
            return None
        return ObjectID(b2a_hex(record.value))

    def refs_for_object(self, oid: bytes) -> list[Ref]:
        """Find the refs whose value or peeled value is an object, by means of the obj blocks.

        Tags that a table holds unpeeled are found by means of their objects, which are read once
        for each table. Symrefs are not found.

        Args:
          oid: hex object id
        Returns: names, sorted
        """
        if len(oid) != self.store.hex_size:
            return []
        object_id = a2b_hex(oid)
        snapshot_of = self._moment()
        return sorted(
            Ref(record.name)
            for stack in self.store.stacks()
            for record in snapshot_of(stack).refs_with_object(
                object_id, self.store.unpeeled.pointing_at
            )
            if self._is_listed(stack, record.name) and is_legal(record.name)
        )

    # Many refs

    def _is_listed(self, stack: Stack, name: bytes) -> bool:
        """Tell whether lists show a ref: HEAD or below ``refs/``, in the stack it belongs to."""
        if not name.startswith(b"refs/"):
            return name == HEADREF and stack is self.store.current
        if not self.store.is_linked:
            return True
        return name.startswith(PER_WORKTREE) == (stack is self.store.current)

    def _scan(self, start: bytes, stop: bytes | None, snapshot_of: SnapshotOf) -> _Chunks:
        """Scan the refs that lists show, in order."""
        return merge_chunks(
            [
                self._scan_stack(stack, snapshot_of(stack), start, stop)
                for stack in self.store.stacks()
            ]
        )

    def _scan_stack(
        self, stack: Stack, snapshot: Merged, start: bytes, stop: bytes | None
    ) -> _Chunks:
        if start <= HEADREF and (stop is None or stop > HEADREF):
            head = snapshot.ref_value(HEADREF)
            if head is not None and stack is self.store.current:
                yield [HEADREF], [head]
        below = snapshot.ref_values(
            max(start, b"refs/"), b"refs0" if stop is None else min(stop, b"refs0")
        )
        yield from self._only_listed(stack, below)

    def _only_listed(self, stack: Stack, chunks: Iterator[Chunk[_T]]) -> Iterator[Chunk[_T]]:
        """Leave out the refs of a stack that lists do not show.

        These are refs that belong to another stack, and refs with illegal names, which git does not
        list either.
        """
        is_linked = self.store.is_linked
        for names, items in chunks:
            is_suspect = may_be_illegal(names)
            if not (is_linked or is_suspect):
                yield names, items
                continue
            listed = [
                (name, item)
                for name, item in zip(names, items, strict=True)
                if self._is_listed(stack, name) and (not is_suspect or is_legal(name))
            ]
            if listed:
                yield [name for name, _ in listed], [item for _, item in listed]

    def ref_records(
        self, prefix: bytes = b"", exclude: Iterable[bytes] = ()
    ) -> Iterator[Chunk[RefRecord]]:
        """Scan records of refs below ``refs/``, tombstones included.

        Args:
          prefix: gives only names that begin so
          exclude: prefixes; names that begin with one of them are left out, without being read
        Yields: names, in order, and beside each its record
        """
        if not prefix.startswith(b"refs/"):
            if not b"refs/".startswith(prefix):
                return
            prefix = b"refs/"
        snapshot_of = self._moment()
        for start, stop in ranges_below(prefix, exclude):
            yield from merge_chunks(
                [
                    self._only_listed(stack, snapshot_of(stack).ref_records(start, stop))
                    for stack in self.store.stacks()
                ]
            )

    def iter_refs(
        self, prefix: bytes = b"", exclude: Iterable[bytes] = ()
    ) -> Iterator[tuple[Ref, bytes]]:
        """Iterate over HEAD and the refs below ``refs/``, in order of their names.

        Args:
          prefix: gives only names that begin so
          exclude: prefixes; names that begin with one of them are left out. Such refs are skipped
            by seeking, without being read.
        Returns: names, each with its value as :meth:`read_ref` gives it, all of this moment
        """
        return self._pairs(ranges_below(prefix, exclude), self._moment())

    def _pairs(
        self, ranges: Iterable[tuple[bytes, bytes | None]], snapshot_of: SnapshotOf
    ) -> Iterator[tuple[Ref, bytes]]:
        # The generators yield chunks, and C code takes their elements one by one.
        return chain.from_iterable(
            zip(names, values, strict=True)  # type: ignore[arg-type]  # Refs are bytes
            for start, stop in ranges
            for names, values in self._scan(start, stop, snapshot_of)
        )

    def allkeys(self) -> set[Ref]:
        """Give the names of all refs: HEAD and those below ``refs/``, dangling symrefs included."""
        keys: set[Ref] = set()
        for names, _ in self._scan(b"", None, self._moment()):
            keys.update(names)  # type: ignore[arg-type]  # bytes are Refs
        return keys

    def subkeys(self, base: Ref) -> set[Ref]:
        """Give the names of all refs below a base, without it.

        Args:
          base: such as ``b"refs/heads"``, with or without a slash at its end
        """
        prefix = directory_prefix(base)
        below = slice(len(prefix), None)
        keys: set[Ref] = set()
        for names, _ in self._scan(prefix, prefix_end(prefix), self._moment()):
            keys.update([name[below] for name in names])  # type: ignore[misc]  # bytes are Refs
        return keys

    def as_dict(self, base: Ref | None = None) -> dict[Ref, ObjectID]:
        """Give the object ids of all refs; symrefs are followed, and left out if they lead nowhere.

        Args:
          base: gives only refs below it, and their names without it
        """
        snapshot_of = self._moment()
        if base is None and not self.store.is_linked:
            values, odd = snapshot_of(self.store.shared).ref_dict(may_be_illegal)
            for name in tuple(odd):
                if name != HEADREF and not (name.startswith(b"refs/") and is_legal(name)):
                    del values[name]
                    odd.discard(name)
            self._follow_all(odd, values, snapshot_of)
            return values  # type: ignore[return-value]  # bytes are Refs and ObjectIDs

        prefix = b"" if base is None else directory_prefix(base)
        names: list[bytes] = []
        texts: list[bytes] = []
        symrefs: list[bytes] = []
        for some_names, some_texts in self._scan(prefix, prefix_end(prefix), snapshot_of):
            names += some_names
            texts += some_texts
            if SYMREF_PREFIX in b"".join(some_texts):  # few blocks have one
                symrefs += compress(some_names, map(is_symref, some_texts))
        if symrefs:
            values = dict(zip(names, texts, strict=True))
            self._follow_all(symrefs, values, snapshot_of)
            names, texts = list(values), list(values.values())
        below = slice(len(prefix), None)
        names = [name[below] for name in names]
        return dict(zip(names, texts, strict=True))  # type: ignore[arg-type]

    def _follow_all(
        self, symrefs: Iterable[bytes], values: dict[bytes, bytes], snapshot_of: SnapshotOf
    ) -> None:
        """Put what symrefs lead to in the place of their values; those that lead nowhere go."""

        def read(name: bytes) -> bytes | None:
            return values.get(name) or self._value(name, snapshot_of)

        found = {name: resolved_id(name, read) for name in symrefs}
        for name, value in found.items():
            if value is None:
                del values[name]
            else:
                values[name] = value

    def get_symrefs(self) -> dict[Ref, Ref]:
        """Give all symrefs and the names of the refs that they point to."""
        snapshot_of = self._moment()
        return {
            Ref(name): Ref(symref_target(value) or b"")
            for stack in self.store.stacks()
            for name, value in sorted(snapshot_of(stack).symrefs().items())
            if self._is_listed(stack, name) and is_legal(name)
        }

    def get_packed_refs(self) -> dict[Ref, ObjectID]:
        """Give all refs except symrefs."""
        pairs = self.iter_refs()
        return {name: value for name, value in pairs if not is_symref(value)}  # type: ignore[misc]  # bytes are ObjectIDs

    # Reflogs

    def read_reflog(self, name: bytes, newest_first: bool = False) -> Iterator[Entry]:
        """Read a reflog.

        Args:
          name: of the ref
          newest_first: the order; dulwich's is oldest first
        Yields: entries, with hex object ids, the time zone in seconds, and messages without newline
        """
        stack, local = self.store.find(name)
        return reflog.entries(self._snapshot_of(stack), local, newest_first=newest_first)

    def reflog_exists(self, name: bytes) -> bool:
        """Tell whether a ref has a reflog; it may be empty."""
        stack, local = self.store.find(name)
        return reflog.exists(self._snapshot_of(stack), local)

    def reflogs(self, *, all_worktrees: bool = False) -> Iterator[Ref]:
        """Iterate over the names of refs that have reflogs.

        Args:
          all_worktrees: whether those of other worktrees come as well, by their names in this one
        Yields: names; in order, unless they are those of all worktrees
        """
        store, snapshot_of = self.store, self._moment()
        if all_worktrees:
            yield from map(Ref, reflog.all_names(store, snapshot_of))
            return
        current = snapshot_of(store.current) if store.is_linked else None
        for name in reflog.names(snapshot_of(store.shared), current):
            if is_legal(name):
                yield Ref(name)


class RefsSnapshot(RefsReader):
    """A repository's refs, read-only, as they were when this was made.

    It keeps reading the tables of that moment, even if the repository changes. The refs of other
    worktrees are pinned when they are first read.
    """

    def __init__(self, store: RefStore) -> None:
        super().__init__(store)
        self._pinned = Moment(store)

    @property
    def identity(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The stacks of this worktree: where each is, and the names of its tables.

        No two tables have the same name, as a part of it is random.
        """
        return tuple(
            (stack.storage.location, self._pinned(stack).listing.names)
            for stack in self.store.stacks()
        )

    def _snapshot_of(self, stack: Stack) -> Snapshot:
        return self._pinned(stack)

    def _moment(self) -> SnapshotOf:
        return self._pinned
