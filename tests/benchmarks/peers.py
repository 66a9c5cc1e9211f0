"""Ours, dulwich's files backend and git, driven alike.

git runs as one process that is asked again and again, so that no start of a process is counted:
``cat-file --batch-command`` looks names up, ``update-ref --stdin`` commits one transaction after
another, synced as ours and dulwich's are.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from dulwich.refs import DiskRefsContainer
from dulwich.repo import Repo as DulwichRepo

import dulwich_reftable as dr

__all__ = ["Edit", "GitLookups", "Writer", "find_git", "git_command", "open_files", "writer"]

_FIRST_WITH_REFTABLE = (2, 45)
_ZERO = b"0" * 40


def find_git() -> tuple[int, ...] | None:
    """Give git's version; None if there is none that knows reftable."""
    try:
        out = subprocess.run(["git", "version"], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(rb"(\d+)\.(\d+)(?:\.(\d+))?", out)
    version = tuple(int(part or 0) for part in found.groups()) if found else ()
    return version if version >= _FIRST_WITH_REFTABLE else None


def git_command(path: Path, *args: str) -> list[str]:
    """Give the command for a repository: refs are synced, and no name is looked up twice."""
    settings = ["-c", "core.fsync=reference", "-c", "core.warnAmbiguousRefs=false"]
    return ["git", "-C", os.fspath(path), *settings, *args]


def open_files(path: Path) -> DiskRefsContainer:
    """Open dulwich's refs container for files."""
    return DiskRefsContainer(os.fspath(path))


class _Session:
    """A git process and its two pipes."""

    def __init__(self, path: Path, *args: str) -> None:
        self._process = subprocess.Popen(
            git_command(path, *args), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.input: IO[bytes] = self._process.stdin
        self.output: IO[bytes] = self._process.stdout

    def ask(self, question: bytes, answers: int) -> list[bytes]:
        """Write lines, and read as many as are the answer."""
        self.input.write(question)
        self.input.flush()
        found = [self.output.readline() for _ in range(answers)]
        if not all(found):
            raise RuntimeError(f"git ended with status {self._process.wait()}")
        return found

    def close(self) -> None:
        self.input.close()
        self.output.close()
        self._process.wait()


class GitLookups:
    """Looks names up in one process.

    The objects need not exist; then git says "missing" after it has resolved the name, which costs
    it one look into an empty directory of packs.
    """

    def __init__(self, path: Path) -> None:
        self._session = _Session(path, "cat-file", "--batch-command", "--buffer")
        self.close = self._session.close

    def look_up(self, names: Sequence[bytes]) -> None:
        """Look so many names up as git's answers fit into a pipe."""
        for start in range(0, len(names), 500):
            some = names[start : start + 500]
            question = b"".join(b"info %b\n" % name for name in some) + b"flush\n"
            self._session.ask(question, len(some))


class Edit(NamedTuple):
    """What shall become of one ref: created (``old`` None), updated, or deleted (``new`` None)."""

    name: bytes
    new: bytes | None
    old: bytes | None = None


class Writer(Protocol):
    """Writes to one repository."""

    def one(self, edit: Edit) -> None:
        """Update one ref."""

    def many(self, edits: Iterable[Edit]) -> None:
        """Update refs, all or nothing where there is such a thing."""

    def close(self) -> None:
        """Let go of the repository."""


def writer(kind: str, path: Path) -> Writer:
    """Open a repository for writing, with ``ours``, ``dulwich`` or ``git``."""
    kinds: dict[str, Callable[[Path], Writer]] = {
        "ours": _OursWriter,
        "dulwich": _FilesWriter,
        "git": _GitWriter,
    }
    return kinds[kind](path)


class _DulwichWriter:
    def __init__(self, repo: DulwichRepo) -> None:
        self._repo = repo
        self._refs = repo.refs
        self.close = repo.close

    def one(self, edit: Edit) -> None:
        name, new, old = edit
        if new is None:
            done = self._refs.remove_if_equals(name, old)
        else:
            done = self._refs.set_if_equals(name, old or _ZERO, new)
        if not done:
            raise RuntimeError(f"{name!r} was not as expected")


class _OursWriter(_DulwichWriter):
    def __init__(self, path: Path) -> None:
        repo = dr.Repo(path)
        super().__init__(repo)
        assert isinstance(repo.refs, dr.ReftableRefsContainer)
        self._ours = repo.refs

    def many(self, edits: Iterable[Edit]) -> None:
        with self._ours.transaction() as transaction:
            for name, new, old in edits:
                if new is None:
                    transaction.delete(name, old)
                elif old is None:
                    transaction.create(name, new)
                else:
                    transaction.update(name, new, old)


class _FilesWriter(_DulwichWriter):
    def __init__(self, path: Path) -> None:
        super().__init__(DulwichRepo(os.fspath(path)))

    def many(self, edits: Iterable[Edit]) -> None:
        """Update refs the fastest way dulwich has for files, which checks no expectation."""
        self._refs.add_packed_refs({edit.name: edit.new for edit in edits})


class _GitWriter:
    def __init__(self, path: Path) -> None:
        self._session = _Session(path, "update-ref", "--stdin")
        self.close = self._session.close

    def one(self, edit: Edit) -> None:
        self.many([edit])

    def many(self, edits: Iterable[Edit]) -> None:
        lines = [b"start\n"]
        for name, new, old in edits:
            if new is None:
                lines.append(b"delete %b %b\n" % (name, old or b""))
            elif old is None:
                lines.append(b"create %b %b\n" % (name, new))
            else:
                lines.append(b"update %b %b %b\n" % (name, new, old))
        lines.append(b"commit\n")
        answers = self._session.ask(b"".join(lines), 2)
        if answers != [b"start: ok\n", b"commit: ok\n"]:
            raise RuntimeError(f"git answered {answers}")
