# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A cherry-pick with a conflict leaves ``CHERRY_PICK_HEAD``, which git keeps as a ref."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from .files import refs_as_files
from .subclassing import is_reftable

__all__ = ["cherry_pick"]


def cherry_pick(original: Callable[..., bytes | None]) -> Callable[..., bytes | None]:
    """Patch ``porcelain.cherry_pick``, which keeps ``CHERRY_PICK_HEAD`` in a file."""

    @wraps(original)
    def pick(repo: Any, *args: Any, **kwargs: Any) -> bytes | None:
        from dulwich.porcelain import open_repo_closing

        with open_repo_closing(repo) as opened:
            if not is_reftable(opened):
                return original(opened, *args, **kwargs)
            with refs_as_files(opened, b"CHERRY_PICK_HEAD"):
                return original(opened, *args, **kwargs)

    return pick
