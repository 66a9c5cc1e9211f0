# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Apply a push to reftables: one transaction.

Under its lock the transaction reads each ref once, leaves out the updates that are not possible,
and says why. An atomic push gives up if there is one. So nothing can change between the check and
the update, and the report is true.
"""

from __future__ import annotations

import logging

from ...compat.errors import BadRefNameError
from ...engine.errors import (
    LockError,
    OutcomeUnknownError,
    RecordError,
    RefConflictError,
    ReftableError,
    TransactionError,
)
from ...refs.signature import Signature
from ...refs.transaction import Transaction
from ..errors import printable
from .commands import Command, pending, refuse
from .push_application import FAILED, LOCKED, UNKNOWN, PushApplication, mismatch

__all__ = ["ReftablePush"]

_log = logging.getLogger(__name__)

_ROUNDS = 10
"""How often a push is tried that has names which turn out to be too long."""


class ReftablePush(PushApplication):
    """Applies a push in a transaction; args are those of :class:`PushApplication`."""

    def apply(self, commands: list[Command], *, atomic: bool) -> None:
        """Apply commands; see the base class."""
        self._repo.refs.store.set_default_lock_timeout(self._lock_timeout)
        for _ in range(_ROUNDS):
            if self._is_over(commands, atomic):
                return
            left = pending(commands)
            try:
                self._transact(left, atomic)
                return
            except RecordError:
                # A few bytes decide whether a name fits into a block, and only writing tells.
                self._refuse_long(max(left, key=lambda command: len(command.target)))
            except LockError:
                refuse(left, LOCKED)
            except OutcomeUnknownError as error:
                text = "error: the store did not answer: an update may have happened, or not\n"
                self.explanations.append(text.encode())
                _log.error("the outcome of a push is unknown: %s", printable(str(error)))
                refuse(left, UNKNOWN)
            except (ReftableError, OSError):
                refuse(left, FAILED)
        refuse(pending(commands), FAILED)

    def _transact(self, commands: list[Command], atomic: bool) -> None:
        store = self._repo.refs.store
        signature = Signature.of(store, b"push", self._committer)
        with Transaction(
            store, signature, starts_reflog=self._is_logged, allow_failure=True
        ) as transaction:
            for command in commands:
                new = None if command.deletes else command.new
                try:
                    transaction.add_update(command.name, new, old=command.old)
                except RecordError:
                    self._refuse_long(command)
            transaction.prepare()
            self._refuse_rejected(commands, transaction.rejected)
            left = [] if self._is_over(commands, atomic) else pending(commands)
            if not left or not self._ask_hook(left):
                transaction.abort()
                return
            transaction.allow_failure = not atomic
            try:
                transaction.commit()
            except BaseException:
                self._tell_hook("aborted", left)
                raise
            self._refuse_rejected(left, transaction.rejected)
        self._tell_hook("committed", pending(left))

    def _refuse_rejected(
        self, commands: list[Command], rejected: dict[bytes, ReftableError]
    ) -> None:
        conflicts = {}
        for command in commands:
            error = rejected.get(command.name)
            if isinstance(error, RefConflictError):
                conflicts[command.target] = error.other
            elif error is not None:
                command.refusal = _reason(error)
        self._refuse_conflicts(commands, conflicts)

    def _refuse_long(self, command: Command) -> None:
        text = b"error: '%s...' is too long a name\n" % command.target[:60]
        self.explanations.append(text)
        command.refusal = FAILED


def _reason(error: ReftableError) -> bytes:
    if isinstance(error, BadRefNameError):
        return b"funny refname"
    if isinstance(error, TransactionError):
        return mismatch(error.expected, error.actual) or FAILED
    return FAILED
