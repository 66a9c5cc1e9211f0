# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Checks the refs of a stack: names, symrefs, and conflicts between names.

It is one scan in the order of names; memory use does not depend on the number of refs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from ..engine.table.merged import Merged
from ..naming.conflicts import ConflictFinder
from ..naming.names import PER_WORKTREE, is_legal, is_root_ref, is_well_formed
from ..naming.symrefs import MAX_SYMREF_DEPTH, resolve, symref_target
from .finding import ERROR, INFO, WARNING, Finding

__all__ = ["check_refs"]

_REFS = (b"refs/", b"worktrees/", b"main-worktree/")


def check_refs(
    merged: Merged, worktree: bytes | None, value_of: Callable[[bytes], bytes | None]
) -> Iterator[Finding]:
    """Check the refs of a stack.

    Args:
      merged: the tables of the stack
      worktree: id of the worktree that has the stack; None for the shared stack
      value_of: reads a ref, as text, as that worktree sees it
    Yields: the faults
    """
    prefix = b"" if worktree is None else b"worktrees/" + worktree + b"/"
    find_conflicts = ConflictFinder().find
    has_head = False
    for names, values in merged.ref_values():
        for name, value in zip(names, values, strict=True):
            for other in find_conflicts(name):
                message = f"is in the way of '{os.fsdecode(name)}'"
                yield _finding(ERROR, "conflict", prefix + other, message)
            has_head = has_head or name == b"HEAD"
            if not is_legal(name):
                yield from _check_odd_name(prefix, name)
            elif worktree is not None and b"/" in name and not name.startswith(PER_WORKTREE):
                message = "belongs to the shared stack, nobody looks for it here"
                yield _finding(WARNING, "place", prefix + name, message)
            if (target := symref_target(value)) is not None:
                yield from _check_symref(prefix, name, target, value_of)
    if merged.tables and not has_head:
        yield _finding(WARNING, "head", prefix + b"HEAD", "there is no such ref")


def _finding(severity: str, check: str, name: bytes, message: str) -> Finding:
    return Finding(severity, check, os.fsdecode(name), message)


def _check_odd_name(prefix: bytes, name: bytes) -> Iterator[Finding]:
    # Malformed names are reported by the check of their table.
    if is_well_formed(name):
        message = "is neither below refs/ nor a root ref"
        yield _finding(WARNING, "name", prefix + name, message)


def _check_symref(
    prefix: bytes, name: bytes, target: bytes, value_of: Callable[[bytes], bytes | None]
) -> Iterator[Finding]:
    shown = os.fsdecode(target)
    if not is_well_formed(target):
        message = f"points to '{shown}', which is no legal ref name"
        yield _finding(ERROR, "symref", prefix + name, message)
        return
    if name == b"HEAD" and not target.startswith(b"refs/heads/"):
        message = f"points to '{shown}', which is no branch"
        yield _finding(ERROR, "head", prefix + name, message)
    if not target.startswith(_REFS) and not is_root_ref(target):
        message = f"points to '{shown}', which is no ref"
        yield _finding(INFO, "symref", prefix + name, message)
        return
    names, value = resolve(target, value_of, MAX_SYMREF_DEPTH - 1)
    if value is None:
        if name != b"HEAD" or len(names) > 1:  # an unborn branch is no fault
            message = f"points to '{os.fsdecode(names[-1])}', which does not exist"
            yield _finding(WARNING, "symref", prefix + name, message)
    elif symref_target(value) is not None:
        message = f"leads through more than {MAX_SYMREF_DEPTH} symrefs, or in a circle"
        yield _finding(ERROR, "symref", prefix + name, message)
