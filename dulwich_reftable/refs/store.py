# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``RefStore``: the stacks that a repository keeps its refs in, and how to use them.

The shared stack holds the shared refs and the main worktree's own. Each linked worktree has a stack
of its own. Where they are is the business of :mod:`.worktrees`. A store also has the settings, and
two functions of the repository: one peels objects, the other names the committer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from ..config.settings import Settings
from ..engine.stack.snapshot import Snapshot
from ..engine.stack.stack import Stack
from ..naming.names import Owner, place_of
from .peeling import Peeler, as_peeler
from .unpeeled import UnpeeledTags
from .worktrees import StackStorages

__all__ = ["Moment", "RefStore"]

_LOOKS = 5
"""How often to read two stacks until the first did not change while the second was read."""


class RefStore:
    """The refs of a repository, as one worktree sees them.

    Args:
      storages: where the stacks are
      settings: the repository's
      peel: takes a hex object id and gives what an annotated tag finally points to, None for any
        other object or one that does not exist; best a :class:`~.peeling.Peeler`
      identity: gives the committer, as ``b"Name <address>"``

    Attributes:
      shared: the stack of shared refs, and of the main worktree's own
      current: the stack of this worktree's own refs
      is_linked: whether these two are different stacks
      unpeeled: finds tags that tables hold unpeeled
      common_dir: the repository's control directory; None if there is none
      git_dir: that of this worktree; None if there is none
      peel: a peeler
      settings, identity: as given
    """

    def __init__(
        self,
        storages: StackStorages,
        settings: Settings,
        peel: Peeler | Callable[[bytes], bytes | None],
        identity: Callable[[], bytes],
    ) -> None:
        self.settings = settings
        self.peel = as_peeler(peel)
        self.unpeeled = UnpeeledTags(self.peel)
        self.identity = identity
        self.common_dir = storages.common_dir
        self.git_dir = storages.git_dir
        self._storages = storages
        self._lock_timeout = settings.lock_timeout
        self._others: dict[bytes, Stack] = {}
        self.shared = self._open(None)
        worktree = storages.worktree
        self.is_linked = worktree is not None
        self.current = self.shared
        if worktree is not None:
            self.current = self._others[worktree] = self._open(worktree)

    @property
    def hex_size(self) -> int:
        """How many hex digits an object id has."""
        return 2 * self.settings.write.hash_size

    def _open(self, worktree: bytes | None) -> Stack:
        settings = self.settings
        return Stack(
            self._storages.open(worktree),
            settings.write,
            geometric_factor=settings.geometric_factor,
            lock_timeout=self._lock_timeout,
        )

    def set_default_lock_timeout(self, seconds: float) -> None:
        """Say how long to wait for locks where ``reftable.lockTimeout`` is not set."""
        if not self.settings.sets_lock_timeout:
            self._lock_timeout = seconds
            for stack in {self.shared, self.current, *self._others.values()}:
                stack.lock_timeout = seconds

    def stacks(self) -> tuple[Stack, ...]:
        """Give the stacks that hold the refs of this worktree."""
        return (self.shared, self.current) if self.is_linked else (self.shared,)

    def all_stacks(self) -> Iterator[tuple[bytes | None, Stack]]:
        """Give all stacks of the repository, each with the id of its worktree (None: the main one).

        Worktrees that never had a stack are left out.
        """
        yield None, self.shared
        for worktree in self._storages.worktrees():
            yield worktree, self._other(worktree)

    def close(self) -> None:
        """Close all stacks."""
        for stack in {self.shared, self.current, *self._others.values()}:
            stack.close()

    def find(self, name: bytes) -> tuple[Stack, bytes]:
        """Give the stack that a ref is kept in, and its name there.

        Raises:
          BadRefNameError: if the name is one of a worktree with an impossible id
          StorageError: if there is no such worktree
        """
        if name.startswith(b"refs/") and not self.is_linked:
            return self.shared, name
        place = place_of(name)
        if place.owner is Owner.CURRENT:
            return self.current, place.name
        if place.owner is Owner.OTHER:
            return self._other(place.worktree), place.name
        return self.shared, place.name

    def stacks_of(self, names: Collection[bytes]) -> set[Stack]:
        """Give the stacks that refs are kept in.

        Raises:
          BadRefNameError: if a name is one of a worktree with an impossible id
          StorageError: if there is no such worktree
        """
        if names and not self.is_linked and min(names) >= b"refs/" and max(names) < b"refs0":
            return {self.shared}  # as most often
        return {self.find(name)[0] for name in names}

    def _other(self, worktree: bytes) -> Stack:
        self._storages.require(worktree)
        stack = self._others.get(worktree)
        if stack is None:
            stack = self._others[worktree] = self._open(worktree)
        return stack


class Moment:
    """Snapshots of all stacks, taken at one moment; call it to get the snapshot of a stack.

    Where this worktree's refs are in two stacks, both snapshots were the latest ones at the same
    time, unless others write faster than they can be read. The snapshots of other worktrees are
    taken when they are first used.

    Args:
      store: the repository's refs
    """

    def __init__(self, store: RefStore) -> None:
        shared, current = store.shared, store.current
        taken = {shared: shared.snapshot()}
        if store.is_linked:
            for _ in range(_LOOKS):
                before = taken[shared]
                taken[current] = current.snapshot()
                taken[shared] = shared.snapshot()
                if taken[shared] is before:
                    break
        self._taken = taken

    def __call__(self, stack: Stack) -> Snapshot:
        """Give the snapshot of a stack."""
        snapshot = self._taken.get(stack)
        if snapshot is None:
            snapshot = self._taken[stack] = stack.snapshot()
        return snapshot
