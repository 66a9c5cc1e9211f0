# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Running a repository's hooks for a push.

``pre-receive``, ``update`` and ``post-receive`` are those in ``repo.hooks``, as with dulwich, so
that a program can put objects of its own there. Where there is dulwich's object for a script, the
script is run here: as git does, with a newline behind every line of its input, on which ``read`` in
a shell insists, in the repository's directory, and with the objects of the push that are not in the
repository yet. ``reference-transaction``, ``post-update`` and ``push-to-checkout`` are always
scripts.

What a script says reaches the client while the script runs. When it says nothing for a while, the
client is told that we are still there.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO, Any

from dulwich.config import Config
from dulwich.errors import GitProtocolError, HookError
from dulwich.hooks import PostReceiveShellHook, PreReceiveShellHook, UpdateShellHook
from dulwich.repo import Repo

from ..config import find_value
from ..config_types import pathname
from .working_trees import WorkingTree

__all__ = ["Hooks"]

_SCRIPTS = (type(None), PreReceiveShellHook, UpdateShellHook, PostReceiveShellHook)
"""dulwich's objects for scripts."""

_ABOUT_CLIENTS = ("REMOTE_USER", "REMOTE_ADDR", "REMOTE_PORT")

Line = tuple[bytes, bytes, bytes]
"""Old object id, new object id, ref."""


class Hooks:
    """The hooks of a repository.

    Args:
      repo: whose they are
      config: of the repository
      tell: takes what they say, for the client; nothing means that they say nothing for a while
      keep_alive: the seconds of that while; None for never
      client: variables that tell them who the client is, such as ``REMOTE_ADDR``; None if that is
        not known
    """

    def __init__(
        self,
        repo: Any,
        config: Config,
        tell: Callable[[bytes], None],
        keep_alive: float | None = None,
        client: Mapping[str, str] | None = None,
    ) -> None:
        self._repo = repo
        self._config = config
        self._tell = tell
        self._keep_alive = keep_alive
        self._client = client
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
        with suppress(OSError, GitProtocolError):  # the client has gone
            self._ask("post-receive", lines)

    def post_update(self, names: Iterable[bytes]) -> None:
        """Tell of the refs that were updated, by name."""
        with suppress(OSError, GitProtocolError):  # the client has gone
            self._run("post-update", *names)

    def push_to_checkout(self, new: bytes, tree: WorkingTree) -> bool | None:
        """Ask the hook to bring a working tree to a commit.

        Args:
          new: the commit
          tree: whose branch will be there
        Returns: whether it did; None if there is no such hook
        """
        name = "push-to-checkout"
        if self._script(name) is None:
            return None
        variables = {"GIT_DIR": tree.git_dir, "GIT_WORK_TREE": tree.path}
        return self._run(name, new, variables=variables)

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

    def _run(
        self,
        name: str,
        *args: bytes,
        lines: Iterable[Line] = (),
        variables: Mapping[str, str] | None = None,
    ) -> bool:
        """Run a script, if there is one; gives whether it agrees."""
        path = self._script(name)
        if path is None:
            return True
        git_dir = self._repo.controldir()
        environment = {**self._surroundings(), "GIT_DIR": git_dir, **(variables or {})}
        try:
            # A file, unlike a pipe, waits for nobody: a script need not read its input.
            with tempfile.TemporaryFile() as file:
                file.writelines(b"%s %s %s\n" % line for line in lines)
                file.seek(0)
                process = subprocess.Popen(
                    [path, *args],
                    stdin=file,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=git_dir,
                    env=environment,
                )
        except OSError as error:
            said = error.strerror or type(error).__name__
            self._tell(f"error: cannot run hook {name}: {said}\n".encode())
            return False
        with process:
            self._relay(process.stdout)
        return process.returncode == 0

    def _surroundings(self) -> dict[str, str]:
        """Give the environment of a script, but for what names the repository."""
        variables = dict(os.environ)
        if self._client is not None:
            for name in _ABOUT_CLIENTS:  # those of the process say nothing of the client
                variables.pop(name, None)
            for name, value in self._client.items():
                if "\0" not in value:
                    variables.setdefault(name, value)
        return {**variables, **self.environment}

    def _relay(self, output: IO[bytes] | None) -> None:
        """Tell what a script says until it ends, even if the client has gone meanwhile.

        Raises:
          OSError, GitProtocolError: if the client has gone
        """
        said: SimpleQueue[bytes] = SimpleQueue()
        thread = Thread(target=_read_into, args=(output, said))
        thread.start()
        failure: Exception | None = None
        while True:
            try:
                text = said.get(timeout=self._keep_alive)
                if not text:
                    break
            except Empty:
                text = b""
            if failure is None:
                try:
                    self._tell(text)
                except (OSError, GitProtocolError) as error:
                    failure = error
        thread.join()
        if failure is not None:
            raise failure

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


def _read_into(output: Any, said: SimpleQueue[bytes]) -> None:
    """Pass on what a script says, and nothing at the end."""
    while text := output.read1(1 << 16):
        said.put(text)
    said.put(b"")
