# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable init``: make a repository."""

from __future__ import annotations

import argparse
import os

from ..engine.errors import ReftableError
from .stores import add_store_options, is_store_url, store_options

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
        "path",
        metavar="PATH",
        help="where; the directory is made if it is missing; or a URL such as s3://bucket/path",
    )
    add_store_options(parser)


def run(parsed: argparse.Namespace) -> int:
    if is_store_url(parsed.path):
        return _init_in_store(parsed)

    from ..repo.repo import Repo

    os.makedirs(parsed.path, exist_ok=True)
    make = Repo.init_bare if parsed.bare else Repo.init
    with make(
        parsed.path, ref_format=parsed.ref_format, object_format=parsed.object_format
    ) as repo:
        print(f"made a repository with {repo.ref_format} refs in {repo.controldir()}")
    return 0


def _init_in_store(parsed: argparse.Namespace) -> int:
    from ..bucket.repo import BucketRepo

    if parsed.ref_format != "reftable":
        raise ReftableError("refs in an object store are in reftables")
    with BucketRepo.init(
        parsed.path, object_format=parsed.object_format, **store_options(parsed)
    ) as repo:
        print(f"made a repository with {repo.ref_format} refs in {repo.path}")
    return 0
