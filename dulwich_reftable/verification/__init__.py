# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Looks for damage in a repository's refs.

It checks each table by itself (:mod:`.table`, :mod:`.index`), then the stack that contains it
(:mod:`.stack`), then the refs that the tables of the stack hold together (:mod:`.refs`). A fault in
one place does not stop the checks of the others, as far as they do not depend on it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from ..compat.errors import BadRefNameError
from ..engine.stack.stack import Stack
from ..engine.table.merged import Merged
from ..naming.names import Owner, place_of
from .finding import ERROR, INFO, WARNING, Finding, limited
from .refs import check_refs
from .stack import StackCheck

__all__ = ["ERROR", "INFO", "WARNING", "Finding", "verify"]


def verify(
    stacks: Iterable[tuple[bytes | None, Stack]], common_dir: str | None
) -> Iterator[Finding]:
    """Check the refs of a repository and of all its worktrees.

    It writes nothing and takes no lock. Updates that others make meanwhile are not reported.

    Args:
      stacks: each with the id of the worktree that has it; None for the shared one
      common_dir: the control directory; None if the stacks are in none
    Yields: the faults
    """
    return limited(_verify(stacks, common_dir))


def _verify(
    stacks: Iterable[tuple[bytes | None, Stack]], common_dir: str | None
) -> Iterator[Finding]:
    merged: dict[bytes | None, Merged | None] = {}
    for worktree, stack in stacks:
        check = StackCheck(stack)
        yield from check.findings()
        merged[worktree] = check.merged
        if check.merged is None:
            message = "is damaged, so that its refs were not compared with each other"
            yield Finding(INFO, "refs", stack.storage.location, message)
    if common_dir is not None:
        yield from _check_files(common_dir)
    for worktree, seen in merged.items():
        if seen is not None:
            yield from check_refs(seen, worktree, _WorktreeView(merged, worktree).value_of)


class _WorktreeView:
    """The refs as one worktree sees them."""

    def __init__(self, merged: dict[bytes | None, Merged | None], worktree: bytes | None) -> None:
        self._merged = merged
        self._worktree = worktree

    def value_of(self, name: bytes) -> bytes | None:
        """Read a ref, as text; None if it does not exist, empty if its stack is damaged."""
        try:
            place = place_of(name)
        except BadRefNameError:
            return None
        worktree = self._worktree
        if place.owner is Owner.OTHER:
            worktree = place.worktree
        elif place.owner is not Owner.CURRENT:
            worktree = None
        if worktree not in self._merged:
            return None
        merged = self._merged[worktree]
        # The refs of a damaged stack are unknown; its damage is reported elsewhere.
        return b"" if merged is None else merged.ref_value(place.name)


def _check_files(common_dir: str) -> Iterator[Finding]:
    """Look for files of refs, which nobody reads in a reftable repository."""
    packed = os.path.join(common_dir, "packed-refs")
    if os.path.lexists(packed):
        yield Finding(WARNING, "stray", packed, "nobody reads it in a reftable repository")
    top = os.path.join(common_dir, "refs")
    for directory, _, files in os.walk(top):
        for name in sorted(files):
            path = os.path.join(directory, name)
            if path != os.path.join(top, "heads"):  # the stub that is there on purpose
                yield Finding(WARNING, "stray", path, "nobody reads it in a reftable repository")
