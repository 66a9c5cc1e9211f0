# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Which reflog entries expire: git's rule, and its limits.

There are two limits. An entry older than the first expires in any case. An entry older than the
second expires if the ref does not reach one of its two ids. A limit is read from the command line;
else from the first ``gc.<pattern>`` section of the configuration that matches the ref; else from
the section ``gc``; else it is git's default. For ``refs/stash``, only the command line and a
matching ``gc.<pattern>`` count. An entry whose objects are incomplete expires too, if the caller
asks for that (git: ``reflog_expire_options_set_refname``, ``should_expire_reflog_ent``).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from dulwich.config import Config
from dulwich.reflog import Entry

from ..config.values import files_of, read_value
from .times import NEVER, expiry_time
from .wildmatch import compile_pattern

__all__ = ["ExpirySettings", "Limits", "expired"]

_DAY = 24 * 60 * 60
_STASH = b"refs/stash"
_KEYS = (b"reflogexpire", b"reflogexpireunreachable")


class Limits(NamedTuple):
    """The limits for one reflog, in seconds since the epoch.

    Attributes:
      total: entries before it expire
      unreachable: entries before it expire if the ref does not reach one of their ids
    """

    total: int
    unreachable: int


def expired(
    entries: Iterable[Entry],
    limits: Limits,
    is_reachable: Callable[[bytes], bool],
    is_stale: Callable[[bytes], bool] | None = None,
) -> list[bool]:
    """Choose the entries of a reflog that expire.

    Args:
      entries: of the reflog
      limits: of the reflog
      is_reachable: tells whether the ref reaches a hex object id; called for entries between the
        limits only
      is_stale: tells whether objects are missing that a hex object id needs; an entry with such an
        id expires, however new it is; None to skip this check
    Returns: for each entry whether it expires
    """
    return [
        entry.timestamp < limits.total
        or (is_stale is not None and (is_stale(entry.old_sha) or is_stale(entry.new_sha)))
        or (
            entry.timestamp < limits.unreachable
            and not (is_reachable(entry.old_sha) and is_reachable(entry.new_sha))
        )
        for entry in entries
    ]


@dataclass(frozen=True)
class ExpirySettings:
    """The limits for all reflogs of a repository.

    Attributes:
      total: limit for every reflog, which overrides the configuration; None to read that
      unreachable: the same for the other limit
      default: limits of refs that no pattern matches
      patterns: compiled patterns of ref names and their limits; the first that matches counts
    """

    total: int | None
    unreachable: int | None
    default: Limits
    patterns: list[tuple[re.Pattern[bytes], Limits]] = field(default_factory=list)

    @classmethod
    def of(
        cls, config: Config, total: int | None = None, unreachable: int | None = None
    ) -> ExpirySettings:
        """Read the settings from a configuration.

        Args:
          config: of the repository
          total: limit for every reflog, in seconds since the epoch; None to read the configuration
          unreachable: the same for the other limit
        Raises:
          ConfigurationError: if a value in the configuration is not a time
        """
        now = int(time.time())
        default = Limits(now - 90 * _DAY, now - 30 * _DAY)
        found: dict[bytes, Limits] = {}
        for file in reversed(files_of(config)):  # git reads the least binding file first
            for section in file.sections():
                if section[0].lower() != b"gc":
                    continue
                if len(section) == 1:
                    default = _limits(file, section, default)
                else:
                    # A limit that no section of this pattern has is "never".
                    before = found.get(section[1], Limits(NEVER, NEVER))
                    limits = _limits(file, section, before)
                    if limits is not before:
                        found[section[1]] = limits
        patterns = [(compile_pattern(pattern), limits) for pattern, limits in found.items()]
        return cls(total, unreachable, default, patterns)

    def limits_of(self, name: bytes) -> Limits:
        """Give the limits of the reflog of a ref."""
        configured = Limits(NEVER, NEVER) if name == _STASH else self.default
        for pattern, limits in self.patterns:
            if pattern.fullmatch(name):
                configured = limits
                break
        return Limits(
            configured.total if self.total is None else self.total,
            configured.unreachable if self.unreachable is None else self.unreachable,
        )


def _time(text: bytes) -> int:
    return expiry_time(text.decode("utf-8", "replace"))


def _limits(config: Config, section: tuple[bytes, ...], before: Limits) -> Limits:
    """Read the limits in one section of a configuration file; ``before`` if it has none."""
    found = {}
    # Config.get would look for a missing key in the section without a subsection.
    for key, value in config.items(section):
        if key.lower() in _KEYS:
            found[key.lower()] = read_value(config, section, key, value, _time)
    if not found:
        return before
    return Limits(*(found.get(key, limit) for key, limit in zip(_KEYS, before, strict=True)))
