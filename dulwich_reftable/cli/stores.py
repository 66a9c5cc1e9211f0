# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""URLs of object stores on the command line, and the options of these stores.

Secrets come from the environment and from the usual files: every user of a machine can read the
arguments of a process. So options that hold secrets are refused.
"""

from __future__ import annotations

import argparse
import re
from typing import Any

__all__ = ["add_store_options", "is_store_url", "local_cache", "store_options"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # one letter would be a drive
_KEY = re.compile(r"[a-z][a-z0-9_]*")
_SECRET = re.compile(r"secret|password|token|credential|sas|_key|private|service_account(?!_path)")
_NUMBERS = frozenset(("timeout", "deadline", "pace"))
_NOT_TEXT = frozenset(("client_options", "store", "prefix"))


def is_store_url(place: str) -> bool:
    """Tell whether a place is written as a URL, not as a path."""
    return _URL.match(place) is not None


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--store-option``."""
    parser.add_argument(
        "--store-option",
        dest="store_options",
        action="append",
        type=_option,
        default=[],
        metavar="KEY=VALUE",
        help="with a URL such as s3://bucket/path: an option of the object store, such as "
        "endpoint or region; credentials come from the environment",
    )


def store_options(parsed: argparse.Namespace) -> dict[str, Any]:
    """Give the options of the store."""
    return dict(parsed.store_options)


def local_cache() -> Any:
    """Give the user's cache of packs."""
    from ..bucket.cache import Cache, default_directory

    return Cache(default_directory())


def _option(text: str) -> tuple[str, str | float]:
    key, equals, value = text.partition("=")
    if not equals or not _KEY.fullmatch(key) or key in _NOT_TEXT:
        raise argparse.ArgumentTypeError("not an option, such as region=eu-west-1")
    if _SECRET.search(key):
        raise argparse.ArgumentTypeError(
            f"{key} is a secret, and others can read it here: set it in the environment"
        )
    if key not in _NUMBERS:
        return key, value
    try:
        return key, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{key} is a number of seconds") from None
