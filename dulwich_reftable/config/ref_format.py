# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The format of refs: as a repository's configuration says, or as git chooses it for a new one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping

from dulwich.config import Config
from dulwich.repo import UnsupportedExtension, UnsupportedVersion

from ..engine.errors import ConfigurationError
from .types import integer
from .values import find_value, get_boolean

__all__ = [
    "EXTENSIONS_OF_VERSION_0",
    "FORMATS",
    "OBJECT_FORMATS",
    "check_environment",
    "default_ref_format",
    "hash_size_of",
    "names_ref_format",
    "ref_format_of",
    "shown_extensions",
]

FORMATS = ("files", "reftable")
OBJECT_FORMATS = ("sha1", "sha256")
_HASH_SIZES = dict(zip(map(str.encode, OBJECT_FORMATS), (20, 32), strict=True))
_BACKEND = "GIT_REFERENCE_BACKEND"

EXTENSIONS_OF_VERSION_0 = frozenset(
    (b"noop", b"partialclone", b"preciousobjects", b"worktreeconfig")
)
"""Extensions that git knows in repositories of version 0, too (``handle_extension_v0``)."""

_EXTENSIONS_OF_VERSION_1 = frozenset(
    (
        b"compatobjectformat",
        b"noop-v1",
        b"objectformat",
        b"refstorage",
        b"relativeworktrees",
        b"submodulepathconfig",
    )
)
"""Extensions that git knows from version 1 on, and refuses in a repository of version 0."""

_HIDDEN_EXTENSIONS = frozenset(
    (b"noop", b"noop-v1", b"partialclone", b"preciousobjects", b"refstorage", b"reftable")
)
"""Extensions that dulwich refuses, though it can open such a repository without knowing them."""


def ref_format_of(config: Config) -> str:
    """Tell the format of a repository's refs by its configuration.

    Args:
      config: the repository's own file, without what it includes
    Returns: ``"reftable"`` or ``"files"``
    Raises:
      UnsupportedExtension: if it names an unknown format, two formats, or an extension that
        ``core.repositoryformatversion`` does not allow
      UnsupportedVersion: if that version is not known
      ConfigurationError: if one of these values is not possible
    """
    extensions = _extensions(config)
    formats = set()
    if b"refstorage" in extensions:
        value = extensions[b"refstorage"].decode("utf-8", "replace")
        if value not in FORMATS:
            raise UnsupportedExtension(f"refStorage = {value}")
        formats.add(value)
    if b"reftable" in extensions:
        is_reftable = get_boolean(config, b"extensions", b"reftable", False)
        formats.add("reftable" if is_reftable else "files")
    if len(formats) > 1:
        raise UnsupportedExtension("refStorage and reftable contradict each other")
    if formats == {"reftable"}:
        version = _version(config)
        if version > 1:
            raise UnsupportedVersion(version)
        if version != 1:
            raise UnsupportedExtension("refStorage needs core.repositoryformatversion = 1")
        return "reftable"
    return "files"


def _version(config: Config) -> int:
    """Give ``core.repositoryformatversion``; -1, as in git, if it is not set."""
    version = find_value(config, b"core", b"repositoryformatversion", integer)
    return -1 if version is None else version


def _extensions(config: Config) -> dict[bytes, bytes]:
    """Read the extensions, by names in small letters; the last of each counts."""
    return {key.lower(): value for key, value in config.items((b"extensions",))}


def names_ref_format(config: Config) -> bool:
    """Tell whether a configuration names the format of refs."""
    return not _extensions(config).keys().isdisjoint((b"refstorage", b"reftable"))


def hash_size_of(config: Config) -> int:
    """Tell the size of a repository's object ids.

    Args:
      config: the repository's own file, without what it includes
    Returns: bytes
    Raises:
      ConfigurationError: if the hash is not known
    """
    size = find_value(config, b"extensions", b"objectFormat", _hash_size)
    return 20 if size is None or _version(config) < 1 else size


def _hash_size(text: bytes) -> int:
    try:
        return _HASH_SIZES[text]
    except KeyError:
        raise ValueError("not a known hash") from None


def shown_extensions(config: Config) -> list[tuple[bytes, bytes]]:
    """Choose the extensions that dulwich sees when it opens a repository.

    dulwich refuses extensions that it does not know. git ignores unknown ones in a repository of
    version 0.

    Args:
      config: the repository's own file, without what it includes
    Returns: names and values
    Raises:
      UnsupportedExtension: if there is one that a repository of version 0 cannot have
      ConfigurationError: if the hash is not known
    """
    hash_size_of(config)
    extensions = _extensions(config)
    version = _version(config)
    if version < 0:
        return []  # nor does git read extensions then
    if version < 1:
        refused = sorted(extensions.keys() & _EXTENSIONS_OF_VERSION_1)
        if refused:
            name = refused[0].decode()
            raise UnsupportedExtension(f"{name} needs core.repositoryformatversion = 1")
        extensions = {k: v for k, v in extensions.items() if k in EXTENSIONS_OF_VERSION_0}
    return [(key, value) for key, value in extensions.items() if key not in _HIDDEN_EXTENSIONS]


def check_environment(ref_format: str, common_dir: str) -> None:
    """Check that the environment does not send git to other refs than the repository's own.

    Args:
      ref_format: of the repository's refs, by its configuration
      common_dir: control directory of the repository
    Raises:
      ConfigurationError: if ``GIT_REFERENCE_BACKEND`` names another format or another place
    """
    named = _backend_of(os.environ)
    if named is None:
        return
    name, place = named
    asked_for = os.path.realpath(os.path.join(common_dir, place))
    is_here = asked_for == os.path.realpath(common_dir)
    if name != ref_format or not is_here:
        raise ConfigurationError(
            f"{_BACKEND} = {os.environ[_BACKEND]!r} in the environment: the refs of "
            f"'{common_dir}' are there, in the {ref_format} format, and only those can be read"
        )


def _backend_of(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Read ``GIT_REFERENCE_BACKEND``: a format, and optionally the place of the refs."""
    value = environ.get(_BACKEND)
    if value is None:
        return None
    name, _, place = value.partition("://")
    if name not in FORMATS:
        raise ConfigurationError(f"{_BACKEND} = {value!r} in the environment is not known")
    return name, place


def default_ref_format(config: Config) -> str:
    """Tell the format of refs of a new repository, as git does.

    Args:
      config: the one in force outside of any repository
    Returns: ``"reftable"`` or ``"files"``
    Raises:
      ConfigurationError: if ``GIT_DEFAULT_REF_FORMAT`` is set to something unknown
    """
    named = _backend_of(os.environ)
    if named is not None:
        return named[0]
    name = os.environ.get("GIT_DEFAULT_REF_FORMAT")
    if name is not None:
        if name not in FORMATS:
            raise ConfigurationError(f"GIT_DEFAULT_REF_FORMAT = {name!r} is not known")
        return name
    name = find_value(config, b"init", b"defaultRefFormat", os.fsdecode)
    if name in FORMATS:
        return name
    if name is not None:
        warnings.warn(f"init.defaultRefFormat = {name!r} is not known", stacklevel=2)
    is_experimental = get_boolean(config, b"feature", b"experimental", False)
    return "reftable" if is_experimental else "files"
