# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Patching attributes of dulwich: all of a set or none, and back again.

A set of patches is in place as long as somebody holds it. Before the first attribute is replaced,
all of them are checked: one that is missing, or takes other parameters than its patch was written
for, would otherwise make a patch that quietly does the wrong thing.

A patch names its function by a string. Its module is imported when the set is held for the first
time; so the table of patches imports neither the patches nor the parts of dulwich that they patch.
"""

from __future__ import annotations

import importlib
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..compat import Place, Requirement, find_function, is_older, version_text

__all__ = ["Patch", "PatchSet"]

_REPLACEMENTS = "..patches"
"""The package of the functions that make replacements, as seen from this one."""


@dataclass(frozen=True)
class Patch:
    """One attribute of dulwich that is replaced.

    Attributes:
      target: ``"module:name"`` or ``"module:Class.name"``
      parameters: names that it takes, in order; dulwich may have more, if they have defaults: then
        only a call that gives one of these fails, and by a ``TypeError``
      make: ``"module:function"`` in ``patches``; the function takes the original one and returns
        its replacement
      why: what the original does that makes it wrong for reftable
      relies_on: further attributes of dulwich that the replacement overrides or uses
      since: the version of dulwich that brought the attribute, or what is wrong with it; an older
        one needs no patch
    """

    target: str
    parameters: tuple[str, ...]
    make: str
    why: str
    relies_on: tuple[Requirement, ...] = ()
    since: tuple[int, ...] = ()

    @property
    def skipped_because(self) -> str | None:
        """Why the installed dulwich needs no such patch; None if it does."""
        if not is_older(self.since):
            return None
        return f"only dulwich {version_text(self.since)} and newer need it"

    def prepare(self) -> _Prepared:
        """Check the attribute, and all that the patch relies on, and make the replacement.

        Raises:
          UnsupportedDulwichError: if one of them is not as expected
        """
        relied_on = [requirement.check() for requirement in self.relies_on]
        place = find_function(self.target, self.parameters)
        module, _, name = self.make.partition(":")
        make = getattr(importlib.import_module(f"{_REPLACEMENTS}.{module}", __package__), name)
        stood_in_for = getattr(place.function, "stands_in_for", None)
        function = make(stood_in_for.function if stood_in_for else place.function)
        return _Prepared(place, function, place.wrap(function), (place, *relied_on), stood_in_for)


@dataclass(frozen=True)
class _Prepared:
    """A patch that has been checked.

    Attributes:
      place: of the attribute in dulwich
      function: what is called in place of the original
      replacement: the new value of the attribute: the function, or a class method of it
      checked: all places that the patch stands on
      stood_in_for: if the value is a stand-in, what ``dulwich_reftable_stand_ins`` knows of the
        original; otherwise None
    """

    place: Place
    function: Any
    replacement: Any
    checked: tuple[Place, ...]
    stood_in_for: Any

    def put(self) -> None:
        """Put the patch in place."""
        setattr(self.place.owner, self.place.name, self.replacement)
        if self.stood_in_for is not None:
            # Those who have imported the stand-in by its name call the patch, too.
            self.stood_in_for.replacement = self.function

    def take_back(self) -> None:
        """Put the original back.

        Somebody else may have patched the attribute since then, and will want to keep that. Their
        patch may call ours, which then calls the original.
        """
        if self.place.current is self.replacement:
            setattr(self.place.owner, self.place.name, self.place.value)
        if self.stood_in_for is not None:
            self.stood_in_for.replacement = None


class PatchSet:
    """Patches that are put in place and taken back together.

    It knows its holders, so that they need not know of each other; it does not keep them alive.
    Thread-safe.

    Args:
      patches: the rows of the table
    Attributes:
      patches: the same
      skipped: why some of them are never in place with the installed dulwich, by their targets
      is_held: whether the others are in place
    """

    def __init__(self, patches: Iterable[Patch]) -> None:
        self.patches = tuple(patches)
        self.skipped = {
            patch.target: patch.skipped_because for patch in self.patches if patch.skipped_because
        }
        self._lock = threading.Lock()
        self._holders: weakref.WeakSet[object] = weakref.WeakSet()
        self._prepared: list[_Prepared] = []
        self.is_held = False

    def check(self) -> None:
        """Check all attributes and replace none.

        Raises:
          UnsupportedDulwichError: if one is not as expected
        """
        with self._lock:
            self._prepare()

    def hold(self, holder: object) -> None:
        """Put the patches in place, unless they are.

        Args:
          holder: needs them until :meth:`release`, or until it is garbage
        Raises:
          UnsupportedDulwichError: if an attribute is not as expected; none was replaced
        """
        with self._lock:
            if not self.is_held:
                self._prepare()
                for patch in self._prepared:
                    patch.put()
                self.is_held = True
            self._holders.add(holder)

    def is_held_by(self, holder: object) -> bool:
        """Tell whether an object is among the holders."""
        return holder in self._holders

    def release(self, holder: object) -> None:
        """Take the patches back, unless another holder is left.

        Args:
          holder: needs them no more; one that never held them is ignored
        """
        with self._lock:
            self._holders.discard(holder)
            if len(self._holders) or not self.is_held:
                return
            for patch in reversed(self._prepared):
                patch.take_back()
            self.is_held = False

    def _prepare(self) -> None:
        """Check the attributes; once is enough, unless somebody has changed one meanwhile.

        Checking parameters takes longer than opening a repository.
        """
        if self.is_held:
            return
        checked = [place for patch in self._prepared for place in patch.checked]
        if checked and all(place.current is place.value for place in checked):
            return
        self._prepared = []
        self._prepared = [
            patch.prepare() for patch in self.patches if patch.target not in self.skipped
        ]
