# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable copy``: copy a repository whole, between directories and object stores."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack

from .progress import Bar, counted
from .stores import add_store_options, is_store_url, store_options

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A place is a directory, or a URL such as s3://bucket/path, gs://bucket/path or "
        "az://container/path; credentials come from the environment. The copy is bare. If the "
        "command was interrupted, run it again: what was sent is not sent again. Hooks, working "
        "trees and their refs stay behind, and so does what the configuration says of remotes."
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="bring an earlier copy up to date, unless somebody else has written to it",
    )
    add_store_options(parser)
    parser.add_argument("source", metavar="SRC", help="the repository")
    parser.add_argument("destination", metavar="DST", help="where the copy is to be")


def run(parsed: argparse.Namespace) -> int:
    from ..bucket import open_store
    from ..copying import copy_repository

    bar = Bar(sys.stderr) if sys.stderr.isatty() else None
    with ExitStack() as opened:
        if bar is not None:
            opened.callback(bar.clear)
        places = [
            open_store(place, **store_options(parsed)) if is_store_url(place) else place
            for place in (parsed.source, parsed.destination)
        ]
        done = copy_repository(*places, update=parsed.update, progress=bar)
    for note in done.notes:
        print(f"note: {note}", file=sys.stderr)
    counts = [(done.refs, "ref"), (done.reflogs, "reflog"), (done.entries, "reflog entry")]
    print(", ".join(counted(*count) for count in counts))
    print(f"{counted(done.packs, 'pack')} sent, {done.present:,} there already; all is verified")
    return 0
