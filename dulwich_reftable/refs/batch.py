# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Batches: many calls that become one table, and leave what they would leave one after another.

Each call is a step of one plan, made when it is called and without a lock: it sees what the
steps before it leave, and fails or not as it would alone. At the end the stacks are locked. If
nobody has written to them since, the plan is what is to be written; else all steps are worked out
again, on what is there now, and one whose expectation is not met any more fails the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..engine.stack.snapshot import Snapshot
from ..engine.stack.stack import Stack
from ..engine.table.merged import Merged
from .errors import as_dulwich
from .prepared_update import Edit, Plan
from .signature import Stamp
from .store import Backend
from .transaction import Transaction

__all__ = ["Batch"]


class Batch(Transaction):
    """Transactions that are committed together; it has no edits of its own.

    Args:
      backend: the repository's refs
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._steps: list[tuple[Edit, ...]] = []
        self._told: list[Callable[[], None]] = []
        self._plan = Plan(backend, None, self._peel, self._starts_reflog)

    def refs_of(self, stack: Stack) -> Merged:
        """Give the refs of a stack as the batch sees them: as its calls so far leave them."""
        return self._plan.refs_of(stack)

    def transaction(self, stamp: Stamp | None) -> Transaction:
        """Begin a transaction whose commit makes it a part of the batch.

        Args:
          stamp: for reflog entries; None to write none
        """
        return _Step(self._backend, stamp, self)

    def tell(self, call: Callable[[], None]) -> None:
        """Make a call when the batch is written."""
        self._told.append(call)

    def commit(self) -> None:
        """Write all steps."""
        super().commit()
        for call in self._told:
            call()

    def work_out(self, edits: tuple[Edit, ...]) -> None:
        """Plan a step; it has to be kept or dropped next."""
        try:
            with as_dulwich():
                self._plan.add(edits)
        except BaseException:
            self._plan.drop()
            raise

    def keep(self, edits: tuple[Edit, ...]) -> None:
        """Make the step that was planned a part of the batch."""
        self._plan.keep()
        self._steps.append(edits)

    def drop(self) -> None:
        """Forget the step that was planned."""
        self._plan.drop()

    def _concerned(self) -> set[Stack]:
        return self._plan.stacks() if self._steps else set()

    def _planned(self, snapshots: Mapping[Stack, Snapshot]) -> Plan:
        if self._plan.fits(snapshots):
            return self._plan
        plan = Plan(self._backend, snapshots, self._peel, self._starts_reflog)
        for edits in self._steps:
            plan.add(edits)
            plan.keep()
        return plan


class _Step(Transaction):
    """One of a batch's transactions."""

    def __init__(self, backend: Backend, stamp: Stamp | None, batch: Batch) -> None:
        super().__init__(backend, stamp)
        self._batch = batch

    def prepare(self) -> None:
        self._require_open()
        try:
            self._batch.work_out(tuple(self._edits.values()))
        except BaseException:
            self.abort()
            raise
        self._is_prepared = True

    def commit(self) -> None:
        if not self._is_prepared:
            self.prepare()
        self._batch.keep(tuple(self._edits.values()))
        self._is_prepared = False
        self.abort()

    def abort(self) -> None:
        if self._is_prepared:
            self._batch.drop()
        super().abort()
