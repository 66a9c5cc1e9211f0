# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Updates of refs, all or nothing: one table and one update index for each stack concerned.

A transaction collects edits and does nothing before it commits. Then it locks the stacks, in an
order that everybody keeps; follows symrefs and checks what each edit expects, *under the locks*;
refuses names in each other's way; works out the records of refs and reflogs; writes the tables;
and only when all of them are on disk, swaps the lists. Whatever is unmet raises, and nothing is
written.
"""

from __future__ import annotations

import os
from binascii import a2b_hex
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType

from .backend import Backend
from .conflicts import refuse_conflicts
from .engine.errors import ReftableError, TransactionError
from .engine.records import LogRecord, RefRecord, log_key
from .engine.ref_run import SYMREF_PREFIX
from .engine.stack import Addition, Snapshot, Stack, commit_all
from .errors import as_dulwich
from .names import check_name
from .stamp import Stamp

__all__ = ["MAX_SYMREF_DEPTH", "Transaction", "check_value", "is_zero"]

MAX_SYMREF_DEPTH = 5
"""How many refs a chain of symrefs may have (git: ``SYMREF_MAXDEPTH``, and dulwich)."""

_HEX = frozenset(b"0123456789abcdef")


@dataclass(slots=True)  # there may be very many of them
class _Edit:
    """One wish: that a ref be ``new``, or be as it is if that is the same as ``old``.

    Values are text: hex object id, ``b"ref: <target>"``, or None for "no such ref".
    """

    name: bytes
    new: bytes | None
    expects: bool  # whether ``old`` is to be found
    old: bytes | None
    follow: bool  # whether to update what a symref points to
    stamp: Stamp | None
    verify_only: bool = False


@dataclass
class _Plan:
    """What is to be written to one stack."""

    addition: Addition
    values: dict[bytes, bytes | None] = field(default_factory=dict)  # before
    claimed: set[bytes] = field(default_factory=set)
    refs: dict[bytes, RefRecord] = field(default_factory=dict)
    logs: dict[bytes, LogRecord] = field(default_factory=dict)

    @property
    def snapshot(self) -> Snapshot:
        return self.addition.snapshot

    def value(self, name: bytes) -> bytes | None:
        """Give a ref's value as text."""
        if name not in self.values:
            self.values[name] = self.snapshot.ref_value(name)
        return self.values[name]

    def claim(self, name: bytes, updated: bytes) -> None:
        """Note that a ref, or its reflog, is concerned by the update of one: nothing is twice."""
        if name in self.claimed:
            raise TransactionError(
                updated, None, None, f"'{os.fsdecode(name)}' is concerned by another update, too"
            )
        self.claimed.add(name)

    def log(self, name: bytes, stamp: Stamp, old: bytes, new: bytes) -> None:
        index = self.addition.next_update_index
        record = LogRecord(name, index, stamp.update(old, new))
        self.logs[log_key(name, index)] = record


class _UnlockedStackError(Exception):
    """A stack is concerned that was not foreseen: lock it as well and begin again."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.stack = stack


class Transaction:
    """Updates of several refs; use it as a context manager, or call :meth:`commit`.

    Leaving the context commits; leaving it by an exception does nothing. Names are full ref names,
    ids hex digits. Expectations: ``old=None`` expects nothing, the zero id expects that there is no
    such ref, anything else is the value that must be there (``b"ref: <target>"`` for a symref that
    is not followed).

    Args:
      backend: the repository's refs
      stamp: for reflog entries; None to write none
      replaceable: whether a ref may be updated twice, the last one counting
    """

    def __init__(
        self, backend: Backend, stamp: Stamp | None = None, *, replaceable: bool = False
    ) -> None:
        self._backend = backend
        self._stamp = stamp
        self._replaceable = replaceable
        self._edits: dict[tuple[bytes, bool], _Edit] = {}
        self._peeled: dict[bytes, bytes | None] = {}
        self._closed = False

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and not self._closed:
            self.commit()
        self.abort()

    # Collecting

    def create(self, name: bytes, new: bytes) -> None:
        """Make a ref that must not exist yet; symrefs are followed.

        Raises:
          BadRefNameError: if the name is illegal
          ValueError: if ``new`` is no object id
        """
        self.edit(name, new, old=b"0" * self._backend.hex_size)

    def update(self, name: bytes, new: bytes, old: bytes | None = None) -> None:
        """Point a ref at an object; symrefs are followed.

        Raises:
          BadRefNameError: if the name is illegal
          ValueError: if ``new`` is no object id
        """
        self.edit(name, new, old=old)

    def delete(self, name: bytes, old: bytes | None = None) -> None:
        """Delete a ref and its reflog; symrefs are not followed.

        Raises:
          BadRefNameError: if the name is illegal
        """
        self.edit(name, None, old=old, follow=False)

    def verify(self, name: bytes, old: bytes) -> None:
        """Expect a value and leave it; symrefs are followed.

        Raises:
          BadRefNameError: if the name is illegal
        """
        self.edit(name, None, old=old, verify_only=True)

    def set_symbolic_ref(self, name: bytes, target: bytes, old: bytes | None = None) -> None:
        """Make a ref point at another ref, which need not exist; the ref itself is not followed.

        Raises:
          BadRefNameError: if one of the names is illegal
        """
        self.edit(name, SYMREF_PREFIX + target, old=old, follow=False)

    def edit(
        self,
        name: bytes,
        new: bytes | None,
        *,
        old: bytes | None = None,
        follow: bool = True,
        verify_only: bool = False,
        stamp: Stamp | None = None,
    ) -> None:
        """Add an edit of any kind.

        Args:
          name: of the ref
          new: hex object id, ``b"ref: <target>"``, or None to delete
          old: what must be there
          follow: whether to update what a symref points to
          verify_only: whether to check ``old`` and leave it at that
          stamp: for the reflog; None for the transaction's
        """
        if self._closed:
            raise ReftableError("the transaction is over")
        check_name(name)
        if new is not None:
            check_value(new, self._backend.hex_size)
        edit = _Edit(
            name,
            new,
            old is not None,
            None if old is None or is_zero(old) else old,
            follow,
            stamp or self._stamp,
            verify_only,
        )
        key = (name, follow)
        if key in self._edits:
            if not self._replaceable:
                raise TransactionError(name, None, None, "updated more than once in a transaction")
            first = self._edits[key]
            edit.expects, edit.old = first.expects, first.old
        self._edits[key] = edit

    def pending(self, name: bytes) -> tuple[bool, bytes | None]:
        """Tell what the transaction will make of a ref: whether it is concerned, and its value."""
        for follow in (False, True):
            edit = self._edits.get((name, follow))
            if edit is not None and not edit.verify_only:
                return True, edit.new
        return False, None

    def abort(self) -> None:
        """Forget all edits; harmless when the transaction is over."""
        self._closed = True
        self._edits.clear()

    # Committing

    def commit(self) -> None:
        """Do it.

        Raises:
          TransactionError: if an expectation is not met
          RefConflictError: if two refs would be in each other's way
          LockError: if a lock stayed taken
          RecordError: if a name or a message is too large for a block
          StorageError: if writing failed
        """
        if self._closed:
            raise ReftableError("the transaction is over")
        self._closed = True
        if not self._edits:
            return
        stacks = {self._backend.find(edit.name)[0] for edit in self._edits.values()}
        with as_dulwich():
            while True:
                try:
                    self._commit(stacks)
                except _UnlockedStackError as missing:
                    stacks.add(missing.stack)
                else:
                    return

    def _commit(self, stacks: set[Stack]) -> None:
        with ExitStack() as held:
            plans = {
                stack: _Plan(held.enter_context(stack.addition())) for stack in _in_order(stacks)
            }
            self._preload(plans)
            head_stack, head = self._head_target(plans)
            for edit in self._edits.values():
                self._apply(edit, plans, head_stack, head)
            for plan in plans.values():
                refuse_conflicts(plan.snapshot, plan.refs, plan.values)
            for plan in plans.values():
                plan.addition.write(
                    (plan.refs[name] for name in sorted(plan.refs)),
                    (plan.logs[key] for key in sorted(plan.logs)),
                )
            commit_all([plan.addition for plan in plans.values()])

    def _preload(self, plans: dict[Stack, _Plan]) -> None:
        """Find all refs at once where there are many."""
        if len(self._edits) < 2:
            return
        names: dict[Stack, list[bytes]] = {}
        for edit in self._edits.values():
            stack, name = self._backend.find(edit.name)
            names.setdefault(stack, []).append(name)
        for stack, wanted in names.items():
            plan = plans[stack]
            plan.values = dict.fromkeys(wanted)
            plan.values.update(plan.snapshot.values_of(wanted))

    def _head_target(self, plans: dict[Stack, _Plan]) -> tuple[Stack, bytes | None]:
        """Give the stack of HEAD, and the branch that HEAD points to."""
        stack = self._backend.current
        snapshot = plans[stack].snapshot if stack in plans else stack.snapshot()
        value = snapshot.ref_value(b"HEAD")
        if value is None or not value.startswith(SYMREF_PREFIX):
            return stack, None
        return stack, value[len(SYMREF_PREFIX) :]

    def _plan(self, plans: dict[Stack, _Plan], stack: Stack) -> _Plan:
        if stack not in plans:
            raise _UnlockedStackError(stack)
        return plans[stack]

    def _resolve(
        self, name: bytes, follow: bool, plans: dict[Stack, _Plan]
    ) -> tuple[list[tuple[_Plan, bytes]], bytes | None]:
        """Follow symrefs.

        Returns: the chain of refs as (plan, name), and the value of the last; a chain that loops
          is only its first ref
        """
        chain: list[tuple[_Plan, bytes]] = []
        while True:
            stack, local = self._backend.find(name)
            plan = self._plan(plans, stack)
            value = plan.value(local)
            chain.append((plan, local))
            if not follow or value is None or not value.startswith(SYMREF_PREFIX):
                return chain, value
            if len(chain) >= MAX_SYMREF_DEPTH:
                plan, local = chain[0]
                return chain[:1], plan.value(local)
            name = value[len(SYMREF_PREFIX) :]

    def _id_of(self, name: bytes, plans: dict[Stack, _Plan]) -> bytes | None:
        """Give the object id that a ref finally points to; it is read where no lock is held."""
        for _ in range(MAX_SYMREF_DEPTH):
            stack, local = self._backend.find(name)
            snapshot = plans[stack].snapshot if stack in plans else stack.snapshot()
            value = snapshot.ref_value(local)
            if value is None or not value.startswith(SYMREF_PREFIX):
                return value
            name = value[len(SYMREF_PREFIX) :]
        return None

    def _apply(
        self, edit: _Edit, plans: dict[Stack, _Plan], head_stack: Stack, head: bytes | None
    ) -> None:
        """Check one edit and put down its records."""
        chain, before = self._resolve(edit.name, edit.follow, plans)
        plan, name = chain[-1]
        for concerned, local in chain:
            concerned.claim(local, edit.name)
        if edit.expects and edit.old != before:
            raise TransactionError(edit.name, edit.old, before)
        if edit.verify_only:
            return
        stamp = edit.stamp
        after = edit.new
        was_symref = before is not None and before.startswith(SYMREF_PREFIX)
        is_symref = after is not None and after.startswith(SYMREF_PREFIX)
        if after != before:
            check_name(name)  # the target of a symref may be anything
            plan.refs[name] = self._record(plan, name, after)
        elif not (is_symref and stamp):
            return
        if after is None and not was_symref:
            for log in plan.snapshot.logs_of(name):
                key = log_key(name, log.update_index)
                plan.logs[key] = LogRecord(name, log.update_index)
        if stamp is None:
            return
        zero = b"0" * self._backend.hex_size
        old, new = before or zero, after or zero
        if was_symref:
            old = self._id_of(name, plans) or zero
        if is_symref:
            target = self._id_of(after[len(SYMREF_PREFIX) :], plans) if after else None
            if target is None:
                return  # git, too, logs nothing for a symref to nowhere
            new = target
        # The refs on the way are logged as well, and HEAD if this is the branch it points to.
        logged = chain[:-1] if after is None and not was_symref else chain
        if name == head and not any(local == b"HEAD" for _, local in chain):
            head_plan = self._plan(plans, head_stack)
            head_plan.claim(b"HEAD", edit.name)
            logged = [*logged, (head_plan, b"HEAD")]
        for log_plan, local in logged:
            if self._is_logged(log_plan, local):
                log_plan.log(local, stamp, old, new)

    def _is_logged(self, plan: _Plan, name: bytes) -> bool:
        if self._backend.settings.starts_reflogs:
            return True
        return any(True for _ in plan.snapshot.logs_of(name))

    def _peel(self, value: bytes) -> bytes | None:
        """Ask what an object peels to, once: to read it costs more than all else about a ref."""
        if value not in self._peeled:
            self._peeled[value] = self._backend.peel(value)
        return self._peeled[value]

    def _record(self, plan: _Plan, name: bytes, value: bytes | None) -> RefRecord:
        index = plan.addition.next_update_index
        if value is None:
            return RefRecord(name, index)
        if value.startswith(SYMREF_PREFIX):
            return RefRecord(name, index, target=value[len(SYMREF_PREFIX) :])
        # Branches are commits, which peel to nothing; looking each of them up would be a waste.
        peeled = None if name.startswith(b"refs/heads/") else self._peel(value)
        return RefRecord(name, index, a2b_hex(value), a2b_hex(peeled) if peeled else None)


def _in_order(stacks: set[Stack]) -> list[Stack]:
    """Sort stacks in one order for everybody, so that no two writers wait for each other."""
    if len(stacks) < 2:
        return list(stacks)
    # Worktrees know the same directory by different paths.
    return sorted(stacks, key=lambda stack: os.path.realpath(stack.storage.location))


def is_zero(value: bytes) -> bool:
    """Tell whether a value is the zero id, of whichever length: "no such ref"."""
    return len(value) in (40, 64) and not value.strip(b"0")


def check_value(value: bytes, hex_size: int) -> None:
    """Refuse what cannot be a ref's value.

    Args:
      value: hex object id, or ``b"ref: <target>"``
      hex_size: digits of an object id
    Raises:
      ValueError: if it is neither, or the zero id
      BadRefNameError: if the target is no ref name
    """
    if value.startswith(SYMREF_PREFIX):
        check_name(value[len(SYMREF_PREFIX) :])
    elif len(value) != hex_size or not _HEX.issuperset(value) or is_zero(value):
        raise ValueError(f"{value!r} is neither an object id of {hex_size} digits nor a symref")
