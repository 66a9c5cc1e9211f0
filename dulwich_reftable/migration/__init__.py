# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Moves the refs and reflogs of a repository from one format to the other."""

from .report import Migration, MigrationError
from .run import migrate

__all__ = ["Migration", "MigrationError", "migrate"]
