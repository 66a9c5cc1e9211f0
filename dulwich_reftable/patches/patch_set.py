# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Replacing attributes of another package: all or none of them, and back again.

Nothing here knows what is replaced: that is :mod:`dulwich_reftable.patches.table`'s table. A set of
replacements is in place as long as somebody holds it. Before the first attribute is touched, all of
them are looked at: one that is missing, or whose parameters are not those that its replacement was
written for, would make a replacement that does the wrong thing quietly.
"""

from __future__ import annotations

import importlib
import inspect
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..engine.errors import ReftableError

__all__ = ["Patch", "PatchSet", "UnsupportedDulwichError"]


class UnsupportedDulwichError(ReftableError):
    """The installed dulwich is not as the replacements expect it; nothing was replaced.

    Attributes:
      target: what is missing or different, as ``"module:attribute"``
    """

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(f"cannot replace {target} of this dulwich: {reason}")
        self.target = target


@dataclass(frozen=True)
class Patch:
    """One attribute that is replaced.

    Attributes:
      target: ``"module:name"`` or ``"module:Class.name"``
      parameters: names that it takes, in order; dulwich may have more, if they have defaults
      make: takes the original function and gives the one to stand in for it
      why: what the original does that makes it wrong for reftable
      relies_on: further attributes that the replacement overrides or calls: parameters by target
    """

    target: str
    parameters: tuple[str, ...]
    make: Callable[[Callable[..., Any]], Callable[..., Any]]
    why: str
    relies_on: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class _Place:
    """Where an attribute is, with what was found there and what is to be put there, if anything."""

    owner: Any
    name: str
    original: Any
    patched: Any


class PatchSet:
    """Replacements that are put in place and taken back together.

    It knows who holds it, so that holders need not know of each other; it does not keep them alive.
    Thread-safe.

    Args:
      replacements: the rows of the table
    """

    def __init__(self, replacements: Iterable[Patch]) -> None:
        self.patches = tuple(replacements)
        self._lock = threading.Lock()
        self._holders: weakref.WeakSet[object] = weakref.WeakSet()
        self._known: list[_Place] = []
        self._places: list[_Place] = []

    @property
    def is_held(self) -> bool:
        """Whether the replacements are in place."""
        return bool(self._places)

    def check(self) -> None:
        """Look at all attributes, and replace none.

        Raises:
          UnsupportedDulwichError: if one is not as expected
        """
        with self._lock:
            self._find()

    def hold(self, holder: object) -> None:
        """Put the replacements in place, unless they are.

        Args:
          holder: who needs them until :meth:`release`, or until it is garbage
        Raises:
          UnsupportedDulwichError: if an attribute is not as expected; none was replaced
        """
        with self._lock:
            if not self._places:
                self._places = [place for place in self._find() if place.patched is not None]
                for place in self._places:
                    setattr(place.owner, place.name, place.patched)
            self._holders.add(holder)

    def is_held_by(self, holder: object) -> bool:
        """Tell whether somebody is among those who need the replacements."""
        return holder in self._holders

    def release(self, holder: object) -> None:
        """Take the replacements back, unless somebody else needs them.

        Args:
          holder: who needs them no more; harmless if it never did
        """
        with self._lock:
            self._holders.discard(holder)
            if len(self._holders):
                return
            for place in reversed(self._places):
                # Whoever has put something else there since then will want to keep it; it may
                # call our replacement, which goes on passing to the original what is not ours.
                if vars(place.owner).get(place.name) is place.patched:
                    setattr(place.owner, place.name, place.original)
            self._places = []

    def _find(self) -> list[_Place]:
        if self._places:
            return self._places
        # To look at parameters takes longer than to open a repository: once is enough, unless
        # somebody has changed an attribute meanwhile.
        if not self._known or any(
            vars(place.owner).get(place.name) is not place.original for place in self._known
        ):
            self._known = []
            found = []
            for row in self.patches:
                found += [_check(target, parameters) for target, parameters in row.relies_on]
                found.append(_check(row.target, row.parameters, row.make))
            self._known = found
        return self._known


def _check(
    target: str,
    parameters: tuple[str, ...],
    make: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None,
) -> _Place:
    """Find an attribute and see whether it has the expected shape."""
    module, _, path = target.partition(":")
    *owners, name = path.split(".")
    try:
        owner = importlib.import_module(module)
        for part in owners:
            owner = getattr(owner, part)
        # An inherited attribute is not where this would put it back.
        original = vars(owner)[name]
    except (ImportError, AttributeError, KeyError) as error:
        raise UnsupportedDulwichError(target, f"there is none ({error})") from error
    kind = type(original) if isinstance(original, classmethod | staticmethod) else None
    function = original.__func__ if kind else original
    if isinstance(function, property):
        function = function.fget
    if not callable(function):
        raise UnsupportedDulwichError(target, "it is not callable")
    _check_parameters(target, function, parameters)
    patched: Any = None
    if make is not None:
        patched = make(function)
        if kind:
            patched = kind(patched)
    return _Place(owner, name, original, patched)


def _check_parameters(target: str, function: Callable[..., Any], expected: tuple[str, ...]) -> None:
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise UnsupportedDulwichError(target, f"its parameters are unknown ({error})") from error
    required = [
        name
        for name, parameter in found.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    known = [name for name in found if name in expected]
    if known != list(expected) or not set(required).issubset(expected):
        raise UnsupportedDulwichError(
            target, f"it takes ({', '.join(found)}) and not ({', '.join(expected)})"
        )
