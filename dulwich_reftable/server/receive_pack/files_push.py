# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Apply a push to refs in files, or in memory, where there are no transactions.

A look at all refs comes first, and refuses what cannot be done. Then each ref is updated by itself,
by a compare and swap, and its outcome is what the client is told. If an atomic push loses a ref in
spite of the look, the refs that were updated are set back, unless somebody has updated them again.
"""

from __future__ import annotations

import threading
import time
from weakref import WeakValueDictionary

from dulwich.errors import RefFormatError
from dulwich.file import FileLocked
from dulwich.objects import ZERO_SHA
from dulwich.refs import Ref
from dulwich.repo import Repo

from ...naming.conflicts import ListedRefs, existing_conflicts, find_conflicts
from ...refs.transaction import is_zero
from .commands import Command, pending, refuse
from .push_application import ATOMIC, FAILED, LOCKED, PushApplication, mismatch

__all__ = ["FilesPush"]

_POLL = 0.02
"""Seconds between two attempts to take a lock."""


class FilesPush(PushApplication):
    """Applies a push ref by ref; args are those of :class:`PushApplication`."""

    def apply(self, commands: list[Command], *, atomic: bool) -> None:
        """Apply commands; see the base class."""
        # The threads of one process push to a repository one after another.
        push_lock = _lock_of(getattr(self._repo.refs, "path", b""))
        with push_lock.lock:
            self._refuse_impossible(commands)
            left = [] if self._is_over(commands, atomic) else pending(commands)
            if left and self._ask_hook(left):
                self._update(left, atomic)

    def _refuse_impossible(self, commands: list[Command]) -> None:
        """Refuse what cannot be done as the refs are now."""
        refs = self._repo.refs
        values = {}
        for command in pending(commands):
            value = values[command.target] = refs.read_ref(Ref(command.target))
            command.refusal = mismatch(command.expected, value)
        left = pending(commands)
        created = [c.target for c in left if not c.deletes and values[c.target] is None]
        if created:
            deleted = {command.target for command in left if command.deletes}
            standing = ListedRefs(sorted(refs.allkeys() - deleted))
            beside = existing_conflicts(sorted(created), standing)
            self._refuse_conflicts(left, find_conflicts(created, beside))

    def _update(self, commands: list[Command], atomic: bool) -> None:
        done: list[Command] = []
        # Deletions come first: they make room for new refs.
        for command in sorted(commands, key=lambda command: not command.deletes):
            command.refusal = self._swap(command, command.old, command.new)
            if command.refusal is None:
                done.append(command)
            elif atomic:
                break
        if atomic and len(done) < len(commands):
            for command in reversed(done):
                self._swap(command, command.new, command.old)
            refuse(commands, ATOMIC)
            self._tell_hook("aborted", commands)
            return
        if done:
            self._tell_hook("committed", done)

    def _swap(self, command: Command, old: bytes, new: bytes) -> bytes | None:
        """Update a ref if it has its old value; gives the reason if that fails."""
        refs, name = self._repo.refs, Ref(command.target)
        log = {"message": b"push", "committer": self._committer}
        try:
            if not (self._is_logged(command.target) or self._has_log(command.target)):
                log = {}
        except OSError:  # a name may be too long for a path
            return FAILED
        if is_zero(old):
            old = ZERO_SHA  # dulwich compares with that of SHA-1, whatever the hash
        deadline = time.monotonic() + self._lock_timeout
        while True:
            try:
                if is_zero(new):
                    is_done = refs.remove_if_equals(name, old, **log)
                else:
                    is_done = refs.set_if_equals(name, old, new, **log)
            except FileLocked:
                if time.monotonic() > deadline:
                    return LOCKED
                time.sleep(_POLL)
                continue
            except (OSError, RefFormatError, KeyError, ValueError):
                return FAILED
            if is_done:
                return None
            return mismatch(command.expected, refs.read_ref(name)) or FAILED

    def _has_log(self, name: bytes) -> bool:
        if not isinstance(self._repo, Repo):
            return False  # it is in memory
        return next(iter(self._repo.read_reflog(name)), None) is not None


class _PushLock:
    """A lock that goes when nobody refers to it any more; a bare lock has no weak references."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


_locks: WeakValueDictionary[bytes, _PushLock] = WeakValueDictionary()
_locks_guard = threading.Lock()


def _lock_of(path: bytes) -> _PushLock:
    with _locks_guard:
        return _locks.setdefault(path, _PushLock())
