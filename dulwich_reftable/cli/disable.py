# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable disable``: undo ``enable``."""

from __future__ import annotations

import argparse

from ..automatic.site_files import DISTRIBUTION, SiteError
from .enable import add_user, chosen

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_user(parser)


def run(parsed: argparse.Namespace) -> int:
    place = chosen(parsed)
    if place.package_version is not None:
        raise SiteError(f"the files belong to a package: pip uninstall {DISTRIBUTION}")
    print(f"{'disabled' if place.remove() else 'is not enabled'} in {place.directory}")
    return 0
