# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The reftable reference backend for dulwich."""

from importlib import import_module
from typing import TYPE_CHECKING

from .compat import UnsupportedDulwichError
from .compat.errors import BadRefNameError
from .engine.errors import (
    ConfigurationError,
    CorruptTableError,
    LockError,
    OutcomeUnknownError,
    RecordError,
    RefConflictError,
    RefsMovedError,
    ReftableError,
    StaleListError,
    StorageError,
    TransactionError,
)
from .refs.container import ReftableRefsContainer
from .refs.reader import RefsSnapshot
from .refs.transaction import Transaction
from .verification import Finding

if TYPE_CHECKING:
    from .migration import Migration, MigrationError, migrate
    from .patching.installation import install, installed, uninstall
    from .repo.repo import Repo

__all__ = [
    "BadRefNameError",
    "ConfigurationError",
    "CorruptTableError",
    "Finding",
    "LockError",
    "Migration",
    "MigrationError",
    "OutcomeUnknownError",
    "RecordError",
    "RefConflictError",
    "RefsMovedError",
    "RefsSnapshot",
    "ReftableError",
    "ReftableRefsContainer",
    "Repo",
    "StaleListError",
    "StorageError",
    "Transaction",
    "TransactionError",
    "UnsupportedDulwichError",
    "install",
    "installed",
    "migrate",
    "uninstall",
]

__version__ = "0.2.0.dev0"

_LATER = {
    "Migration": ".migration",
    "MigrationError": ".migration",
    "Repo": ".repo.repo",
    "install": ".patching.installation",
    "installed": ".patching.installation",
    "migrate": ".migration",
    "uninstall": ".patching.installation",
}
"""Names that are imported on first use: they import much of dulwich, or need more of it."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_LATER[name], __name__), name)
    return found
