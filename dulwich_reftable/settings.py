# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What a repository's configuration says about its refs.

The keys and their limits are git's (``git help config``: ``reftable.*``, ``core.*``,
``extensions.*``). One thing is ours: refs are synced to disk unless ``core.fsync`` is set and does
not name them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from dulwich.config import Config
from dulwich.file import SharedPerm, adjust_shared_perm
from dulwich.repo import parse_shared_repository

from .engine.errors import ConfigurationError
from .engine.writer import MAX_BLOCK_SIZE, WriteOptions

__all__ = ["Settings"]

_HASH_SIZES = {b"sha1": 20, b"sha256": 32}
_UNITS = {b"k": 1 << 10, b"m": 1 << 20, b"g": 1 << 30}

# Groups of core.fsync that "reference" is in (git: FSYNC_COMPONENTS_*).
_FSYNC_WITH_REFERENCE = frozenset((b"reference", b"committed", b"added", b"all"))


@dataclass(frozen=True)
class Settings:
    """The settings of one repository.

    Attributes:
      write: block size and the like of tables to be written, and the size of object ids
      geometric_factor: ``reftable.geometricFactor``
      lock_timeout: ``reftable.lockTimeout`` in seconds; None waits for ever
      durable: whether refs are synced to disk
      starts_reflogs: whether a ref without a reflog gets one (``core.logAllRefUpdates``)
      shared: mode that files are given (``core.sharedRepository``); None leaves it to the umask
    """

    write: WriteOptions = field(default_factory=WriteOptions)
    geometric_factor: int = 2
    lock_timeout: float | None = 0.1
    durable: bool = True
    starts_reflogs: bool = True
    shared: SharedPerm | None = None

    @classmethod
    def of(cls, config: Config) -> Settings:
        """Read them from a configuration.

        Raises:
          ConfigurationError: if a value is not possible
        """
        timeout = _number(config, b"reftable", b"lockTimeout", 100, -1, 1 << 62)
        write = WriteOptions(
            block_size=_number(config, b"reftable", b"blockSize", 0, 0, MAX_BLOCK_SIZE) or 4096,
            restart_interval=_number(config, b"reftable", b"restartInterval", 0, 0, 65535) or 16,
            index_objects=_boolean(config, b"reftable", b"indexObjects", True),
            hash_size=_hash_size(config),
        )
        shared = _get(config, b"core", b"sharedRepository")
        return cls(
            write=write,
            geometric_factor=_number(config, b"reftable", b"geometricFactor", 0, 0, 255) or 2,
            lock_timeout=None if timeout < 0 else timeout / 1000,
            durable=_syncs_refs(_get(config, b"core", b"fsync")),
            starts_reflogs=_starts_reflogs(_get(config, b"core", b"logAllRefUpdates")),
            shared=None if shared is None else parse_shared_repository(shared),
        )

    @property
    def adjust_mode(self) -> Callable[[str], None] | None:
        """Gives a new file the mode that it shall have; None if the umask has said it."""
        return None if self.shared is None else partial(adjust_shared_perm, perm=self.shared)


def _get(config: Config, section: bytes, name: bytes) -> bytes | None:
    try:
        return config.get((section,), name)
    except KeyError:
        return None


def _number(
    config: Config, section: bytes, name: bytes, default: int, least: int, most: int
) -> int:
    text = _get(config, section, name)
    if text is None:
        return default
    digits, unit = text.strip().lower(), 1
    if digits[-1:] in _UNITS:
        digits, unit = digits[:-1], _UNITS[digits[-1:]]
    try:
        value = int(digits) * unit
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise ConfigurationError(
            f"{(section + b'.' + name).decode()} = {text.decode('utf-8', 'replace')}: "
            f"not a number from {least} to {most}"
        )
    return value


def _boolean(config: Config, section: bytes, name: bytes, default: bool) -> bool:
    try:
        return config.get_boolean((section,), name, default)
    except ValueError as error:
        raise ConfigurationError(f"{(section + b'.' + name).decode()}: {error}") from error


def _hash_size(config: Config) -> int:
    name = _get(config, b"extensions", b"objectFormat") or b"sha1"
    try:
        return _HASH_SIZES[name.lower()]
    except KeyError:
        raise ConfigurationError(f"extensions.objectFormat = {name!r} is not known") from None


def _syncs_refs(components: bytes | None) -> bool:
    """Tell what ``core.fsync`` says of refs: the last word of the list that concerns them."""
    if components is None:
        return True
    synced = False
    for component in components.replace(b",", b" ").split():
        if component == b"none" or component == b"default":
            synced = False
        elif component.lstrip(b"-") in _FSYNC_WITH_REFERENCE:
            synced = not component.startswith(b"-")
    return synced


def _starts_reflogs(value: bytes | None) -> bool:
    return value is None or value.strip().lower() not in (b"false", b"no", b"off", b"0", b"")
