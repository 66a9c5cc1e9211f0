# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``git-receive-pack``: the service for pushes.

The steps are git's: advertise the refs; read the commands; receive the pack into quarantine and
check that it is complete; refuse hidden refs and ask ``pre-receive``; move the objects into the
repository; check each command by the repository's rules and ask ``update``; apply the remaining
commands in one transaction (:mod:`.reftable_push`); report the outcome of each command.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from dulwich.hooks import ShellHook
from dulwich.objects import valid_hexsha
from dulwich.protocol import (
    CAPABILITY_ATOMIC,
    CAPABILITY_NO_DONE,
    CAPABILITY_PUSH_OPTIONS,
    CAPABILITY_REPORT_STATUS,
    CAPABILITY_SIDE_BAND_64K,
    SIDE_BAND_CHANNEL_DATA,
    SIDE_BAND_CHANNEL_PROGRESS,
    capability_agent,
)
from dulwich.server import ReceivePackHandler as DulwichReceivePackHandler

from ...bucket.repo import BucketRepo
from ...refs.container import ReftableRefsContainer
from ..connection import Connection
from ..creation import AnyCreation, UnbornRepo
from ..errors import PackError, RefusedError, describe, printable, telling
from ..pinned_refs import pin_refs
from ..pkt_lines import FLUSH, SIGN_OF_LIFE, read_line
from ..service import Service
from ..signs_of_life import SignsOfLife
from .commands import Command, Policy, pending, refuse
from .connectivity import Connectivity
from .files_push import FilesPush
from .fsck import ObjectChecker
from .hooks import Hooks
from .incoming import IncomingPack
from .permission import refuse_force, refuse_update
from .push_options import read_push_options
from .quarantine import Quarantine
from .reftable_push import ReftablePush
from .report import outcome_of, report_of
from .settings import ReceiveSettings
from .working_trees import WorkingTree

__all__ = ["ReceivePackHandler"]

_log = logging.getLogger(__name__)

_MAX_COMMANDS = 2_000_000
_MAX_COMMAND_BYTES = 256 << 20

_REPORT_STATUS_V2 = b"report-status-v2"


class ReceivePackHandler(Service, DulwichReceivePackHandler):
    """Serves a push.

    Args:
      *args, **kwargs: as of a :class:`~dulwich_reftable.server.service.Service`
      committer: for the reflogs, as ``b"Name <address>"``; None for the server's own identity
      client: environment variables that tell hooks who the client is, such as ``REMOTE_ADDR``

    Attributes:
      lock_timeout: seconds to wait for a lock, unless the repository sets ``reftable.lockTimeout``
    """

    service = "receive-pack"
    lock_timeout = 10.0

    def __init__(
        self,
        *args: Any,
        committer: bytes | None = None,
        client: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.committer = committer
        self.client = client
        self.outcome = "done"
        self.push_options: list[bytes] = []

    @cached_property
    def settings(self) -> ReceiveSettings:
        """What the repository's configuration says."""
        settings = ReceiveSettings.of(self.config, bare=self.repo.bare)
        if self.grant is not None and self.grant.hides:
            return replace(settings, hidden=settings.hidden.beside(self.grant.hidden))
        return settings

    def capabilities(self) -> Iterable[bytes]:
        """Return the list of capabilities that are advertised."""
        offered = [cap for cap in super().capabilities() if cap != CAPABILITY_NO_DONE]
        offered.append(_REPORT_STATUS_V2)
        if self.settings.push_options:
            offered.append(CAPABILITY_PUSH_OPTIONS)
        return [*offered, *self.session, capability_agent()]

    def serve(self) -> None:
        """Serve the request."""
        with telling(self.proto):
            if self.advertise_refs or not self.stateless_rpc:
                advertised = pin_refs(self.repo.refs, self.objects, self.settings.hidden)
                self.greet(advertised, self.capabilities(), peel=False)
                if self.advertise_refs:
                    return
            commands = self.commands = self._read_commands()
            if commands and self.has_capability(CAPABILITY_PUSH_OPTIONS):
                self.push_options = read_push_options(self.proto)
        if not commands:
            return
        with telling(self.proto):
            if isinstance(self.repo, UnbornRepo):
                with self.repo.creation(self.lock_timeout) as creation:
                    self._switch_to(creation.repo)
                    self._serve(commands, creation)
            else:
                self._serve(commands, None)

    def _switch_to(self, repo: Any) -> None:
        """Replace the stand-in of a repository that did not exist."""
        for name, hook in self.repo.hooks.items():
            if not isinstance(hook, ShellHook):  # scripts belong to their repository
                repo.hooks[name] = hook
        self.close_objects()
        self.repo = repo
        for name in ("config", "settings"):
            self.__dict__.pop(name, None)

    def _read_commands(self) -> list[Command]:
        """Read the commands, up to the flush.

        Raises:
          RefusedError: if a command is malformed, or there are too many
        """
        commands: list[Command] = []
        left = _MAX_COMMAND_BYTES
        for _ in range(_MAX_COMMANDS):
            line = read_line(self.proto)
            if line is None:
                return commands
            left -= len(line)
            if left < 0:
                break
            if not commands and not line.startswith(b"shallow "):
                line, _, capabilities = line.partition(b"\0")
                self.set_client_capabilities(capabilities.split())
                if self.has_capability(CAPABILITY_SIDE_BAND_64K):
                    self.proto.has_bands = True  # type: ignore[attr-defined]
            words = line.split(b" ", 2)
            if words[0] == b"shallow" and len(words) == 2:
                continue  # a walk will find out whether anything is missing
            hex_size = self.repo.object_format.hex_length
            if len(words) != 3 or any(
                len(oid) != hex_size or not valid_hexsha(oid) for oid in words[:2]
            ):
                raise RefusedError(f"receive-pack: expected old/new/ref, got {line[:80]!r}")
            old, new, name = words
            commands.append(Command(old.lower(), new.lower(), name))
        raise RefusedError("receive-pack: too many commands")

    def _serve(self, commands: list[Command], creation: AnyCreation | None) -> None:
        """Do a push and report its outcome.

        Args:
          commands: of the push
          creation: creates the repository; None if it exists
        """
        repo = self.repo
        hooks = self._hooks()
        atomic = self.has_capability(CAPABILITY_ATOMIC)
        unpacked = b"ok"
        fsync, limit = self._fsyncs_objects(), self.settings.unpack_limit
        with Quarantine(repo.object_store, fsync_objects=fsync, unpack_limit=limit) as quarantine:
            if not all(command.deletes for command in commands):
                unpacked = self._unpack(quarantine)
            if unpacked != b"ok":
                refuse(commands, b"unpacker error")
            else:
                hooks.environment = quarantine.environment
                self._judge(commands, quarantine, hooks, atomic)
                hooks.environment = {}
            if pending(commands):
                self._apply(commands, quarantine, hooks, atomic)
        done = [command for command in commands if command.refusal is None]
        if creation is not None and done:
            done = self._publish(creation, commands, done)
        self._report(unpacked, commands)
        self.outcome = outcome_of(commands)
        if done:
            hooks = self._hooks()
            hooks.post_receive(command.line for command in done)
            hooks.post_update(command.name for command in done)
            if self.settings.auto_gc and isinstance(self.repo, BucketRepo):
                self.repo.auto_gc(self.config)
        if self.has_capability(CAPABILITY_SIDE_BAND_64K):
            self.proto.write(FLUSH)

    def _hooks(self) -> Hooks:
        hooks = Hooks(self.repo, self.config, self._tell, self.settings.keep_alive, self.client)
        hooks.push_options = self.push_options
        return hooks

    def _publish(
        self, creation: AnyCreation, commands: list[Command], done: list[Command]
    ) -> list[Command]:
        """Move a new repository to its place; gives the commands that are done."""
        try:
            creation.publish()
        except OSError as error:
            _log.warning("a new repository could not be made: %s", describe(error))
            refuse(commands, b"the repository could not be made")
            return []
        self._switch_to(creation.repo)
        return done

    def _unpack(self, quarantine: Quarantine) -> bytes:
        """Receive the pack; gives ``b"ok"``, or a description of the error."""
        recv = getattr(self.proto, "recv", None)
        try:
            self._receive(quarantine, recv or self.proto.read)
        except Exception as error:  # any error refuses the pack, and the client is told
            _log.warning("a pack was refused: %s", printable(f"{type(error).__name__}: {error}"))
            # The text may have many lines, and may name files of the server.
            said = "" if isinstance(error, OSError) and error.filename else str(error)
            line = " ".join(said.split())[:200] or type(error).__name__
            return line.encode("utf-8", "backslashreplace")
        return b"ok"

    def _receive(self, quarantine: Quarantine, read_some: Callable[[int], bytes]) -> None:
        """Receive the pack, and check its objects if the repository is configured so."""
        fsck, limits = self.settings.fsck, self.settings.limits
        with self._signs_of_life() as signs:
            # As in git, no sign comes before the end of the pack: the client might not listen yet.
            if fsck is None:
                quarantine.receive(read_some, limits, has_come=signs.begin)
                return
            checker = ObjectChecker(fsck, self.repo.object_format.oid_length)
            pack = quarantine.receive(read_some, limits, checker, has_come=signs.begin)
            checker.finish(quarantine.read)
            walk = self._walk(pack)
            if not walk.is_complete(oid.hex().encode() for oid in pack):
                raise PackError(f"fsck error in the pack: {walk.problem}")

    def _signs_of_life(self) -> SignsOfLife:
        return SignsOfLife(lambda: self._tell(b""), self.settings.keep_alive)

    def _walk(self, pack: IncomingPack | None, names: Iterable[bytes] = ()) -> Connectivity:
        """Prepare to check the objects below new values of refs."""
        repo, depth = self.repo, self.settings.max_tree_depth
        return Connectivity(pack, self.objects, repo.refs, names, repo.get_shallow(), depth)

    def _judge(
        self, commands: list[Command], quarantine: Quarantine, hooks: Hooks, atomic: bool
    ) -> None:
        """Do the checks that come before the objects move into the repository."""
        try:
            with self._signs_of_life() as signs:
                signs.begin()
                needed = self._connect(commands, quarantine.pack)
            quarantine.seal(needed)
        except OSError as error:
            self._refuse_objects(commands, error)
        for command in pending(commands):
            if command.name in self.settings.hidden:
                doing = b"deleting" if command.deletes else b"updating"
                command.refusal = b"deny %s a hidden ref" % doing
            elif self.settings.proc_receive.matches(
                command.name, creates=command.creates, deletes=command.deletes
            ):
                command.refusal = b"there is no proc-receive hook here"
            elif self.grant is not None:
                command.refusal = refuse_update(self.grant, command, self.repo.refs)
        if atomic and len(pending(commands)) < len(commands):
            refuse(commands, b"atomic push failure")
        asked = pending(commands)
        if asked and not hooks.pre_receive(command.line for command in asked):
            refuse(asked, b"pre-receive hook declined")

    def _connect(self, commands: list[Command], pack: IncomingPack | None) -> set[bytes]:
        """Refuse commands whose objects are not complete.

        Args:
          commands: of the push
          pack: its objects
        Returns: hex ids of objects of the repository that the push needs and no ref reaches
        """
        asked = [command for command in commands if not command.deletes]
        walk = self._walk(pack, [command.name for command in asked])
        if walk.is_complete(command.new for command in asked):
            return walk.found
        _log.warning("a push was refused: %s", printable(str(walk.problem)))
        for command in asked:  # as in git, the complete ones go on
            if len(asked) == 1 or not walk.is_complete([command.new]):
                command.refusal = b"missing necessary objects"
        return walk.found

    def _refuse_objects(self, commands: list[Command], error: OSError) -> None:
        _log.error("objects could not be moved into the repository: %s", error)
        refuse(commands, b"unable to migrate objects to permanent storage")

    def _apply(
        self, commands: list[Command], quarantine: Quarantine, hooks: Hooks, atomic: bool
    ) -> None:
        repo = self.repo
        try:
            quarantine.release()
        except OSError as error:
            self._refuse_objects(commands, error)
            return
        policy = Policy(repo, self.settings, repo.object_store, self._tell)
        policy.resolve(commands)
        for command in pending(commands):
            command.refusal = policy.check(command)
            if command.refusal is None and self.grant is not None:
                command.refusal = refuse_force(self.grant, command, repo.object_store)
            if command.refusal is None and not hooks.update(command.name, command.old, command.new):
                self._tell(b"error: hook declined to update %s\n" % command.name)
                command.refusal = b"hook declined"
            tree = policy.tree_to_update(command)
            if command.refusal is None and tree is not None:
                command.refusal = _update_tree(hooks, command, tree)
            if atomic and command.refusal is not None:
                break
        if atomic and any(command.refusal is not None for command in commands):
            refuse(commands, b"atomic push failure")
        kind = ReftablePush if isinstance(repo.refs, ReftableRefsContainer) else FilesPush
        application = kind(repo, hooks, policy.is_logged, self.committer, self.lock_timeout)
        try:
            quarantine.secure()
        except OSError as error:
            self._refuse_objects(commands, error)
        application.apply(commands, atomic=atomic)
        try:
            quarantine.secure()
        except OSError as error:
            _log.error("objects of a push could not be kept from a gc: %s", error)
        for text in application.explanations:
            self._tell(text)
        by_target = {command.target: command for command in commands if not command.is_done}
        for command in commands:
            if command.is_done:  # by a command with another name of the ref
                command.refusal = by_target[command.target].refusal

    def _fsyncs_objects(self) -> bool:
        """Tell whether objects are synced to disk: they are if refs are."""
        refs = self.repo.refs
        return not isinstance(refs, ReftableRefsContainer) or refs.store.settings.fsync_refs

    # What the client is told

    def _tell(self, text: bytes) -> None:
        """Send a text for the user now, if the client reads side bands.

        Args:
          text: an empty one shows nothing, but keeps the connection alive
        """
        if not self.has_capability(CAPABILITY_SIDE_BAND_64K):
            return
        if text:
            self.proto.write_sideband(SIDE_BAND_CHANNEL_PROGRESS, text)
        else:
            self.proto.write(SIGN_OF_LIFE)
        if isinstance(self.proto, Connection):
            self.proto.flush()

    def _report(self, unpacked: bytes, commands: list[Command]) -> None:
        """Report the outcome of each command; version 2 adds only what ``proc-receive`` did."""
        if not any(map(self.has_capability, (CAPABILITY_REPORT_STATUS, _REPORT_STATUS_V2))):
            return
        report = report_of(unpacked, commands)
        if self.has_capability(CAPABILITY_SIDE_BAND_64K):
            self.proto.write_sideband(SIDE_BAND_CHANNEL_DATA, report)
        else:
            self.proto.write(report)


def _update_tree(hooks: Hooks, command: Command, tree: WorkingTree) -> bytes | None:
    """Update a working tree with its branch, by a hook; gives the reason if that fails.

    git can also do that without a hook. This server does not update working trees itself.
    """
    answer = hooks.push_to_checkout(command.new, tree)
    if answer is None:
        return b"updateInstead needs the hook push-to-checkout here"
    return None if answer else b"push-to-checkout hook declined"
