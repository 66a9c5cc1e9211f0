# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What an update writes to one stack, step by step."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ..engine.errors import TransactionError
from ..engine.format.records import LogRecord, RefRecord, log_key
from ..engine.stack.addition import Addition, next_update_indexes
from ..engine.stack.snapshot import Snapshot
from ..engine.table.merged import Merged
from ..engine.table.overlay import Overlay
from ..engine.table.writer import WriteOptions
from .bulk_update import BulkUpdate
from .signature import Signature

__all__ = ["StackUpdate"]


@dataclass
class StackUpdate:
    """The part of an update that is written to one stack.

    Attributes:
      location: of the stack, for messages
      base: the stack before the update
      refs_before: the same, and the steps before this one
      values: of refs before this step, as text
      claimed: names of the refs that this step updates
      refs: the records of this step, by name
      logs: those of reflogs, by key
      bulk: in place of all that, if there are very many
    """

    location: str
    base: Snapshot
    refs_before: Merged
    values: dict[bytes, bytes | None] = field(default_factory=dict)
    claimed: set[bytes] = field(default_factory=set)
    refs: dict[bytes, RefRecord] = field(default_factory=dict)
    logs: dict[bytes, LogRecord] = field(default_factory=dict)
    bulk: BulkUpdate | None = None

    @property
    def update_index(self) -> int:
        """The update index of this step."""
        return next_update_indexes(self.refs_before, 1, self.location)[0]

    def value(self, name: bytes) -> bytes | None:
        """Give a ref's value as text."""
        if name not in self.values:
            self.values[name] = self.refs_before.ref_value(name)
        return self.values[name]

    def claim(self, name: bytes, updated: bytes) -> None:
        """Claim a ref and its reflog for the update of one; a second claim is an error."""
        if name in self.claimed:
            raise TransactionError(
                updated, None, None, f"'{os.fsdecode(name)}' is part of another update, too"
            )
        self.claimed.add(name)

    def log(self, name: bytes, signature: Signature, old: bytes, new: bytes) -> None:
        """Add an entry to a reflog."""
        record = LogRecord(name, self.update_index, signature.update(old, new))
        self.logs[log_key(name, self.update_index)] = record

    def created(self) -> list[bytes]:
        """Give the names of the refs that the step creates."""
        return [
            name
            for name, record in self.refs.items()
            if not record.is_deletion and self.values.get(name) is None and b"/" in name
        ]

    def deleted(self) -> set[bytes]:
        """Give the names of the refs that the step deletes."""
        return {name for name, record in self.refs.items() if record.is_deletion}

    def keep(self, options: WriteOptions) -> None:
        """Finish the step; the next one sees its refs."""
        if self.refs or self.logs:
            if not isinstance(self.refs_before, Overlay):
                self.refs_before = Overlay(self.base, options)
            self.refs_before.add(self.refs.values(), self.logs.values())
        self.drop()

    def drop(self) -> None:
        """Forget the step."""
        self.values = {}
        self.restart()

    def restart(self) -> None:
        """Forget the records of the step, but not the values that were read."""
        self.claimed, self.refs, self.logs = set(), {}, {}

    def write(self, addition: Addition) -> None:
        """Write the table, if there is anything to write."""
        before = self.refs_before
        if isinstance(before, Overlay):
            addition.write(before.updated_refs(), before.updated_logs(), before.max_update_index)
        elif self.refs or self.logs:
            addition.write(
                (self.refs[name] for name in sorted(self.refs)),
                (self.logs[key] for key in sorted(self.logs)),
            )
