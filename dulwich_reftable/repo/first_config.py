# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The first configuration of a new repository, which selects the format of its refs.

What was asked for is checked before the first file or directory is made.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Any

from dulwich.config import ConfigFile

from ..compat import init_arguments
from ..config.ref_format import FORMATS, OBJECT_FORMATS, check_environment

__all__ = ["check_choice", "write_first_config"]

_EXTENSIONS = {"refStorage": b"reftable", "reftable": b"true"}
"""The configuration keys that select the reftable format, and their values."""


def check_choice(
    controldir: str, ref_format: str, extension: str, options: Mapping[str, Any]
) -> None:
    """Check what was asked for a new repository.

    Args:
      controldir: its control directory, which need not exist yet
      ref_format: of its refs
      extension: the configuration key that selects the reftable format
      options: arguments for ``dulwich.repo.Repo.init``
    Raises:
      ValueError: if it cannot be made
      ConfigurationError: if the environment names other refs
      UnsupportedDulwichError: if the installed dulwich does not know one of the options
    """
    if ref_format not in FORMATS:
        raise ValueError(f"unknown ref format {ref_format!r}")
    check_environment(ref_format, controldir)
    if ref_format == "reftable":
        _check_reftable(extension, options)
    init_arguments(**options)


def _check_reftable(extension: str, options: Mapping[str, Any]) -> None:
    if extension not in _EXTENSIONS:
        raise ValueError(f"unknown extension {extension!r}")
    version = options.get("format")
    if version not in (None, 1):
        raise ValueError(f"reftable requires repository format version 1, not {version}")
    object_format = options.get("object_format")
    if object_format is not None and object_format not in OBJECT_FORMATS:
        raise ValueError(f"unknown object format {object_format!r}")


def write_first_config(
    controldir: str,
    extension: str,
    object_format: str | None = None,
    shared_repository: str | bool | None = None,
) -> str:
    """Write a configuration that selects the reftable format.

    Args:
      controldir: the new repository's control directory
      extension: the configuration key that selects it, as :func:`check_choice` takes it
      object_format: ``"sha1"`` or ``"sha256"``; None for the default
      shared_repository: ``core.sharedRepository``; None for the default
    Returns: path of the file
    Raises:
      FileExistsError: if there is a configuration already
    """
    path = os.path.join(controldir, "config")
    if os.path.lexists(path):  # dulwich itself refuses it later, when it is overwritten
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    config = ConfigFile()
    config.set(b"core", b"repositoryformatversion", b"1")
    config.set(b"extensions", extension.encode(), _EXTENSIONS[extension])
    if object_format is not None:
        config.set(b"extensions", b"objectFormat", object_format.encode())
    if shared_repository is not None:
        config.set(b"core", b"sharedRepository", shared_repository)
    config.write_to_path(path)
    return path
