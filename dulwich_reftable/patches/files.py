# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Refs that are files during one call.

Some of dulwich's commands read and write a few refs as files. A copy of such a command here would
drift away from dulwich's. Instead, the refs are written to files in the control directory, where
git does not look for refs in a reftable repository. The command works on the files, and its changes
are moved to the stack afterwards.

The command needs the files by these very names, so they cannot have temporary ones. A process that
is killed meanwhile leaves them behind. They are no refs: the next call removes them unread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from dulwich.refs import Ref
from dulwich.repo import Repo

from ..naming.symrefs import is_symref
from ..refs.container import ReftableRefsContainer

__all__ = ["refs_as_files"]

_SHOWN: ContextVar[frozenset[bytes]] = ContextVar("_SHOWN", default=frozenset())
"""The control directories in which refs are files at the moment."""


@contextmanager
def refs_as_files(repo: Repo, *names: bytes) -> Iterator[None]:
    """Keep refs in files while the context is open; then move the changes to the stack.

    A nested context for the same control directory does nothing.

    Args:
      repo: a repository whose refs are in reftables
      *names: of the refs; a name that ends in a slash stands for all refs below it
    """
    refs = repo.refs
    assert isinstance(refs, ReftableRefsContainer)
    root = os.path.realpath(os.fsencode(repo.controldir()))
    if root in _SHOWN.get():
        yield
        return
    for _ in _take_files(root, names):
        pass  # left by a process that was killed
    before: dict[bytes, bytes] = {}
    for name in names:
        if name.endswith(b"/"):
            os.makedirs(os.path.join(root, name), exist_ok=True)
            before.update(refs.iter_refs(name))
        else:
            value = refs.read_ref(Ref(name))
            if value is not None:
                before[name] = value
    for name, value in before.items():
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(value + b"\n")
    token = _SHOWN.set(_SHOWN.get() | {root})
    try:
        yield
    finally:
        _SHOWN.reset(token)
        after = dict(_take_files(root, names))
        with refs.transaction() as transaction:
            for name in sorted({*before, *after}):
                new = after.get(name)
                if new != before.get(name) and (new is None or _is_value(new)):
                    transaction.add_update(name, new, follow=False)


def _take_files(root: bytes, names: tuple[bytes, ...]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the names and values of the files, and remove these."""
    for name in names:
        if not name.endswith(b"/"):
            with suppress(FileNotFoundError):
                yield name, _take(os.path.join(root, name))
            continue
        for directory, _, entries in os.walk(os.path.join(root, name), topdown=False):
            for entry in entries:
                path = os.path.join(directory, entry)
                yield os.path.relpath(path, root).replace(os.fsencode(os.sep), b"/"), _take(path)
            os.rmdir(directory)


def _take(path: bytes) -> bytes:
    with open(path, "rb") as file:
        value = file.read().strip()
    os.remove(path)
    return value


def _is_value(value: bytes) -> bool:
    return is_symref(value) or len(value) in (40, 64)
