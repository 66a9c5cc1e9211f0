# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Running the hook scripts of a repository, as git does (``githooks``).

Each line of a script's input ends in a newline, as the shell's ``read`` needs it. The output of a
script is passed on while it runs.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO, Any

from dulwich.config import Config
from dulwich.errors import GitProtocolError
from dulwich.repo import Repo

from ..config.types import pathname
from ..config.values import find_value

__all__ = ["TRANSACTION_HOOK", "HookScripts", "Line"]

TRANSACTION_HOOK = "reference-transaction"

_ABOUT_CLIENTS = ("REMOTE_USER", "REMOTE_ADDR", "REMOTE_PORT")

Line = tuple[bytes, bytes, bytes]
"""Old value, new value, ref."""


class HookScripts:
    """The hook scripts of a repository.

    Args:
      repo: the repository
      config: of the repository
      tell: takes their output, for the client; an empty text means that there was none for a while
      keep_alive: seconds after which ``tell`` gets an empty text; None for never
      client: variables about the client, such as ``REMOTE_ADDR``; None if it is not known
      directory: where scripts run, and the base of a relative ``core.hooksPath``; None for the
        control directory
    """

    def __init__(
        self,
        repo: Any,
        config: Config,
        tell: Callable[[bytes], None],
        keep_alive: float | None = None,
        client: Mapping[str, str] | None = None,
        *,
        directory: str | None = None,
    ) -> None:
        self._repo = repo
        self._config = config
        self._tell = tell
        self._keep_alive = keep_alive
        self._client = client
        self._cwd = directory
        self.environment: dict[str, str] = {}
        """Variables that scripts get beside those of the process and ``GIT_DIR``."""

    def run(
        self,
        name: str,
        *args: bytes,
        lines: Iterable[Line] = (),
        variables: Mapping[str, str] | None = None,
    ) -> bool:
        """Run a script, if there is one.

        Args:
          name: of the hook
          *args: of the script
          lines: its input
          variables: of its environment, beside those that all scripts get
        Returns: whether it exits with 0; True if there is no such script
        Raises:
          OSError, GitProtocolError: if ``tell`` does; the script has finished by then
        """
        path = self.find(name)
        if path is None:
            return True
        git_dir = os.path.abspath(self._repo.controldir())
        environment = {**self._surroundings(), "GIT_DIR": git_dir, **(variables or {})}
        try:
            # A file and not a pipe: a script need not read its input.
            with tempfile.TemporaryFile() as file:
                file.writelines(b"%s %s %s\n" % line for line in lines)
                file.seek(0)
                process = subprocess.Popen(
                    [os.path.abspath(path), *args],
                    stdin=file,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=self._cwd or git_dir,
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
        """Give the environment of a script, without ``GIT_DIR``."""
        variables = dict(os.environ)
        if self._client is not None:
            for name in _ABOUT_CLIENTS:  # the process may have those of another client
                variables.pop(name, None)
            for name, value in self._client.items():
                if "\0" not in value:
                    variables.setdefault(name, value)
        return {**variables, **self.environment}

    def _relay(self, output: IO[bytes] | None) -> None:
        """Pass on the output of a script until it ends, even if the client disconnects.

        Raises:
          OSError, GitProtocolError: if the client has disconnected
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
        return os.path.join(self._cwd or self._repo.controldir(), configured)

    def find(self, name: str) -> str | None:
        """Give the path of a script; None if there is none, or it is not executable."""
        if self._directory is None:
            return None
        path = os.path.join(self._directory, name)
        return path if os.path.isfile(path) and os.access(path, os.X_OK) else None


def _read_into(output: Any, said: SimpleQueue[bytes]) -> None:
    """Put the output of a script into a queue, and an empty text at its end."""
    while text := output.read1(1 << 16):
        said.put(text)
    said.put(b"")
