# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Reads damaged tables and stacks as far as possible; for verification, dumps and statistics.

:class:`~dulwich_reftable.engine.table.table.Table` refuses a file with a damaged header or footer,
and a snapshot of a stack needs all of its tables. This package reads what it can: the header and
footer of a table (:mod:`.ends`), its blocks one by one (:mod:`.table`), the rest of a broken block
(:mod:`.salvage`), and the tables of a stack that can be opened (:mod:`.stack`). The engine decodes
the bytes.
"""

from __future__ import annotations

from ..engine.format.layout import Footer, Header
from .salvage import salvaged
from .stack import StackInspection, inspect_stack
from .table import Inspection, LostBlock

__all__ = [
    "Footer",
    "Header",
    "Inspection",
    "LostBlock",
    "StackInspection",
    "inspect_stack",
    "salvaged",
]
