# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Find the branches that are checked out in the working trees of a repository."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from dulwich.refs import Ref
from dulwich.repo import Repo

from ...naming.symrefs import symref_target
from ...refs.container import ReftableRefsContainer
from ...refs.worktrees import worktree_ids

__all__ = ["WorkingTree", "checked_out"]


class WorkingTree(NamedTuple):
    """A working tree.

    Attributes:
      path: its directory
      git_dir: its control directory
    """

    path: str
    git_dir: str


def checked_out(repo: Any, head: bytes | None) -> dict[bytes, WorkingTree | None]:
    """Find the branches that are checked out.

    Args:
      repo: the repository
      head: the branch of the main working tree; None if there is none
    Returns: by branch, its working tree; None if that is not known
    """
    found: dict[bytes, WorkingTree | None] = {}
    if not isinstance(repo, Repo):  # it is in memory
        return {head: None} if head else {}
    common_dir = repo.commondir()
    for name in worktree_ids(common_dir):
        branch = _branch_of(repo, common_dir, name)
        if branch is not None:
            found[branch] = _linked(os.path.join(common_dir, "worktrees", name))
    if head:
        found[head] = WorkingTree(os.path.abspath(repo.path), os.path.abspath(repo.controldir()))
    return found


def _branch_of(repo: Repo, common_dir: str, name: str) -> bytes | None:
    if isinstance(repo.refs, ReftableRefsContainer):
        value = repo.refs.read_ref(Ref(b"worktrees/%s/HEAD" % os.fsencode(name)))
    else:
        value = _read(os.path.join(common_dir, "worktrees", name, "HEAD"))
    return symref_target(value)


def _linked(git_dir: str) -> WorkingTree | None:
    link = _read(os.path.join(git_dir, "gitdir"))
    if not link:
        return None
    path = os.path.dirname(os.path.join(git_dir, os.fsdecode(link)))
    return WorkingTree(os.path.abspath(path), os.path.abspath(git_dir))


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(4096).strip()
    except OSError:
        return None
