# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable init``: make a repository."""

from __future__ import annotations

import argparse
import os

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bare", action="store_true", help="make one without a working tree")
    parser.add_argument(
        "--object-format",
        choices=("sha1", "sha256"),
        default="sha1",
        help="the hash of its objects (default: %(default)s)",
    )
    parser.add_argument(
        "--ref-format",
        choices=("reftable", "files"),
        default="reftable",
        help="the format of its refs (default: %(default)s)",
    )
    parser.add_argument(
        "path", metavar="PATH", help="where; the directory is made if it is missing"
    )


def run(parsed: argparse.Namespace) -> int:
    from ..repo.repo import Repo

    os.makedirs(parsed.path, exist_ok=True)
    make = Repo.init_bare if parsed.bare else Repo.init
    with make(
        parsed.path, ref_format=parsed.ref_format, object_format=parsed.object_format
    ) as repo:
        print(f"made a repository with {repo.ref_format} refs in {repo.controldir()}")
    return 0
