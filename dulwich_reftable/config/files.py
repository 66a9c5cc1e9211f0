# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Which files and variables a repository's configuration consists of, and in what order.

dulwich parses the files. But it ignores the environment, lets the repository's settings override
those of a worktree, and fails on a user's file that it may not read. git does none of that
(``config.c``: ``do_git_config_sequence``), and neither do we.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dulwich.config import ConfigFile, get_win_system_paths, get_xdg_config_home_path

from ..compat import Conditions, add_setting, read_config, read_config_file
from ..engine.errors import ConfigurationError, StorageError
from .types import is_true
from .values import GitConfigFile, GitStackedConfig, get_boolean

__all__ = [
    "config_in_force",
    "config_of",
    "environment_boolean",
    "environment_config",
    "includes_files",
    "naming_file",
    "own_config",
]

_VARIABLE = re.compile(r"([-A-Za-z0-9]+)\.(?:(.*)\.)?([A-Za-z][-A-Za-z0-9]*)", re.S)
_QUOTED = re.compile(r"'((?:[^']|'\\['!]')*)'")
_MOST_VARIABLES = (1 << 31) - 1


def own_config(common_dir: str) -> GitConfigFile:
    """Read a repository's configuration file, without what it includes.

    git reads the format of a repository and its extensions from this file only.

    Args:
      common_dir: control directory of the repository
    Returns: the configuration; an empty one if there is no file
    Raises:
      ConfigurationError: if it cannot be parsed, or is no plain file
      StorageError: if it cannot be read
    """
    path = os.path.join(common_dir, "config")
    try:
        _require_file(path)
        with open(path, "rb") as file, naming_file(path):
            config = GitConfigFile.of(read_config(file))
    except FileNotFoundError:
        config = GitConfigFile()
    except OSError as error:
        raise StorageError.of(error, "read", path) from error
    config.path = path
    return config


def includes_files(config: ConfigFile) -> bool:
    """Tell whether a configuration file asks for the inclusion of other files."""
    return any(section[0].lower() in (b"include", b"includeif") for section in config.sections())


def config_in_force(
    local: ConfigFile | None = None,
    git_dir: str | None = None,
    conditions: Conditions | None = None,
) -> GitStackedConfig:
    """Put together the configuration that holds for a repository, or outside of any.

    The most binding comes first: the environment, the worktree's file where the repository has one
    (``extensions.worktreeConfig``), the repository's, the user's, the system's.

    Args:
      local: the repository's; None outside of any
      git_dir: control directory of the worktree; None if ``local`` is None
      conditions: functions that tell whether a condition of ``includeIf`` holds, by its keyword
    Raises:
      ConfigurationError: if one of these cannot be parsed
    """
    backends: list[ConfigFile] = [environment_config(os.environ)]
    if local is not None:
        if git_dir is not None and get_boolean(local, b"extensions", b"worktreeConfig", False):
            backends += _present(os.path.join(git_dir, "config.worktree"), conditions)
        backends.append(GitConfigFile.of(local))
    backends += _configs_of_user_and_system(conditions)
    return GitStackedConfig(backends, writable=local)


def config_of(common_dir: str) -> GitStackedConfig:
    """Put together the configuration that holds for a repository, known by its directory alone.

    Args:
      common_dir: control directory of the repository
    Raises:
      ConfigurationError: as :func:`config_in_force`
    """
    own = own_config(common_dir)
    local = _present(os.path.join(common_dir, "config")) or [own]
    return config_in_force(local[0], common_dir)


def _configs_of_user_and_system(conditions: Conditions | None) -> Iterator[GitConfigFile]:
    """Read the user's and the system's files, the user's first.

    As git does, this skips a user's file that it may not read. A service that inherited another
    user's ``HOME`` has such files.
    """
    named = os.environ.get("GIT_CONFIG_GLOBAL")
    if named is not None:
        paths = [named]
    else:
        paths = [os.path.expanduser("~/.gitconfig"), get_xdg_config_home_path("git", "config")]
    for path in paths:
        try:
            yield from _present(path, conditions)
        except StorageError as error:
            if error.errno != errno.EACCES:
                raise
    if environment_boolean("GIT_CONFIG_NOSYSTEM", False):
        return
    named = os.environ.get("GIT_CONFIG_SYSTEM")
    if named is not None:
        paths = [named]
    else:
        paths = ["/etc/gitconfig"]
        if sys.platform == "win32":
            paths += get_win_system_paths()
    for path in paths:
        yield from _present(path, conditions)


def _present(path: str, conditions: Conditions | None = None) -> list[GitConfigFile]:
    """Read a configuration file, if there is one.

    Raises:
      ConfigurationError: if it cannot be parsed
      StorageError: if it cannot be read
    """
    try:
        with naming_file(path):
            return [GitConfigFile.of(read_config_file(path, conditions))]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StorageError.of(error, "read", path) from error


def _require_file(path: str) -> None:
    """Check that a path is no directory, and no pipe, which might block for ever."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISCHR(mode):
        raise ConfigurationError(f"'{path}' is not a plain file")


@contextmanager
def naming_file(path: str) -> Iterator[None]:
    """Add the path of a file to errors in its syntax.

    Raises:
      ConfigurationError: instead of dulwich's ``ValueError``
    """
    try:
        yield
    except ConfigurationError:
        raise
    except ValueError as error:
        raise ConfigurationError(f"'{path}' is not a configuration: {error}") from error


# The environment


def environment_boolean(name: str, default: bool) -> bool:
    """Read a variable of the environment as a boolean.

    Raises:
      ConfigurationError: if it is not a boolean
    """
    text = os.environ.get(name)
    if text is None:
        return default
    try:
        return is_true(os.fsencode(text))
    except ValueError as error:
        raise ConfigurationError(f"{name} = {text!r} in the environment: {error}") from None


def environment_config(environ: Mapping[str, str]) -> GitConfigFile:
    """Read the settings in variables of the environment.

    These are ``GIT_CONFIG_COUNT`` with ``GIT_CONFIG_KEY_<n>`` and ``GIT_CONFIG_VALUE_<n>``, and
    ``GIT_CONFIG_PARAMETERS``, by which ``git -c key=value`` passes them to its child processes.

    Args:
      environ: the environment
    Raises:
      ConfigurationError: if they are incomplete or malformed
    """
    config = GitConfigFile()
    for variable, value in (*_counted(environ), *_parameters(environ)):
        found = _VARIABLE.fullmatch(variable)
        if found is None:
            raise ConfigurationError(f"'{variable}' in the environment is not a configuration key")
        section = tuple(os.fsencode(part) for part in found.groups()[:2] if part is not None)
        add_setting(config, section, os.fsencode(found[3]), os.fsencode(value))
    return config


def _counted(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    count = environ.get("GIT_CONFIG_COUNT", "").strip() or "0"
    if not (count.isascii() and count.isdigit()) or int(count[:20]) > _MOST_VARIABLES:
        raise ConfigurationError(f"GIT_CONFIG_COUNT = {count!r} is not a number")
    for at in range(int(count)):
        pair = []
        for kind in ("KEY", "VALUE"):
            name = f"GIT_CONFIG_{kind}_{at}"
            if name not in environ:
                raise ConfigurationError(f"{name} is missing in the environment")
            pair.append(environ[name])
        yield pair[0], pair[1]


def _parameters(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Read ``GIT_CONFIG_PARAMETERS``: quoted words, ``'key'='value'`` or ``'key=value'``.

    A key without a value is true.
    """
    text = environ.get("GIT_CONFIG_PARAMETERS", "")
    at = 0
    while at < len(text):
        key = _QUOTED.match(text, at)
        if key is None:
            raise ConfigurationError("GIT_CONFIG_PARAMETERS is not quoted as git does it")
        at = key.end()
        name, value = _unquoted(key[1]), "true"
        if text[at : at + 1] == "=":
            at += 1
            quoted = _QUOTED.match(text, at)
            if quoted is not None:
                value = _unquoted(quoted[1])
                at = quoted.end()
        else:
            name, is_set, rest = name.partition("=")
            value = rest if is_set else value
        rest = text[at:].lstrip()
        if rest and not text[at].isspace():
            raise ConfigurationError("GIT_CONFIG_PARAMETERS is not quoted as git does it")
        at = len(text) - len(rest)
        yield name, value


def _unquoted(text: str) -> str:
    return re.sub(r"'\\(['!])'", r"\1", text)
