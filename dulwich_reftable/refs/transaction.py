# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Updates of refs, all or nothing: one table and one update index for each stack they touch.

A transaction collects ref updates and does nothing before it is prepared. Then it locks the stacks,
in an order that everybody keeps; checks all expectations *under the locks*, and works out the
records (:mod:`dulwich_reftable.refs.prepared_update`); and writes the tables. The commit swaps the
lists, once all tables are on disk. An unmet expectation raises, and nothing is written.

Where the storage has no locks, others may write between ``prepare`` and ``commit``. Then the commit
works everything out anew on what they have written, so that expectations are always checked
against exactly the refs that are replaced.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType

from ..compat.errors import as_dulwich
from ..engine.errors import RecordError, RefConflictError, ReftableError, TransactionError
from ..engine.stack.addition import Addition, commit_all
from ..engine.stack.snapshot import Snapshot
from ..engine.stack.stack import Stack
from ..naming.names import check_name
from ..naming.symrefs import symref_target, symref_to
from .group import Request, commit_in_group
from .prepared_update import PreparedUpdate, UnlockedStackError
from .ref_updates import PlainUpdate, RefUpdate, RefUpdates, is_object_id
from .signature import Signature
from .store import RefStore

__all__ = ["Transaction", "check_size", "check_value", "is_zero"]


class Transaction:
    """Updates of several refs; use it as a context manager, or call :meth:`commit`.

    Leaving the context commits; leaving it by an exception does nothing. Names are full ref names,
    ids hex digits. Expectations: ``old=None`` expects nothing, the zero id expects that there is no
    such ref, any other value must be the ref's (``b"ref: <target>"`` for a symref that is not
    followed).

    Call :meth:`prepare` first to take the locks and make all checks before something else is done
    that depends on them.

    Args:
      store: the repository's refs
      signature: for reflog entries; None to write none
      starts_reflog: tells, by its name, whether a ref without a reflog gets one; None to follow
        the repository's settings
      allow_failure: whether to leave out updates that are not possible, and to do the others
        (git: ``REF_TRANSACTION_ALLOW_FAILURE``)

    Attributes:
      rejected: after :meth:`prepare` with ``allow_failure``, the updates that were left out: why,
        by their names. Where others may write after that, :meth:`commit` may add some
      allow_failure: as given; may be set before :meth:`commit`, which then raises for each update
        that has become impossible since
    """

    def __init__(
        self,
        store: RefStore,
        signature: Signature | None = None,
        *,
        starts_reflog: Callable[[bytes], bool] | None = None,
        allow_failure: bool = False,
    ) -> None:
        self.rejected: dict[bytes, ReftableError] = {}
        self.allow_failure = allow_failure
        self._store = store
        self._signature = signature
        self._starts_reflog = starts_reflog or (lambda name: store.settings.starts_reflogs)
        self._hex_size = store.hex_size
        self._zero = b"0" * self._hex_size
        self._updates = RefUpdates(signature, self._hex_size)
        self._held = ExitStack()  # the locked stacks
        self._additions: list[Addition] = []
        self._stacks: set[Stack] = set()  # that these are to
        self._is_prepared = False
        self._is_over = False

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and not self._is_over:
            self.commit()
        self.abort()

    # Collecting

    def create(self, name: bytes, new: bytes) -> None:
        """Make a ref that must not exist yet; symrefs are followed.

        Raises:
          BadRefNameError: if the name is illegal
          ValueError: if ``new`` is no object id
        """
        self.add_update(name, new, old=self._zero)

    def update(self, name: bytes, new: bytes, old: bytes | None = None) -> None:
        """Point a ref at an object; symrefs are followed.

        Raises:
          BadRefNameError: if the name is illegal
          ValueError: if ``new`` is no object id
        """
        self.add_update(name, new, old=old)

    def delete(self, name: bytes, old: bytes | None = None) -> None:
        """Delete a ref and its reflog; symrefs are not followed.

        Raises:
          BadRefNameError: if the name is illegal
        """
        self.add_update(name, None, old=old, follow=False)

    def verify(self, name: bytes, old: bytes) -> None:
        """Check the value of a ref and leave the ref alone; symrefs are followed.

        Raises:
          BadRefNameError: if the name is illegal
        """
        self.add_update(name, None, old=old, verify_only=True)

    def set_symbolic_ref(self, name: bytes, target: bytes, old: bytes | None = None) -> None:
        """Make a ref point at another ref, which need not exist; the ref itself is not followed.

        Raises:
          BadRefNameError: if one of the names is illegal
        """
        self.add_update(name, symref_to(target), old=old, follow=False)

    def add_update(
        self,
        name: bytes,
        new: bytes | None,
        *,
        old: bytes | None = None,
        follow: bool = True,
        verify_only: bool = False,
        signature: Signature | None = None,
        old_is_resolved: bool = False,
    ) -> None:
        """Add an update of any kind.

        Args:
          name: of the ref
          new: hex object id, ``b"ref: <target>"``, or None to delete
          old: value that the ref must have; None for any
          follow: whether to update the ref that a symref leads to
          verify_only: whether only to check ``old``
          signature: for the reflog; None for the transaction's
          old_is_resolved: whether an object id as ``old`` is compared with the object that a symref
            leads to, where the symref is not followed; git's ``update-ref`` does so
        Raises:
          BadRefNameError: if the name is illegal
          ValueError: if ``new`` is neither an object id nor a symref
          RecordError: if the name is too long for a block
          TransactionError: if the transaction has an update of this ref
        """
        self._require_open()
        check_name(name)
        packed = None
        if new is not None:
            if follow and not verify_only and signature is None:
                packed = PlainUpdate.pack(new, old, self._hex_size)
            if packed is None:
                check_value(new, self._hex_size)
            check_size(self._store, name, new)
        if packed is not None:
            is_first = self._updates.add_plain(name, packed)
        else:
            expects, expected = old is not None, None if old is None or is_zero(old) else old
            who = signature or self._signature
            is_first = self._updates.add(
                RefUpdate(name, new, expects, expected, follow, who, verify_only, old_is_resolved)
            )
        if not is_first:
            raise TransactionError(name, None, None, "updated more than once in a transaction")

    # Committing

    def prepare(self) -> None:
        """Take the locks, check all expectations and write the tables, but do not list them yet.

        Until :meth:`commit` or :meth:`abort`, nobody else can write to these stacks (unless their
        storage is optimistic), nobody sees the updates, and no update can be added. If this fails,
        the transaction is over, and nothing was written.

        Raises:
          TransactionError: if an expectation is not met
          RefConflictError: if a ref would be a directory of another one
          LockError: if a lock stayed taken
          RecordError: if a name or a message is too large for a block
          StorageError: if writing failed
        """
        self._require_open()
        try:
            self._stacks = self._stacks_to_lock()
            with as_dulwich():
                while True:
                    try:
                        self._lock_and_write(self._stacks)
                    except UnlockedStackError as missing:
                        self._release()
                        self._stacks.add(missing.stack)
                    else:
                        break
        except BaseException:
            self.abort()
            raise
        self._is_prepared = True

    def _lock_and_write(self, stacks: set[Stack]) -> None:
        if not stacks:
            return
        additions: dict[Stack, Addition] = {}
        for stack in _in_order(stacks):
            additions[stack] = self._held.enter_context(stack.addition())
        snapshots = {stack: addition.snapshot for stack, addition in additions.items()}
        self._prepare_update(snapshots).write(additions)
        self._additions = list(additions.values())

    def _stacks_to_lock(self) -> set[Stack]:
        """Give the stacks to lock, as far as they are known before symrefs are followed."""
        return self._store.stacks_of(self._updates.names())

    def _prepare_update(self, snapshots: Mapping[Stack, Snapshot]) -> PreparedUpdate:
        """Prepare the records to write to the locked stacks."""
        prepared = PreparedUpdate(self._store, snapshots, self._starts_reflog)
        if self.allow_failure:
            self.rejected.update(prepared.add_possible(self._updates))
        else:
            prepared.add(self._updates)
        return prepared

    def commit(self) -> None:
        """Make the updates, all of them or none.

        Raises:
          ReftableError: as :meth:`prepare`, if that was not called before
          TransactionError, RefConflictError: if others have written since that was called, which
            only an optimistic storage lets them, and have made an update impossible
          StorageError: if writing failed
          OutcomeUnknownError: if nobody can tell whether the updates were made
        """
        was_prepared = self._is_prepared
        if not was_prepared and self._may_join_others():
            self._commit_with_others()
            return
        if not was_prepared:
            self.prepare()
        try:
            with as_dulwich():
                self._commit(was_prepared)
        finally:
            self.abort()

    def _may_join_others(self) -> bool:
        """Tell whether it may be written in one table with transactions of other threads."""
        is_optimistic = self._store.shared.storage.is_optimistic
        return is_optimistic and not self.allow_failure and bool(self._updates)

    def _commit_with_others(self) -> None:
        self._require_open()
        request = Request(tuple(self._updates), self._store.peel, self._starts_reflog)
        try:
            with as_dulwich():
                commit_in_group(self._store, request)
        finally:
            self.abort()

    def _commit(self, was_prepared: bool) -> None:
        """Commit the additions, or others in their place if somebody else was faster.

        Args:
          was_prepared: whether the caller has prepared the transaction and knows its results
        """
        is_first = True

        def attempt() -> None:
            nonlocal is_first
            if not is_first:
                self._release()
                with _saying_since(was_prepared):
                    self._lock_and_write(self._stacks)
            is_first = False
            commit_all(self._additions)

        if len(self._stacks) == 1:
            (stack,) = self._stacks
            self._drop_rejected()
            stack.retry(attempt)
        else:
            attempt()

    def _drop_rejected(self) -> None:
        """Forget updates that were left out: the caller was told that they are not done."""
        self._updates.discard(self.rejected)

    def abort(self) -> None:
        """Forget all updates and release the locks; does nothing if the transaction is over."""
        self._is_over = True
        self._is_prepared = False
        self._updates.clear()
        self._release()

    def _release(self) -> None:
        self._additions = []
        self._held.close()

    def _require_open(self) -> None:
        if self._is_over or self._is_prepared:
            state = "over" if self._is_over else "prepared"
            raise ReftableError(f"the transaction is {state}")


@contextmanager
def _saying_since(was_prepared: bool) -> Iterator[None]:
    """Let the error of an update say that the ref has changed since the update was prepared."""
    try:
        yield
    except (TransactionError, RefConflictError) as error:
        if was_prepared:
            error.args = (f"{error}; it has changed since the update was prepared",)
        raise


def _in_order(stacks: set[Stack]) -> list[Stack]:
    """Sort stacks by path, so that no two writers lock them in opposite orders."""
    if len(stacks) < 2:
        return list(stacks)
    # Two worktrees may have different paths for the same directory.
    return sorted(stacks, key=lambda stack: os.path.realpath(stack.storage.location))


def is_zero(value: bytes) -> bool:
    """Tell whether a value is the zero id, of whichever length: "no such ref"."""
    return len(value) in (40, 64) and not value.strip(b"0")


def check_value(value: bytes, hex_size: int) -> None:
    """Check the value of a ref.

    Args:
      value: hex object id, or ``b"ref: <target>"``
      hex_size: digits of an object id
    Raises:
      ValueError: if it is neither, or is the zero id
      BadRefNameError: if the target is an illegal name
    """
    if is_object_id(value, hex_size) and not is_zero(value):
        return
    target = symref_target(value)
    if target is None:
        raise ValueError(f"{value!r} is neither an object id of {hex_size} digits nor a symref")
    check_name(target)


def check_size(store: RefStore, name: bytes, value: bytes) -> None:
    """Check that a block can hold a ref; this comes before the check for conflicts.

    Args:
      store: the repository's refs
      name: of the ref
      value: hex object id, or ``b"ref: <target>"``
    Raises:
      RecordError: if name and target are too long
    """
    options = store.settings.write
    # Half a block for the name and the hex id leaves room for all else; that is most often so.
    if len(name) + len(value) > options.block_size // 2 and not options.can_hold(
        name, symref_target(value)
    ):
        raise RecordError(
            f"ref name '{os.fsdecode(name[:60])}...' of {len(name)} bytes does not fit into a "
            f"block of {options.block_size} bytes"
        )
