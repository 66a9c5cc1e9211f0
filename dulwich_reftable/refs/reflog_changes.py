# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Changing reflogs without updating a ref. Names are as this worktree sees the refs.

To remove an entry, a tombstone with its key is written; to change one, a new record with its key.
In both cases the new table hides the old record.
"""

from __future__ import annotations

from binascii import a2b_hex
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import TypeVar

from dulwich.reflog import Entry

from ..compat.errors import as_dulwich
from ..engine.errors import TransactionError
from ..engine.format.log_scan import LogText
from ..engine.format.records import LogRecord, LogUpdate, RefRecord, log_index, log_key
from ..engine.stack.addition import Addition
from ..engine.stack.stack import Stack
from ..engine.table.merged import Merged
from ..naming.conflicts import refuse_conflicts
from ..naming.names import check_name
from .reflog import exists, texts
from .seen_refs import split_by_worktree
from .signature import Signature, entries_of
from .store import RefStore

__all__ = ["append", "create", "delete", "drop_entry", "expire", "move"]

_T = TypeVar("_T")


def create(store: RefStore, name: bytes) -> None:
    """Make an empty reflog, if the ref has none.

    Raises:
      BadRefNameError: if the name is illegal
    """

    def work(addition: Addition, local: bytes) -> None:
        if not exists(addition.snapshot, local):
            addition.write([], [_marker(store, local, addition.next_update_index)])

    _update(store, name, work)


def append(store: RefStore, name: bytes, old: bytes, new: bytes, signature: Signature) -> None:
    """Add an entry without updating the ref.

    Args:
      store: the repository's refs
      name: of the ref
      old: hex object id before
      new: hex object id after
      signature: committer, time and message
    Raises:
      BadRefNameError: if the name is illegal
    """

    def work(addition: Addition, local: bytes) -> None:
        log = LogRecord(local, addition.next_update_index, signature.update(old, new))
        addition.write([], [log])

    _update(store, name, work)


def delete(store: RefStore, name: bytes) -> None:
    """Remove a reflog, with all of its entries.

    Raises:
      BadRefNameError: if the name is illegal
    """

    def work(addition: Addition, local: bytes) -> None:
        tombstones = [
            _tombstone_of(local, key)
            for keys, found in addition.snapshot.log_entries(local)
            for key, entry in zip(keys, found, strict=True)
            if entry is not None
        ]
        if tombstones:
            addition.write([], tombstones)

    _update(store, name, work)


def drop_entry(store: RefStore, name: bytes, index: int, *, rewrite: bool) -> None:
    """Remove one entry.

    Args:
      store: the repository's refs
      name: of the ref
      index: of the entry, 0 being the newest
      rewrite: whether the next newer entry's old id becomes the new id of the next older one
    Raises:
      ValueError: if there is no such entry
    """

    def work(addition: Addition, local: bytes) -> None:
        logs = _live(addition.snapshot, local)
        if not 0 <= index < len(logs):
            raise ValueError(f"Invalid reflog index {index}: {len(logs)} entries")
        changed = [_tombstone(logs[index])]
        if rewrite and index:
            older = logs[index + 1].update if index + 1 < len(logs) else None
            newer = logs[index - 1]
            old_id = older.new_id if older else bytes(store.settings.write.hash_size)
            if newer.update is not None:
                changed.append(newer._replace(update=newer.update._replace(old_id=old_id)))
        _write(store, addition, local, changed, is_emptied=len(logs) == 1)

    _update(store, name, work)


def expire(
    store: RefStore,
    name: bytes,
    choose: Callable[[list[Entry]], list[bool]],
    *,
    rewrite: bool = False,
    update_ref: bool = False,
    dry_run: bool = False,
) -> int:
    """Remove entries.

    ``choose`` is called before the stack is locked, so it may take its time. Only entries that it
    was given are removed; entries that others added or changed meanwhile stay.

    Args:
      store: the repository's refs
      name: of the ref
      choose: takes the entries, the oldest first, and returns for each whether to remove it
      rewrite: whether the old id of each entry becomes the new id of the entry now before it
      update_ref: whether to set the ref, unless it is a symref, to the new id of its newest entry
      dry_run: whether to change nothing
    Returns: how many entries were removed, or would be
    Raises:
      BadRefNameError: if the name is illegal
    """
    check_name(name)
    stack, local = store.find(name)
    with as_dulwich():
        snapshot = stack.snapshot()
        read = [*texts(snapshot, local)][::-1]
    choice = choose(entries_of(text for _, text in read))
    chosen = {key: text for (key, text), goes in zip(read, choice, strict=True) if goes}
    if dry_run or not (chosen or rewrite or update_ref):
        return len(chosen)

    def work(addition: Addition, local: bytes) -> int:
        found = read
        if addition.snapshot.tables != snapshot.tables:
            found = [*texts(addition.snapshot, local)][::-1]
        kept = [(key, text) for key, text in found if chosen.get(key) != text]
        changed = [_tombstone_of(local, key) for key, text in found if chosen.get(key) == text]
        count = len(changed)
        if rewrite:
            indexes = {log_index(key) for key, _ in kept}
            logs = [log for log in _live(addition.snapshot, local) if log.update_index in indexes]
            changed += _chained(logs[::-1])
        newest = kept[-1][1] if kept else None
        refs = _ref_at(store, addition, local, newest) if update_ref and newest else []
        if changed or refs:
            _write(store, addition, local, changed, refs, is_emptied=bool(found) and not kept)
        return count

    return _update(store, name, work)


def _chained(logs: list[LogRecord]) -> Iterator[LogRecord]:
    """Give the entries to rewrite: those whose old id is not the new id of the one before.

    Args:
      logs: the entries, oldest first
    """
    for before, log in pairwise(logs):
        if before.update is not None and log.update is not None:
            update = log.update._replace(old_id=before.update.new_id)
            if update != log.update:
                yield log._replace(update=update)


def _ref_at(store: RefStore, addition: Addition, name: bytes, newest: LogText) -> list[RefRecord]:
    """Give the record that sets a ref to the new id of its newest entry; none if it is there."""
    ref = addition.snapshot.lookup_ref(name)
    new = newest[1]
    value = a2b_hex(new)
    if ref is None or ref.value is None or not any(value) or ref.value == value:
        return []
    peeled = None if name.startswith(b"refs/heads/") else store.peel(new)
    return [RefRecord(name, addition.next_update_index, value, a2b_hex(peeled) if peeled else None)]


def move(
    store: RefStore,
    stack: Stack,
    addition: Addition,
    old: bytes,
    new: bytes,
    signature: Signature | None,
    *,
    keep: bool,
) -> None:
    """Rename or copy a ref and its reflog, in one table (git: ``write_copy_table``).

    A rename takes two update indexes: the new reflog has an entry for the deletion of the old ref,
    and then one for the creation of the new ref.

    Args:
      store: the repository's refs
      stack: the stack of both names
      addition: to that stack; the caller commits it
      old: name of the ref
      new: its new name
      signature: for the new entries; None to write none
      keep: whether the old ref stays, which makes it a copy
    Raises:
      TransactionError: if there is no ref ``old``, it is a symref, or there is a ref ``new``
      RefConflictError: if another ref is a directory of the new one, or below it
    """
    snapshot = addition.snapshot
    record = snapshot.lookup_ref(old)
    if record is None:
        raise TransactionError(old, None, None, "there is no such ref")
    if record.value is None:
        raise TransactionError(old, None, None, "a symbolic ref cannot be renamed or copied")
    if snapshot.lookup_ref(new) is not None:
        raise TransactionError(new, None, snapshot.ref_value(new))
    indexes = addition.next_update_indexes(1 if keep else 2)
    deleted_at, created_at = indexes[0], indexes[-1]
    refs = {new: record._replace(name=new, update_index=created_at)}
    if not keep:
        refs[old] = RefRecord(old, deleted_at)
    for view in split_by_worktree(
        store,
        {stack: [new]},
        {stack: [] if keep else [old]},
        lambda other: snapshot if other is stack else other.snapshot(),
    ):
        refuse_conflicts(*view)
    logs: list[LogRecord] = []
    for log in snapshot.logs_of(old):
        logs.append(log._replace(name=new))
        if not keep:
            logs.append(_tombstone(log))
    if signature is not None:
        zero = bytes(len(record.value))
        logs.append(LogRecord(new, created_at, LogUpdate(zero, record.value, *signature)))
        if not keep:
            gone = LogUpdate(record.value, zero, *signature)
            logs.append(LogRecord(new, deleted_at, gone))
            head = snapshot.lookup_ref(b"HEAD")
            if head is not None and head.target == old:
                logs.append(LogRecord(b"HEAD", deleted_at, gone))
    addition.write((refs[name] for name in sorted(refs)), _sorted(logs), created_at)


def _update(store: RefStore, name: bytes, work: Callable[[Addition, bytes], _T]) -> _T:
    """Do a piece of work on the stack of a ref.

    Args:
      store: the repository's refs
      name: of the ref
      work: takes an addition and the ref's name in the stack
    """
    check_name(name)
    stack, local = store.find(name)
    with as_dulwich():
        return stack.update(lambda addition: work(addition, local))


def _live(snapshot: Merged, name: bytes) -> list[LogRecord]:
    """Give a ref's entries, newest first, without the existence marker."""
    return [
        log
        for log in snapshot.logs_of(name)
        if log.update is not None and not log.update.is_existence_marker
    ]


def _write(
    store: RefStore,
    addition: Addition,
    name: bytes,
    logs: list[LogRecord],
    refs: Iterable[RefRecord] = (),
    *,
    is_emptied: bool,
) -> None:
    if is_emptied and not any(
        log.update is not None and log.update.is_existence_marker
        for log in addition.snapshot.logs_of(name)
    ):
        logs = [*logs, _marker(store, name, addition.next_update_index)]
    addition.write(refs, _sorted(logs))


def _sorted(logs: list[LogRecord]) -> list[LogRecord]:
    return sorted(logs, key=lambda log: log_key(log.name, log.update_index))


def _tombstone(log: LogRecord) -> LogRecord:
    return log._replace(update=None)


def _tombstone_of(name: bytes, key: bytes) -> LogRecord:
    """Make a tombstone of a ref's name and the end of a key."""
    return LogRecord(name, log_index(key))


def _marker(store: RefStore, name: bytes, update_index: int) -> LogRecord:
    zero = bytes(store.settings.write.hash_size)
    return LogRecord(name, update_index, LogUpdate(zero, zero, b"", b"", 0, 0, b""))
