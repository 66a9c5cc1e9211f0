# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable migrate``: move a repository from one ref format to the other."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack

from .discovery import find_repository
from .progress import Bar, counted

__all__ = ["add_arguments", "run"]


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

    bar = Bar(sys.stderr) if sys.stderr.isatty() else None
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
    print(", ".join(counted(*count) for count in counts))
    if parsed.dry_run:
        print(f"the repository is as it was; the result is in {done.path}")
    else:
        print(f"{done.path} is in the {done.ref_format} format now")
    return 0
