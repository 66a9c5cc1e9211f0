# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Transactions of ``update-ref`` that run the hook ``reference-transaction``, as git does.

The hook runs before a transaction is prepared and after it, and may refuse it both times. It runs
again after the commit or the abort. Before the locks are taken, it reads the names of refs as
given; afterwards it reads the refs that symrefs lead to. It does not run for a transaction that
fails before it is prepared.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from dulwich.refs import Ref, SymrefLoop

from ..engine.errors import ReftableError
from ..naming.symrefs import symref_target
from ..refs.container import ReftableRefsContainer
from ..refs.signature import Signature
from ..refs.transaction import Transaction
from ..repo.hook_scripts import TRANSACTION_HOOK, HookScripts, Line

__all__ = ["HookedTransaction"]


class HookedTransaction(Transaction):
    """A transaction that the hook may refuse.

    Args:
      refs: the repository's refs
      hooks: the repository's scripts
      signature: for reflog entries
      starts_reflog: tells whether an entry starts the reflog of a ref that has none
    """

    def __init__(
        self,
        refs: ReftableRefsContainer,
        hooks: HookScripts,
        signature: Signature,
        starts_reflog: Callable[[bytes], bool],
    ) -> None:
        super().__init__(refs.store, signature, starts_reflog=starts_reflog)
        self._refs = refs
        self._hooks = hooks
        self._zero = b"0" * refs.store.hex_size
        self._resolved: list[Line] = []

    def prepare(self) -> None:
        """Prepare the transaction, unless the hook refuses it.

        Raises:
          ReftableError: if the hook refuses; the transaction is over, and nothing was written
        """
        if self._hooks.find(TRANSACTION_HOOK) is None:
            super().prepare()
            return
        self._require_open()
        self._ask("preparing")
        super().prepare()
        # The locks are held: symrefs do not change any more.
        self._resolved = self._lines(follow=True)
        self._ask("prepared")

    def commit(self) -> None:
        """Commit the transaction, then run the hook."""
        if not self._is_prepared:
            self.prepare()
        try:
            super().commit()
        except BaseException:
            self._tell("aborted", self._resolved)
            raise
        self._tell("committed", self._resolved)

    def call_off(self) -> None:
        """Abort the transaction on request, then run the hook."""
        lines = self._resolved if self._is_prepared else self._lines()
        self.abort()
        self._tell("aborted", lines)

    def _ask(self, state: str) -> None:
        lines = self._resolved if self._is_prepared else self._lines()
        if not self._tell(state, lines):
            self.call_off()
            raise ReftableError(f"the hook {TRANSACTION_HOOK} refused the update, which is {state}")

    def _tell(self, state: str, lines: list[Line]) -> bool:
        return self._hooks.run(TRANSACTION_HOOK, state.encode(), lines=lines)

    def _lines(self, follow: bool = False) -> list[Line]:
        """Give the updates as the hook reads them: old value, new value, ref."""
        lines = []
        for update in self._updates:
            name = update.name
            if follow and update.follow:
                with suppress(SymrefLoop):  # then the ref itself is updated
                    name = self._refs.follow(Ref(name))[0][-1]
            old = update.old if update.expects else None
            new = None if update.verify_only else update.new
            lines.append((self._shown(old), self._shown(new), name))
        return lines

    def _shown(self, value: bytes | None) -> bytes:
        target = symref_target(value)
        if target is not None:
            return b"ref:" + target
        return value or self._zero
