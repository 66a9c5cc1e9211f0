# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The commands of a push, one for each ref, and the rules of the repository for them.

The checks are git's, in git's order and words (``builtin/receive-pack.c``: ``update``). A refused
command carries the reason. The push goes on without it, unless the push is atomic.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from dulwich.object_store import BaseObjectStore
from dulwich.objects import Commit, ObjectID
from dulwich.refs import HEADREF, Ref, RefsContainer, SymrefLoop

from ...naming.names import is_legal, is_logged_by_default
from ...naming.symrefs import symref_target
from ...refs.transaction import is_zero
from ..history import is_ancestor
from .settings import ReceiveSettings
from .working_trees import WorkingTree, checked_out

__all__ = ["Command", "Policy", "final_target", "pending", "refuse"]


@dataclass(slots=True)
class Command:
    """The update of one ref.

    Attributes:
      old, new: hex object ids; zeros for no ref
      name: of the ref, as the client sent it
      refusal: why the command is not done, in git's words; None if it is not refused
      target: the ref to write: the final target if the ref is a symref
      is_done: whether another command does the same update by another name of the ref
    """

    old: bytes
    new: bytes
    name: bytes
    refusal: bytes | None = None
    target: bytes = b""
    is_done: bool = False

    @property
    def creates(self) -> bool:
        """Whether the ref must not exist yet."""
        return is_zero(self.old)

    @property
    def deletes(self) -> bool:
        """Whether the ref is deleted."""
        return is_zero(self.new)

    @property
    def expected(self) -> bytes | None:
        """The object id that the ref must have; None if it must not exist yet."""
        return None if self.creates else self.old

    @property
    def line(self) -> tuple[bytes, bytes, bytes]:
        """The arguments for hooks."""
        return self.old, self.new, self.name


def pending(commands: Iterable[Command]) -> list[Command]:
    """List the commands that are still to do."""
    return [command for command in commands if command.refusal is None and not command.is_done]


def refuse(commands: Iterable[Command], reason: bytes) -> None:
    """Refuse commands, unless they are refused already."""
    for command in commands:
        command.refusal = command.refusal or reason


class Policy:
    """The rules of a repository for updates of its refs.

    Args:
      repo: the repository
      settings: its settings for pushes
      store: the objects, including the pushed ones
      tell: sends an explanation to the client
    """

    def __init__(
        self,
        repo: Any,
        settings: ReceiveSettings,
        store: BaseObjectStore,
        tell: Callable[[bytes], None],
    ) -> None:
        self._repo = repo
        self._settings = settings
        self._store = store
        self._tell = tell
        self._types: dict[bytes, int | None] = {}
        self._head = final_target(repo.refs, HEADREF)
        self._checked_out = checked_out(repo, None if settings.bare else self._head)

    def resolve(self, commands: Collection[Command]) -> None:
        """Find the targets of commands, and refuse two updates of one ref under two names."""
        by_target: dict[bytes, Command] = {}
        for command in pending(commands):
            command.target = command.name
            if not _is_acceptable(command.name):
                self._tell(b"error: refusing to update funny ref '%s' remotely\n" % command.name)
                command.refusal = b"funny refname"
                continue
            try:
                target = final_target(self._repo.refs, Ref(command.name))
            except OSError:  # on files, a name may be too long for a path
                command.refusal = b"failed to update ref"
                continue
            if target == b"":
                self._tell(b"error: refusing update to broken symref '%s'\n" % command.name)
                command.refusal = b"broken symref"
                continue
            command.target = target or command.name
            first = by_target.setdefault(command.target, command)
            if first is command:
                continue
            if (first.old, first.new) == (command.old, command.new) and first.name != command.name:
                command.is_done = True
            else:
                first.refusal = command.refusal = b"inconsistent aliased update"

    def check(self, command: Command) -> bytes | None:
        """Check a command; gives the reason if it is refused."""
        name, settings = command.name, self._settings
        shown = b"'%s'" % name
        if command.target in self._checked_out:
            if settings.deny_current_branch == "refuse":
                self._tell(b"error: refusing to update checked out branch: %s\n" % name)
                return b"branch is currently checked out"
            if settings.deny_current_branch == "warn":
                self._tell(b"warning: updating the current branch\n")
        if not command.deletes and self._type_of(command.new) is None:
            return b"bad pack"
        is_branch = command.target.startswith(b"refs/heads/")
        if command.deletes and not command.creates:
            if settings.deny_deletes and is_branch:
                self._tell(b"error: denying ref deletion for %s\n" % shown)
                return b"deletion prohibited"
            if command.target in self._checked_out or command.target == self._head:
                if settings.deny_delete_current == "refuse":
                    self._tell(b"error: refusing to delete the current branch: %s\n" % name)
                    return b"deletion of the current branch prohibited"
                if settings.deny_delete_current == "warn":
                    self._tell(b"warning: deleting the current branch\n")
        if is_branch and not command.deletes:
            if self._type_of(command.new) != Commit.type_num:
                return b"invalid new value provided"
            if settings.deny_non_fast_forwards and not command.creates:
                if self._type_of(command.old) != Commit.type_num:
                    return b"bad ref"
                if not is_ancestor(self._store, command.old, command.new):
                    self._tell(b"error: denying non-fast-forward %s\n" % shown)
                    return b"non-fast-forward"
        return None

    def tree_to_update(self, command: Command) -> WorkingTree | None:
        """Find the working tree that has to follow an update (``updateInstead``).

        Args:
          command: one that is not refused
        Returns: the working tree; None if there is none
        """
        if self._settings.deny_current_branch != "update" or command.deletes:
            return None
        return self._checked_out.get(command.target)

    def _type_of(self, oid: bytes) -> int | None:
        """Give the type of an object, as its number; None if there is no such object."""
        if oid not in self._types:  # many refs may point to one object
            try:
                self._types[oid] = self._store[ObjectID(oid)].type_num
            except KeyError:
                self._types[oid] = None
        return self._types[oid]

    def is_logged(self, name: bytes) -> bool:
        """Tell whether an update of a ref without a reflog starts one."""
        if self._settings.reflogs == "always":
            return True
        return self._settings.reflogs == "normal" and is_logged_by_default(name)


def _is_acceptable(name: bytes) -> bool:
    """Tell whether clients may update a ref of that name: it is legal and below ``refs/``."""
    return name.startswith(b"refs/") and name.count(b"/") > 1 and is_legal(name)


def final_target(refs: RefsContainer, name: Ref) -> bytes | None:
    """Give the ref that a symref finally leads to; None if it is none, b"" if it leads nowhere."""
    if symref_target(refs.read_ref(name)) is None:
        return None
    try:
        return refs.follow(name)[0][-1]
    except SymrefLoop:
        return b""
