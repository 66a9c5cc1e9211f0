# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``ReftableRefsContainer``: dulwich's ref API on a reftable stack.

:class:`~dulwich_reftable.refs.reader.RefsReader` reads refs and
:class:`~dulwich_reftable.refs.writer.RefsWriter` writes them. This module opens the stacks of a
repository, gives the reader the latest snapshots, changes reflogs, and does the upkeep.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from dulwich.reflog import Entry
from dulwich.refs import Ref
from dulwich.repo import get_user_identity

from ..compat.errors import as_dulwich
from ..config.files import config_of, own_config
from ..config.ref_format import hash_size_of
from ..config.settings import Settings
from ..engine.stack.stack import Stack
from ..engine.table.merged import Merged
from . import reflog_changes
from .peeling import Peeler
from .reader import RefsSnapshot, SnapshotOf
from .signature import Signature
from .store import Moment, RefStore
from .worktrees import ControlDirectories
from .writer import Logger, RefsWriter

if TYPE_CHECKING:
    from ..verification import Finding

__all__ = ["ReftableRefsContainer"]


class ReftableRefsContainer(RefsWriter):
    """Refs in a reftable stack.

    It opens a stack when it first needs it, and creates nothing before the first write.

    One container may serve many threads, with a global interpreter lock or without. Each call is
    answered from one moment, and sees what calls that have returned, in any thread, have written.
    Snapshots may be shared. A transaction, a batch or an iterator is for one thread at a time.
    :meth:`close` disturbs no call that is under way.

    Args:
      path: the repository's (common) control directory
      logger: as for every ``RefsContainer``; called after an update that has a message. The
        reflog has its entry by then, so None is right for most callers.
      worktree_path: control directory of a linked worktree, for its own refs
      settings: of the repository; None to read them from its configuration
      peel: takes a hex object id and gives the id that an annotated tag finally points to, None for
        any other object; a :class:`~.peeling.Peeler` is faster for many. Without it, refs are
        stored unpeeled
      identity: gives the committer, as ``b"Name <address>"``; None to read the configuration

    Attributes:
      path, worktree_path: the control directories, as bytes, as in dulwich's containers

    Raises:
      ConfigurationError: if the value of a setting is not possible
    """

    def __init__(
        self,
        path: str | bytes | os.PathLike[str],
        logger: Logger | None = None,
        *,
        worktree_path: str | bytes | os.PathLike[str] | None = None,
        settings: Settings | None = None,
        peel: Peeler | Callable[[bytes], bytes | None] | None = None,
        identity: Callable[[], bytes] | None = None,
    ) -> None:
        self.path = os.fsencode(path)
        self.worktree_path = self.path if worktree_path is None else os.fsencode(worktree_path)
        common_dir = os.fsdecode(path)
        settings = settings or _settings_of(common_dir)
        super().__init__(
            RefStore(
                ControlDirectories(common_dir, os.fsdecode(self.worktree_path), settings),
                settings,
                peel or (lambda oid: None),
                identity or (lambda: get_user_identity(config_of(common_dir), "COMMITTER")),
            ),
            logger,
        )

    @classmethod
    def over(cls, store: RefStore, logger: Logger | None = None) -> ReftableRefsContainer:
        """Make a container of refs that are not kept in a directory.

        Its attributes ``path`` and ``worktree_path`` are the name of the place.

        Args:
          store: the refs
          logger: as for the class
        """
        container = cls.__new__(cls)
        container.path = container.worktree_path = os.fsencode(store.shared.storage.location)
        RefsWriter.__init__(container, store, logger)
        return container

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.path!r})"

    def _snapshot_of(self, stack: Stack) -> Merged:
        batch = self._batch()
        return stack.snapshot() if batch is None else batch.refs_of(stack)

    def _moment(self) -> SnapshotOf:
        batch = self._batch()
        return Moment(self.store) if batch is None else batch.refs_of

    def snapshot(self) -> RefsSnapshot:
        """Give the refs as they are now, read-only, for as long as the snapshot is kept.

        It does not have the updates of a batch that is not written yet.
        """
        return RefsSnapshot(self.store)

    # Reflogs

    def create_reflog(self, name: Ref) -> None:
        """Make an empty reflog, if the ref has none."""
        reflog_changes.create(self.store, name)

    def append_reflog(
        self,
        name: Ref,
        old: bytes | None,
        new: bytes,
        message: bytes,
        committer: bytes | None = None,
        timestamp: int | None = None,
        timezone: int | None = None,
    ) -> None:
        """Add an entry to a reflog, and leave the ref as it is.

        Args:
          name: of the ref
          old: hex object id before; None for no ref
          new: hex object id after
          message: in any number of lines
          committer: ``b"Name <address>"``; None for the configured one
          timestamp: seconds since the epoch; None for now
          timezone: seconds east of UTC; None for the local zone
        """
        signature = Signature.of(self.store, message, committer, timestamp, timezone)
        zero = b"0" * self.store.hex_size
        reflog_changes.append(self.store, name, old or zero, new, signature)

    def delete_reflog(self, name: Ref) -> None:
        """Remove a reflog, with all of its entries."""
        reflog_changes.delete(self.store, name)

    def drop_reflog_entry(self, name: Ref, index: int, rewrite: bool = False) -> None:
        """Remove one entry.

        Args:
          name: of the ref
          index: of the entry, 0 being the newest
          rewrite: whether the next newer entry's old id becomes the new id of the next older one
        Raises:
          ValueError: if there is no such entry
        """
        reflog_changes.drop_entry(self.store, name, index, rewrite=rewrite)

    def expire_reflog(
        self,
        name: Ref,
        expire_time: int | None = None,
        expire_unreachable_time: int | None = None,
        reachable_checker: Callable[[bytes], bool] | None = None,
    ) -> int:
        """Remove old entries; a reflog that loses all of them stays, empty.

        This is dulwich's rule (``dulwich.reflog.expire_reflog``): the limit of an entry depends on
        whether its new id can be reached. git has another rule, and reads limits from the
        configuration; ``porcelain.reflog_expire`` and ``dulwich-reftable reflog expire`` follow
        git.

        Args:
          name: of the ref
          expire_time: entries before it are removed, in seconds since the epoch; None to keep them
          expire_unreachable_time: unreachable entries before it are removed; None to keep them
          reachable_checker: tells whether a hex object id can be reached; None: all can
        Returns: how many entries were removed
        """

        def is_expired(entry: Entry) -> bool:
            limit = expire_time
            if reachable_checker is not None and not reachable_checker(entry.new_sha):
                limit = expire_unreachable_time
            return limit is not None and entry.timestamp < limit

        if expire_time is None and expire_unreachable_time is None:
            return 0
        return reflog_changes.expire(
            self.store, name, lambda entries: [is_expired(entry) for entry in entries]
        )

    # Upkeep

    def pack_refs(self, all: bool = False) -> None:
        """Compact the stack into one table and clean up, as ``git pack-refs`` does.

        Args:
          all: has no effect, as there are no loose refs
        """
        self.compact()
        self.clean()

    def remove_packed_ref(self, name: bytes) -> None:
        """Delete a ref; as in ``dulwich.reftable``."""
        self.remove_if_equals(Ref(name), None)

    def verify(self) -> list[Finding]:
        """Look for damage in the stacks of all worktrees.

        Returns: the faults, each of which is a line as text; an empty list if there are none
        """
        # Imported late: few programs verify.
        from ..verification import verify

        return list(verify(self.store.all_stacks(), self.store.common_dir))

    def compact(self) -> None:
        """Merge all tables into one.

        Raises:
          LockError: if somebody else writes or compacts
        """
        with as_dulwich():
            for stack in self.store.stacks():
                stack.compact()

    def auto_compact(self) -> None:
        """Merge tables whose sizes are no geometric sequence; skipped where somebody has a lock."""
        with as_dulwich():
            for stack in self.store.stacks():
                stack.auto_compact()

    def clean(self) -> None:
        """Remove the files of writers that died.

        Raises:
          LockError: if somebody else holds the lock
        """
        with as_dulwich():
            for stack in self.store.stacks():
                stack.clean()

    def close(self) -> None:
        """Close the open tables; the container opens them again when it is used again."""
        self.store.close()


def _settings_of(common_dir: str) -> Settings:
    return Settings.of(config_of(common_dir), hash_size_of(own_config(common_dir)))
