# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable compact``: merge the tables of each stack, and tell what came of it."""

from __future__ import annotations

import argparse

from ..engine.stack.stack import Stack
from .repository import add_repository, opened, printable

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell what the command takes."""
    parser.epilog = "Each stack that changed is a line on standard output."
    parser.add_argument(
        "--auto",
        action="store_true",
        help="merge only what the geometric sequence of table sizes asks for, as after an update, "
        "and give way to everybody",
    )
    add_repository(parser)


def run(parsed: argparse.Namespace) -> int:
    """Run the command."""
    with opened(parsed.repository) as (_, refs):
        for _, stack in refs.store.all_stacks():
            tables, size = _shape(stack)
            if parsed.auto:
                stack.auto_compact()
            else:
                stack.compact()
            after = _shape(stack)
            if after != (tables, size):
                print(
                    f"{printable(stack.storage.location)}: {tables} tables of {size} bytes "
                    f"are now {after[0]} of {after[1]}"
                )
    return 0


def _shape(stack: Stack) -> tuple[int, int]:
    tables = stack.snapshot().tables
    return len(tables), sum(table.size for table in tables)
