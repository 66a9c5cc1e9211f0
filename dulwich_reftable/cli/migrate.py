# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable migrate``: move a repository from one ref format to the other.

If stderr is a terminal, a bar there shows the progress. It is drawn at most ten times a second.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import ExitStack
from typing import TextIO

from .discovery import find_repository

__all__ = ["add_arguments", "run"]

_WIDTH = 30
_PAUSE = 0.1  # seconds between two drawings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to", choices=("reftable", "files"), required=True, help="the format to move to"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="do not change the repository; leave the result in a directory, and print its name",
    )
    parser.add_argument(
        "path", metavar="PATH", nargs="?", help="the repository (the one that git would take)"
    )


def run(parsed: argparse.Namespace) -> int:
    from ..migration import migrate

    bar = _Bar(sys.stderr) if sys.stderr.isatty() else None
    with ExitStack() as opened:
        if bar is not None:
            opened.callback(bar.clear)
        place = parsed.path
        if place is None:
            place = opened.enter_context(find_repository(os.curdir, os.environ))
        done = migrate(place, parsed.to, dry_run=parsed.dry_run, progress=bar)
    for note in done.notes:
        print(f"note: {note}", file=sys.stderr)
    counts = [(done.refs, "ref"), (done.reflogs, "reflog"), (done.entries, "reflog entry")]
    if done.worktrees:
        counts.append((done.worktrees, "linked worktree"))
    print(", ".join(_counted(*count) for count in counts))
    if parsed.dry_run:
        print(f"the repository is as it was; the result is in {done.path}")
    else:
        print(f"{done.path} is in the {done.ref_format} format now")
    return 0


def _counted(count: int, noun: str) -> str:
    if count != 1:
        noun = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{count:,} {noun}"


class _Bar:
    """Draws the progress; a :data:`~dulwich_reftable.migration.report.Progress`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0.0
        self._length = 0

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if done != total and now - self._drawn < _PAUSE:
            return
        self._drawn = now
        text = f"{phase}: {done:,}"
        if total:
            filled = _WIDTH * min(done, total) // total
            text = f"{phase}: [{'#' * filled:{_WIDTH}}] {done:,} of {total:,}"
        self._stream.write("\r" + text.ljust(self._length))
        self._stream.flush()
        self._length = len(text)

    def clear(self) -> None:
        """Clear the bar."""
        self._stream.write("\r" + " " * self._length + "\r")
        self._stream.flush()
