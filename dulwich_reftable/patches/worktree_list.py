# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Listing linked worktrees: dulwich reads the file ``HEAD`` of each, which is a stub here."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps

from dulwich.objects import ObjectID
from dulwich.refs import HEADREF, Ref
from dulwich.repo import Repo
from dulwich.worktree import WorkTree, WorkTreeInfo

from ..naming.symrefs import symref_target
from ..refs.container import ReftableRefsContainer
from ..refs.worktrees import worktree_ids
from .subclassing import reclass

__all__ = ["list_all"]


class _Info(WorkTreeInfo):
    """A worktree of a reftable repository, as dulwich lists it."""

    _kind: type[Repo] = Repo

    def open(self) -> WorkTree:
        """Open the worktree with the class of the repository that listed it."""
        return WorkTree(self._kind(self.path), self.path)


def list_all(original: Callable[..., list[WorkTreeInfo]]) -> Callable[..., list[WorkTreeInfo]]:
    """Patch ``list_worktrees``, which reads the files ``HEAD``."""

    @wraps(original)
    def list_worktrees(repo: Repo) -> list[WorkTreeInfo]:
        found = original(repo)
        refs = repo.refs
        if not isinstance(refs, ReftableRefsContainer):
            return found
        names = _names_by_path(repo.controldir())
        for at, info in enumerate(found):
            reclass(info, _Info)
            info._kind = type(repo)  # type: ignore[attr-defined]
            # The first is the worktree of this repository object.
            name = b"worktrees/%s/HEAD" % names[info.path] if at else HEADREF
            value = refs.read_ref(Ref(name))
            branch = symref_target(value)
            info.branch = None if branch is None else Ref(branch)
            info.detached = branch is None and not (at and value is None)
            if info.branch is not None:
                value = refs.follow(info.branch)[1]
            if at:
                info.head = None if value is None else ObjectID(value)
        return found

    return list_worktrees


def _names_by_path(controldir: str) -> dict[str, bytes]:
    """Return the names of the worktrees by the paths that their control files name."""
    names = {}
    directory = os.path.join(controldir, "worktrees")
    for name in worktree_ids(controldir):
        try:
            with open(os.path.join(directory, name, "gitdir"), "rb") as file:
                gitfile = os.fsdecode(file.read().strip())
        except OSError:
            continue  # dulwich does not list it either
        if not os.path.isabs(gitfile):
            gitfile = os.path.abspath(os.path.join(directory, name, gitfile))
        names[os.path.dirname(gitfile)] = os.fsencode(name)
    return names
