# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The reftable reference backend for dulwich."""

from .engine.errors import (
    ConfigurationError,
    CorruptTableError,
    LockError,
    RecordError,
    RefConflictError,
    ReftableError,
    StaleListError,
    StorageError,
    TransactionError,
)
from .errors import BadRefNameError
from .patching import UnsupportedDulwichError
from .plugin import install, installed, uninstall
from .reader import RefsSnapshot
from .refs import ReftableRefsContainer
from .repo import Repo
from .transaction import Transaction

__all__ = [
    "BadRefNameError",
    "ConfigurationError",
    "CorruptTableError",
    "LockError",
    "RecordError",
    "RefConflictError",
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
    "uninstall",
]
