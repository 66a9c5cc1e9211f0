# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable enable``: reftable repositories in all programs of a Python environment."""

from __future__ import annotations

import argparse
import errno
import os
import site

from .. import __version__
from ..automatic.site_files import DISTRIBUTION, OFF, SiteError, SiteFiles, is_active
from ..engine.errors import StorageError

__all__ = ["add_arguments", "add_user", "chosen", "run"]


def add_user(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses the place."""
    parser.add_argument(
        "--user",
        action="store_true",
        help="for all programs of this user that run with this Python, outside of virtual "
        "environments; without it, for all programs of this environment",
    )


def chosen(parsed: argparse.Namespace) -> SiteFiles:
    """Give the place that was chosen."""
    if parsed.user:
        return SiteFiles.of_user(__version__)
    return SiteFiles.of_environment(__version__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        f"The environment variable {OFF}=0 switches it off again for one program. "
        f"The package {DISTRIBUTION} does the same, and belongs to pip."
    )
    add_user(parser)


def run(parsed: argparse.Namespace) -> int:
    place = chosen(parsed)
    if parsed.user and not site.ENABLE_USER_SITE:
        raise SiteError("this Python does not look at the site-packages of its user")
    version = place.package_version
    if version is not None:
        print(f"is enabled in {place.directory}, by {DISTRIBUTION} {version}")
        return 0
    try:
        is_new = place.write()
    except StorageError as error:
        may_not = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        if may_not and not parsed.user and site.ENABLE_USER_SITE:
            raise SiteError(f"{error}; try --user, or a virtual environment") from error
        raise
    # A variable of this shell shall not make this fail.
    if not is_active({name: value for name, value in os.environ.items() if name != OFF}):
        if is_new:
            place.remove()
        raise SiteError(f"this Python does not run the .pth files in {place.directory}")
    print(f"{'enabled' if is_new else 'is enabled'} in {place.directory}")
    return 0
