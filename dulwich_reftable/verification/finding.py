# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What verification finds: one fault each, with how bad it is and where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..engine.errors import CorruptTableError

__all__ = ["ERROR", "INFO", "WARNING", "Finding", "corrupt", "limited"]

ERROR = "error"
"""Something is lost or may mislead who reads."""

WARNING = "warning"
"""Nothing is lost, but somebody should look."""

INFO = "info"
"""Worth knowing."""

_MOST_OF_A_KIND = 100
"""Findings of one kind about one subject; the others are only counted."""


class Finding(NamedTuple):
    """A fault; its text is one line.

    Attributes:
      severity: ``"error"``, ``"warning"`` or ``"info"``
      check: which check found it, a word or two for machines
      subject: path of the file, or name of the ref
      message: what is wrong
      offset: where in the file, in bytes; None if that is nowhere in particular
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
    """Make a finding of what the engine says."""
    return Finding(ERROR, check, error.filename, error.reason, error.offset)


def limited(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Cut short what would be said over and over."""
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
