# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Prepares reftables from files: one table per stack.

As in ``git refs migrate``, all refs are one transaction with update index 1, and the reflog entries
get the update indexes from 1 on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

from ..engine.format.records import RefRecord
from ..engine.stack.locks import LockFile
from ..engine.stack.stack import Stack
from ..naming.conflicts import ConflictFinder
from ..repo.stubs import write_stubs
from .layout import Fingerprint, GitDir, fingerprint
from .migrator import Migrator, open_stack
from .ref_files import RefFiles
from .reflog_files import ReflogFiles
from .report import WRITTEN_MEANWHILE, MigrationError, Tally
from .swap import StagingDirectory, put_reftables

__all__ = ["ToReftable"]


class ToReftable(Migrator):
    """A migration from files to reftables."""

    _before: Fingerprint | None = None

    def lock(self, held: ExitStack) -> None:
        """Lock ``packed-refs`` and ``HEAD``.

        This keeps others from packing and deleting refs, and from updating ``HEAD`` or its branch.
        No lock prevents other updates; :meth:`check` notices these.
        """
        for git_dir in self._git_dirs:
            for name in ("packed-refs", "HEAD") if git_dir.is_main else ("HEAD",):
                lock = LockFile(git_dir.file(name), self._settings.lock_timeout)
                held.callback(lock.release)

    def prepare(self, tree: str) -> None:
        """Write the stacks and the stubs."""
        self._before = fingerprint(self._common_dir)
        for git_dir in self._git_dirs:
            target = git_dir.within(tree)
            os.makedirs(target.path, exist_ok=True)
            self._write(git_dir, open_stack(target.path, self._settings))
            write_stubs(target.path, self._settings.shared)
        self._tally.raise_broken()

    def check(self) -> None:
        """Check that the files are unchanged."""
        if fingerprint(self._common_dir) != self._before:
            raise MigrationError(WRITTEN_MEANWHILE)

    def put(self, staging: StagingDirectory) -> None:
        """Put the stacks into place."""
        put_reftables(self._git_dirs, staging)

    def close(self) -> None:
        """Do nothing: each file is closed when it has been read."""

    def is_late(self, staging: StagingDirectory) -> bool:
        """Tell whether somebody has written to the files since :meth:`check`.

        The files are retired by now. A later writer finds no directory for branches, and writes
        other refs beside the stub.
        """
        assert self._before is not None
        retired = fingerprint(staging.retired, is_retired=True)
        return retired.others != self._before.others or any(
            os.listdir(git_dir.file("refs")) != ["heads"] for git_dir in self._git_dirs
        )

    def _write(self, git_dir: GitDir, stack: Stack) -> None:
        tally = self._tally
        hash_size, block_size = stack.options.hash_size, stack.options.block_size
        with stack.addition() as addition:
            index = addition.next_update_index
            refs = RefFiles(git_dir, hash_size, self._peel, tally)
            logs = ReflogFiles(git_dir, hash_size, block_size, index, tally)
            total = refs.count() if tally.progress else None
            addition.write(
                tally.watched("refs", _checked(refs.records(index), tally), total),
                tally.watched("reflogs", logs.records(), logs.entries),
                logs.last_index,
            )
            addition.commit()
        stack.close()


def _checked(records: Iterator[RefRecord], tally: Tally) -> Iterator[RefRecord]:
    """Count the records; report and leave out those that conflict with another ref."""
    find_conflict = ConflictFinder().find
    count = 0
    for record in records:
        others = find_conflict(record.name)
        if others:
            name, in_the_way = os.fsdecode(record.name), os.fsdecode(others[0])
            tally.broken.append(f"ref '{name}': '{in_the_way}' is in its way")
            continue
        count += 1
        yield record
    tally.refs += count
