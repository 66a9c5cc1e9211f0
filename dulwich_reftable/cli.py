# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The command ``dulwich-reftable``; each subcommand is one function here."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from . import plugin

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
      args: its arguments; None for those of the process
    Returns: exit code
    """
    parser = argparse.ArgumentParser(
        prog="dulwich-reftable", description="Work with git repositories in the reftable format."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_dulwich(commands)
    parsed = parser.parse_args(args)
    code: int = parsed.run(parsed)
    return code


def _add_dulwich(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    # Without a help option of its own, so that all of the rest goes to dulwich.
    parser = commands.add_parser(
        "dulwich",
        add_help=False,
        prefix_chars="\0",
        help="run dulwich's own command line, reftable repositories included",
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT")
    parser.set_defaults(run=_run_dulwich)


def _run_dulwich(parsed: argparse.Namespace) -> int:
    from dulwich import cli

    with plugin.installed():
        return cli.main(parsed.arguments) or 0
