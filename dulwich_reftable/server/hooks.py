# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Running a repository's hooks for a push.

``pre-receive``, ``update`` and ``post-receive`` are those in ``repo.hooks``, as with dulwich, so
that a program can put objects of its own there. Where there is dulwich's object for a script, the
script is run here: as git does, with a newline behind every line of its input, on which ``read`` in
a shell insists, in the repository's directory, and with the objects of the push that are not in the
repository yet. ``reference-transaction`` and ``post-update`` are always scripts.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from dulwich.config import Config
from dulwich.errors import HookError
from dulwich.hooks import PostReceiveShellHook, PreReceiveShellHook, UpdateShellHook
from dulwich.repo import Repo

from ..config import find_value
from ..config_types import pathname

__all__ = ["Hooks"]

_SCRIPTS = (type(None), PreReceiveShellHook, UpdateShellHook, PostReceiveShellHook)
"""dulwich's objects for scripts."""

Line = tuple[bytes, bytes, bytes]
"""Old object id, new object id, ref."""


class Hooks:
    """The hooks of a repository.

    Args:
      repo: whose they are
      config: of the repository
      tell: takes what they say, for the client
    """

    def __init__(self, repo: Any, config: Config, tell: Callable[[bytes], None]) -> None:
        self._repo = repo
        self._config = config
        self._tell = tell
        self.environment: dict[str, str] = {}
        """What scripts find in their environment beside the process's own and ``GIT_DIR``."""

    def pre_receive(self, lines: Iterable[Line]) -> bool:
        """Ask whether a push may go on."""
        return self._ask("pre-receive", lines)

    def update(self, name: bytes, old: bytes, new: bytes) -> bool:
        """Ask whether a ref may be updated."""
        hook = self._repo.hooks.get("update")
        if type(hook) in _SCRIPTS:
            return self._run("update", name, old, new)
        return self._execute(hook, name, old, new)

    def post_receive(self, lines: Iterable[Line]) -> None:
        """Tell of the refs that were updated; nobody can do anything about it any more."""
        self._ask("post-receive", lines)

    def post_update(self, names: Iterable[bytes]) -> None:
        """Tell of the refs that were updated, by name."""
        self._run("post-update", *names)

    def reference_transaction(self, state: str, lines: Iterable[Line]) -> bool:
        """Tell of a transaction, and ask whether it may go on if it is prepared.

        Args:
          state: ``"prepared"``, ``"committed"`` or ``"aborted"``
          lines: the updates; an old id of zeros expects nothing
        """
        return self._run("reference-transaction", state.encode(), lines=lines)

    def _ask(self, name: str, lines: Iterable[Line]) -> bool:
        hook = self._repo.hooks.get(name)
        if type(hook) in _SCRIPTS:
            return self._run(name, lines=lines)
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

    def _run(self, name: str, *args: bytes, lines: Iterable[Line] = ()) -> bool:
        """Run a script, if there is one; gives whether it agrees."""
        path = self._script(name)
        if path is None:
            return True
        git_dir = self._repo.controldir()
        environment: Mapping[str, str] = {**os.environ, **self.environment, "GIT_DIR": git_dir}
        try:
            done = subprocess.run(
                [path, *args],
                input=b"".join(b"%s %s %s\n" % line for line in lines),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=git_dir,
                env=environment,
                check=False,
            )
        except OSError as error:
            said = error.strerror or type(error).__name__
            self._tell(f"error: cannot run hook {name}: {said}\n".encode())
            return False
        if done.stdout:
            self._tell(done.stdout)
        return done.returncode == 0

    @cached_property
    def _directory(self) -> str | None:
        if not isinstance(self._repo, Repo):
            return None  # it is in memory
        configured = find_value(self._config, b"core", b"hooksPath", pathname)
        if configured is None:
            return os.path.join(self._repo.commondir(), "hooks")
        return os.path.join(self._repo.controldir(), configured)

    def _script(self, name: str) -> str | None:
        """Find a script that can be executed."""
        if self._directory is None:
            return None
        path = os.path.join(self._directory, name)
        return path if os.path.isfile(path) and os.access(path, os.X_OK) else None

    @property
    def watches_transactions(self) -> bool:
        """Whether there is a hook ``reference-transaction``."""
        return self._script("reference-transaction") is not None
