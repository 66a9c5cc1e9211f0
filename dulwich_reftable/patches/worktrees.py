# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Linked worktrees: each has a stack of its own beside its control files.

dulwich reads and writes the file ``HEAD`` of each worktree; with reftables this file is a stub.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

from dulwich.refs import HEADREF
from dulwich.repo import Repo

from ..config.settings import shared_mode
from ..naming.symrefs import is_symref
from ..refs.container import ReftableRefsContainer
from ..repo.repo import Repo as OurRepo
from ..repo.stubs import write_stubs
from .subclassing import is_reftable

__all__ = ["add", "init_new"]


def init_new(original: Callable[..., Repo]) -> Callable[..., Repo]:
    """Patch ``Repo._init_new_working_directory``, which writes the file ``HEAD`` of a worktree."""

    @wraps(original)
    def _init_new_working_directory(
        cls: type[Repo], path: Any, main_repo: Repo, *args: Any, **kwargs: Any
    ) -> Repo:
        if not isinstance(main_repo, OurRepo) or not is_reftable(main_repo):
            return original(cls, path, main_repo, *args, **kwargs)
        kind = cls if issubclass(cls, type(main_repo)) else type(main_repo)

        def open_new(path: str) -> Repo:
            """Open the worktree, as calling the class does; all its files are written by now."""
            repo = kind(path)
            if main_repo._relies_on_install:
                repo._rely_on_install()
            _take_head_file(repo)
            return repo

        return original(open_new, path, main_repo, *args, **kwargs)

    return _init_new_working_directory


def add(original: Callable[..., Repo]) -> Callable[..., Repo]:
    """Patch ``add_worktree``, which writes a detached ``HEAD`` to the file."""

    @wraps(original)
    def add_worktree(repo: Repo, *args: Any, **kwargs: Any) -> Repo:
        added = original(repo, *args, **kwargs)
        if is_reftable(added) and _take_head_file(added):
            added.get_worktree().reset_index()
        return added

    return add_worktree


def _take_head_file(repo: Repo) -> bool:
    """Move a detached HEAD from the file to the stack; return whether that changed HEAD."""
    with open(os.path.join(repo.controldir(), "HEAD"), "rb") as file:
        value = file.read().strip()
    if is_symref(value):
        return False
    changed = repo.refs.read_ref(HEADREF) != value
    if changed:
        assert isinstance(repo.refs, ReftableRefsContainer)
        with repo.refs.transaction() as transaction:
            transaction.add_update(HEADREF, value, follow=False)
    write_stubs(repo.controldir(), shared_mode(repo.get_config()))
    return changed
