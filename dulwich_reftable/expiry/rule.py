# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Which reflog entries expire: git's rule, and the limits that it goes by.

There are two limits. An entry before the first goes in any case. An entry before the second goes if
one of its two ids cannot be reached from the ref. For each limit the command line comes first, then
the first ``gc.<pattern>`` section of the configuration that matches the ref, then ``gc`` itself,
then git's default; entries of ``refs/stash`` only go if one of the first two says so
(git: ``reflog_expire_options_set_refname``, ``should_expire_reflog_ent``).
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
      total: entries before it go
      unreachable: entries before it go if the ref does not reach one of their ids
    """

    total: int
    unreachable: int


def expired(
    entries: Iterable[Entry],
    limits: Limits,
    is_reachable: Callable[[bytes], bool],
    is_stale: Callable[[bytes], bool] | None = None,
) -> list[bool]:
    """Tell of each entry of a reflog whether it expires.

    Args:
      entries: of the reflog
      limits: for it
      is_reachable: tells of a hex object id whether the ref reaches it; asked about entries
        between the limits only
      is_stale: tells of a hex object id whether objects that it needs are missing; such an entry
        goes, however new it is; None not to look
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
      total: for every reflog, whatever the configuration says; None to go by it
      unreachable: the same of the other limit
      default: for reflogs that no pattern matches
      patterns: compiled patterns of ref names and the limits for those refs; the first counts
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
          total: limit for every reflog, in seconds since the epoch; None to go by the configuration
          unreachable: the same of the other limit
        Raises:
          ConfigurationError: if a value in the configuration is no time
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
                    # In a section with one of the two keys, the other limit is "never".
                    before = found.get(section[1], Limits(NEVER, NEVER))
                    limits = _limits(file, section, before)
                    if limits is not before:
                        found[section[1]] = limits
        patterns = [(compile_pattern(pattern), limits) for pattern, limits in found.items()]
        return cls(total, unreachable, default, patterns)

    def limits_of(self, name: bytes) -> Limits:
        """Give the limits for the reflog of a ref."""
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
    # Config.get would take what a section lacks from the one above it.
    for key, value in config.items(section):
        if key.lower() in _KEYS:
            found[key.lower()] = read_value(config, section, key, value, _time)
    if not found:
        return before
    return Limits(*(found.get(key, limit) for key, limit in zip(_KEYS, before, strict=True)))
