# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Running a repository's hooks for a push.

``pre-receive``, ``update`` and ``post-receive`` are those in ``repo.hooks``, as with dulwich, so
that a program can put objects of its own there. Where there is dulwich's object for a script, the
script is run by :mod:`dulwich_reftable.repo.hook_scripts`, with the objects of the push that are
not in the repository yet. ``reference-transaction``, ``post-update`` and ``push-to-checkout`` are
always scripts.

What a script says reaches the client while the script runs. When it says nothing for a while, the
client is told that we are still there.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from dulwich.errors import GitProtocolError, HookError
from dulwich.hooks import PostReceiveShellHook, PreReceiveShellHook, UpdateShellHook

from ...repo.hook_scripts import TRANSACTION_HOOK, HookScripts, Line
from .working_trees import WorkingTree

__all__ = ["Hooks"]

_SCRIPTS = (type(None), PreReceiveShellHook, UpdateShellHook, PostReceiveShellHook)
"""dulwich's objects for scripts."""


class Hooks(HookScripts):
    """The hooks of a repository; args are those of the scripts."""

    def pre_receive(self, lines: Iterable[Line]) -> bool:
        """Ask whether a push may go on."""
        return self._ask("pre-receive", lines)

    def update(self, name: bytes, old: bytes, new: bytes) -> bool:
        """Ask whether a ref may be updated."""
        hook = self._repo.hooks.get("update")
        if type(hook) in _SCRIPTS:
            return self.run("update", name, old, new)
        return self._execute(hook, name, old, new)

    def post_receive(self, lines: Iterable[Line]) -> None:
        """Tell of the refs that were updated; nobody can do anything about it any more."""
        with suppress(OSError, GitProtocolError):  # the client has gone
            self._ask("post-receive", lines)

    def post_update(self, names: Iterable[bytes]) -> None:
        """Tell of the refs that were updated, by name."""
        with suppress(OSError, GitProtocolError):  # the client has gone
            self.run("post-update", *names)

    def push_to_checkout(self, new: bytes, tree: WorkingTree) -> bool | None:
        """Ask the hook to bring a working tree to a commit.

        Args:
          new: the commit
          tree: whose branch will be there
        Returns: whether it did; None if there is no such hook
        """
        name = "push-to-checkout"
        if self.find(name) is None:
            return None
        variables = {"GIT_DIR": tree.git_dir, "GIT_WORK_TREE": tree.path}
        return self.run(name, new, variables=variables)

    def reference_transaction(self, state: str, lines: Iterable[Line]) -> bool:
        """Tell of a transaction, and ask whether it may go on if it is prepared.

        Args:
          state: ``"prepared"``, ``"committed"`` or ``"aborted"``
          lines: the updates; an old id of zeros expects nothing
        """
        return self.run(TRANSACTION_HOOK, state.encode(), lines=lines)

    def _ask(self, name: str, lines: Iterable[Line]) -> bool:
        hook = self._repo.hooks.get(name)
        if type(hook) in _SCRIPTS:
            return self.run(name, lines=lines)
        return self._execute(hook, list(lines))

    def _execute(self, hook: Any, *args: object) -> bool:
        """Run a hook that is an object; gives whether it agrees."""
        try:
            said = hook.execute(*args)
        except HookError as error:
            self._tell(str(error).encode("utf-8", "backslashreplace") + b"\n")
            return False
        for part in said if isinstance(said, tuple) else (said,):
            if part:
                self._tell(part)
        return True

    @property
    def watches_transactions(self) -> bool:
        """Whether there is a hook ``reference-transaction``."""
        return self.find(TRANSACTION_HOOK) is not None
