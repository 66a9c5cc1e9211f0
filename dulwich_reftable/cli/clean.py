# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable clean``: remove what dead writers left, and tell what it was."""

from __future__ import annotations

import argparse
import os

from .repository import add_repository, opened, printable

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell what the command takes."""
    parser.epilog = "Each file that was removed is a line on standard output."
    add_repository(parser)


def run(parsed: argparse.Namespace) -> int:
    """Run the command."""
    with opened(parsed.repository) as (_, refs):
        for _, stack in refs.store.all_stacks():
            if os.path.isdir(stack.storage.location):
                for name in stack.clean():
                    print(printable(os.path.join(stack.storage.location, name)))
    return 0
