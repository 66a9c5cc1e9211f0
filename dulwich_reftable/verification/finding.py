# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The findings of a verification: a fault each, with its severity and its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..engine.errors import CorruptTableError

__all__ = ["ERROR", "INFO", "WARNING", "Finding", "corrupt", "limited"]

ERROR = "error"
"""Something is lost, or readers may get wrong answers."""

WARNING = "warning"
"""Nothing is lost, but somebody should look at it."""

INFO = "info"
"""A note; nothing has to be done."""

_MOST_OF_A_KIND = 100
"""Findings of one check about one subject; further ones are only counted."""


class Finding(NamedTuple):
    """A fault; ``str()`` of it is one line.

    Attributes:
      severity: ``"error"``, ``"warning"`` or ``"info"``
      check: the name of the check that found it
      subject: path of the file, or name of the ref
      message: the fault
      offset: its place in the file, in bytes; None if it has none
    """

    severity: str
    check: str
    subject: str
    message: str
    offset: int | None = None

    def __str__(self) -> str:
        where = "" if self.offset is None else f" at offset {self.offset}"
        return f"{self.severity}: {self.subject}{where}: {self.message}"


def corrupt(error: CorruptTableError, check: str) -> Finding:
    """Make a finding from an error of the engine."""
    return Finding(ERROR, check, error.filename, error.reason, error.offset)


def limited(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Pass findings through; of many alike, only the first ones and the number of the others."""
    counts: Counter[tuple[str, str]] = Counter()
    last: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        key = finding.subject, finding.check
        counts[key] += 1
        if counts[key] <= _MOST_OF_A_KIND:
            yield finding
        else:
            last[key] = finding
    for key, finding in last.items():
        more = counts[key] - _MOST_OF_A_KIND
        yield finding._replace(message=f"{more} more findings like this", offset=None)
