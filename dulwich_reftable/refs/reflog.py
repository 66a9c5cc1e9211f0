# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Reading reflogs, and which refs have one.

The key of a log record is its ref and update index, newest first. A reflog that loses its last
entry keeps a marker: a record whose ids are both zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dulwich.reflog import Entry

from ..engine.format.log_scan import LogText, is_existence_marker
from ..engine.stack.stack import Stack
from ..engine.table.merged import Merged
from ..naming.names import PER_WORKTREE, is_legal
from .signature import entries_of
from .store import RefStore

__all__ = ["all_names", "entries", "exists", "names", "texts"]


def entries(snapshot: Merged, name: bytes, *, newest_first: bool) -> Iterator[Entry]:
    """Read a reflog.

    Args:
      snapshot: of the stack that the ref is kept in
      name: of the ref, there
      newest_first: the order; oldest first has to read all entries before it yields the first
    """
    read: list[list[LogText]] = []
    for _, found in snapshot.log_entries(name):
        living = [one for one in found if one is not None and not is_existence_marker(one)]
        if newest_first:
            yield from entries_of(living)
        else:
            read.append(living)
    for living in reversed(read):
        yield from entries_of(reversed(living))


def texts(snapshot: Merged, name: bytes) -> Iterator[tuple[bytes, LogText]]:
    """Read a reflog as text, newest first.

    Yields: the last eight bytes of each key, and its entry
    """
    for keys, found in snapshot.log_entries(name):
        for key, entry in zip(keys, found, strict=True):
            if entry is not None and not is_existence_marker(entry):
                yield key, entry


def exists(snapshot: Merged, name: bytes) -> bool:
    """Tell whether a ref has a reflog; it may be empty."""
    return any(entry is not None for _, found in snapshot.log_entries(name) for entry in found)


def names(shared: Merged, current: Merged | None) -> Iterator[bytes]:
    """Give the refs that have reflogs, in order.

    Args:
      shared: the shared stack
      current: the stack of the linked worktree; None in the main worktree
    """
    if current is None:
        yield from shared.log_names()
        return
    found = {name for name in shared.log_names() if _is_shared(name)}
    found.update(name for name in current.log_names() if not _is_shared(name))
    yield from sorted(found)


def all_names(store: RefStore, snapshot_of: Callable[[Stack], Merged]) -> Iterator[bytes]:
    """Give the refs that have reflogs in any worktree, by their names in this one.

    Names that no ref can have are left out.

    Args:
      store: the repository's refs
      snapshot_of: gives the snapshot of a stack
    """
    for worktree, stack in store.all_stacks():
        prefix = b""
        if stack is not store.current:
            prefix = b"main-worktree/" if worktree is None else b"worktrees/" + worktree + b"/"
        for name in snapshot_of(stack).log_names():
            if not is_legal(name):
                continue
            if not _is_shared(name):
                yield prefix + name
            elif worktree is None:
                yield name


def _is_shared(name: bytes) -> bool:
    return name.startswith(b"refs/") and not name.startswith(PER_WORKTREE)
