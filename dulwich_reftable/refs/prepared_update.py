# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What a transaction writes: the records of refs and reflogs, stack by stack.

The update is prepared under the locks. That follows symrefs, checks what each ref update expects,
refuses names that conflict, and works out which reflogs get an entry. If a ref turns out to
be in a stack that is not locked, :class:`UnlockedStackError` says so; the transaction locks that
stack as well and prepares the update anew.

A prepared update may have several steps: each sees what the steps before it leave, and takes an
update index of its own. So a batch can be prepared call by call, without a lock, and once more
under the lock if somebody else has written meanwhile.

Very many updates that only point refs at objects go another way (:mod:`.bulk_update`).
"""

from __future__ import annotations

from binascii import a2b_hex
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping

from ..compat.errors import BadRefNameError
from ..engine.errors import RefConflictError, ReftableError, TransactionError
from ..engine.format.records import LogRecord, RefRecord, log_key
from ..engine.stack.addition import Addition
from ..engine.stack.snapshot import Snapshot
from ..engine.stack.stack import Stack
from ..engine.table.merged import Merged
from ..naming.conflicts import find_conflicts, refuse_conflicts
from ..naming.names import PER_WORKTREE, check_name
from ..naming.symrefs import is_symref, resolve, resolved_id, symref_target
from .bulk_update import BulkUpdate, is_branch
from .ref_updates import RefUpdate, RefUpdates
from .seen_refs import seen_from_here, split_by_worktree
from .stack_update import StackUpdate
from .store import RefStore

__all__ = ["PreparedUpdate", "UnlockedStackError"]

_MANY = 50
"""Updates from which on :mod:`.bulk_update` takes clearly less time; it takes less memory, too."""


_Chain = list[tuple[StackUpdate, bytes]]
"""The refs of a chain of symrefs, by their stacks and their names there."""


class UnlockedStackError(Exception):
    """An update touches a stack that is not locked: lock it as well and begin again."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.stack = stack


class PreparedUpdate:
    """The records that a transaction writes, worked out in one or several steps.

    Args:
      store: the repository's refs
      snapshots: of the locked stacks; None to prepare without locks, on the latest ones
      starts_reflog: tells whether a ref without a reflog gets one, by its name in its stack

    Attributes:
      peel, starts_reflog: the store's, and as given; may be set before a step
    """

    def __init__(
        self,
        store: RefStore,
        snapshots: Mapping[Stack, Snapshot] | None,
        starts_reflog: Callable[[bytes], bool],
    ) -> None:
        self._store = store
        self.peel = store.peel
        self._peeled: dict[bytes, bytes] | None = None
        self.starts_reflog = starts_reflog
        self._is_locked = snapshots is not None
        self._parts = {
            stack: StackUpdate(stack.storage.location, snapshot, snapshot)
            for stack, snapshot in (snapshots or {}).items()
        }
        self._unlocked: dict[Stack, Snapshot] = {}  # of other stacks, taken once
        self._head: tuple[bytes | None] | None = None
        self._conflicts: dict[bytes, bytes] = {}  # new refs, and existing ones

    def add(self, updates: Collection[RefUpdate]) -> None:
        """Add a step: check its updates and make their records.

        Raises:
          TransactionError: if an expectation is not met
          RefConflictError: if a ref would be a directory of another one
          UnlockedStackError: if it touches a stack that is not locked
        """
        self._head = None
        bulk = self._bulk(updates)
        if bulk is not None:
            for error in bulk.check():
                raise error
            bulk.refuse_conflicts()
            bulk.peel(self.peel)
            return
        self._preload(updates)
        for update in updates:
            self._apply(update, *self._examine(update))
        for names, beside in self._created():
            refuse_conflicts(names, beside)

    def add_possible(self, updates: Collection[RefUpdate]) -> dict[bytes, ReftableError]:
        """Add a step with those updates that are possible.

        Of two new refs that conflict, the first one is possible.

        Returns: the errors of the other updates, by their names: :class:`TransactionError`,
          :class:`RefConflictError` or :class:`BadRefNameError`
        Raises:
          UnlockedStackError: if it touches a stack that is not locked
        """
        self._head = None
        bulk = self._bulk(updates)
        if bulk is not None:
            deque(bulk.check(), maxlen=0)
            bulk.reject_conflicts()
            bulk.peel(self.peel)
            return bulk.rejected
        self._preload(updates)
        rejected = self._apply_possible(updates)
        places = {name: place for place, name in enumerate(self._created_names())}
        for names, beside in self._created():
            in_order = sorted(names, key=places.__getitem__)
            self._conflicts.update(find_conflicts(in_order, beside))
        if self._conflicts:
            for part in self._parts.values():
                part.restart()
            rejected = self._apply_possible(updates)
            self._conflicts = {}
        return rejected

    def _bulk(self, updates: Collection[RefUpdate]) -> BulkUpdate | None:
        """Prepare very many plain updates of shared refs.

        Returns: None if there are few updates or others, some refs are symrefs, or a second stack
          is written to
        """
        if len(updates) < _MANY or not isinstance(updates, RefUpdates):
            return None
        plain, shared = updates.plain(), self._store.shared
        if plain is None or not self._are_shared(plain):
            return None
        if self._store.is_linked and updates.signature and self._branch_of_head() in plain:
            return None  # its reflog and that of HEAD are in two stacks
        part = self._part(shared)
        size = self._store.settings.write.hash_size
        beside = seen_from_here(self._store, self.refs_of, {})
        bulk = BulkUpdate(plain, part.refs_before, beside, updates.signature, size)
        if not bulk.is_plain:
            return None
        part.bulk = bulk
        return bulk

    def _are_shared(self, names: Collection[bytes]) -> bool:
        """Tell whether refs are in the shared stack, by these names."""
        return (
            min(names) >= b"refs/"
            and max(names) < b"refs0"
            and not (self._store.is_linked and any(name.startswith(PER_WORKTREE) for name in names))
        )

    def _apply_possible(self, updates: Collection[RefUpdate]) -> dict[bytes, ReftableError]:
        rejected: dict[bytes, ReftableError] = {}
        for update in updates:
            try:
                chain, before = self._examine(update)
            except (TransactionError, RefConflictError, BadRefNameError) as error:
                rejected[update.name] = error
            else:
                self._apply(update, chain, before)
        return rejected

    def _created_names(self) -> Iterator[bytes]:
        """Give the refs that this step creates, by their names in their stacks."""
        for part in self._parts.values():
            yield from part.created()

    def _created(self) -> Iterator[tuple[list[bytes], Iterator[tuple[bytes, bytes]]]]:
        """Give the refs that this step creates, sorted, and their conflicts with existing refs."""
        created = {stack: part.created() for stack, part in self._parts.items()}
        if any(created.values()):
            deleted = {stack: part.deleted() for stack, part in self._parts.items()}
            yield from split_by_worktree(self._store, created, deleted, self.refs_of)

    def keep(self) -> None:
        """Finish the step."""
        for part in self._parts.values():
            part.keep(self._store.settings.write)

    def drop(self) -> None:
        """Forget the step that was added last."""
        for part in self._parts.values():
            part.drop()

    def stacks(self) -> set[Stack]:
        """Give the stacks that the update touches."""
        return set(self._parts)

    def fits(self, snapshots: Mapping[Stack, Snapshot]) -> bool:
        """Tell whether the stacks are as they were when the update was prepared."""
        return all(
            stack in snapshots and snapshots[stack].listing.names == part.base.listing.names
            for stack, part in self._parts.items()
        )

    def refs_of(self, stack: Stack) -> Merged:
        """Give the refs of a stack, locked or not, as the steps so far leave them."""
        if stack in self._parts or not self._is_locked:
            return self._part(stack).refs_before
        if stack not in self._unlocked:
            self._unlocked[stack] = stack.snapshot()
        return self._unlocked[stack]

    def write(self, additions: Mapping[Stack, Addition]) -> None:
        """Write the tables; no list names them yet.

        Args:
          additions: to the stacks of this update
        Raises:
          RecordError: if a name or a message is too large for a block
          StorageError: if writing failed
        """
        for stack, part in self._parts.items():
            if part.bulk is None:
                part.write(additions[stack])
                continue

            def is_logged(name: bytes, part: StackUpdate = part) -> bool:
                return self._is_logged(part, name)

            index, head = part.update_index, self._branch_of_head()
            part.bulk.write(additions[stack], index, head, is_logged)

    def _preload(self, updates: Collection[RefUpdate]) -> None:
        """Look up the refs of all updates in one pass over each stack, and peel what they set."""
        self._peeled = None
        if len(updates) < 2:
            return
        self._peeled = self.peel.many(filter(None, map(_to_peel, updates)))
        names: dict[Stack, list[bytes]] = {}
        for update in updates:
            stack, name = self._store.find(update.name)
            names.setdefault(stack, []).append(name)
        for stack, wanted in names.items():
            part = self._part(stack)
            part.values = dict.fromkeys(wanted)
            part.values.update(part.refs_before.values_of(wanted))

    def _branch_of_head(self) -> bytes | None:
        """Give the branch that HEAD points to; only reflog entries need it."""
        if self._head is None:
            value = self.refs_of(self._store.current).ref_value(b"HEAD")
            self._head = (symref_target(value),)
        return self._head[0]

    def _part(self, stack: Stack) -> StackUpdate:
        if stack not in self._parts:
            if self._is_locked:
                raise UnlockedStackError(stack)
            snapshot = stack.snapshot()
            self._parts[stack] = StackUpdate(stack.storage.location, snapshot, snapshot)
        return self._parts[stack]

    def _resolve(self, name: bytes, follow: bool) -> tuple[_Chain, bytes | None]:
        """Find the refs that an update of a ref touches.

        Returns: the chain of symrefs from it on, as (part, name), and the value of the last ref; of
          a chain that is a circle or too long, only the first ref
        """
        chain: _Chain = []

        def read(name: bytes) -> bytes | None:
            if chain:
                check_name(name)  # in a table it may be anything
            stack, local = self._store.find(name)
            part = self._part(stack)
            chain.append((part, local))
            return part.value(local)

        if not follow:
            return chain, read(name)
        _, value = resolve(name, read)
        if symref_target(value) is not None:
            part, local = chain[0]
            return chain[:1], part.value(local)
        return chain, value

    def _id_of(self, name: bytes) -> bytes | None:
        """Give the object id that a ref finally points to; its stack need not be locked."""

        def read(name: bytes) -> bytes | None:
            stack, local = self._store.find(name)
            return self.refs_of(stack).ref_value(local)

        return resolved_id(name, read)

    def _check(self, update: RefUpdate, before: bytes | None) -> None:
        """Check that a ref is as expected.

        Raises:
          TransactionError: if it is not
        """
        if not update.expects or update.old == before:
            return
        may_lead_there = (
            update.old_is_resolved and update.old is not None and symref_target(before) is not None
        )
        if may_lead_there and update.old == self._id_of(update.name):
            return
        raise TransactionError(update.name, update.old, before)

    def _examine(self, update: RefUpdate) -> tuple[_Chain, bytes | None]:
        """Find the ref of one update and check it.

        Returns: the chain of refs that leads to it, and its value
        Raises:
          TransactionError: if the ref is not as expected
          RefConflictError: if it is known to conflict with another ref
          BadRefNameError: if it is a symref to no ref name
        """
        chain, before = self._resolve(update.name, update.follow)
        self._check(update, before)
        if self._conflicts and update.new is not None:
            other = self._conflicts.get(chain[-1][1])
            if other is not None:
                raise RefConflictError(update.name, other)
        return chain, before

    def _apply(self, update: RefUpdate, chain: _Chain, before: bytes | None) -> None:
        """Put down the records of one update."""
        part, name = chain[-1]
        for concerned, local in chain:
            concerned.claim(local, update.name)
        if update.verify_only:
            return
        signature = update.signature
        after = update.new
        was_symref, target = symref_target(before) is not None, symref_target(after)
        if after != before:
            part.refs[name] = self._record(part, name, update)
        elif target is None or signature is None:
            return
        if after is None and not was_symref:
            for log in part.refs_before.logs_of(name):
                key = log_key(name, log.update_index)
                part.logs[key] = LogRecord(name, log.update_index)
        if signature is None:
            return
        zero = b"0" * self._store.hex_size
        old, new = before or zero, after or zero
        if was_symref:
            old = self._id_of(name) or zero
        if target is not None:
            target_id = self._id_of(target)
            if target_id is None:
                return  # git, too, logs nothing for a symref to nowhere
            new = target_id
        # The symrefs of the chain get an entry as well, and HEAD if it points to this branch.
        logged = chain[:-1] if after is None and not was_symref else chain
        if name == self._branch_of_head() and not any(local == b"HEAD" for _, local in chain):
            head_part = self._part(self._store.current)
            head_part.claim(b"HEAD", update.name)
            logged = [*logged, (head_part, b"HEAD")]
        for log_part, local in logged:
            if self._is_logged(log_part, local):
                log_part.log(local, signature, old, new)

    def _is_logged(self, part: StackUpdate, name: bytes) -> bool:
        return self.starts_reflog(name) or any(True for _ in part.refs_before.logs_of(name))

    def _record(self, part: StackUpdate, name: bytes, update: RefUpdate) -> RefRecord:
        index, value = part.update_index, update.new
        if value is None:
            return RefRecord(name, index)
        target = symref_target(value)
        if target is not None:
            return RefRecord(name, index, target=target)
        if is_branch(name):
            peeled = None
        elif self._peeled is not None and _to_peel(update):
            peeled = self._peeled.get(value)
        else:
            peeled = self.peel(value)
        return RefRecord(name, index, a2b_hex(value), a2b_hex(peeled) if peeled else None)


def _to_peel(update: RefUpdate) -> bytes | None:
    """Give the object id that an update sets, if that may be the id of a tag."""
    new = update.new
    return None if new is None or is_branch(update.name) or is_symref(new) else new
