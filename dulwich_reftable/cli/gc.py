# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable gc``: merge the packs of a repository in an object store."""

from __future__ import annotations

import argparse

from ..engine.errors import ReftableError
from .repository import opened
from .stores import add_store_options, is_store_url, store_options

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Objects that no ref or reflog reaches are removed, and so are packs whose objects are in "
        "others, once both are older than the grace period. For a directory, use git gc."
    )
    parser.add_argument("--full", action="store_true", help="merge all packs into one")
    parser.add_argument(
        "--grace",
        type=float,
        metavar="SECONDS",
        help="remove nothing that is younger; longer than any fetch or push takes (two weeks)",
    )
    add_store_options(parser)
    parser.add_argument("repository", metavar="URL", help="such as s3://bucket/path")


def run(parsed: argparse.Namespace) -> int:
    from ..bucket.gc import GRACE, collect_garbage
    from ..bucket.repo import BucketRepo

    if not is_store_url(parsed.repository):
        raise ReftableError(f"{parsed.repository} is no URL of an object store; use git gc")
    with opened(parsed.repository, options=store_options(parsed)) as (repo, refs):
        assert isinstance(repo, BucketRepo)
        report = collect_garbage(
            repo.object_store,
            refs,
            grace=GRACE if parsed.grace is None else parsed.grace,
            full=parsed.full,
            shallow=repo.get_shallow(),
        )
    print(f"{report.kept} objects are kept, {report.copied} of them copied")
    for what, names in (("retired", report.retired), ("removed", report.removed)):
        for name in names:
            print(f"{what} {name}")
    return 0
