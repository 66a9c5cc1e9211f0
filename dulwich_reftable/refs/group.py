# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Transactions of several threads in one table: each is a step, and succeeds or fails by itself.

A step sees what the steps before it leave, and has an update index of its own. If the list turns
out stale, all steps are prepared anew. See :mod:`dulwich_reftable.engine.stack.commit_queue` for
who leads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..engine.errors import OutcomeUnknownError, RecordError, ReftableError
from ..engine.stack.addition import Addition
from ..engine.stack.commit_queue import CommitQueue
from ..engine.stack.stack import Stack
from .peeling import Peeler
from .prepared_update import PreparedUpdate
from .ref_updates import RefUpdate
from .store import RefStore

__all__ = ["Request", "commit_in_group"]


class Request:
    """A transaction that waits to be written.

    Args:
      updates: of the transaction
      peel: that of its store; called by the thread that leads
      starts_reflog: tells whether a ref without a reflog gets one
    """

    def __init__(
        self,
        updates: Collection[RefUpdate],
        peel: Peeler,
        starts_reflog: Callable[[bytes], bool],
    ) -> None:
        self._updates = updates
        self.peel = peel
        self.starts_reflog = starts_reflog
        self.error: Exception | None = OutcomeUnknownError("", "it was not begun")
        """Why it failed; None if it is written."""

    def prepare(self, prepared: PreparedUpdate) -> None:
        """Prepare the transaction as the next step."""
        self.error = None
        prepared.peel, prepared.starts_reflog = self.peel, self.starts_reflog
        try:
            prepared.add(self._updates)
        except Exception as error:
            prepared.drop()
            self.error = error
        else:
            prepared.keep()


def commit_in_group(store: RefStore, request: Request) -> None:
    """Commit a transaction, together with those of other threads.

    Args:
      store: the refs; they are in one stack
      request: the transaction
    Raises:
      ReftableError: as a transaction that is committed alone
    """
    stack = store.shared
    queue: CommitQueue[Request] = CommitQueue.of(stack.storage)
    has_led = queue.submit(
        request,
        lambda requests: _commit(store, requests),
        timeout=stack.lock_timeout,
        location=stack.storage.location,
    )
    if has_led:
        queue.alone(stack.settle)
    if request.error is not None:
        raise request.error


def _commit(store: RefStore, requests: list[Request]) -> None:
    """Write transactions in one table; each keeps its own error."""
    stack = store.shared
    try:
        stack.update(lambda addition: _write(store, stack, addition, requests), compacts=False)
    except OutcomeUnknownError as error:
        # Who failed may have failed because of a step that never comes into being.
        failed = [request for request in requests if request.error is not None]
        for request in requests:
            request.error = request.error or error
        for request in failed:
            _commit(store, [request])
    except RecordError as error:
        # One of them is too large, and nothing is written.
        if len(requests) == 1:
            requests[0].error = error
        else:
            for request in requests:
                _commit(store, [request])
    except (ReftableError, OSError) as error:
        for request in requests:
            request.error = error
    except BaseException:
        stopped = OutcomeUnknownError(stack.storage.location, "the thread that wrote was stopped")
        for request in requests:
            request.error = stopped
        raise


def _write(store: RefStore, stack: Stack, addition: Addition, requests: list[Request]) -> None:
    first = requests[0]
    prepared = PreparedUpdate(store, {stack: addition.snapshot}, first.starts_reflog)
    for request in requests:
        request.prepare(prepared)
    prepared.write({stack: addition})
