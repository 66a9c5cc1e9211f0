# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable status``: where ``enable`` was used, and what dulwich's programs get by it."""

from __future__ import annotations

import argparse
import os
import site
import sys

import dulwich

from .. import __version__
from ..automatic.site_files import DISTRIBUTION, OFF, SiteError, SiteFiles, is_active
from ..compat import UnsupportedDulwichError
from ..engine.errors import StorageError

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "The exit code is 1 if programs do not get it."
    parser.add_argument("--user", action="store_true", help="look at the user's site-packages only")


def run(parsed: argparse.Namespace) -> int:
    from ..patching.table import AROUND_REPO, STOCK

    places = [] if parsed.user else [SiteFiles.of_environment(__version__)]
    if parsed.user or site.ENABLE_USER_SITE:
        places.append(SiteFiles.of_user(__version__))
    for place in places:
        print(f"{place.directory}: {_state(place)}")
    active = is_active()
    off = f" ({OFF}=0)" if os.environ.get(OFF) == "0" else ""
    print(f"programs of {sys.executable}: {'on' if active else 'off'}{off}")
    print(f"dulwich-reftable {__version__}, dulwich {'.'.join(map(str, dulwich.__version__[:3]))}")
    try:
        for patches in (AROUND_REPO, STOCK):
            patches.check()
    except UnsupportedDulwichError as error:
        print(error)
        return 1
    print("patched at the first use of a reftable repository:")
    for patch in (*AROUND_REPO.patches, *STOCK.patches):
        print(f"  {patch.target}")
    return 0 if active else 1


def _state(place: SiteFiles) -> str:
    version = place.package_version
    if version is not None:
        return f"enabled, by {DISTRIBUTION} {version}"
    try:
        versions = {*place.versions().values()}
    except (SiteError, StorageError) as error:
        return str(error)
    return f"enabled, by version {' and '.join(sorted(versions))}" if versions else "not enabled"
