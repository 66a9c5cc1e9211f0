# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable dulwich``: dulwich's own command line, for reftable repositories too."""

from __future__ import annotations

import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT")


def run(parsed: argparse.Namespace) -> int:
    from dulwich import cli

    from ..patching.installation import installed

    with installed():
        return cli.main(parsed.arguments) or 0
