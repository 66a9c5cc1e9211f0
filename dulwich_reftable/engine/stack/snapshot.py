# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A stack at one moment: its tables seen as one, and the list that named them."""

from __future__ import annotations

from ..table.merged import Merged
from ..table.table import Table
from .storage import Listing

__all__ = ["Snapshot"]


class Snapshot(Merged):
    """The stack at one moment.

    Attributes:
      listing: the list that named its tables
    """

    def __init__(self, tables: tuple[Table, ...], listing: Listing) -> None:
        super().__init__(tables)
        self.listing = listing
