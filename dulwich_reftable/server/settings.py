# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What a repository's configuration says about serving it.

The keys and their values are git's (``git help config``: ``receive.*``, ``uploadpack.*``,
``transfer.*``). A value that its key cannot have is an error, as in git: nobody is served then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dulwich.config import Config, StackedConfig

from ..config.types import INT64_MAX, integer, is_true, unsigned
from ..config.values import find_reflog_policy, find_value, get_boolean, read_value
from .receive_pack.fsck_settings import FsckSettings
from .receive_pack.incoming import Limits
from .receive_pack.proc_receive import ProcReceiveRefs
from .upload_pack.filters import FilterPolicy

__all__ = ["HiddenRefs", "ReceiveSettings", "UploadSettings", "is_enabled", "max_request_buffer"]

_MAX_OBJECT_SIZE = 100 << 20
"""Bytes that an object may have by default: a client that fetches it makes us inflate it whole."""

_MAX_TREE_ENTRIES = 250_000
"""Entries that a tree may have by default: dulwich makes objects of all of them to send it."""

_MAX_TREE_DEPTH = 2048
"""What git takes for ``core.maxTreeDepth`` if it is not set."""


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
            get_boolean(config, section, b"allowTipSHA1InWant", False),
            get_boolean(config, section, b"allowReachableSHA1InWant", False),
            get_boolean(config, section, b"allowAnySHA1InWant", False),
            get_boolean(config, section, b"allowFilter", False),
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
        section = (b"uploadpackfilter", name) if name else (b"uploadpackfilter",)
        if key == b"allow":
            allows = read_value(config, section, key, value, is_true)
            if name:
                allowed[name] = allows
            else:
                default = allows
        elif name == b"tree" and key == b"maxdepth":
            allowed[name] = True  # the key allows the filter, too
            depth = read_value(config, section, key, value, unsigned)
    return FilterPolicy(default, allowed, depth)


@dataclass(frozen=True)
class ReceiveSettings:
    """What clients may push.

    Attributes:
      hidden: what is not shown, and may not be touched
      deny_deletes: of branches
      deny_non_fast_forwards: of branches
      deny_current_branch: ``"refuse"``, ``"warn"``, ``"ignore"``, or ``"update"`` for a branch
        whose working tree follows it
      deny_delete_current: ``"refuse"``, ``"warn"`` or ``"ignore"``
      proc_receive: updates that are for the hook ``proc-receive``
      keep_alive: seconds without output of a hook after which the client is told that we are still
        there; None for never
      reflogs: which refs get a reflog by a push: ``"always"`` is all, ``"normal"`` branches,
        remote-tracking branches, notes and HEAD, ``"none"``, the default of bare ones, none
      limits: what a pack may hold: git's ``receive.maxInputSize``, and two of our own,
        ``receive.maxObjectSize`` and ``receive.maxTreeEntries``
      fsck: which objects are refused; None if they are not checked
      max_tree_depth: how many trees may be nested
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
    fsck: FsckSettings | None
    max_tree_depth: int
    unpack_limit: int
    bare: bool
    proc_receive: ProcReceiveRefs
    keep_alive: int | None

    @classmethod
    def of(cls, config: Config, *, bare: bool) -> ReceiveSettings:
        """Read them from a configuration.

        Args:
          config: of the repository
          bare: what to believe if ``core.bare`` is not set
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
                for subsection, key, value in _items(config, section)
                if not subsection and key == b"procreceiverefs"
            ),
            _keep_alive(config),
        )


def is_enabled(config: Config, server: str, service: str, default: bool) -> bool:
    """Tell whether a repository turns a service on or off: ``http.receivePack`` and the like.

    Args:
      config: of the repository
      server: ``"daemon"`` or ``"http"``
      service: such as ``"receive-pack"``
      default: if the configuration says nothing
    """
    key = service.replace("-", "")
    return get_boolean(config, server.encode(), key.encode("ascii", "replace"), default)


def max_request_buffer(config: Config) -> int:
    """Read ``http.maxRequestBuffer``: how long a request to fetch may be, in bytes."""
    return find_value(config, b"http", b"maxRequestBuffer", unsigned) or 10 << 20


def _denial(text: bytes) -> str:
    """Read what to do about a push to the current branch (git: ``parse_deny_action``)."""
    word = text.lower()
    if word in (b"ignore", b"warn", b"refuse"):
        return word.decode()
    if word == b"updateinstead":
        return "update"
    return "refuse" if is_true(text) else "ignore"


def _delete_denial(config: Config) -> str:
    denial = find_value(config, b"receive", b"denyDeleteCurrent", _denial) or "refuse"
    return "refuse" if denial == "update" else denial


def _keep_alive(config: Config) -> int | None:
    seconds = find_value(config, b"receive", b"keepAlive", integer)
    if seconds is None:
        return 5
    return seconds if seconds > 0 else None


def _int64(text: bytes) -> int:
    return integer(text, INT64_MAX)


def _limit(config: Config, name: bytes, default: int | None) -> int | None:
    """Read a limit of a push; None for none, which is what 0 says, or a negative number."""
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
    items = _items(config, b"receive")
    return FsckSettings.of(config, ((key, value) for name, key, value in items if name == b"fsck"))


def _unpack_limit(config: Config) -> int:
    """Give the limit: one that is negative is none (git: ``unpack``)."""
    for section in (b"receive", b"transfer"):
        limit = find_value(config, section, b"unpackLimit", integer)
        if limit is not None and limit >= 0:
            return limit
    return 100
