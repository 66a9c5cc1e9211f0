# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What a repository's configuration says about serving it.

The keys and their values are git's (``git help config``: ``receive.*``, ``uploadpack.*``,
``transfer.*``). What cannot be understood counts as the safer of the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dulwich.config import Config, StackedConfig

from .filters import FilterPolicy
from .incoming import Limits

__all__ = ["HiddenRefs", "ReceiveSettings", "UploadSettings", "is_enabled"]

_MAX_OBJECT_SIZE = 100 << 20
"""Bytes that an object may have by default: a client that fetches it makes us inflate it whole."""

_MAX_TREE_ENTRIES = 250_000
"""Entries that a tree may have by default: dulwich makes objects of all of them to send it."""


class HiddenRefs:
    """The refs that clients shall not see (git: ``ref_is_hidden``).

    A rule hides the ref of that name and all below it. ``!`` in front shows them again, and the
    last rule that fits counts. ``^``, for the name before a namespace is cut off, changes
    nothing, as there are no namespaces here.

    Args:
      rules: the least binding first

    Attributes:
      prefixes: where all rules hide: what hidden names begin with, beside the rules' own names;
        None if some rules show
    """

    def __init__(self, rules: Iterable[bytes]) -> None:
        self._rules: list[tuple[bytes, bool]] = []
        for rule in rules:
            shows = rule.startswith(b"!")
            name = rule[shows:].removeprefix(b"^").rstrip(b"/")
            self._rules.insert(0, (name, not shows))
        only_hides = all(hides for _, hides in self._rules)
        self.prefixes = [name + b"/" for name, _ in self._rules] if only_hides else None

    @classmethod
    def of(cls, config: Config, service: bytes) -> HiddenRefs:
        """Read ``transfer.hideRefs`` and the service's own.

        Args:
          config: of the repository
          service: ``b"receive"`` or ``b"uploadpack"``
        """
        return cls(
            value
            for subsection, key, value in _items(config, b"transfer", service)
            if not subsection and key == b"hiderefs"
        )

    def __bool__(self) -> bool:
        return bool(self._rules)

    def __contains__(self, name: bytes) -> bool:
        for rule, hides in self._rules:
            if name.startswith(rule) and name[len(rule) : len(rule) + 1] in (b"", b"/"):
                return hides
        return False


@dataclass(frozen=True)
class UploadSettings:
    """What clients may fetch.

    Attributes:
      hidden: what is not shown
      allow_tip, allow_reachable, allow_any: which objects may be asked for by id beside those that
        are shown: what a hidden ref points to, what can be reached from a ref, or any
      allow_filter: whether partial clones may be made
      filters: which filters they may use
    """

    hidden: HiddenRefs
    allow_tip: bool
    allow_reachable: bool
    allow_any: bool
    allow_filter: bool
    filters: FilterPolicy

    @classmethod
    def of(cls, config: Config) -> UploadSettings:
        """Read them from a configuration."""
        section = b"uploadpack"
        return cls(
            HiddenRefs.of(config, section),
            _boolean(config, section, b"allowTipSHA1InWant", False),
            _boolean(config, section, b"allowReachableSHA1InWant", False),
            _boolean(config, section, b"allowAnySHA1InWant", False),
            _boolean(config, section, b"allowFilter", False),
            _filter_policy(config),
        )


def _items(config: Config, *names: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """List all values in some sections, the least binding first.

    Args:
      config: where they are
      names: of the sections, in small letters
    Yields: the subsection, which may be empty; the key in small letters; the value
    """
    files = reversed(config.backends) if isinstance(config, StackedConfig) else [config]
    for file in files:
        for section in file.sections():
            if section[0].lower() in names:
                for key, value in file.items(section):
                    yield b".".join(section[1:]), key.lower(), value


def _filter_policy(config: Config) -> FilterPolicy:
    """Read ``uploadpackfilter.allow``, ``uploadpackfilter.<filter>.allow`` and the like."""
    default = True
    allowed: dict[bytes, bool] = {}
    depth = None
    for name, key, value in _items(config, b"uploadpackfilter"):
        if key == b"allow":
            allows = value.strip().lower() in (b"true", b"yes", b"on", b"1")
            if name:
                allowed[name] = allows
            else:
                default = allows
        elif name == b"tree" and key == b"maxdepth":
            # The key allows the filter, too. What cannot be understood allows the least.
            allowed[name] = True
            depth = _number(config, (b"uploadpackfilter", name), key) or 0
    return FilterPolicy(default, allowed, depth)


@dataclass(frozen=True)
class ReceiveSettings:
    """What clients may push.

    Attributes:
      hidden: what is not shown, and may not be touched
      deny_deletes: of branches
      deny_non_fast_forwards: of branches
      deny_current_branch, deny_delete_current: ``"refuse"``, ``"warn"`` or ``"ignore"``
      reflogs: which refs get a reflog by a push: ``"always"`` is all, ``"normal"`` branches,
        remote-tracking branches, notes and HEAD, ``"none"``, the default of bare ones, none
      limits: what a pack may hold: git's ``receive.maxInputSize``, and two of our own,
        ``receive.maxObjectSize`` and ``receive.maxTreeEntries``
      unpack_limit: from how many objects on a pack is kept
      bare: whether the repository has no main working tree
    """

    hidden: HiddenRefs
    deny_deletes: bool
    deny_non_fast_forwards: bool
    deny_current_branch: str
    deny_delete_current: str
    reflogs: str
    limits: Limits
    unpack_limit: int
    bare: bool

    @classmethod
    def of(cls, config: Config, *, bare: bool) -> ReceiveSettings:
        """Read them from a configuration.

        Args:
          config: of the repository
          bare: what to believe if ``core.bare`` is not set
        """
        section = b"receive"
        bare = _boolean(config, b"core", b"bare", bare)
        return cls(
            HiddenRefs.of(config, section),
            _boolean(config, section, b"denyDeletes", False, unclear=True),
            _boolean(config, section, b"denyNonFastForwards", False, unclear=True),
            _denial(config, b"denyCurrentBranch"),
            _denial(config, b"denyDeleteCurrent"),
            _reflogs(config, bare),
            Limits(
                _limit(config, b"maxInputSize", None),
                _limit(config, b"maxObjectSize", _MAX_OBJECT_SIZE),
                _limit(config, b"maxTreeEntries", _MAX_TREE_ENTRIES),
            ),
            _unpack_limit(config),
            bare,
        )


def _get(config: Config, section: bytes | tuple[bytes, ...], name: bytes) -> bytes | None:
    try:
        return config.get(section, name)
    except KeyError:
        return None


def _boolean(
    config: Config, section: bytes, name: bytes, default: bool, *, unclear: bool = False
) -> bool:
    """Read a boolean.

    Args:
      config: where
      section: its section
      name: its name
      default: if it is not set
      unclear: if its value is none that a boolean can have
    """
    try:
        return config.get_boolean((section,), name, default)
    except ValueError:
        return unclear


def is_enabled(config: Config, server: str, service: str) -> bool:
    """Tell whether a repository may be served; ``http.receivePack`` and the like may forbid it.

    Args:
      config: of the repository
      server: ``"daemon"`` or ``"http"``
      service: such as ``"git-receive-pack"``
    """
    key = service.removeprefix("git-").replace("-", "")
    return _boolean(config, server.encode(), key.encode("ascii", "replace"), True)


def _denial(config: Config, name: bytes) -> str:
    value = (_get(config, b"receive", name) or b"").strip().lower()
    if value in (b"ignore", b"warn"):
        return value.decode()
    return "ignore" if value in (b"false", b"no", b"off", b"0") else "refuse"


def _reflogs(config: Config, bare: bool) -> str:
    value = _get(config, b"core", b"logAllRefUpdates")
    if value is None:
        return "none" if bare else "normal"
    if value.strip().lower() == b"always":
        return "always"
    return "normal" if _boolean(config, b"core", b"logAllRefUpdates", False) else "none"


_UNITS = {b"k": 1 << 10, b"m": 1 << 20, b"g": 1 << 30}


def _number(config: Config, section: bytes | tuple[bytes, ...], name: bytes) -> int | None:
    """Read a number that is not negative; None if there is none."""
    text = (_get(config, section, name) or b"").strip().lower()
    unit = _UNITS.get(text[-1:], 1)
    digits = text[:-1] if unit > 1 else text
    return int(digits) * unit if digits.isdigit() else None


def _limit(config: Config, name: bytes, default: int | None) -> int | None:
    """Read a limit of a push; None for none, which is what 0 says."""
    number = _number(config, b"receive", name)
    return default if number is None else number or None


def _unpack_limit(config: Config) -> int:
    for section in (b"receive", b"transfer"):
        limit = _number(config, section, b"unpackLimit")
        if limit is not None:
            return limit
    return 100
