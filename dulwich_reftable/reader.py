# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Reading refs: dulwich's ``RefsContainer``, answered from snapshots of the stacks.

Every answer comes from one snapshot a stack. The live container takes the latest each time; a
:class:`RefsSnapshot` keeps those of the moment it was made. A linked worktree sees the shared
refs of the one stack and its own refs of the other.
"""

from __future__ import annotations

import os
from binascii import a2b_hex, b2a_hex
from collections.abc import Iterable, Iterator
from typing import TypeVar

from dulwich.errors import RefFormatError
from dulwich.objects import ObjectID
from dulwich.reflog import Entry
from dulwich.refs import HEADREF, Ref, RefsContainer, SymrefLoop

from . import reflog
from .backend import Backend
from .engine.merged import Chunk, Merged, merge_chunks
from .engine.records import RefRecord
from .engine.ref_run import SYMREF_PREFIX
from .engine.snapshot import Snapshot
from .engine.stack import Stack
from .names import FILE_REFS, PER_WORKTREE, collapse, is_legal, prefix_end
from .plan import MAX_SYMREF_DEPTH

__all__ = ["RefsReader", "RefsSnapshot"]

_T = TypeVar("_T")
_Chunks = Iterator[tuple[list[bytes], list[bytes]]]


class RefsReader(RefsContainer):
    """What can be read of a repository's refs.

    Args:
      backend: the repository's refs
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self._backend = backend

    def _snapshot_of(self, stack: Stack) -> Merged:
        """Give the refs that answers for a stack."""
        raise NotImplementedError

    # One ref

    def _record(self, name: bytes) -> RefRecord | None:
        """Find a ref, without following it; one with an illegal name does not exist."""
        try:
            stack, local = self._backend.find(name)
        except (RefFormatError, OSError):
            return None
        record = self._snapshot_of(stack).lookup_ref(local)
        if record is None:
            return self._record(collapse(name)) if b"//" in name else None
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
        record = self._record(refname)
        if record is None:
            return self._read_file_ref(refname) if refname in FILE_REFS else None
        if record.target is not None:
            return SYMREF_PREFIX + record.target
        return b2a_hex(record.value or b"")

    def read_loose_ref(self, name: Ref) -> bytes | None:
        """Do as :meth:`read_ref`: there is no difference between loose and packed refs here."""
        return self.read_ref(name)

    def _read_file_ref(self, name: bytes) -> bytes | None:
        """Read the first object id of ``FETCH_HEAD`` or ``MERGE_HEAD``, which stay files."""
        size = self._backend.hex_size
        try:
            with open(os.path.join(self._backend.git_dir, os.fsdecode(name)), "rb") as file:
                value = file.read(size)
            return value if len(a2b_hex(value)) == size // 2 else None
        except (OSError, ValueError):
            return None

    def follow(self, name: Ref) -> tuple[list[Ref], ObjectID | None]:
        """Follow symrefs.

        Args:
          name: where to begin
        Returns: the names on the way, and the object id at its end, None if there is no such ref
        Raises:
          SymrefLoop: if there are more than five refs on the way
        """
        names: list[Ref] = []
        following: bytes = name
        while True:
            names.append(Ref(following))
            value = self.read_ref(Ref(following))
            if value is None:
                return names, None
            if len(names) > MAX_SYMREF_DEPTH:
                raise SymrefLoop(name, len(names))
            if not value.startswith(SYMREF_PREFIX):
                return names, ObjectID(value)
            following = value[len(SYMREF_PREFIX) :]

    def get_peeled(self, name: Ref) -> ObjectID | None:
        """Give what a ref peels to, as far as the tables tell.

        Returns: a hex object id: the peeled one of an annotated tag, the own one of a branch, which
          is no tag; None where the object store has to be asked, since not every writer peels
        """
        following: bytes = name
        for _ in range(MAX_SYMREF_DEPTH):
            record = self._record(following)
            if record is None:
                return None
            if record.target is None:
                break
            following = record.target
        else:
            return None
        if record.peeled is not None:
            return ObjectID(b2a_hex(record.peeled))
        if record.value is None or not following.startswith(b"refs/heads/"):
            return None
        return ObjectID(b2a_hex(record.value))

    def refs_for_object(self, oid: bytes) -> list[Ref]:
        """Find the refs whose value or peeled value is an object, by the obj blocks.

        Tags that a table holds unpeeled are found by their objects, which are asked for once a
        table. Symrefs are not found.

        Args:
          oid: hex object id
        Returns: names, sorted
        """
        if len(oid) != self._backend.hex_size:
            return []
        object_id = a2b_hex(oid)
        return sorted(
            Ref(record.name)
            for stack in self._backend.stacks()
            for record in self._snapshot_of(stack).refs_with_object(
                object_id, self._backend.unpeeled.pointing_at
            )
            if self._is_listed(stack, record.name)
        )

    # Many refs

    def _is_listed(self, stack: Stack, name: bytes) -> bool:
        """Tell whether a ref in a stack is one that lists show: HEAD, or below ``refs/``."""
        if not name.startswith(b"refs/"):
            return name == HEADREF and stack is self._backend.current
        if not self._backend.is_linked:
            return True
        return name.startswith(PER_WORKTREE) == (stack is self._backend.current)

    def _scan(self, start: bytes, stop: bytes | None) -> _Chunks:
        """Scan the refs that lists show, in order."""
        if not self._backend.is_linked:
            return self._scan_stack(self._backend.shared, start, stop)
        return merge_chunks(
            [self._scan_stack(stack, start, stop) for stack in self._backend.stacks()]
        )

    def _scan_stack(self, stack: Stack, start: bytes, stop: bytes | None) -> _Chunks:
        snapshot = self._snapshot_of(stack)
        if start <= HEADREF and (stop is None or stop > HEADREF):
            head = snapshot.ref_value(HEADREF)
            if head is not None and stack is self._backend.current:
                yield [HEADREF], [head]
        below = snapshot.ref_values(
            max(start, b"refs/"), b"refs0" if stop is None else min(stop, b"refs0")
        )
        yield from self._only_listed(stack, below)

    def _only_listed(self, stack: Stack, chunks: Iterator[Chunk[_T]]) -> Iterator[Chunk[_T]]:
        """Leave out the refs in a stack that lists do not show."""
        if not self._backend.is_linked:
            yield from chunks
            return
        for names, items in chunks:
            listed = [
                (name, item)
                for name, item in zip(names, items, strict=True)
                if self._is_listed(stack, name)
            ]
            if listed:
                yield [name for name, _ in listed], [item for _, item in listed]

    def ref_records(self, start: bytes, stop: bytes | None) -> Iterator[Chunk[RefRecord]]:
        """Scan records of refs below ``refs/``, tombstones included.

        Args:
          start: the first name, below ``refs/``
          stop: the name to stop before; None for the end
        Yields: names, in order, and beside each its record
        """
        return merge_chunks(
            [
                self._only_listed(stack, self._snapshot_of(stack).ref_records(start, stop))
                for stack in self._backend.stacks()
            ]
        )

    def iter_refs(
        self, prefix: bytes = b"", exclude: Iterable[bytes] = ()
    ) -> Iterator[tuple[Ref, bytes]]:
        """Iterate over HEAD and the refs below ``refs/``, in order of their names.

        Args:
          prefix: gives only names that begin so
          exclude: prefixes; names that begin with one of them are left out. Both are sought,
            not filtered: what is left out is not read.
        Yields: name, and value as :meth:`read_ref` gives it
        """
        end = prefix_end(prefix)
        start = prefix
        for excluded in sorted(set(exclude)):
            if excluded < start and not start.startswith(excluded):
                continue
            if start.startswith(excluded):
                behind = prefix_end(excluded)
                if behind is None or (end is not None and behind >= end):
                    return
                start = behind
                continue
            if end is not None and excluded >= end:
                break
            yield from self._pairs(start, excluded)
            behind = prefix_end(excluded)
            if behind is None:
                return
            start = behind
        yield from self._pairs(start, end)

    def _pairs(self, start: bytes, stop: bytes | None) -> Iterator[tuple[Ref, bytes]]:
        for names, values in self._scan(start, stop):
            yield from zip(names, values, strict=True)

    def allkeys(self) -> set[Ref]:
        """Give the names of all refs: HEAD and what is below ``refs/``, dangling or not."""
        keys: set[Ref] = set()
        for names, _ in self._scan(b"", None):
            keys.update(names)  # type: ignore[arg-type]  # bytes are Refs
        return keys

    def subkeys(self, base: Ref) -> set[Ref]:
        """Give the names of all refs below a base, without it.

        Args:
          base: such as ``b"refs/heads"``, with or without a slash at its end
        """
        prefix = _below(base)
        keys: set[Ref] = set()
        for names, _ in self._scan(prefix, prefix_end(prefix)):
            keys.update(Ref(name[len(prefix) :]) for name in names)
        return keys

    def as_dict(self, base: Ref | None = None) -> dict[Ref, ObjectID]:
        """Give the object ids of all refs, symrefs followed; those that lead nowhere are left out.

        Args:
          base: gives only refs below it, and their names without it
        """
        if base is None and not self._backend.is_linked:
            values, odd = self._snapshot_of(self._backend.shared).ref_dict()
            prefix = b""
        else:
            prefix = b"" if base is None else _below(base)
            values, odd = {}, set()
            for names, texts in self._scan(prefix, prefix_end(prefix)):
                values.update(zip(names, texts, strict=True))
                odd.update(names)
        listed = [name for name in odd if name.startswith(b"refs/") or name == HEADREF]
        found = {name: self._final_value(values[name], values) for name in listed}
        for name in odd:
            value = found.get(name)
            if value is None:
                del values[name]
            else:
                values[name] = value
        if prefix:
            return {Ref(name[len(prefix) :]): ObjectID(value) for name, value in values.items()}
        return values  # type: ignore[return-value]  # bytes are Refs and ObjectIDs

    def _final_value(self, value: bytes | None, known: dict[bytes, bytes]) -> bytes | None:
        for _ in range(MAX_SYMREF_DEPTH):
            if value is None or not value.startswith(SYMREF_PREFIX):
                return value
            target = value[len(SYMREF_PREFIX) :]
            value = known.get(target) or self.read_ref(Ref(target))
        return None

    def get_symrefs(self) -> dict[Ref, Ref]:
        """Give all symrefs and what they point to."""
        cut = len(SYMREF_PREFIX)
        return {
            name: Ref(value[cut:])
            for name, value in self._pairs(b"", None)
            if value.startswith(SYMREF_PREFIX)
        }

    def get_packed_refs(self) -> dict[Ref, ObjectID]:
        """Give all refs that are no symrefs."""
        return {
            name: ObjectID(value)
            for name, value in self._pairs(b"", None)
            if not value.startswith(SYMREF_PREFIX)
        }

    # Reflogs

    def read_reflog(self, name: bytes, newest_first: bool = False) -> Iterator[Entry]:
        """Read a reflog.

        Args:
          name: of the ref
          newest_first: the order; dulwich's is oldest first
        Yields: entries, with hex object ids, the time zone in seconds, and messages without newline
        """
        stack, local = self._backend.find(name)
        return reflog.entries(self._snapshot_of(stack), local, newest_first=newest_first)

    def reflog_exists(self, name: bytes) -> bool:
        """Tell whether a ref has a reflog, be it an empty one."""
        stack, local = self._backend.find(name)
        return reflog.exists(self._snapshot_of(stack), local)

    def reflogs(self) -> Iterator[Ref]:
        """Iterate over the names of refs that have reflogs, in order."""
        backend = self._backend
        current = self._snapshot_of(backend.current) if backend.is_linked else None
        for name in reflog.names(self._snapshot_of(backend.shared), current):
            yield Ref(name)


class RefsSnapshot(RefsReader):
    """A repository's refs, read-only, as they were when this was made.

    It goes on reading the tables of that moment, whatever becomes of the repository. Refs of other
    worktrees are pinned when they are first asked for.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._pinned = {stack: stack.snapshot() for stack in backend.stacks()}

    def _snapshot_of(self, stack: Stack) -> Snapshot:
        snapshot = self._pinned.get(stack)
        if snapshot is None:
            snapshot = self._pinned[stack] = stack.snapshot()
        return snapshot


def _below(base: bytes) -> bytes:
    base = base.rstrip(b"/")
    return base + b"/" if base else b""
