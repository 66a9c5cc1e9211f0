# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Writing refs: dulwich's ``RefsContainer`` methods that change something, and some of our own.

Every write is a transaction, be it of one ref, so that what is expected is checked under the lock
and the reflog entry stands in the same table as the ref.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from dulwich.objects import ObjectID
from dulwich.refs import HEADREF, Ref, SymrefLoop

from . import reflog
from .backend import Backend
from .engine.errors import TransactionError
from .engine.ref_run import SYMREF_PREFIX
from .errors import as_dulwich
from .names import check_name, collapse
from .reader import RefsReader
from .stamp import Stamp
from .transaction import Transaction, check_value

__all__ = ["Logger", "RefsUpdater"]

Logger = Callable[[bytes, bytes, bytes, "bytes | None", "int | None", "int | None", bytes], None]


class RefsUpdater(RefsReader):
    """What can be done to a repository's refs.

    Args:
      backend: the repository's refs
      logger: called after an update that has a message; None for nobody
    """

    def __init__(self, backend: Backend, logger: Logger | None) -> None:
        super().__init__(backend)
        self._logger = logger
        self._batches = threading.local()

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
          name: of the ref; a set through a loop of symrefs replaces this one
          old_ref: value that it must have; None for any, the zero id for "no such ref"
          new_ref: hex object id, or ``b"ref: <target>"``
          committer: ``b"Name <address>"`` for the reflog; None for who is at work
          timestamp: seconds since the epoch; None for now
          timezone: seconds east of UTC; None for the local zone
          message: for the reflog; None for no entry
        Returns: False if the ref was not as expected, and nothing was written
        Raises:
          BadRefNameError: if the name is illegal
          ValueError: if the value is neither an object id nor a symref
          RefConflictError: if another ref is in the way
          LockError, StorageError: if it could not be written
        """
        stamp = self._stamp(message, committer, timestamp, timezone)
        return self._edit(name, old_ref, new_ref, follow=True, stamp=stamp)

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
        check_value(ref, self._backend.hex_size)
        if self.follow(name)[1] is not None:
            return False
        stamp = self._stamp(message, committer, timestamp, timezone)
        zero = ObjectID(b"0" * self._backend.hex_size)
        return self._edit(name, zero, ref, follow=True, stamp=stamp)

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

        Args and errors are those of :meth:`set_if_equals`; the message goes to the reflog of HEAD,
        if it points to the ref.

        Returns: False if the ref was not as expected, and nothing was written
        """
        stamp = self._stamp(message, committer, timestamp, timezone)
        return self._edit(name, old_ref, None, follow=False, stamp=stamp)

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
        stamp = self._stamp(message, committer, timestamp, timezone)
        self._edit(name, None, SYMREF_PREFIX + other, follow=False, stamp=stamp)

    def _check_refname(self, name: Ref) -> None:
        self._tolerated(name)

    def _tolerated(self, name: bytes) -> Ref:
        """Check a name; bear with empty components, which dulwich warns of, by leaving them out."""
        if b"//" in name:
            super()._check_refname(Ref(name))
            name = collapse(name)
        check_name(name)
        return Ref(name)

    def _stamp(
        self,
        message: bytes | None,
        committer: bytes | None,
        timestamp: int | None,
        timezone: int | None,
    ) -> Stamp | None:
        if message is None:
            return None
        return Stamp.of(self._backend, message, committer, timestamp, timezone)

    def _edit(
        self,
        name: bytes,
        old: bytes | None,
        new: bytes | None,
        *,
        follow: bool,
        stamp: Stamp | None,
    ) -> bool:
        """Do one edit; tell whether the ref was as expected."""
        name = self._tolerated(name)
        batch: Transaction | None = getattr(self._batches, "transaction", None)
        if batch is not None:
            if not self._is_expected(batch, name, old, follow):
                return False
            batch.edit(name, new, old=old, follow=follow, stamp=stamp)
            return True
        transaction = Transaction(self._backend)
        transaction.edit(name, new, old=old, follow=follow, stamp=stamp)
        before = self.read_ref(Ref(name)) if self._logger is not None else None
        try:
            transaction.commit()
        except TransactionError:
            return False
        if self._logger is not None and stamp is not None:
            who = stamp.name + b" <" + stamp.email + b">"
            self._log(name, before, new, who, stamp.time, None, stamp.message.rstrip(b"\n"))
        return True

    def _is_expected(
        self, batch: Transaction, name: bytes, old: bytes | None, follow: bool
    ) -> bool:
        if old is None:
            return True
        is_pending, value = batch.pending(name)
        if not is_pending:
            value = self.read_ref(Ref(name))
            if follow:
                with suppress(SymrefLoop):
                    value = self.follow(Ref(name))[1]
        zero = b"0" * self._backend.hex_size
        return (value or zero) == old

    # Many refs

    def transaction(
        self,
        message: bytes | None = None,
        committer: bytes | None = None,
        timestamp: int | None = None,
        timezone: int | None = None,
    ) -> Transaction:
        """Begin updates of several refs, all or nothing; a context manager.

        Args:
          message: for the reflogs; None for no entries
          committer: ``b"Name <address>"``; None for who is at work
          timestamp: seconds since the epoch; None for now
          timezone: seconds east of UTC; None for the local zone
        """
        return Transaction(self._backend, self._stamp(message, committer, timestamp, timezone))

    @contextmanager
    def batch_update(self) -> Iterator[None]:
        """Gather this thread's updates and write them as one transaction at the end.

        In between, reading does not show them. What an update expects is checked when it is made
        and once more at the end, under the lock.

        Raises:
          TransactionError: at the end, if somebody else changed one of the refs meanwhile
        """
        if getattr(self._batches, "transaction", None) is not None:
            yield  # part of the batch around it
            return
        transaction = Transaction(self._backend, replaceable=True)
        self._batches.transaction = transaction
        try:
            yield
        finally:
            self._batches.transaction = None
        transaction.commit()

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
                full = self._tolerated(base + b"/" + name)
                transaction.edit(full, value, follow=value is not None)
            for name in stale:
                transaction.delete(base + b"/" + name)

    def add_packed_refs(self, new_refs: Mapping[Ref, ObjectID | None]) -> None:
        """Set refs, in one transaction, without following symrefs or asking what was there.

        Args:
          new_refs: object ids by names; None deletes
        Raises:
          ValueError: for HEAD
        """
        with self.transaction() as transaction:
            for name, value in new_refs.items():
                if name == HEADREF:
                    raise ValueError("cannot pack HEAD")
                transaction.edit(name, value, follow=False)

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

        HEAD is not moved, but its reflog tells if it pointed to the ref (git: ``git branch -m``
        moves it afterwards).

        Args:
          old: its name
          new: name to be; there must be no such ref
          message: for the reflogs; None for no entries but the old ones
          committer: ``b"Name <address>"``; None for who is at work
          timestamp: seconds since the epoch; None for now
          timezone: seconds east of UTC; None for the local zone
        Raises:
          BadRefNameError: if the name is illegal
          TransactionError: if there is no ref ``old``, it is a symref, or there is a ref ``new``
          RefConflictError: if another ref is in the way
        """
        stamp = self._stamp(message, committer, timestamp, timezone)
        self._move(old, new, stamp, keep=False)

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
        stamp = self._stamp(message, committer, timestamp, timezone)
        self._move(old, new, stamp, keep=True)

    def _move(self, old: bytes, new: bytes, stamp: Stamp | None, *, keep: bool) -> None:
        check_name(old)
        check_name(new)
        (stack, old_local), (other, new_local) = map(self._backend.find, (old, new))
        if stack is not other:
            raise TransactionError(old, None, None, "its new name belongs to another worktree")
        with as_dulwich(), stack.addition() as addition:
            reflog.move(addition, old_local, new_local, stamp, keep=keep)
