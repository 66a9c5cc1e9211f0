# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Run the hooks of a repository for a push.

``pre-receive``, ``update`` and ``post-receive`` come from ``repo.hooks``, as in dulwich, so a
program can put hook objects of its own there. If dulwich's object for a script is there,
:mod:`dulwich_reftable.repo.hook_scripts` runs the script, which then sees the pushed objects in
quarantine. ``reference-transaction``, ``post-update`` and ``push-to-checkout`` are always scripts.

The client gets the output of a script while the script runs. If there is no output for a while, the
client gets a sign that the server is still there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from dulwich.errors import GitProtocolError, HookError
from dulwich.hooks import PostReceiveShellHook, PreReceiveShellHook, UpdateShellHook

from ...repo.hook_scripts import TRANSACTION_HOOK, HookScripts, Line
from .push_options import environment_of
from .working_trees import WorkingTree

__all__ = ["Hooks"]

_SCRIPTS = (type(None), PreReceiveShellHook, UpdateShellHook, PostReceiveShellHook)
"""dulwich's objects for scripts."""


class Hooks(HookScripts):
    """The hooks of a repository; args are those of ``HookScripts``.

    Attributes:
      push_options: texts of the client for ``pre-receive`` and ``post-receive``
    """

    push_options: Sequence[bytes] = ()

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
        """Tell the hook about the refs that were updated."""
        with suppress(OSError, GitProtocolError):  # the client has gone
            self._ask("post-receive", lines)

    def post_update(self, names: Iterable[bytes]) -> None:
        """Tell the hook the names of the refs that were updated."""
        with suppress(OSError, GitProtocolError):  # the client has gone
            self.run("post-update", *names)

    def push_to_checkout(self, new: bytes, tree: WorkingTree) -> bool | None:
        """Ask the hook to bring a working tree to a commit.

        Args:
          new: the commit
          tree: the working tree, whose branch moves to the commit
        Returns: whether the hook succeeded; None if there is no such hook
        """
        name = "push-to-checkout"
        if self.find(name) is None:
            return None
        variables = {"GIT_DIR": tree.git_dir, "GIT_WORK_TREE": tree.path}
        return self.run(name, new, variables=variables)

    def reference_transaction(self, state: str, lines: Iterable[Line]) -> bool:
        """Tell the hook about a transaction; a prepared one goes on only if the hook agrees.

        Args:
          state: ``"prepared"``, ``"committed"`` or ``"aborted"``
          lines: the updates, with zeros as the old id of a new ref
        Returns: whether the hook agrees
        """
        return self.run(TRANSACTION_HOOK, state.encode(), lines=lines)

    def _ask(self, name: str, lines: Iterable[Line]) -> bool:
        hook = self._repo.hooks.get(name)
        if type(hook) in _SCRIPTS:
            return self.run(name, lines=lines, variables=environment_of(self.push_options))
        return self._execute(hook, list(lines))

    def _execute(self, hook: Any, *args: object) -> bool:
        """Run a hook object; tell whether it agrees."""
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
