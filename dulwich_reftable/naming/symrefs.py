# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Symbolic refs: how a value says that a ref is one, and where it leads.

A value is text, here as everywhere above the engine: a hex object id, or ``b"ref: <target>"``. A
chain of symrefs has a largest length, so that a circle ends as well.
"""

from __future__ import annotations

from collections.abc import Callable

from ..engine.format.ref_scan import SYMREF_PREFIX

__all__ = ["MAX_SYMREF_DEPTH", "is_symref", "resolve", "resolved_id", "symref_target", "symref_to"]

MAX_SYMREF_DEPTH = 5
"""How many refs a chain of symrefs may have (git: ``SYMREF_MAXDEPTH``, and dulwich)."""

_TARGET_AT = len(SYMREF_PREFIX)


def is_symref(value: bytes) -> bool:
    """Tell whether a value is that of a symref."""
    return value.startswith(SYMREF_PREFIX)


def symref_to(target: bytes) -> bytes:
    """Give the value of a symref.

    Args:
      target: name of the ref that it points to
    """
    return SYMREF_PREFIX + target


def symref_target(value: bytes | None) -> bytes | None:
    """Give the name of the ref that a value points to.

    Args:
      value: of a ref; None for "no such ref"
    Returns: the name, None if the value is not that of a symref
    """
    if value is not None and value.startswith(SYMREF_PREFIX):
        return value[_TARGET_AT:]
    return None


def resolve(
    name: bytes, read: Callable[[bytes], bytes | None], most: int = MAX_SYMREF_DEPTH
) -> tuple[list[bytes], bytes | None]:
    """Follow symrefs from a name on.

    Args:
      name: of the first ref
      read: gives the value of a ref; None if there is no such ref
      most: how many refs are read
    Returns: the names of the refs that were read, in order, and the value of the last: an object
      id, None if there is no such ref, or that of a symref if the chain is longer or a circle
    """
    names = [name]
    value = read(name)
    while len(names) < most:
        target = symref_target(value)
        if target is None:
            break
        names.append(target)
        value = read(target)
    return names, value


def resolved_id(name: bytes, read: Callable[[bytes], bytes | None]) -> bytes | None:
    """Follow symrefs to an object.

    Args are those of :func:`resolve`.

    Returns: hex object id; None if the chain leads to no ref, is too long, or a circle
    """
    value = resolve(name, read)[1]
    return None if value is None or is_symref(value) else value
