# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``install()`` and ``uninstall()``: stock dulwich handles reftable repositories through us."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .table import AROUND_REPO, STOCK

__all__ = ["install", "installed", "uninstall"]


class _Holder:
    """One that needs the patches in place."""


_INSTALLED = _Holder()
_lock = threading.Lock()


def install() -> None:
    """Let all of dulwich handle reftable repositories through us; harmless when done already.

    Names that other modules have imported from dulwich before, such as ``from dulwich.porcelain
    import reflog_expire``, stay what they were; ``Repo`` and all other classes do not mind.

    Raises:
      UnsupportedDulwichError: if this dulwich is not as expected; then nothing was replaced
    """
    _hold(_INSTALLED)


def uninstall() -> None:
    """Undo :func:`install`; harmless when there was none.

    A :class:`~dulwich_reftable.Repo` that somebody has opened keeps the replacements that are
    about it until it is closed.
    """
    _release(_INSTALLED)


@contextmanager
def installed() -> Iterator[None]:
    """Have it installed for a while; may be nested, and used by several threads.

    Raises:
      UnsupportedDulwichError: as :func:`install`
    """
    holder = _Holder()
    _hold(holder)
    try:
        yield
    finally:
        _release(holder)


def _hold(holder: _Holder) -> None:
    with _lock:
        STOCK.check()  # before the first replacement of the other part
        AROUND_REPO.hold(holder)
        STOCK.hold(holder)


def _release(holder: _Holder) -> None:
    with _lock:
        STOCK.release(holder)
        AROUND_REPO.release(holder)
