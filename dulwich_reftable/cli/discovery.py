# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Finds the repository of a command by directory and environment, as git does (``setup.c``).

``GIT_DIR`` names the control directory. Without it, the search begins in the directory and goes up,
but not above a directory in ``GIT_CEILING_DIRECTORIES``, and not into another file system unless
``GIT_DISCOVERY_ACROSS_FILESYSTEM`` is true. ``GIT_WORK_TREE``, ``GIT_OBJECT_DIRECTORY`` and
``GIT_ALTERNATE_OBJECT_DIRECTORIES`` override the control directory's own settings. Relative paths
start at the directory in which the command runs.

With ``GIT_COMMON_DIR``, git reads configuration and objects there, but refs where the control
directory says. A dulwich repository cannot do that, so a different common directory is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from dulwich.errors import NotGitRepository
from dulwich.repo import read_gitfile

from ..compat import open_control_dir
from ..config.files import environment_boolean
from ..config.values import get_boolean
from ..engine.errors import ConfigurationError
from ..repo.repo import Repo

__all__ = ["find_repository"]

_OVERRIDES = {
    "GIT_WORK_TREE": "worktree",
    "GIT_OBJECT_DIRECTORY": "object_directory",
}
"""Variables that override one directory of a repository, and dulwich's keywords for them."""

_COMMON = "GIT_COMMON_DIR"
_ALTERNATES = "GIT_ALTERNATE_OBJECT_DIRECTORIES"


def find_repository(directory: str, environ: Mapping[str, str]) -> Repo:
    """Open the repository that git would use.

    Args:
      directory: the directory in which the command runs
      environ: the environment variables
    Raises:
      NotGitRepository: if there is no repository
      ConfigurationError: if a variable has a wrong value
    """
    repo: Repo
    git_dir = environ.get("GIT_DIR")
    if git_dir is not None:
        git_dir = _explicit(os.path.join(directory, git_dir) if git_dir else "")
        is_bare = False
    else:
        repo = _discover(directory, environ)
        repo.bare = repo.bare and get_boolean(repo.get_config(), b"core", b"bare", True)
        if not any(environ.get(name) for name in (*_OVERRIDES, _ALTERNATES, _COMMON)):
            return repo
        with closing(repo):
            git_dir, is_bare = repo.controldir(), repo.bare
    replaced: dict[str, Any] = {
        keyword: os.path.abspath(os.path.join(directory, environ[name]))
        for name, keyword in _OVERRIDES.items()
        if environ.get(name)
    }
    common_dir = _common_dir(git_dir)
    asked_for = os.path.join(directory, environ.get(_COMMON) or os.path.abspath(common_dir))
    if os.path.realpath(asked_for) != os.path.realpath(common_dir):
        raise ConfigurationError(
            f"{_COMMON} = {environ[_COMMON]!r} in the environment: the refs of '{git_dir}' are not "
            "there"
        )
    objects = replaced.get("object_directory", os.path.join(common_dir, "objects"))
    if not _is_repository(git_dir, common_dir, objects):
        raise NotGitRepository(git_dir)
    if environ.get(_ALTERNATES):
        paths = environ[_ALTERNATES].split(os.pathsep)
        replaced["alternates"] = [os.path.join(directory, path) for path in paths if path]
    repo = open_control_dir(Repo, git_dir, **replaced)
    if os.path.realpath(common_dir) == os.path.realpath(git_dir):  # no linked worktree
        is_bare = get_boolean(repo.get_config(), b"core", b"bare", is_bare)
    repo.bare = is_bare and "worktree" not in replaced
    return repo


def _discover(directory: str, environ: Mapping[str, str]) -> Repo:
    """Open the repository of a directory, or else that of the nearest one above it.

    Raises:
      NotGitRepository: if there is none, up to the root, a ceiling, or another file system
    """
    ceilings = {os.path.normcase(os.path.realpath(path)) for path in _ceilings(environ)}
    stays = not environment_boolean("GIT_DISCOVERY_ACROSS_FILESYSTEM", False)
    path = os.path.realpath(directory)
    while True:
        try:
            return Repo(path)
        except NotGitRepository:
            above = os.path.dirname(path)
            is_over = above == path or os.path.normcase(above) in ceilings
            if is_over or (stays and os.stat(above).st_dev != os.stat(path).st_dev):
                raise NotGitRepository(f"No git repository was found at {directory}") from None
            path = above


def _explicit(git_dir: str) -> str:
    """Follow a ``.git`` file to the control directory that it names."""
    if not os.path.isfile(git_dir):
        return git_dir
    try:
        with open(git_dir, "rb") as file:
            return os.path.join(os.path.dirname(git_dir), os.fsdecode(read_gitfile(file)))
    except ValueError as error:
        raise NotGitRepository(git_dir) from error


def _common_dir(git_dir: str) -> str:
    path = os.path.join(git_dir, "commondir")
    if not os.path.isfile(path):
        return git_dir
    with open(path, "rb") as file:
        return os.path.join(git_dir, os.fsdecode(file.read().rstrip(b"\r\n")))


def _is_repository(git_dir: str, common_dir: str, objects: str) -> bool:
    """Tell whether a directory is a control directory (git: ``is_git_directory``)."""
    return (
        os.path.lexists(os.path.join(git_dir, "HEAD"))
        and os.path.isdir(objects)
        and os.path.isdir(os.path.join(common_dir, "refs"))
    )


def _ceilings(environ: Mapping[str, str]) -> list[str]:
    """Read ``GIT_CEILING_DIRECTORIES``; only absolute paths count."""
    paths = environ.get("GIT_CEILING_DIRECTORIES", "").split(os.pathsep)
    return [path for path in paths if os.path.isabs(path)]
