"""What a program is here: packages to install, and jobs whose answers are compared.

A job is a method. It does something with the program, in the directory and the environment of one
:class:`Side`, and returns what came of it: printed text, pages, git's view of a repository. A
second side runs the same jobs on a repository of the other format. Every job can be run after any
other has failed.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from support.git import Git, hermetic_environment
from support.waiting import GUARD

from .environment import Environment
from .sample import Sample

__all__ = ["SIDES", "Job", "Program", "ProgramError", "Side", "job"]

_SECONDS = 120
Method = TypeVar("Method", bound=Callable[..., object])


@dataclass(frozen=True)
class Side:
    """Where a program works.

    Attributes:
      name: heading of its column
      ref_format: of the repositories, old and new
      ours: whether this package is enabled
    """

    name: str
    ref_format: str
    ours: bool


SIDES = (
    Side("files", "files", ours=False),
    Side("files, with us", "files", ours=True),
    Side("reftable, without us", "reftable", ours=False),
    Side("reftable, with us", "reftable", ours=True),
)
"""The answers on the first one are the right ones."""


class ProgramError(Exception):
    """A program did not do its job; the text is what it said."""


@dataclass(frozen=True)
class Job:
    """A job by its title, and the method that does it."""

    title: str
    method: Callable[[Any], object]


def job(title: str) -> Callable[[Method], Method]:
    """Make a method of a :class:`Program` one of its jobs."""

    def mark(method: Method) -> Method:
        method.__dict__["job_title"] = title
        return method

    return mark


class Program:
    """A program on one side. Subclasses have the jobs.

    Args:
      environment: that the program is installed in
      side: where it works
      root: a directory of its own
      sample: the repository to copy

    Attributes:
      packages: what pip installs; the first is the program itself
      name: of the program
    """

    packages: ClassVar[Sequence[str]]

    def __init__(self, environment: Environment, side: Side, root: Path, sample: Sample) -> None:
        self.environment = environment
        self.side = side
        self.root = root
        self.sample = sample
        self.env = hermetic_environment(os.environ)
        for variable in [name for name in self.env if name.startswith("PYTHON")]:
            del self.env[variable]
        self.env.update(
            Git.identity("A U Thor", "author@example.com"),
            HOME=str(root / "home"),
            PATH=os.pathsep.join([str(environment.bin), self.env["PATH"]]),
            GIT_DEFAULT_REF_FORMAT=side.ref_format,
        )
        if not side.ours:
            self.env["DULWICH_REFTABLE_AUTO"] = "0"
        (root / "home").mkdir(parents=True)
        self._closing = ExitStack()

    @classmethod
    def name(cls) -> str:
        """What the program is called, on the command line of this suite and in its table."""
        return re.split(r"[<=>!\[]", cls.packages[0])[0]

    @classmethod
    def jobs(cls) -> list[Job]:
        """All jobs, in the order in which they are defined."""
        return [
            Job(method.job_title, method)
            for method in vars(cls).values()
            if hasattr(method, "job_title")
        ]

    def start(self) -> None:
        """Prepare what the jobs share, such as a server."""

    def close(self) -> None:
        """Stop what runs."""
        self._closing.close()

    # What jobs are made of

    def repository(self, name: str = "demo") -> Git:
        """Copy the sample, in the side's format; the copy is made once."""
        path = self.root / name
        return Git(path) if path.exists() else self.sample.copy(path, self.side.ref_format)

    def run(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        seconds: float = _SECONDS,
    ) -> str:
        """Run a command of the environment; returns what it printed, without this side's paths.

        Raises:
          ProgramError: if the exit status is not 0, or it takes too long
        """
        try:
            done = subprocess.run(
                [self._found(command[0]), *command[1:]],
                cwd=cwd or self.root,
                env={**self.env, **(env or {})},
                capture_output=True,
                text=True,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise ProgramError(f"{command[0]} took longer than {seconds} s") from error
        if done.returncode:
            said = f"{done.stdout}\n{done.stderr}".rstrip()
            raise ProgramError(f"exit {done.returncode}: {said}")
        return self.neutral(done.stdout)

    def _found(self, program: str | Path) -> Path:
        return Path(shutil.which(program, path=self.env["PATH"]) or program)

    def python(self, script: str, *args: str | Path, cwd: Path | None = None) -> str:
        """Run a script with the environment's interpreter; returns what it printed."""
        return self.run(self.environment.python, "-c", script, *args, cwd=cwd)

    def serve(self, *command: str | Path) -> int:
        """Run a server until the end; a ``{port}`` in the command is where it should listen.

        Returns: the port
        Raises:
          ProgramError: if it does not listen
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        log = self.root / "server.log"
        program, *args = (str(word).replace("{port}", str(port)) for word in command)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [self._found(program), *args],
                cwd=self.root,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._closing.callback(process.wait)
        self._closing.callback(process.terminate)
        deadline = time.monotonic() + GUARD
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as attempt:
                if not attempt.connect_ex(("127.0.0.1", port)):
                    return port
            time.sleep(0.02)
        raise ProgramError(
            log.read_text(errors="replace")[-10_000:] or "the server does not listen"
        )

    def neutral(self, text: str) -> str:
        """Take this side's paths out of a text."""
        return text.replace(str(self.root), "ROOT")

    def refs(self, path: Path) -> dict[str, str]:
        """Read all refs with git; those of a new repository must be in the side's format.

        Raises:
          ProgramError: if they are in the other one, or git finds fault with the repository
        """
        git = Git(path)
        found = git.run("rev-parse", "--show-ref-format").decode().strip()
        if found != self.side.ref_format:
            raise ProgramError(f"the refs are in the format {found}")
        said = git.complaints().decode(errors="replace").splitlines()
        if complaints := [line for line in said if not line.startswith("notice: ")]:
            raise ProgramError(f"git says: {complaints}")
        return {name.decode(): value.decode() for name, value in git.raw_refs().items()}
