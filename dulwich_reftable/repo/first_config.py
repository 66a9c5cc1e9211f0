# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The configuration of a new repository: as much as dulwich has to find when it first opens it."""

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
    """Write a configuration that says that refs are in the reftable format.

    Args:
      controldir: the new repository's control directory
      extension: the configuration key that says so: ``"refStorage"`` or ``"reftable"``
      object_format: ``"sha1"`` or ``"sha256"``; None to leave it open
      shared_repository: ``core.sharedRepository``; None to leave it open
    Returns: path of the file
    Raises:
      ValueError: if the extension is not known
      FileExistsError: if there is a configuration, and so a repository
    """
    if extension not in _EXTENSIONS:
        raise ValueError(f"unknown extension {extension!r}")
    path = os.path.join(controldir, "config")
    if os.path.lexists(path):  # dulwich would refuse it only after it was overwritten
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
