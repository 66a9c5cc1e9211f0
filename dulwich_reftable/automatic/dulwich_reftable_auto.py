# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Makes dulwich handle reftable repositories in programs that know nothing of dulwich-reftable.

Python runs :func:`start` whenever it starts, by the file ``dulwich_reftable_auto.pth``, or
``.start`` from Python 3.18 on. All that it does is to wait for the modules of dulwich. The rest is
in ``dulwich_reftable_stand_ins``, so that programs without dulwich pay little.

The environment variable ``DULWICH_REFTABLE_AUTO=0`` switches it off.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

__all__ = ["start"]


class _Finder:
    @staticmethod
    def find_spec(
        name: str, path: "Any" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if not name.startswith("dulwich."):
            return None
        from importlib import import_module

        try:
            stand_ins: Any = import_module("dulwich_reftable_stand_ins")
        except ImportError:
            return None  # it was removed after this program had started
        spec: ModuleSpec | None = stand_ins.find_spec(name, path, target)
        return spec


def start() -> None:
    """Wait for dulwich, unless the environment says not to; a second call does nothing."""
    if os.environ.get("DULWICH_REFTABLE_AUTO") != "0" and _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
