# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Moving a repository's refs and reflogs from one format to the other, and nothing else of it."""

from .report import Migration, MigrationError
from .run import migrate

__all__ = ["Migration", "MigrationError", "migrate"]
