# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Doing the updates of a push, and telling the truth about each.

On reftables the push is one transaction. Refs that turn out to be in another state than the client
believed are taken out first, all that can be seen at a glance; if somebody is faster than the
lock, the transaction names the ref, which is taken out too, and the rest is tried again. An atomic
push gives up at the first of these.

On files there are no transactions: refs are updated one by one, each by comparing and swapping, and
what that answers is what is told. An atomic push is checked as a whole before; if a ref is lost all
the same, those that were updated are set back, unless somebody has updated them again meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakValueDictionary

from dulwich.errors import RefFormatError
from dulwich.file import FileLocked
from dulwich.objects import ZERO_SHA
from dulwich.refs import Ref
from dulwich.repo import Repo

from ...engine.errors import (
    LockError,
    RecordError,
    RefConflictError,
    ReftableError,
    TransactionError,
)
from ...engine.stack.stack import Stack
from ...refs.conflicts import ConflictFinder, ListedRefs, in_the_way, worktree_views
from ...refs.container import ReftableRefsContainer
from ...refs.errors import BadRefNameError
from ...refs.signature import Signature
from ...refs.transaction import Transaction, is_zero
from .commands import Command, pending, refuse
from .hooks import Hooks

__all__ = ["LOCKED", "PushApplication"]

_ROUNDS = 10
"""How often a push is tried that loses refs to others."""

LOCKED = b"the refs are locked by somebody else"
_CONFLICT = b"refname conflict"
_FAILED = b"failed to update ref"
_HOOK = b"reference-transaction hook declined"
_POLL = 0.02

IsLogged = Callable[[bytes], bool]


class PushApplication:
    """Does the commands of one push.

    Args:
      repo: where to
      hooks: asked before, and told after the refs are updated
      is_logged: tells whether an update starts a reflog
      committer: for the reflogs, as ``b"Name <address>"``; None for who is at work
      patience: seconds to wait for locks
      tell: takes explanations for the client
    """

    def __init__(
        self,
        repo: Any,
        hooks: Hooks,
        is_logged: IsLogged,
        committer: bytes | None,
        patience: float,
        tell: Callable[[bytes], None],
    ) -> None:
        self._repo = repo
        self._refs = repo.refs
        self._hooks = hooks
        self._is_logged = is_logged
        self._committer = committer
        self._patience = patience
        self._tell = tell
        self._has_hook = hooks.watches_transactions

    def apply(self, commands: list[Command], *, atomic: bool) -> None:
        """Do commands; those that were not done carry a reason afterwards.

        Args:
          commands: with their targets resolved
          atomic: whether to do all of them or none
        """
        if isinstance(self._refs, ReftableRefsContainer):
            self._by_transaction(self._refs, commands, atomic)
        else:
            with _turn_at(getattr(self._refs, "path", b"")):
                self._one_by_one(commands, atomic)

    # Reftables

    def _by_transaction(
        self, refs: ReftableRefsContainer, commands: list[Command], atomic: bool
    ) -> None:
        signature = Signature.of(refs.store, b"push", self._committer)
        options = refs.store.settings.write
        for command in pending(commands):
            if not command.deletes and not options.can_hold(command.target):
                self._refuse_long(command)
        for _ in range(_ROUNDS):
            left = self._weed(commands, atomic)
            if not left:
                return
            try:
                self._transact(refs, left, signature)
                return
            except (TransactionError, RefConflictError, BadRefNameError) as error:
                # Most often the next look sees what is wrong; if not, it must not go on for ever.
                guilty = [c for c in left if error.ref in (c.name, c.target)] or left
                for command in guilty:
                    if isinstance(error, RefConflictError):
                        self._refuse_conflict(command, error.other)
                    else:
                        command.refusal = _reason(error)
            except LockError:
                refuse(left, LOCKED)
            except RecordError:
                # A name that is too long for a block: which one, the error does not tell.
                self._refuse_long(max(left, key=lambda command: len(command.target)))
            except (ReftableError, OSError):
                refuse(left, _FAILED)
        refuse(pending(commands), _FAILED)

    def _transact(
        self, refs: ReftableRefsContainer, commands: list[Command], signature: Signature
    ) -> None:
        with Transaction(refs.store, signature, starts_reflog=self._is_logged) as transaction:
            for command in commands:
                new = None if command.deletes else command.new
                transaction.add_update(command.name, new, old=command.old)
            transaction.prepare()
            if not self._ask_hook(commands):
                transaction.abort()
                return
            try:
                transaction.commit()
            except BaseException:
                self._tell_hook("aborted", commands)
                raise
        self._tell_hook("committed", commands)

    def _ask_hook(self, commands: list[Command]) -> bool:
        if not self._has_hook:
            return True
        if self._hooks.reference_transaction("prepared", map(_hook_line, commands)):
            return True
        refuse(commands, _HOOK)
        self._tell_hook("aborted", commands)
        return False

    def _tell_hook(self, state: str, commands: list[Command]) -> None:
        if self._has_hook:
            self._hooks.reference_transaction(state, map(_hook_line, commands))

    # What can be seen before

    def _weed(self, commands: list[Command], atomic: bool) -> list[Command]:
        """Refuse what cannot be done as the refs are now; give what is left to do."""
        left = pending(commands)
        if len(left) == len(commands) or not atomic:
            values = self._values({command.target for command in left})
            for command in left:
                command.refusal = _mismatch(command.expected, values.get(command.target))
            self._refuse_conflicts(pending(left), values)
        left = pending(commands)
        if atomic and any(command.refusal is not None for command in commands):
            refuse(left, b"atomic push failure")
            return []
        return left

    def _values(self, names: set[bytes]) -> dict[bytes, bytes]:
        """Read refs that are no symrefs; what does not exist is left out."""
        if isinstance(self._refs, ReftableRefsContainer):
            found: dict[bytes, bytes] = {}
            for stack in self._refs.store.stacks():
                found.update(stack.snapshot().values_of(names))
            return found
        values = {name: self._refs.read_ref(Ref(name)) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def _refuse_conflicts(self, commands: list[Command], values: dict[bytes, bytes]) -> None:
        """Refuse refs that would be in the way of others, or others in theirs."""
        created = [c for c in commands if not c.deletes and c.target not in values]
        if not created:
            return
        names = sorted(command.target for command in created)
        deleted = {command.target for command in commands if command.deletes}
        standing = dict(self._in_the_way(names, deleted))
        # Of new refs in each other's way, the first one is done.
        taken: dict[bytes, bytes] = {}
        rivals: dict[bytes, list[bytes]] = {}
        find = ConflictFinder().find
        for name in names:
            for other in find(name):
                rivals.setdefault(name, []).append(other)
                rivals.setdefault(other, []).append(name)
        for command in created:
            name = command.target
            if name in standing:
                self._refuse_conflict(command, standing[name])
            elif name in taken:
                both = b"'%s' and '%s'" % (taken[name], name)
                self._tell(b"error: cannot process %s at the same time\n" % both)
                command.refusal = _CONFLICT
            else:
                for rival in rivals.get(name, ()):
                    taken.setdefault(rival, name)

    def _refuse_conflict(self, command: Command, other: bytes) -> None:
        self._tell(b"error: '%s' exists; cannot create '%s'\n" % (other, command.target))
        command.refusal = _CONFLICT

    def _refuse_long(self, command: Command) -> None:
        self._tell(b"error: '%s...' is too long a name\n" % command.target[:60])
        command.refusal = _FAILED

    def _in_the_way(self, names: list[bytes], deleted: set[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Find refs that are there, and not to be deleted, in the way of sorted names."""
        if not isinstance(self._refs, ReftableRefsContainer):
            yield from in_the_way(names, ListedRefs(sorted(self._refs.allkeys() - deleted)))
            return
        ref_store = self._refs.store
        created: dict[Stack, list[bytes]] = {}
        for name in names:
            created.setdefault(ref_store.find(name)[0], []).append(name)
        gone = dict.fromkeys(ref_store.stacks(), deleted)
        for view in worktree_views(ref_store, created, gone, Stack.snapshot):
            yield from in_the_way(*view)

    # Files

    def _one_by_one(self, commands: list[Command], atomic: bool) -> None:
        left = self._weed(commands, atomic)
        if not left or not self._ask_hook(left):
            return
        done: list[Command] = []
        # What is deleted first makes room for what is created.
        for command in sorted(left, key=lambda command: not command.deletes):
            command.refusal = self._swap(command, command.old, command.new)
            if command.refusal is None:
                done.append(command)
            elif atomic:
                break
        if atomic and len(done) < len(left):
            for command in reversed(done):
                self._swap(command, command.new, command.old)
            refuse(left, b"atomic push failure")
            self._tell_hook("aborted", left)
            return
        if done:
            self._tell_hook("committed", done)

    def _swap(self, command: Command, old: bytes, new: bytes) -> bytes | None:
        """Update a ref of files; gives what failed."""
        refs, name = self._refs, Ref(command.target)
        log = {"message": b"push", "committer": self._committer}
        try:
            if not (self._is_logged(command.target) or self._has_log(command.target)):
                log = {}
        except OSError:  # a name may be too long for a path
            return _FAILED
        if is_zero(old):
            old = ZERO_SHA  # that of SHA-1 is what dulwich compares with, whatever the hash
        deadline = time.monotonic() + self._patience
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
                return _FAILED
            if is_done:
                return None
            return _mismatch(command.expected, refs.read_ref(name)) or _FAILED

    def _has_log(self, name: bytes) -> bool:
        if not isinstance(self._repo, Repo):
            return False  # it is in memory
        return next(iter(self._repo.read_reflog(name)), None) is not None


class _Turn:
    """Lets the threads of one process push to a repository of files one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


_turns: WeakValueDictionary[bytes, _Turn] = WeakValueDictionary()
_turns_guard = threading.Lock()


def _turn_at(path: bytes) -> _Turn:
    with _turns_guard:
        return _turns.setdefault(path, _Turn())


def _hook_line(command: Command) -> tuple[bytes, bytes, bytes]:
    return command.old, command.new, command.target


def _mismatch(expected: bytes | None, actual: bytes | None) -> bytes | None:
    """Say why a ref is not as the client believes, in git's words; None if it is."""
    if actual == expected:
        return None
    if actual is None:
        return b"reference does not exist"
    return b"reference already exists" if expected is None else b"incorrect old value provided"


def _reason(error: ReftableError) -> bytes:
    if isinstance(error, BadRefNameError):
        return b"funny refname"
    if isinstance(error, TransactionError):
        return _mismatch(error.expected, error.actual) or _FAILED
    return _FAILED
