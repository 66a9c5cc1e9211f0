# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What a dump is printed by: :mod:`.dump` walks through the tables and calls a renderer.

The calls come in the order of the output. The methods that do nothing here are those that one of
the two forms, text and JSON, has no use for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple

from ..engine.errors import ReftableError
from ..engine.format.block import Block
from ..engine.format.layout import LOG, OBJ
from ..engine.format.records import decode_log_key
from ..inspection import Inspection
from ..verification import Finding

__all__ = ["Damage", "DumpRenderer", "Entries", "LastKey", "damage_of", "last_key"]

Entries = Iterable[tuple[int, bytes, object]]
"""Offset, key and record of each entry of a block."""


class DumpRenderer(ABC):
    """Prints a dump."""

    def begin(self, kind: str) -> None:
        """Begin a dump of several stacks or tables.

        Args:
          kind: ``"stacks"`` or ``"tables"``
        """

    def end(self) -> None:
        """End a dump of several stacks or tables."""

    @abstractmethod
    def begin_stack(self, location: str, worktree: bytes | None, names: list[str]) -> None:
        """Begin a stack.

        Args:
          location: of the stack, for people
          worktree: id of the linked worktree that it belongs to; None for the shared stack
          names: of its tables
        """

    @abstractmethod
    def fault(self, error: ReftableError) -> None:
        """Report a fault of the stack's list."""

    def end_stack(self) -> None:
        """End a stack."""

    @abstractmethod
    def begin_table(self, inspection: Inspection) -> None:
        """Begin a table."""

    @abstractmethod
    def damage(self, error: ReftableError) -> None:
        """Report a block that cannot be read."""

    def count(self, block: Block, section: int, records: int) -> None:
        """Count a block for the summary, whether it is shown or not.

        Args:
          block: the block
          section: type of the blocks that it belongs to, or that it is the index of
          records: how many it has
        """

    @abstractmethod
    def block(
        self,
        block: Block,
        section: int,
        records: int,
        entries: Entries | None,
        damage: ReftableError | None,
    ) -> None:
        """Show a block.

        Args:
          block: the block
          section: as for :meth:`count`
          records: how many it has
          entries: its records; None if they are not to be shown
          damage: what is wrong with it
        """

    @abstractmethod
    def end_table(self, findings: list[Finding]) -> None:
        """End a table.

        Args:
          findings: contradictions between its parts
        """


class Damage(NamedTuple):
    """What is wrong, and where in the file if that is known."""

    offset: int | None
    reason: str


def damage_of(error: ReftableError) -> Damage:
    """Take an error apart."""
    return Damage(getattr(error, "offset", None), getattr(error, "reason", str(error)))


class LastKey(NamedTuple):
    """The last key of a block, as an index has it.

    Attributes:
      name: of a ref; None for a key of an obj block
      update_index: that of a log record; else None
      prefix: of object ids; None for other keys
    """

    name: bytes | None = None
    update_index: int | None = None
    prefix: bytes | None = None


def last_key(key: bytes, section: int) -> LastKey:
    """Decode a key of an index.

    Args:
      key: as the index has it
      section: type of the blocks that the index is of
    """
    if section == OBJ:
        return LastKey(prefix=key)
    if section == LOG:
        try:
            return LastKey(*decode_log_key(key))
        except ValueError:
            pass  # damaged: show the bytes
    return LastKey(key)
