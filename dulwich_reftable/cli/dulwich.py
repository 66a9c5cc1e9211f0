# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable dulwich``: dulwich's own command line, on reftable repositories too."""

from __future__ import annotations

import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell what the command takes."""
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT")


def run(parsed: argparse.Namespace) -> int:
    """Run the command."""
    from dulwich import cli

    from ..patches.installation import installed

    with installed():
        return cli.main(parsed.arguments) or 0
