# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""dulwich's own ``Repo`` opens reftable repositories, and makes new ones in the format git would.

The class stays the one that everybody has imported. If the configuration names a ref format, the
object gets our class while it is opened; any other object stays dulwich's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from dulwich.config import ConfigFile
from dulwich.repo import Repo as DulwichRepo

from ..config.files import config_in_force, own_config
from ..config.ref_format import check_environment, default_ref_format, names_ref_format
from ..repo.repo import Repo, opening
from .subclassing import combined, reclass

__all__ = ["construct", "get_config", "init"]


def construct(original: Callable[..., None]) -> Callable[..., None]:
    """Patch ``Repo.__init__``, which makes a files container before it reads the configuration."""

    @wraps(original)
    def __init__(self: DulwichRepo, *args: Any, **kwargs: Any) -> None:
        if isinstance(self, Repo):
            original(self, *args, **kwargs)  # its own constructor has called opening()
            return
        with opening(self):
            original(self, *args, **kwargs)

    return __init__


def get_config(original: Callable[..., ConfigFile]) -> Callable[..., ConfigFile]:
    """Patch ``Repo.get_config``, which the constructor calls once it knows the directory."""

    @wraps(original)
    def get_config(self: DulwichRepo) -> ConfigFile:
        if "_is_opening" not in vars(self) or isinstance(self, Repo):
            return original(self)
        if not names_ref_format(own_config(self.commondir())):
            check_environment("files", self.commondir())
            return original(self)
        reclass(self, Repo)
        return Repo.get_config(self)  # type: ignore[arg-type]

    return get_config


def init(original: Callable[..., DulwichRepo]) -> Callable[..., DulwichRepo]:
    """Patch ``Repo._init_maybe_bare``, which makes every new repository with files refs."""

    @wraps(original)
    def _init_maybe_bare(
        cls: type[DulwichRepo], path: Any, controldir: Any, bare: bool, **kwargs: Any
    ) -> DulwichRepo:
        if issubclass(cls, Repo):
            return original(cls, path, controldir, bare, **kwargs)  # its caller chose the format
        config = kwargs.get("config") or config_in_force()
        # A repository of version 0 cannot have extensions.
        if kwargs.get("format") not in (None, 1) or default_ref_format(config) == "files":
            return original(cls, path, controldir, bare, **kwargs)
        ours: type[Repo] = combined(cls, Repo)
        repo = ours._init_maybe_bare(path, controldir, bare, ref_format="reftable", **kwargs)
        repo._rely_on_install()
        return repo

    return _init_maybe_bare
