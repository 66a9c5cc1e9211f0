# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Transactions of ``update-ref`` that ask and tell the hook ``reference-transaction``.

The hook is asked when a transaction begins to be prepared and when it is prepared, each of which it
may refuse, and told when it is committed or aborted. What it reads is what the newest git has it
read: before the locks are taken the refs as they were named, later those that symrefs lead to.
A transaction that fails by itself before it is prepared is not told of, as in git.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from dulwich.refs import Ref, SymrefLoop

from ..engine.errors import ReftableError
from ..refs.container import ReftableRefsContainer
from ..refs.signature import Signature
from ..refs.symrefs import symref_target
from ..refs.transaction import Transaction
from ..repo.hook_scripts import TRANSACTION_HOOK, HookScripts, Line

__all__ = ["HookedTransaction"]


class HookedTransaction(Transaction):
    """A transaction that a hook has a say in.

    Args:
      refs: the repository's refs
      hooks: the repository's scripts
      signature: for reflog entries
      starts_reflog: tells of a ref that has no reflog whether an entry starts one
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
        """Prepare as every transaction, unless the hook refuses.

        Raises:
          ReftableError: if it does; the transaction is over, and nothing was written
        """
        if self._hooks.find(TRANSACTION_HOOK) is None:
            super().prepare()
            return
        self._require_open()
        self._ask("preparing")
        super().prepare()
        # The locks are held, so that symrefs stay what they are.
        self._resolved = self._lines(follow=True)
        self._ask("prepared")

    def commit(self) -> None:
        """Do it, and tell the hook."""
        if not self._is_prepared:
            self.prepare()
        try:
            super().commit()
        except BaseException:
            self._tell("aborted", self._resolved)
            raise
        self._tell("committed", self._resolved)

    def call_off(self) -> None:
        """Abort because somebody wants it so, and tell the hook."""
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
        for update in self._updates.values():
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
