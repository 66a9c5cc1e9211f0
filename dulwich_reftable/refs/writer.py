# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Writing refs: the methods of dulwich's ``RefsContainer`` that change refs, and some of our own.

Every write is a transaction, even that of one ref. So expectations are checked under the lock, and
the reflog entry is in the same table as the ref.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import get_ident

from dulwich.objects import ObjectID
from dulwich.refs import HEADREF, Ref

from ..compat.errors import as_dulwich
from ..engine.errors import ReftableError, TransactionError
from ..engine.stack.addition import Addition
from ..naming.names import check_name, collapse
from ..naming.symrefs import symref_to
from . import reflog_changes
from .batch import Batch
from .reader import RefsReader
from .signature import Signature
from .store import RefStore
from .transaction import Transaction, check_size, check_value

__all__ = ["Logger", "RefsWriter"]

Logger = Callable[[bytes, bytes, bytes, "bytes | None", "int | None", "int | None", bytes], None]


class RefsWriter(RefsReader):
    """The methods of a refs container that write.

    Args:
      store: the stacks that the refs are in
      logger: called after an update that has a message; may be None
    """

    def __init__(self, store: RefStore, logger: Logger | None) -> None:
        super().__init__(store)
        self._logger = logger
        self._batches: dict[int, Batch] = {}  # by the thread that began them

    # One ref

    def set_if_equals(
        self,
        name: Ref,
        old_ref: ObjectID | None,
        new_ref: ObjectID,
        committer: bytes | None = None,
        timestamp: int | None = None,
        timezone: int | None = None,
        message: bytes | None = None,
    ) -> bool:
        """Set a ref if it is as expected; symrefs are followed.

        Args:
          name: of the ref; if it leads into a loop of symrefs, this ref is replaced
          old_ref: value that it must have; None for any, the zero id for "no such ref"
          new_ref: hex object id, or ``b"ref: <target>"``
          committer: ``b"Name <address>"`` for the reflog; None for the configured one
          timestamp: seconds since the epoch; None for now
          timezone: seconds east of UTC; None for the local zone
          message: for the reflog; None for no entry
        Returns: False if the ref was not as expected, and nothing was written
        Raises:
          BadRefNameError: if the name is illegal
          ValueError: if the value is neither an object id nor a symref
          RefConflictError: if another ref is a directory of this one, or below it
          LockError, StorageError: if it could not be written
        """
        signature = self._signature(message, committer, timestamp, timezone)
        return self._update_ref(name, old_ref, new_ref, follow=True, signature=signature)

    def add_if_new(
        self,
        name: Ref,
        ref: ObjectID,
        committer: bytes | None = None,
        timestamp: int | None = None,
        timezone: int | None = None,
        message: bytes | None = None,
    ) -> bool:
        """Create a ref if there is none; symrefs are followed.

        Args and errors are those of :meth:`set_if_equals`.

        Returns: False if there is such a ref
        Raises:
          SymrefLoop: if the name leads into a loop
        """
        self._check_refname(name)
        check_value(ref, self.store.hex_size)
        if self.follow(name)[1] is not None:
            return False
        signature = self._signature(message, committer, timestamp, timezone)
        zero = ObjectID(b"0" * self.store.hex_size)
        return self._update_ref(name, zero, ref, follow=True, signature=signature)

    def remove_if_equals(
        self,
        name: Ref,
        old_ref: ObjectID | None,
        committer: bytes | None = None,
        timestamp: int | None = None,
        timezone: int | None = None,
        message: bytes | None = None,
    ) -> bool:
        """Delete a ref, and its reflog, if it is as expected; symrefs are not followed.

        Args and errors are those of :meth:`set_if_equals`. The message goes to the reflog of HEAD,
        if HEAD points to the ref.

        Returns: False if the ref was not as expected, and nothing was written
        """
        signature = self._signature(message, committer, timestamp, timezone)
        return self._update_ref(name, old_ref, None, follow=False, signature=signature)

    def set_symbolic_ref(
        self,
        name: Ref,
        other: Ref,
        committer: bytes | None = None,
        timestamp: int | None = None,
        timezone: int | None = None,
        message: bytes | None = None,
    ) -> None:
        """Make a ref point at another ref, which need not exist.

        Args and errors are those of :meth:`set_if_equals`.
        """
        signature = self._signature(message, committer, timestamp, timezone)
        self._update_ref(name, None, symref_to(other), follow=False, signature=signature)

    def _check_refname(self, name: Ref) -> None:
        check_name(self._collapsed(name))

    def _collapsed(self, name: bytes) -> Ref:
        """Leave out empty components of a name, with dulwich's warning."""
        if b"//" in name:
            super()._check_refname(Ref(name))
            name = collapse(name)
        return Ref(name)

    def _signature(
        self,
        message: bytes | None,
        committer: bytes | None,
        timestamp: int | None,
        timezone: int | None,
    ) -> Signature | None:
        if message is None:
            return None
        return Signature.of(self.store, message, committer, timestamp, timezone)

    def _update_ref(
        self,
        name: bytes,
        old: bytes | None,
        new: bytes | None,
        *,
        follow: bool,
        signature: Signature | None,
    ) -> bool:
        """Update one ref; tell whether the ref was as expected."""
        name = self._collapsed(name)
        before = self.read_ref(name) if self._logger is not None else None
        transaction = self._begin(None)
        transaction.add_update(name, new, old=old, follow=follow, signature=signature)
        try:
            transaction.commit()
        except TransactionError:
            return False
        if self._logger is not None and signature is not None:
            who = signature.name + b" <" + signature.email + b">"
            line = signature.message.rstrip(b"\n")
            log = partial(self._log, name, before, new, who, signature.time, None, line)
            batch = self._batch()
            if batch is None:
                log()
            else:
                batch.call_after(log)
        return True

    def _batch(self) -> Batch | None:
        """Give the batch that this thread began; None if there is none."""
        return self._batches.get(get_ident()) if self._batches else None

    def _begin(self, signature: Signature | None) -> Transaction:
        batch = self._batch()
        return Transaction(self.store, signature) if batch is None else batch.transaction(signature)

    # Many refs

    def transaction(
        self,
        message: bytes | None = None,
        committer: bytes | None = None,
        timestamp: int | None = None,
        timezone: int | None = None,
    ) -> Transaction:
        """Begin updates of several refs, all or nothing; a context manager.

        In a :meth:`batch_update` it becomes a step of the batch; nothing is locked before the batch
        ends.

        Args:
          message: for the reflogs; None for no entries
          committer: ``b"Name <address>"``; None for the configured one
          timestamp: seconds since the epoch; None for now
          timezone: seconds east of UTC; None for the local zone
        """
        return self._begin(self._signature(message, committer, timestamp, timezone))

    @contextmanager
    def batch_update(self) -> Iterator[None]:
        """Gather this thread's updates and write them at the end, all of them or none.

        They have the same result as one after another, reflogs included, but in one table. A call
        sees the results of the calls before it, and so do reads by this thread; other threads and
        processes see nothing before the end. Expectations are checked at the call, and once more at
        the end, under the lock. An exception that leaves the context drops all updates. Renames,
        copies and changes of reflogs alone cannot be part of a batch.

        Raises:
          TransactionError: at the end, if somebody else changed one of the refs meanwhile
          RefConflictError: at the end, if somebody else created a ref that conflicts
          LockError, StorageError: at the end, if it could not be written
        """
        thread = get_ident()
        if thread in self._batches:
            yield  # part of the batch around it
            return
        batch = self._batches[thread] = Batch(self.store)
        try:
            yield
        finally:
            del self._batches[thread]
        batch.commit()

    def import_refs(
        self,
        base: Ref,
        other: Mapping[Ref, ObjectID | None],
        committer: bytes | None = None,
        timestamp: bytes | None = None,
        timezone: bytes | None = None,
        message: bytes | None = None,
        prune: bool = False,
    ) -> None:
        """Import refs below a base, in one transaction.

        Args:
          base: such as ``b"refs/remotes/origin"``
          other: object ids by names below the base; None deletes
          committer: ``b"Name <address>"`` for the reflogs
          timestamp: seconds since the epoch
          timezone: seconds east of UTC
          message: for the reflogs; None for no entries
          prune: whether refs below the base that are not in ``other`` are deleted
        """
        base = Ref(base.rstrip(b"/"))
        when = None if timestamp is None else int(timestamp)
        zone = None if timezone is None else int(timezone)
        stale = self.subkeys(base) if prune else set()
        with self.transaction(message, committer, when, zone) as transaction:
            for name, value in other.items():
                stale.discard(name)
                full = self._collapsed(base + b"/" + name)
                transaction.add_update(full, value, follow=value is not None)
            for name in stale:
                transaction.delete(base + b"/" + name)

    def add_packed_refs(self, new_refs: Mapping[Ref, ObjectID | None]) -> None:
        """Set refs in one transaction, whatever their values were; symrefs are not followed.

        Args:
          new_refs: object ids by names; None deletes
        Raises:
          ValueError: for HEAD
        """
        with self.transaction() as transaction:
            for name, value in new_refs.items():
                if name == HEADREF:
                    raise ValueError("cannot pack HEAD")
                transaction.add_update(name, value, follow=False)

    # Renaming

    def rename(
        self,
        old: Ref,
        new: Ref,
        message: bytes | None = None,
        committer: bytes | None = None,
        timestamp: int | None = None,
        timezone: int | None = None,
    ) -> None:
        """Rename a ref, with its reflog.

        HEAD is not changed. Its reflog gets an entry, if it points to the ref (``git branch -m``
        moves HEAD afterwards).

        Args:
          old: its name
          new: its new name; there must be no such ref
          message: for the reflogs; None for no new entries
          committer: ``b"Name <address>"``; None for the configured one
          timestamp: seconds since the epoch; None for now
          timezone: seconds east of UTC; None for the local zone
        Raises:
          BadRefNameError: if the name is illegal
          TransactionError: if there is no ref ``old``, it is a symref, or there is a ref ``new``
          RefConflictError: if another ref is a directory of this one, or below it
        """
        signature = self._signature(message, committer, timestamp, timezone)
        self._move(old, new, signature, keep=False)

    def copy(
        self,
        old: Ref,
        new: Ref,
        message: bytes | None = None,
        committer: bytes | None = None,
        timestamp: int | None = None,
        timezone: int | None = None,
    ) -> None:
        """Copy a ref, with its reflog; args and errors are those of :meth:`rename`."""
        signature = self._signature(message, committer, timestamp, timezone)
        self._move(old, new, signature, keep=True)

    def _move(self, old: bytes, new: bytes, signature: Signature | None, *, keep: bool) -> None:
        check_name(old)
        check_name(new)
        if self._batch() is not None:
            raise ReftableError("refs cannot be renamed or copied in a batch")
        (stack, old_local), (other, new_local) = map(self.store.find, (old, new))
        if stack is not other:
            raise TransactionError(old, None, None, "its new name belongs to another worktree")
        check_size(self.store, new, b"")

        def work(addition: Addition) -> None:
            reflog_changes.move(
                self.store, stack, addition, old_local, new_local, signature, keep=keep
            )

        with as_dulwich():
            stack.update(work)
