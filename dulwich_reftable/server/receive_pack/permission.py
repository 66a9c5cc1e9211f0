# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Asking the operator's rules for each ref of a push.

A command is asked for before any hook runs. A client can write its old value as it likes: the
update fails if that is not the value of the ref. Whether an update loses history is asked last,
when the objects are in the repository, as git's own check is.
"""

from __future__ import annotations

from dulwich.object_store import BaseObjectStore
from dulwich.objects import Commit, ObjectID
from dulwich.refs import Ref, RefsContainer

from ..authorization import Grant, RefUpdate
from ..history import is_ancestor
from .commands import Command, final_target

__all__ = ["refuse_force", "refuse_update"]


def refuse_update(grant: Grant, command: Command, refs: RefsContainer) -> bytes | None:
    """Ask for an update; gives the reason if it is refused.

    Args:
      grant: of the client
      command: of the push
      refs: a symref needs the permission for its final target, too
    """
    action = "delete" if command.deletes else "create" if command.creates else "update"
    try:
        target = final_target(refs, Ref(command.name))
    except OSError:  # on files, a name may be too long for a path
        return b"failed to update ref"
    for name in (command.name, *filter(None, (target,))):
        if name in grant.hidden:
            return b"access denied"
        refusal = grant.refusal(RefUpdate(name, command.old, command.new, action))
        if refusal is not None:
            return refusal
    return None


def refuse_force(grant: Grant, command: Command, store: BaseObjectStore) -> bytes | None:
    """Ask for an update that loses history; gives the reason if it is refused.

    Args:
      grant: of the client
      command: with its target resolved
      store: the objects, including the pushed ones
    """
    if command.creates or command.deletes or command.old == command.new:
        return None
    is_tag = command.target.startswith(b"refs/tags/")
    are_commits = _is_commit(store, command.old) and _is_commit(store, command.new)
    if not is_tag and are_commits and is_ancestor(store, command.old, command.new):
        return None
    return grant.refusal(RefUpdate(command.target, command.old, command.new, "force"))


def _is_commit(store: BaseObjectStore, oid: bytes) -> bool:
    try:
        return store[ObjectID(oid)].type_num == Commit.type_num
    except KeyError:
        return False
