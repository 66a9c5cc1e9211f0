# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The settings of a repository's refs.

The keys and their limits are git's (``git help config``: ``reftable.*``, ``core.*``). One
default is ours: refs are synced to disk unless ``core.fsync`` is set and does not name them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from dulwich.config import Config

from ..engine.table.writer import MAX_BLOCK_SIZE, WriteOptions
from .permissions import SharedMode
from .types import INT64_MAX, integer, shared_repository, unsigned
from .values import find_reflog_policy, find_value, get_boolean

__all__ = ["Settings", "shared_mode"]

_FSYNC_WITH_REFERENCE = (b"reference", b"committed", b"added", b"all")
"""The component of ``core.fsync`` that stands for refs, and the groups that include it."""


@dataclass(frozen=True)
class Settings:
    """The settings of one repository.

    Attributes:
      write: block size and other options of new tables, and the size of object ids
      geometric_factor: ``reftable.geometricFactor``
      lock_timeout: ``reftable.lockTimeout`` in seconds; None waits for ever
      sets_lock_timeout: whether the configuration says so; else it is git's default
      fsync_refs: whether refs are synced to disk
      starts_reflogs: whether a ref without a reflog gets one (``core.logAllRefUpdates``)
      shared: mode that files are given (``core.sharedRepository``); None leaves it to the umask
    """

    write: WriteOptions = field(default_factory=WriteOptions)
    geometric_factor: int = 2
    lock_timeout: float | None = 0.1
    sets_lock_timeout: bool = False
    fsync_refs: bool = True
    starts_reflogs: bool = True
    shared: SharedMode | None = None

    @classmethod
    def of(cls, config: Config, hash_size: int) -> Settings:
        """Read the settings from a configuration.

        Args:
          config: the one in force for the repository
          hash_size: bytes of an object id, by the repository's own file
        Raises:
          ConfigurationError: if a value is not possible
        """
        write = WriteOptions(
            block_size=_unsigned(config, b"blockSize", MAX_BLOCK_SIZE) or 4096,
            restart_interval=_unsigned(config, b"restartInterval", 65535) or 16,
            index_objects=get_boolean(config, b"reftable", b"indexObjects", True),
            hash_size=hash_size,
        )
        timeout = find_value(config, b"reftable", b"lockTimeout", _milliseconds)
        fsync = find_value(config, b"core", b"fsync", _syncs_refs)
        return cls(
            write=write,
            geometric_factor=_unsigned(config, b"geometricFactor", 255) or 2,
            lock_timeout=0.1 if timeout is None else None if timeout < 0 else timeout / 1000,
            sets_lock_timeout=timeout is not None,
            fsync_refs=fsync is None or fsync,
            starts_reflogs=find_reflog_policy(config) != "none",
            shared=shared_mode(config),
        )

    @property
    def adjust_mode(self) -> Callable[[str], None] | None:
        """A function that sets the mode of a new file; None where the umask decides."""
        return None if self.shared is None else self.shared.adjust


def shared_mode(config: Config) -> SharedMode | None:
    """Read ``core.sharedRepository``.

    Args:
      config: of the repository
    Returns: mode that files are given; None leaves it to the umask
    Raises:
      ConfigurationError: if the value is not possible
    """
    shared = find_value(config, b"core", b"sharedRepository", shared_repository)
    return None if shared is None else SharedMode.of(shared)


def _unsigned(config: Config, name: bytes, most: int) -> int:
    """Read a number in the section ``reftable``; as in git, 0 if it is not set."""
    return find_value(config, b"reftable", name, partial(unsigned, most=most)) or 0


def _milliseconds(text: bytes) -> int:
    """Read a timeout; -1 waits for ever."""
    value = integer(text, INT64_MAX)
    if value < -1:
        raise ValueError("the only negative number allowed is -1")
    return value


def _syncs_refs(components: bytes) -> bool:
    """Tell whether ``core.fsync`` names refs (git: ``parse_fsync_components``).

    By default git does not sync them, so a component with a minus sign cannot take them off. Only
    the names without one count. A component may be abbreviated.
    """
    for component in components.split(b","):
        word = component.lstrip(b" \t\n\r")
        if word == b"-":
            break
        if word and any(name.startswith(word) for name in _FSYNC_WITH_REFERENCE):
            return True
    return False
