# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable compact``: merge the tables of each stack, and print the gain."""

from __future__ import annotations

import argparse

from ..engine.stack.stack import Stack
from .repository import add_repository, opened, printable
from .stores import store_options

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Prints a line for each stack that has changed."
    parser.add_argument(
        "--auto",
        action="store_true",
        help="merge only as many tables as restore the geometric sequence of their sizes, as after "
        "an update; skip stacks that are locked",
    )
    add_repository(parser)


def run(parsed: argparse.Namespace) -> int:
    with opened(parsed.repository, options=store_options(parsed)) as (_, refs):
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
