# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Which format refs are in: of a repository, by its configuration; of a new one, as git chooses."""

from __future__ import annotations

import os
import warnings

from dulwich.config import Config, ConfigFile
from dulwich.repo import Repo, UnsupportedExtension, UnsupportedVersion

from .engine.errors import ConfigurationError

__all__ = ["config_in", "default_ref_format", "names_ref_format", "own_config", "ref_format_of"]

_FORMATS = ("files", "reftable")


def ref_format_of(config: Config) -> str:
    """Tell the format of a repository's refs by its configuration.

    Returns: ``"reftable"`` or ``"files"``
    Raises:
      UnsupportedExtension: if it names a format that is not known, two formats, or an extension in
        a repository whose ``core.repositoryformatversion`` does not allow for it
      UnsupportedVersion: if that is later than any that is known
    """
    formats = set()
    for key, value in config.items((b"extensions",)):
        if key.lower() == b"refstorage":
            if value not in (b"reftable", b"files"):
                raise UnsupportedExtension(f"refStorage = {value.decode('utf-8', 'replace')}")
            formats.add(value.decode())
        elif key.lower() == b"reftable":
            formats.add("reftable" if _is_true(value) else "files")
    if len(formats) > 1:
        raise UnsupportedExtension("refStorage and reftable contradict each other")
    if formats == {"reftable"}:
        try:
            version = config.get((b"core",), b"repositoryformatversion")
        except KeyError:
            version = b"0"
        if version not in (b"0", b"1") and version.isdigit():
            raise UnsupportedVersion(int(version))
        if version != b"1":
            raise UnsupportedExtension("refStorage needs core.repositoryformatversion = 1")
        return "reftable"
    return "files"


def _is_true(value: bytes) -> bool:
    """Read a boolean as git does; dulwich knows "true" and "false" only."""
    text = value.strip().lower()
    return text in (b"true", b"yes", b"on") or (text.isdigit() and int(text) != 0)


def names_ref_format(config: Config) -> bool:
    """Tell whether a configuration says anything of the format of refs."""
    return any(
        key.lower() in (b"refstorage", b"reftable") for key, _ in config.items((b"extensions",))
    )


def own_config(repo: Repo) -> ConfigFile:
    """Read a repository's configuration without what it includes: that cannot tell the format."""
    return config_in(repo.commondir())


def config_in(common_dir: str) -> ConfigFile:
    """Do as :func:`own_config`, by the repository's control directory."""
    try:
        with open(os.path.join(common_dir, "config"), "rb") as file:
            return ConfigFile.from_file(file, expand_includes=False)
    except FileNotFoundError:
        return ConfigFile()


def default_ref_format(config: Config) -> str:
    """Tell the format of refs of a new repository, as git does.

    Args:
      config: that is in force outside of any repository
    Returns: ``"reftable"`` or ``"files"``
    Raises:
      ConfigurationError: if ``GIT_DEFAULT_REF_FORMAT`` is set to something unknown
    """
    name = os.environ.get("GIT_DEFAULT_REF_FORMAT")
    if name is not None:
        if name not in _FORMATS:
            raise ConfigurationError(f"GIT_DEFAULT_REF_FORMAT = {name!r} is not known")
        return name
    try:
        name = os.fsdecode(config.get((b"init",), b"defaultRefFormat"))
    except KeyError:
        return "files"
    if name not in _FORMATS:
        warnings.warn(f"init.defaultRefFormat = {name!r} is not known", stacklevel=2)
        return "files"
    return name
