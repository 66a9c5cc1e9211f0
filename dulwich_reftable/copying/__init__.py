# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Copying a repository whole, between directories and object stores."""

from .report import Copy, CopyError
from .run import copy_repository

__all__ = ["Copy", "CopyError", "copy_repository"]
