# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Prepares ref and reflog files from reftables.

As in ``git refs migrate``, refs go to ``packed-refs``; symrefs and root refs, which it cannot hold,
become loose refs. Refs of one worktree become loose refs, too, because all worktrees read
``packed-refs``. Names that the file system refuses, changes, or takes for the same
(:mod:`.spellings`), are found before the repository changes.
"""

from __future__ import annotations

import errno
import os
from binascii import b2a_hex
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, groupby

from ..config.settings import Settings
from ..engine.errors import ReftableError, StorageError
from ..engine.format.records import LogRecord, RefRecord
from ..engine.stack.files import Descriptor, create, write_all
from ..engine.stack.locks import LockFile
from ..engine.stack.snapshot import Snapshot
from ..engine.stack.stale_files import LIST
from ..engine.table.merged import Merged
from ..naming.conflicts import ConflictFinder
from ..naming.names import PER_WORKTREE, is_legal
from ..naming.symrefs import symref_to
from .layout import GitDir, git_dirs
from .migrator import Migrator, open_stack
from .ref_files import Peel
from .reflog_files import format_entry
from .report import WRITTEN_MEANWHILE, MigrationError, Tally
from .spellings import Spellings, folds, missing_from
from .swap import StagingDirectory, put_files

__all__ = ["ToFiles"]

_HEADER = b"# pack-refs with: peeled fully-peeled sorted \n"
_WRITE_AT_ONCE = 4096  # lines

_BECAUSE_OF_NAME = frozenset(
    (
        errno.EEXIST,
        errno.EILSEQ,
        errno.EINVAL,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
    )
)
"""Errors of file systems for a name that they refuse, or take for another one."""


class ToFiles(Migrator):
    """A migration from reftables to files."""

    def __init__(self, common_dir: str, settings: Settings, peel: Peel, tally: Tally) -> None:
        super().__init__(common_dir, settings, peel, tally)
        self._stacks = {
            git_dir: open_stack(git_dir.path, settings)
            for git_dir in sorted(
                self._git_dirs, key=lambda git_dir: os.path.realpath(git_dir.path)
            )
        }
        self._snapshots: dict[GitDir, Snapshot] = {}

    def lock(self, held: ExitStack) -> None:
        """Lock the lists of all stacks."""
        for git_dir, stack in self._stacks.items():
            if not os.path.isdir(git_dir.file("reftable")):
                stack.addition().abort()  # which makes it
            lock = LockFile(git_dir.file("reftable", LIST), self._settings.lock_timeout)
            held.callback(lock.release)
            lock.close()  # Windows moves no directory in which a file is open

    def prepare(self, tree: str) -> None:
        """Write the files of all control directories."""
        self._snapshots = {git_dir: stack.snapshot() for git_dir, stack in self._stacks.items()}
        for git_dir in self._git_dirs:
            writer = _Writer(git_dir, git_dir.within(tree), self._settings, self._peel, self._tally)
            writer.write(self._snapshots[git_dir])
        self._tally.raise_broken()

    def check(self) -> None:
        """Check that the stacks are unchanged."""
        is_same = self._git_dirs == git_dirs(self._common_dir) and all(
            stack.snapshot() is self._snapshots[git_dir] for git_dir, stack in self._stacks.items()
        )
        if not is_same:
            raise MigrationError(WRITTEN_MEANWHILE)

    def put(self, staging: StagingDirectory) -> None:
        """Put the files into place."""
        put_files(self._git_dirs, staging)

    def close(self) -> None:
        """Close the tables."""
        self._snapshots.clear()
        for stack in self._stacks.values():
            stack.close()

    def is_late(self, staging: StagingDirectory) -> bool:
        """Say no: the locks of the stacks prevent it."""
        return False


class _Writer:
    """Writes the files of one control directory."""

    def __init__(
        self,
        git_dir: GitDir,
        target: GitDir,
        settings: Settings,
        peel: Peel,
        tally: Tally,
    ) -> None:
        self._git_dir = git_dir
        self._target = target
        self._settings = settings
        self._adjust_mode = settings.adjust_mode
        self._peel = peel
        self._tally = tally
        self._made: set[str] = set()
        self._named: dict[str, tuple[str, bytes]] = {}  # files that got the name of a ref
        self._folds: dict[str, bool] = {}

    def write(self, snapshot: Merged) -> None:
        self._make_directory(self._target.file("refs"))
        self._folds = folds(self._target.file("refs"))
        refs = self._tally.watched("refs", self._refs(snapshot), None)
        if self._git_dir.is_main:
            self._make_directory(self._target.file("refs", "heads"))
            self._make_directory(self._target.file("refs", "tags"))
            path = self._target.file("packed-refs")
            self._create(path, self._packed_lines(refs), durable=self._settings.fsync_refs)
        else:
            for record in refs:
                self._write_loose(record)
        logs = self._tally.watched("reflogs", _logs(snapshot), None)
        self._write_logs(logs)
        for path in missing_from(self._target.path, self._named):
            self._broken(*self._named[path], "the file system does not keep its name")

    # Refs

    def _refs(self, snapshot: Merged) -> Iterator[RefRecord]:
        """Give the refs that can be migrated."""
        conflicts, spellings = ConflictFinder(), self._spellings()
        count = 0
        for _, records in snapshot.ref_records():
            for record in records:
                if not record.is_deletion and self._is_fit(
                    "ref", record.name, conflicts, spellings
                ):
                    count += 1
                    yield record
        self._tally.refs += count

    def _packed_lines(self, records: Iterator[RefRecord]) -> Iterator[bytes]:
        """Give the lines of ``packed-refs``; write the refs that it cannot hold as loose refs."""
        yield _HEADER
        for record in records:
            name, _, value, peeled, _ = record
            if value is None or name[:5] != b"refs/" or name.startswith(PER_WORKTREE):
                self._write_loose(record)
                continue
            yield b"%b %b\n" % (b2a_hex(value), name)
            if peeled is not None:
                yield b"^%b\n" % b2a_hex(peeled)
            elif not name.startswith(b"refs/heads/"):
                # Not every writer peels (see RefsReader.get_peeled).
                found = self._peel(b2a_hex(value))
                if found is not None:
                    yield b"^%b\n" % found

    def _write_loose(self, record: RefRecord) -> None:
        if record.target is not None:
            value = symref_to(record.target)
        else:
            value = b2a_hex(record.value or b"")
        self._create_named("ref", "", record.name, (value + b"\n",))

    # Reflogs

    def _write_logs(self, logs: Iterator[LogRecord]) -> None:
        conflicts, spellings = ConflictFinder(), self._spellings()
        for name, records in groupby(logs, key=lambda record: record.name):
            if self._is_fit("reflog", name, conflicts, spellings):
                lines = self._log_lines(name, records)
                self._create_named("reflog", "logs", name, lines)
                self._tally.reflogs += 1
                self._tally.entries += len(lines)

    def _log_lines(self, name: bytes, records: Iterable[LogRecord]) -> list[bytes]:
        lines = []
        for record in records:
            if record.update is None or record.update.is_existence_marker:
                continue
            line = format_entry(record.update)
            if line is None:
                self._broken(
                    "reflog", name, f"a line cannot hold the committer of {record.update.time}"
                )
            else:
                lines.append(line)
        lines.reverse()
        return lines

    # What cannot be migrated

    def _spellings(self) -> Spellings | None:
        return Spellings(**self._folds) if self._folds else None

    def _is_fit(
        self, kind: str, name: bytes, conflicts: ConflictFinder, spellings: Spellings | None
    ) -> bool:
        """Tell whether a ref or reflog can be migrated; report it if not."""
        if not is_legal(name):
            self._broken(kind, name, "is not a legal ref name")
        elif not self._git_dir.holds(name):
            self._tally.notes.append(f"{kind} '{os.fsdecode(name)}' does not belong to a worktree")
        elif others := conflicts.find(name):
            whose = "" if kind == "ref" else "that of "
            self._broken(kind, name, f"{whose}'{os.fsdecode(others[0])}' is in its way")
        elif spellings is not None and (other := spellings.find(name)) is not None:
            same = f"'{os.fsdecode(other)}' is the same name to this file system"
            self._broken(kind, name, same)
        else:
            return True
        return False

    def _broken(self, kind: str, name: bytes, reason: str) -> None:
        self._tally.broken.append(f"{kind} '{os.fsdecode(name)}': {reason}")

    # Files

    def _create_named(self, kind: str, inner: str, name: bytes, lines: Iterable[bytes]) -> None:
        """Create the file of a ref or reflog; report a name that the file system refuses."""
        path = self._target.file(inner, *os.fsdecode(name).split("/"))
        try:
            self._make_directory(os.path.dirname(path))
            self._create(path, lines)
            self._named[path] = kind, name
        except OSError as error:
            if error.errno not in _BECAUSE_OF_NAME:
                raise
            self._broken(kind, name, f"its file cannot be created: {error.strerror}")

    def _make_directory(self, path: str) -> None:
        if path not in self._made and not os.path.isdir(path):
            self._make_directory(os.path.dirname(path))
            os.mkdir(path)
            if self._adjust_mode is not None:
                self._adjust_mode(path)
        self._made.add(path)

    def _create(self, path: str, lines: Iterable[bytes], *, durable: bool = False) -> None:
        file = Descriptor()
        create(file, path)
        try:
            with file as fd:
                some: list[bytes] = []
                for line in lines:
                    some.append(line)
                    if len(some) == _WRITE_AT_ONCE:
                        write_all(fd, b"".join(some))
                        some.clear()
                write_all(fd, b"".join(some))
                if durable:
                    os.fsync(fd)
                file.close_reporting()
        except OSError as error:
            if isinstance(error, ReftableError):
                raise
            raise StorageError.of(error, "write", path) from error
        if self._adjust_mode is not None:
            self._adjust_mode(path)


def _logs(snapshot: Merged) -> Iterator[LogRecord]:
    """Give the log records without tombstones."""
    chunks = (records for _, records in snapshot.log_records())
    return (record for record in chain.from_iterable(chunks) if record.update is not None)
