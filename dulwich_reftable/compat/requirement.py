# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Checking what dulwich has: an attribute is there, and takes the parameters that are expected.

A check looks into the dictionary of the module or class itself. It reports an attribute that is
missing, or that takes other parameters, by its name.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import dulwich

from ..engine.errors import ReftableError

__all__ = [
    "Place",
    "Requirement",
    "UnsupportedDulwichError",
    "check_all",
    "find_function",
    "is_older",
    "version_text",
]


class UnsupportedDulwichError(ReftableError, ImportError):
    """The installed dulwich lacks an attribute, or has it in another shape.

    It is an ``ImportError``, too: where the package itself cannot work with this dulwich,
    importing it raises this error.

    Attributes:
      target: what is missing or different, as ``"module:attribute"``
    """

    def __init__(self, target: str, reason: str) -> None:
        version = version_text(dulwich.__version__)
        super().__init__(f"dulwich {version} is not supported: {target}: {reason}")
        self.target = target


@dataclass(frozen=True)
class Place:
    """An attribute of dulwich and the object that holds it.

    Attributes:
      owner: module or class
      name: of the attribute
      value: as the owner's dictionary has it: a method is not bound, a class method not unwrapped
    """

    owner: Any
    name: str
    value: Any

    @property
    def current(self) -> Any:
        """The value that the attribute has now; None if it is gone."""
        return vars(self.owner).get(self.name)

    @property
    def function(self) -> Any:
        """The plain function behind a class method, static method or property."""
        if isinstance(self.value, classmethod | staticmethod):
            return self.value.__func__
        return self.value.fget if isinstance(self.value, property) else self.value

    def wrap(self, function: Callable[..., Any]) -> Any:
        """Make another function the same kind of attribute: a class method, a static method."""
        if isinstance(self.value, classmethod | staticmethod):
            return type(self.value)(function)
        return function


@dataclass(frozen=True)
class Requirement:
    """An attribute of dulwich that this package calls, reads or overrides.

    Attributes:
      target: ``"module:name"`` or ``"module:Class.name"``
      parameters: names that the function takes, in order; None for an attribute of the
        objects: it is enough that the class's constructor mentions it
      why: what the package does with it
      exact: whether no further parameter is acceptable, since an override could not take it;
        otherwise dulwich may have more of them, if they have defaults
      since: the version of dulwich that brought the attribute; an older one does without
    """

    target: str
    parameters: tuple[str, ...] | None = None
    why: str = ""
    exact: bool = False
    since: tuple[int, ...] = ()

    def check(self) -> Place:
        """Look for the attribute in the installed dulwich, of whatever version.

        Returns: the place of the function, or of the constructor if there are no parameters
        Raises:
          UnsupportedDulwichError: if it is missing or has another shape
        """
        if self.parameters is not None:
            return find_function(self.target, self.parameters, exact=self.exact)
        owner, _, name = self.target.rpartition(".")
        constructor = _find(f"{owner}.__init__")
        code = getattr(inspect.unwrap(constructor.function), "__code__", None)
        if code is None or name not in code.co_names:
            raise UnsupportedDulwichError(self.target, "the constructor does not use it")
        return constructor


def check_all(requirements: Iterable[Requirement]) -> None:
    """Check requirements, except those that came with a later dulwich than the installed one.

    Raises:
      UnsupportedDulwichError: if one is missing or has another shape
    """
    for requirement in requirements:
        if not is_older(requirement.since):
            requirement.check()


def find_function(target: str, parameters: tuple[str, ...], *, exact: bool = False) -> Place:
    """Find a function of dulwich that takes certain parameters.

    Args:
      target: ``"module:name"`` or ``"module:Class.name"``
      parameters: names that it takes, in order
      exact: whether it may take no others; otherwise others need a default
    Raises:
      UnsupportedDulwichError: if it is missing or takes other parameters
    """
    place = _find(target)
    if not callable(place.function):
        raise UnsupportedDulwichError(target, "it is not callable")
    try:
        found = inspect.signature(place.function).parameters
    except (TypeError, ValueError) as error:
        raise UnsupportedDulwichError(target, f"its parameters are unknown ({error})") from error
    required = [
        name
        for name, parameter in found.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    known = list(found) if exact else [name for name in found if name in parameters]
    if known != list(parameters) or not set(required).issubset(parameters):
        raise UnsupportedDulwichError(
            target, f"it takes ({', '.join(found)}) and not ({', '.join(parameters)})"
        )
    return place


def _find(target: str) -> Place:
    module, _, path = target.partition(":")
    *owners, name = path.split(".")
    try:
        owner = importlib.import_module(module)
        for part in owners:
            owner = getattr(owner, part)
        # A class has to define it itself: an inherited attribute could not be put back.
        return Place(owner, name, vars(owner)[name])
    except (ImportError, AttributeError, KeyError) as error:
        raise UnsupportedDulwichError(target, f"it is missing ({error!r})") from error


def is_older(version: tuple[int, ...]) -> bool:
    """Tell whether the installed dulwich is older than a version."""
    return tuple(dulwich.__version__) < version


def version_text(version: tuple[int, ...]) -> str:
    """Write a version as ``1.2.21``."""
    return ".".join(map(str, version[:3]))
