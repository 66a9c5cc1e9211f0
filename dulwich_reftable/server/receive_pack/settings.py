# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What a repository's configuration says about pushes.

The keys and their values are git's (``git help config``: ``receive.*``, ``transfer.*``,
``core.*``), beside two limits of our own. The keys of fsck are in :mod:`.fsck_settings`, those of
hidden refs in :mod:`dulwich_reftable.server.hidden_refs`. As in git, a value that a key cannot have
is an error, and nobody is served then.
"""

from __future__ import annotations

from dataclasses import dataclass

from dulwich.config import Config

from ...config.types import INT64_MAX, integer, is_true
from ...config.values import find_reflog_policy, find_value, get_boolean, items_of
from ..hidden_refs import HiddenRefs
from ..signs_of_life import keep_alive
from .fsck_settings import FsckSettings
from .limits import Limits
from .proc_receive import ProcReceiveRefs

__all__ = ["ReceiveSettings"]

_MAX_OBJECT_SIZE = 100 << 20
"""Default limit of an object's bytes: a fetch inflates it as a whole."""

_MAX_TREE_ENTRIES = 250_000
"""Default limit of a tree's entries: to send it, dulwich makes objects of all of them."""

_MAX_TREE_DEPTH = 2048
"""git's default of ``core.maxTreeDepth``."""


@dataclass(frozen=True)
class ReceiveSettings:
    """The settings for pushes.

    Attributes:
      hidden: refs that are not advertised and cannot be updated
      deny_deletes: whether branches cannot be deleted
      deny_non_fast_forwards: whether branches can only be updated to descendants
      deny_current_branch: ``"refuse"``, ``"warn"``, ``"ignore"``, or ``"update"`` for a branch
        whose working tree follows it
      deny_delete_current: ``"refuse"``, ``"warn"`` or ``"ignore"``
      proc_receive: updates that are for the hook ``proc-receive``
      keep_alive: seconds without output of a hook after which the client gets a sign of life; None
        for never
      reflogs: which refs get a reflog: ``"always"``: all; ``"normal"``: branches, remote-tracking
        branches, notes and HEAD; ``"none"``, the default of bare repositories: none
      limits: of a pack: git's ``receive.maxInputSize``, and two of our own,
        ``receive.maxObjectSize`` and ``receive.maxTreeEntries``
      fsck: settings of the checks of objects; None if objects are not checked
      max_tree_depth: how deep trees may be nested
      unpack_limit: a pack of at least this many objects is kept, not unpacked
      bare: whether the repository has no main working tree
      push_options: whether clients may send options for hooks
      auto_gc: whether a push may start a gc; of repositories in object stores
    """

    hidden: HiddenRefs
    deny_deletes: bool
    deny_non_fast_forwards: bool
    deny_current_branch: str
    deny_delete_current: str
    reflogs: str
    limits: Limits
    fsck: FsckSettings | None
    max_tree_depth: int
    unpack_limit: int
    bare: bool
    proc_receive: ProcReceiveRefs
    keep_alive: int | None
    push_options: bool
    auto_gc: bool

    @classmethod
    def of(cls, config: Config, *, bare: bool) -> ReceiveSettings:
        """Read them from a configuration.

        Args:
          config: of the repository
          bare: used if ``core.bare`` is not set
        """
        section = b"receive"
        bare = get_boolean(config, b"core", b"bare", bare)
        return cls(
            HiddenRefs.of(config, section),
            get_boolean(config, section, b"denyDeletes", False),
            get_boolean(config, section, b"denyNonFastForwards", False),
            find_value(config, section, b"denyCurrentBranch", _denial) or "refuse",
            _delete_denial(config),
            find_reflog_policy(config) or ("none" if bare else "normal"),
            Limits(
                _limit(config, b"maxInputSize", None),
                _limit(config, b"maxObjectSize", _MAX_OBJECT_SIZE),
                _limit(config, b"maxTreeEntries", _MAX_TREE_ENTRIES),
            ),
            _fsck(config),
            _max_tree_depth(config),
            _unpack_limit(config),
            bare,
            ProcReceiveRefs(
                value
                for subsection, key, value in items_of(config, section)
                if not subsection and key == b"procreceiverefs"
            ),
            keep_alive(config, b"receive"),
            get_boolean(config, section, b"advertisePushOptions", False),
            get_boolean(config, section, b"autogc", True),
        )


def _denial(text: bytes) -> str:
    """Read the action for a push to the current branch (git: ``parse_deny_action``)."""
    word = text.lower()
    if word in (b"ignore", b"warn", b"refuse"):
        return word.decode()
    if word == b"updateinstead":
        return "update"
    return "refuse" if is_true(text) else "ignore"


def _delete_denial(config: Config) -> str:
    denial = find_value(config, b"receive", b"denyDeleteCurrent", _denial) or "refuse"
    return "refuse" if denial == "update" else denial


def _int64(text: bytes) -> int:
    return integer(text, INT64_MAX)


def _limit(config: Config, name: bytes, default: int | None) -> int | None:
    """Read a limit of a pack; None for no limit, which is set by 0 or a negative number."""
    number = find_value(config, b"receive", name, _int64)
    if number is None:
        return default
    return number if number > 0 else None


def _max_tree_depth(config: Config) -> int:
    found = find_value(config, b"core", b"maxTreeDepth", integer)
    return _MAX_TREE_DEPTH if found is None else found


def _fsck(config: Config) -> FsckSettings | None:
    is_on = get_boolean(config, b"transfer", b"fsckObjects", False)
    if not get_boolean(config, b"receive", b"fsckObjects", is_on):
        return None
    items = items_of(config, b"receive")
    return FsckSettings.of(config, ((key, value) for name, key, value in items if name == b"fsck"))


def _unpack_limit(config: Config) -> int:
    """Read the limit; a negative one is ignored (git: ``unpack``)."""
    for section in (b"receive", b"transfer"):
        limit = find_value(config, section, b"unpackLimit", integer)
        if limit is not None and limit >= 0:
            return limit
    return 100
