# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Which existing refs a new ref must not conflict with: those that the same worktree sees."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from ..engine.stack.stack import Stack
from ..engine.table.merged import Merged
from ..naming.conflicts import ExistingRefs, RefsOfStack, existing_conflicts
from ..naming.names import PER_WORKTREE
from .store import RefStore

__all__ = ["seen_from_here", "split_by_worktree"]


class _RefsOfWorktree:
    """The refs that a linked worktree sees: the shared ones, and its own in place of the main's.

    Args:
      shared: the shared stack
      own: the worktree's stack
    """

    def __init__(self, shared: ExistingRefs, own: ExistingRefs) -> None:
        self._parts: list[tuple[bytes, bytes, ExistingRefs]] = []
        start = b""
        for prefix in sorted(PER_WORKTREE):
            stop = prefix[:-1] + b"0"
            self._parts += [(start, prefix, shared), (prefix, stop, own)]
            start = stop
        self._parts.append((start, b"\xff", shared))

    def first_in(self, start: bytes, stop: bytes) -> bytes | None:
        for low, high, refs in self._parts:
            if low < stop and start < high:
                found = refs.first_in(max(low, start), min(high, stop))
                if found is not None:
                    return found
        return None


def seen_from_here(
    store: RefStore,
    refs_of: Callable[[Stack], Merged],
    deleted: Mapping[Stack, Collection[bytes]],
) -> ExistingRefs:
    """Give the existing refs that the current worktree sees.

    Args:
      store: the repository's refs
      refs_of: gives the refs of a stack, before the transaction
      deleted: names in each stack of the refs that the transaction deletes
    """
    shared, current = (
        RefsOfStack(refs_of(stack), deleted.get(stack, ()))
        for stack in (store.shared, store.current)
    )
    return _RefsOfWorktree(shared, current) if store.is_linked else shared


def split_by_worktree(
    store: RefStore,
    created: Mapping[Stack, Collection[bytes]],
    deleted: Mapping[Stack, Collection[bytes]],
    refs_of: Callable[[Stack], Merged],
) -> Iterator[tuple[list[bytes], Iterator[tuple[bytes, bytes]]]]:
    """Divide new refs by the worktree that sees them.

    Args:
      store: the repository's refs
      created: names of the new refs in each stack
      deleted: names in each stack of the refs that the transaction deletes
      refs_of: gives the refs of a stack, before the transaction
    Yields: names of new refs, sorted; and their conflicts with the existing refs that the same
      worktree sees, as :func:`existing_conflicts` yields them
    """
    left = dict(created)
    shared, current = store.shared, store.current
    if store.is_linked:
        names = left.pop(shared, ())
        mains = [name for name in names if name.startswith(PER_WORKTREE)]
        if mains:
            left[shared] = mains
        seen = [name for name in names if not name.startswith(PER_WORKTREE)]
        seen += left.pop(current, ())
        if seen:
            seen.sort()
            yield seen, existing_conflicts(seen, seen_from_here(store, refs_of, deleted))
    for stack, names in left.items():
        if names:
            ordered = sorted(names)
            existing = RefsOfStack(refs_of(stack), deleted.get(stack, ()))
            yield ordered, existing_conflicts(ordered, existing)
