# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``install()`` and ``uninstall()``: stock dulwich handles reftable repositories through us."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .table import AROUND_REPO, STOCK

__all__ = ["install", "install_for_good", "installed", "uninstall"]


class _Holder:
    """Keeps the patches in place."""


_INSTALLED = _Holder()
_FOR_GOOD = _Holder()
_lock = threading.Lock()


def install() -> None:
    """Let all of dulwich handle reftable repositories through us.

    A second call does nothing. Functions that another module has imported by name before, as by
    ``from dulwich.porcelain import reflog_expire``, are not patched there; ``Repo`` and all other
    classes are.

    Raises:
      UnsupportedDulwichError: if this dulwich is not as expected; nothing was patched
    """
    _hold(_INSTALLED)


def uninstall() -> None:
    """Undo :func:`install`; without one before, this does nothing.

    An open :class:`~dulwich_reftable.Repo` keeps the patches that it needs until it is closed.
    """
    _release(_INSTALLED)


def install_for_good() -> None:
    """Install on behalf of the Python environment; :func:`uninstall` does not undo this.

    The module ``dulwich_reftable_stand_ins`` calls it.

    Raises:
      UnsupportedDulwichError: as :func:`install`
    """
    _hold(_FOR_GOOD)


@contextmanager
def installed() -> Iterator[None]:
    """Have it installed while the context is open.

    Contexts may be nested, and several threads may have one each.

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
        STOCK.check()  # before the first patch of the other set
        AROUND_REPO.hold(holder)
        STOCK.hold(holder)


def _release(holder: _Holder) -> None:
    with _lock:
        STOCK.release(holder)
        AROUND_REPO.release(holder)
