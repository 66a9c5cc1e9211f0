# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Things of dulwich that are private, or that are not the same in all versions.

Each has one name here. The function for the installed version is chosen when this module is
imported; so no call asks for the version.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, NoReturn

import dulwich.repo
from dulwich.config import ConfigDict, ConfigFile
from dulwich.reflog import Entry, read_reflog

from .requirement import UnsupportedDulwichError, is_older, version_text

__all__ = [
    "THIS_REPOSITORY",
    "add_setting",
    "approximate_time",
    "condition_matchers",
    "hex_size_of",
    "init_arguments",
    "open_control_dir",
    "read_config",
    "read_config_file",
    "reflog_of_files",
    "set_filesystem_hidden",
    "set_setting",
    "values_of",
]

Conditions = Mapping[str, Callable[[str], bool]]
"""Functions that tell whether a condition of ``includeIf`` holds, by its keyword."""


def set_filesystem_hidden(path: str) -> None:
    """Hide a directory on Windows; elsewhere this does nothing.

    Args:
      path: of the directory
    """
    dulwich.repo._set_filesystem_hidden(path)


# Configuration


def values_of(config: ConfigDict) -> Any:
    """Return the values of a configuration by their sections; they are not copied."""
    return config._values


def _read_without_option(file: IO[bytes]) -> ConfigFile:
    return ConfigFile.from_file(file, file_opener=_refuse_to_open)


def _refuse_to_open(path: object) -> NoReturn:
    raise OSError("included files are not read")  # dulwich then goes on without the file


def _read_without_includes(file: IO[bytes]) -> ConfigFile:
    return ConfigFile.from_file(file, expand_includes=False)


read_config: Callable[[IO[bytes]], ConfigFile]
"""Read an open configuration file, without the files that it includes."""

if is_older((0, 23, 1)):  # it includes no files at all
    read_config = ConfigFile.from_file
elif is_older((1, 2, 7)):
    read_config = _read_without_option
else:
    read_config = _read_without_includes


def _read_file_with_includes(path: str, conditions: Conditions | None) -> ConfigFile:
    return ConfigFile.from_path(path, condition_matchers=conditions)


def _read_file(path: str, conditions: Conditions | None) -> ConfigFile:
    return ConfigFile.from_path(path)


read_config_file = _read_file if is_older((0, 23, 1)) else _read_file_with_includes
"""Read a configuration file, and from dulwich 0.23.1 on the files that it includes.

Takes the path, and the conditions for including files.
"""

# Before 0.23.0, set() adds a value.
add_setting = ConfigDict.set if is_older((0, 23)) else ConfigDict.add
"""Add a value to a setting: takes the configuration, section, name and value."""


def _replace_setting(config: ConfigDict, section: bytes, name: bytes, value: bytes) -> None:
    values_of(config).setdefault((section,)).pop(name, None)
    config.set(section, name, value)


set_setting = _replace_setting if is_older((0, 23)) else ConfigDict.set
"""Set a setting to one value: takes the configuration, section, name and value."""


def _matchers(repo: Any) -> Conditions:
    found: Conditions = repo._get_config_condition_matchers()
    return found


def _no_matchers(repo: Any) -> Conditions:
    return {}


condition_matchers = _no_matchers if is_older((0, 23, 1)) else _matchers
"""Give the conditions for including files that hold in a repository."""


# Repositories


def init_arguments(**kwargs: Any) -> dict[str, Any]:
    """Choose the arguments of ``Repo.init`` that the installed dulwich takes.

    Args:
      **kwargs: as for the newest dulwich; one that has its default value is left out where dulwich
        does not take it
    Raises:
      UnsupportedDulwichError: if dulwich does not take one that has another value
    """
    chosen = {}
    for name, value in kwargs.items():
        if not is_older(_INIT_SINCE.get(name, ())):
            chosen[name] = value
        elif value not in (None, _INIT_DEFAULTS.get(name)):
            raise UnsupportedDulwichError(
                f"dulwich.repo:Repo.init({name}={value!r})",
                f"it needs dulwich {version_text(_INIT_SINCE[name])} or newer",
            )
    return chosen


_INIT_SINCE = {"format": (0, 23), "shared_repository": (0, 25), "object_format": (0, 25)}
_INIT_DEFAULTS = {"object_format": "sha1"}


def _open_as_bare(kind: Any, controldir: str, **replaced: Any) -> Any:
    if replaced:
        raise UnsupportedDulwichError(
            f"dulwich.repo:Repo({', '.join(replaced)})", "they came with dulwich 1.2.13"
        )
    return kind(controldir, bare=True)


def _open_control_dir(kind: Any, controldir: str, **replaced: Any) -> Any:
    return kind(controldir=controldir, **replaced)


THIS_REPOSITORY: str | None = "." if is_older((1, 2, 13)) else None
"""What the functions of ``dulwich.porcelain`` take by default, for their argument ``repo``."""

open_control_dir = _open_as_bare if is_older((1, 2, 13)) else _open_control_dir
"""Open a repository by its control directory.

Takes the class, the directory, and by their keywords those parts that are elsewhere (from dulwich
1.2.13 on: ``worktree``, ``object_directory``, ``alternates``).
"""


def _hex_size(repo: Any) -> int:
    size: int = repo.object_format.hex_length
    return size


def _hex_size_of_sha1(repo: Any) -> int:
    return 40


hex_size_of = _hex_size_of_sha1 if is_older((0, 25)) else _hex_size
"""Tell how many hex digits the object ids of a repository have."""


def _read_reflog_file(repo: Any, ref: bytes) -> Iterator[Entry]:
    try:
        with open(os.path.join(repo.controldir(), "logs", os.fsdecode(ref)), "rb") as file:
            yield from read_reflog(file)
    except FileNotFoundError:
        return


reflog_of_files: Callable[[Any, bytes], Iterator[Entry]]
"""Read the reflog of a ref from its file: takes a repository and the ref; oldest entry first."""

if is_older((0, 24)):
    reflog_of_files = _read_reflog_file
else:
    reflog_of_files = dulwich.repo.Repo.read_reflog


# Times


def _no_approximate_time(text: str | bytes) -> NoReturn:
    raise UnsupportedDulwichError(
        "dulwich.approxidate:parse_approxidate", "it came with dulwich 0.24.8"
    )


approximate_time: Callable[[str | bytes], int]
"""Read a time in words, such as ``2.weeks.ago``: seconds since the epoch."""

if is_older((0, 24, 8)):
    approximate_time = _no_approximate_time
else:
    from dulwich.approxidate import parse_approxidate as approximate_time
