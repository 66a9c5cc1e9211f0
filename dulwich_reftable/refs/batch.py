# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Batches: many calls become one table, and leave what they would leave one after another.

Each call is a step of one prepared update. It is prepared when it is called, without a lock: it
sees what the steps before it leave, and fails or not as it would alone. At the end the stacks are
locked. If nobody has written to them since, the prepared update is written; else all steps are
prepared again, on the refs that are there now, and a step whose expectation is no longer met fails
the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..compat.errors import as_dulwich
from ..engine.stack.snapshot import Snapshot
from ..engine.stack.stack import Stack
from ..engine.table.merged import Merged
from .prepared_update import PreparedUpdate
from .ref_updates import RefUpdate
from .signature import Signature
from .store import RefStore
from .transaction import Transaction

__all__ = ["Batch"]


class Batch(Transaction):
    """Transactions that are committed together; they are its steps.

    Args:
      store: the repository's refs
    """

    def __init__(self, store: RefStore) -> None:
        super().__init__(store)
        self._steps: list[tuple[RefUpdate, ...]] = []
        self._calls_after: list[Callable[[], None]] = []
        self._prepared = PreparedUpdate(store, None, self._starts_reflog)

    def refs_of(self, stack: Stack) -> Merged:
        """Give the refs of a stack as the steps so far leave them."""
        return self._prepared.refs_of(stack)

    def transaction(self, signature: Signature | None) -> Transaction:
        """Begin a transaction that becomes a step of the batch when it is committed.

        Args:
          signature: for reflog entries; None to write none
        """
        return _Step(self._store, signature, self)

    def call_after(self, call: Callable[[], None]) -> None:
        """Call a function once the batch is written."""
        self._calls_after.append(call)

    def commit(self) -> None:
        """Write all steps."""
        super().commit()
        for call in self._calls_after:
            call()

    def prepare_step(self, updates: tuple[RefUpdate, ...]) -> None:
        """PreparedUpdate a step; it has to be kept or dropped next."""
        try:
            with as_dulwich():
                self._prepared.add(updates)
        except BaseException:
            self._prepared.drop()
            raise

    def keep_step(self, updates: tuple[RefUpdate, ...]) -> None:
        """Add the step that was prepared to the batch."""
        self._prepared.keep()
        self._steps.append(updates)

    def drop_step(self) -> None:
        """Forget the step that was prepared."""
        self._prepared.drop()

    def _may_join_others(self) -> bool:
        return False  # it has steps of its own

    def _stacks_to_lock(self) -> set[Stack]:
        return self._prepared.stacks() if self._steps else set()

    def _prepare_update(self, snapshots: Mapping[Stack, Snapshot]) -> PreparedUpdate:
        if self._prepared.fits(snapshots):
            return self._prepared
        prepared = PreparedUpdate(self._store, snapshots, self._starts_reflog)
        for updates in self._steps:
            prepared.add(updates)
            prepared.keep()
        return prepared


class _Step(Transaction):
    """A transaction that is a step of a batch."""

    def __init__(self, store: RefStore, signature: Signature | None, batch: Batch) -> None:
        super().__init__(store, signature)
        self._batch = batch

    def prepare(self) -> None:
        self._require_open()
        try:
            self._batch.prepare_step(tuple(self._updates))
        except BaseException:
            self.abort()
            raise
        self._is_prepared = True

    def commit(self) -> None:
        if not self._is_prepared:
            self.prepare()
        self._batch.keep_step(tuple(self._updates))
        self._is_prepared = False
        self.abort()

    def abort(self) -> None:
        if self._is_prepared:
            self._batch.drop_step()
        super().abort()
