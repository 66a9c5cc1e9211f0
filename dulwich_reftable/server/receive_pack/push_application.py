# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Apply the commands of a push to the refs: the part that reftables and files have in common.

A command that is not done gets the reason, in git's words. No text goes to the client meanwhile: a
slow client must not make others wait for a lock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from .commands import Command, pending, refuse
from .hooks import Hooks

__all__ = ["ATOMIC", "FAILED", "LOCKED", "PushApplication", "mismatch"]

LOCKED = b"the refs are locked by somebody else"
FAILED = b"failed to update ref"
UNKNOWN = b"outcome unknown: fetch to see whether the ref was updated"
ATOMIC = b"atomic push failure"
_CONFLICT = b"refname conflict"
_HOOK = b"reference-transaction hook declined"


class PushApplication(ABC):
    """Applies the commands of one push.

    Args:
      repo: the repository
      hooks: ``reference-transaction`` is asked before the refs are updated, and told afterwards
      is_logged: tells whether an update starts a reflog
      committer: for the reflogs, as ``b"Name <address>"``; None for the server's own identity
      lock_timeout: seconds to wait for locks, unless the repository sets ``reftable.lockTimeout``

    Attributes:
      explanations: lines for the client about refused commands
    """

    def __init__(
        self,
        repo: Any,
        hooks: Hooks,
        is_logged: Callable[[bytes], bool],
        committer: bytes | None,
        lock_timeout: float,
    ) -> None:
        self.explanations: list[bytes] = []
        self._repo = repo
        self._hooks = hooks
        self._is_logged = is_logged
        self._committer = committer
        self._lock_timeout = lock_timeout
        self._has_hook = hooks.watches_transactions

    @abstractmethod
    def apply(self, commands: list[Command], *, atomic: bool) -> None:
        """Apply commands; those that are not done have a refusal afterwards.

        Args:
          commands: with their targets resolved
          atomic: whether to do all of them or none
        """

    def _is_over(self, commands: list[Command], atomic: bool) -> bool:
        """Tell whether no command is left to do; a refusal of one ends an atomic push."""
        if atomic and any(command.refusal is not None for command in commands):
            refuse(commands, ATOMIC)
        return not pending(commands)

    def _refuse_conflicts(self, commands: list[Command], conflicts: Mapping[bytes, bytes]) -> None:
        """Refuse refs that are in the way of others, or have others in their way.

        Args:
          commands: whose refs are as expected, or that have a refusal
          conflicts: by target, the ref in its way
        """
        created = {
            command.target
            for command in pending(commands)
            if command.creates and command.target not in conflicts
        }
        for command in pending(commands):
            other = conflicts.get(command.target)
            if other is None:
                continue
            text = b"error: '%s' exists; cannot create '%s'\n"
            if other in created:
                text = b"error: cannot process '%s' and '%s' at the same time\n"
            self.explanations.append(text % (other, command.target))
            command.refusal = _CONFLICT

    # The hook reference-transaction

    def _ask_hook(self, commands: list[Command]) -> bool:
        if not self._has_hook:
            return True
        if self._hooks.reference_transaction("prepared", map(_hook_line, commands)):
            return True
        refuse(commands, _HOOK)
        self._tell_hook("aborted", commands)
        return False

    def _tell_hook(self, state: str, commands: list[Command]) -> None:
        if self._has_hook:
            self._hooks.reference_transaction(state, map(_hook_line, commands))


def _hook_line(command: Command) -> tuple[bytes, bytes, bytes]:
    return command.old, command.new, command.target


def mismatch(expected: bytes | None, actual: bytes | None) -> bytes | None:
    """Say why a ref is not as the client expects, in git's words; None if it is.

    Args:
      expected: hex object id; None for no such ref
      actual: the value of the ref; None for no such ref
    """
    if actual == expected:
        return None
    if actual is None:
        return b"reference does not exist"
    return b"reference already exists" if expected is None else b"incorrect old value provided"
