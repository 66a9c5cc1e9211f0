# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Tables and stacks as far as they can be read, for those who look at damage rather than at refs.

:class:`~dulwich_reftable.engine.table.table.Table` refuses a file whose header or footer are
damaged, and a snapshot of a stack is of all of its tables or of none. Here whatever makes sense is
kept: the ends of a table (:mod:`.ends`), its blocks one by one (:mod:`.table`), what is left of a
broken one (:mod:`.salvage`), and the tables of a stack that there are (:mod:`.stack`). It is the
engine that decodes.
"""

from __future__ import annotations

from ..engine.format.layout import Footer, Header
from .salvage import salvaged
from .stack import StackInspection, inspect_stack
from .table import Inspection, Lost

__all__ = [
    "Footer",
    "Header",
    "Inspection",
    "Lost",
    "StackInspection",
    "inspect_stack",
    "salvaged",
]
