# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The first configuration of a new repository, which selects the format of its refs."""

from __future__ import annotations

import errno
import os

from dulwich.config import ConfigFile

__all__ = ["write_first_config"]

_EXTENSIONS = {"refStorage": b"reftable", "reftable": b"true"}
"""The configuration keys that select the reftable format, and their values."""


def write_first_config(
    controldir: str,
    extension: str,
    object_format: str | None = None,
    shared_repository: str | bool | None = None,
) -> str:
    """Write a configuration that selects the reftable format.

    Args:
      controldir: the new repository's control directory
      extension: the configuration key that selects it: ``"refStorage"`` or ``"reftable"``
      object_format: ``"sha1"`` or ``"sha256"``; None for the default
      shared_repository: ``core.sharedRepository``; None for the default
    Returns: path of the file
    Raises:
      ValueError: if the extension is not known
      FileExistsError: if there is a configuration already
    """
    if extension not in _EXTENSIONS:
        raise ValueError(f"unknown extension {extension!r}")
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
