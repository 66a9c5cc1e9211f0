# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Reading the values of a configuration as git does.

dulwich reads a boolean only if it is ``true`` or ``false``, and a number only without a unit. So
the repositories that we open give it a :class:`GitConfigFile` or a :class:`GitStackedConfig`. These
read booleans as git does, and return the numbers that dulwich asks for in plain digits. The values
in the file stay as they are, also when the file is written again.

Where git dies of a value that is not possible for its key, we raise a :class:`ConfigurationError`
that names the key, the value and the file. :mod:`dulwich_reftable.config.files` decides which files
count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, cast

from dulwich.config import Config, ConfigFile, StackedConfig

from ..compat import values_of
from ..engine.errors import ConfigurationError
from .types import INT64_MAX, integer, is_true, reflog_policy, shared_repository, unsigned

__all__ = [
    "GitConfigFile",
    "GitStackedConfig",
    "files_of",
    "find_reflog_policy",
    "find_value",
    "get_boolean",
    "items_of",
    "read_value",
]

_T = TypeVar("_T")


def _plain(read: Callable[[bytes], int]) -> Callable[[bytes], bytes]:
    return lambda text: b"%d" % read(text)


def _word_or_boolean(text: bytes) -> bytes:
    """Read a boolean; any other word is left to dulwich."""
    try:
        return b"true" if is_true(text) else b"false"
    except ValueError:
        return text


def _compression(text: bytes) -> int:
    level = integer(text)
    if not -1 <= level <= 9:
        raise ValueError("not a compression level from 0 to 9, or -1")
    return level


_COMPRESSION = _plain(_compression)
_INT = _plain(integer)
_INT64 = _plain(partial(integer, most=INT64_MAX))
_UNSIGNED = _plain(unsigned)

_READ_BY_DULWICH: Mapping[tuple[bytes, bytes], Callable[[bytes], bytes]] = {
    (b"core", b"autocrlf"): _word_or_boolean,
    (b"core", b"bigfilethreshold"): _UNSIGNED,
    (b"core", b"compression"): _COMPRESSION,
    (b"core", b"deltabasecachelimit"): _UNSIGNED,
    (b"core", b"loosecompression"): _COMPRESSION,
    (b"core", b"maxtreedepth"): _INT,
    (b"core", b"packcompression"): _COMPRESSION,
    (b"core", b"packedgitlimit"): _UNSIGNED,
    (b"core", b"repositoryformatversion"): _INT,
    (b"core", b"safecrlf"): _word_or_boolean,
    (b"core", b"sharedrepository"): shared_repository,
    (b"core", b"sparsecheckoutcone"): _word_or_boolean,
    (b"gc", b"auto"): _INT,
    (b"gc", b"autopacklimit"): _INT,
    (b"index", b"version"): _INT,
    (b"pack", b"bigfilethreshold"): _UNSIGNED,
    (b"pack", b"deltacachesize"): _INT,
    (b"pack", b"deltawindowsize"): _INT,
    (b"pack", b"depth"): _INT,
    (b"pack", b"indexversion"): _INT,
    (b"pack", b"threads"): _INT,
    (b"pack", b"windowmemory"): _UNSIGNED,
    (b"receive", b"maxinputsize"): _INT64,
}
"""The values that dulwich reads in a narrower way than git, by section and name in small letters.

Each function takes the text of a value, and returns a text that dulwich reads as git reads the
first.
"""


def _key(section: Any, name: Any) -> tuple[tuple[bytes, ...], bytes]:
    """Bring the section and name that dulwich is asked for to one form."""
    parts = section if isinstance(section, tuple) else (section,)
    first, *rest = (part.encode() if isinstance(part, str) else bytes(part) for part in parts)
    name = name.encode() if isinstance(name, str) else bytes(name)
    return (first.lower(), *rest), name.lower()


class _ReadsAsGit(Config):
    """The differences from dulwich's own configurations."""

    def get(self, section: Any, name: Any) -> bytes:
        """Get a value; see the base class. A number comes in plain digits."""
        value = super().get(section, name)
        parts, name = _key(section, name)
        read = _READ_BY_DULWICH.get((parts[0], name)) if len(parts) == 1 else None
        return value if read is None else read_value(self, parts, name, value, read)

    def get_boolean(self, section: Any, name: Any, default: Any = None) -> Any:
        """Get a boolean; see the base class. It may be any that git reads."""
        return get_boolean(self, section, name, default)


class GitConfigFile(_ReadsAsGit, ConfigFile):
    """A configuration file, with values read as git does."""

    @classmethod
    def of(cls, config: ConfigFile) -> GitConfigFile:
        """Read the file's values as git does; both objects have the same values from now on."""
        if isinstance(config, GitConfigFile):
            return config
        made = cls(values_of(config), config.encoding)
        made.path = config.path
        return made


class GitStackedConfig(_ReadsAsGit, StackedConfig):
    """Several configuration files, the most binding first, with values read as git does."""


# Values


def find_value(
    config: Config, section: bytes | tuple[bytes, ...], name: bytes, read: Callable[[bytes], _T]
) -> _T | None:
    """Get a value, read as its type; None if it is not set.

    Args:
      config: where to look
      section: of the key
      name: of the key
      read: reads the text as the type; one of :mod:`dulwich_reftable.config.types`
    Raises:
      ConfigurationError: if the text is not possible; it names the key, the value and the file
    """
    parts, _ = _key(section, name)
    try:
        text = config.get(parts, name)
    except KeyError:
        return None
    return read_value(config, parts, name, text, read)


def get_boolean(config: Config, section: Any, name: Any, default: _T) -> bool | _T:
    """Get a boolean, or the default if it is not set; errors are those of :func:`find_value`."""
    parts, key = _key(section, name)
    found = find_value(config, parts, key, is_true)
    return default if found is None else found


def find_reflog_policy(config: Config) -> str | None:
    """Get what ``core.logAllRefUpdates`` says (see :func:`reflog_policy`); None if unset."""
    return find_value(config, b"core", b"logAllRefUpdates", reflog_policy)


def files_of(config: Config) -> Sequence[Config]:
    """List the files that a configuration consists of, the most binding first."""
    return config.backends if isinstance(config, StackedConfig) else [config]


def items_of(config: Config, *names: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """List all values in some sections, the least binding first: git reads files in that order.

    Args:
      config: where they are
      names: of the sections, in small letters
    Yields: the subsection, which may be empty; the key in small letters; the value
    """
    for file in reversed(files_of(config)):
        for section in file.sections():
            if section[0].lower() in names:
                for key, value in file.items(section):
                    yield b".".join(section[1:]), key.lower(), value


def read_value(
    config: Config,
    section: tuple[bytes, ...],
    name: bytes,
    text: bytes,
    read: Callable[[bytes], _T],
) -> _T:
    """Read the text of a value; args and errors are those of :func:`find_value`."""
    try:
        return read(text)
    except ConfigurationError:
        raise
    except ValueError as error:
        key = b".".join((*section, name)).decode(errors="replace")
        said = text.decode(errors="backslashreplace")
        where = _origin(config, section, name)
        raise ConfigurationError(f"{key} = {said!r} in {where}: {error}") from None


def _origin(config: Config, section: tuple[bytes, ...], name: bytes) -> str:
    """Name the file of a value; for a value of an included file, the file that includes it."""
    for file in files_of(config):
        with suppress(KeyError):
            ConfigFile.get(cast(ConfigFile, file), section, name)
            path = getattr(file, "path", None)
            return f"'{path}'" if path else "the environment"
    return "the configuration"
