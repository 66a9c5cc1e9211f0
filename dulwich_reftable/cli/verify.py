# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable verify``: look for damage, and print a line per finding."""

from __future__ import annotations

import argparse

from ..verification import ERROR, INFO, WARNING
from ..verification import verify as find_faults
from .repository import add_repository, opened, printable
from .stores import store_options

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "The exit code is 1 if there are errors; with --strict also if there are warnings. Notes "
        "(info) do not count."
    )
    parser.add_argument("--strict", action="store_true", help="count warnings as errors")
    parser.add_argument("-q", "--quiet", action="store_true", help="leave out the notes")
    add_repository(parser)


def run(parsed: argparse.Namespace) -> int:
    counted = {ERROR, WARNING} if parsed.strict else {ERROR}
    code = 0
    with opened(parsed.repository, options=store_options(parsed)) as (_, refs):
        for finding in find_faults(refs.store.all_stacks(), refs.store.common_dir):
            if finding.severity in counted:
                code = 1
            if not (parsed.quiet and finding.severity == INFO):
                print(printable(str(finding)))
    return code
