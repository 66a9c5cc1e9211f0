# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable clean``: remove stale files that dead writers left, and print their names."""

from __future__ import annotations

import argparse
import os

from .repository import add_repository, opened, printable
from .stores import store_options

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Prints the path of each removed file."
    add_repository(parser)


def run(parsed: argparse.Namespace) -> int:
    with opened(parsed.repository, options=store_options(parsed)) as (_, refs):
        for _, stack in refs.store.all_stacks():
            if stack.storage.is_optimistic or os.path.isdir(stack.storage.location):
                for name in stack.clean():
                    print(printable(os.path.join(stack.storage.location, name)))
    return 0
