# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What this package needs of dulwich beyond its public API, in one place.

:data:`REQUIREMENTS` lists dulwich's private names that this package calls or overrides. All of them
are checked when this module is imported, and the package imports it before any other. A dulwich in
which one is missing, or takes other parameters, is reported there by the name of the attribute; so
nothing fails in the middle of a push, and no override is silently left uncalled.

The attributes that :func:`dulwich_reftable.install` replaces are listed in
:mod:`dulwich_reftable.patches.table`. They are checked by the same functions, before the first of
them is replaced.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dulwich
import dulwich.repo
from dulwich.config import ConfigDict

from .engine.errors import ReftableError

__all__ = [
    "INIT_PARAMETERS",
    "REQUIREMENTS",
    "Place",
    "Requirement",
    "UnsupportedDulwichError",
    "check_requirements",
    "find_function",
    "is_older",
    "set_filesystem_hidden",
    "values_of",
]


class UnsupportedDulwichError(ReftableError, ImportError):
    """The installed dulwich lacks an attribute, or has it in another shape.

    It is an ``ImportError``, too: where the package itself cannot work with this dulwich,
    importing it raises this error.

    Attributes:
      target: what is missing or different, as ``"module:attribute"``
    """

    def __init__(self, target: str, reason: str) -> None:
        version = ".".join(map(str, dulwich.__version__))
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
    """

    target: str
    parameters: tuple[str, ...] | None = None
    why: str = ""
    exact: bool = False

    def check(self) -> Place:
        """Look for the attribute in the installed dulwich.

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


INIT_PARAMETERS = (
    "cls",
    "path",
    "controldir",
    "bare",
    "object_store",
    "config",
    "default_branch",
    "symlinks",
    "format",
    "shared_repository",
    "object_format",
)
"""Parameters of ``Repo._init_maybe_bare``, which ``Repo`` overrides and a patch replaces."""

REQUIREMENTS = (
    Requirement(
        "dulwich.repo:_set_filesystem_hidden",
        ("path",),
        "Repo.init hides .git on Windows, as dulwich's does",
    ),
    Requirement(
        "dulwich.repo:Repo._get_config_condition_matchers",
        ("self",),
        "Repo.get_config_stack reads files that are included on a condition",
    ),
    Requirement(
        "dulwich.repo:Repo._init_maybe_bare",
        INIT_PARAMETERS,
        "Repo overrides it: init and init_bare call it to make a repository",
    ),
    Requirement(
        "dulwich.repo:BaseRepo._init_files",
        ("self", "bare", "symlinks", "format", "shared_repository", "object_format"),
        "Repo overrides it: it writes the configuration of a new repository",
        exact=True,
    ),
    Requirement(
        "dulwich.repo:BaseRepo._change_object_format",
        ("self", "object_format_name"),
        "Repo overrides it: a clone takes the hash of what it clones",
        exact=True,
    ),
    Requirement(
        "dulwich.repo:Repo._write_reflog",
        ("self", "ref", "old_sha", "new_sha", "committer", "timestamp", "timezone", "message"),
        "Repo overrides it: it adds a reflog entry",
        exact=True,
    ),
    Requirement(
        "dulwich.repo:Repo._put_named_file",
        ("self", "path", "contents"),
        "Repo overrides it: dulwich writes some refs as files by this",
        exact=True,
    ),
    Requirement(
        "dulwich.repo:Repo._del_named_file",
        ("self", "path"),
        "Repo overrides it: dulwich removes some refs as files by this",
        exact=True,
    ),
    Requirement(
        "dulwich.repo:Repo.get_named_file",
        ("self", "path", "basedir"),
        "Repo overrides it: dulwich reads some refs as files by this",
    ),
    Requirement(
        "dulwich.repo:Repo.read_reflog",
        ("self", "ref"),
        "Repo overrides it: the entries are in the tables",
    ),
    Requirement(
        "dulwich.repo:Repo.get_config",
        why="Repo overrides it: the constructor calls it, and so selects the refs container",
    ),
    Requirement(
        "dulwich.repo:Repo.close", ("self",), "Repo overrides it: it closes the tables, too"
    ),
    Requirement(
        "dulwich.config:ConfigDict._values",
        why="a GitConfigFile shares them with the file that dulwich has read",
    ),
    Requirement(
        "dulwich.refs:RefsContainer._check_refname",
        ("self", "name"),
        "the container overrides it: all checks of names are the same",
        exact=True,
    ),
    Requirement(
        "dulwich.refs:RefsContainer._log",
        ("self", "ref", "old_sha", "new_sha", "committer", "timestamp", "timezone", "message"),
        "the container reports each update to the logger that it was given",
    ),
    Requirement(
        "dulwich.refs:RefsContainer._logger",
        why="the container sets it: NamespacedRefsContainer reads it, and _log",
    ),
)
"""What has to be there for the container and ``Repo``."""


def check_requirements() -> None:
    """Check that dulwich has all of :data:`REQUIREMENTS`.

    Raises:
      UnsupportedDulwichError: if one is missing or has another shape
    """
    for requirement in REQUIREMENTS:
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


def set_filesystem_hidden(path: str) -> None:
    """Hide a directory on Windows; elsewhere this does nothing.

    Args:
      path: of the directory
    """
    dulwich.repo._set_filesystem_hidden(path)


def values_of(config: ConfigDict) -> Any:
    """Return the values of a configuration by their sections; they are not copied."""
    return config._values


check_requirements()
