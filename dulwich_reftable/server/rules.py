# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Rules for users and repositories from a TOML file.

Rules only grant. What no rule grants is denied, so the order of the rules does not matter, and a
mistake in one cannot open what another one closes. A file looks so::

    [groups]
    core = ["alice", "bob"]

    [[rules]]
    repositories = ["public/**"]
    users = ["@all"]
    allow = ["read"]
    hide = ["refs/internal"]

    [[rules]]
    repositories = ["**"]
    users = ["@core"]
    allow = ["read", "write", "create", "delete", "force"]
    refs = ["refs/heads/**", "refs/tags/v*"]
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Container, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from .authorization import ALLOW, CHALLENGE, DENY, AccessRequest, Decision
from .hidden_refs import HiddenRefs
from .watched_file import WatchedFile

__all__ = ["Rules", "RulesFile"]

_WRITES = frozenset(("write", "create", "delete", "force"))
_NEEDS = {"update": "write", "create": "create", "delete": "delete", "force": "force"}
_KEYS = {"repositories", "users", "allow", "refs", "hide"}
_ALL, _USERS = "@all", "@users"
_WILD = re.compile(r"(\*\*|\*|\?)")
_AS_REGEX = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


class RulesFile:
    """Rules that follow a file; an ``authorize`` for :class:`.access.Access`.

    While the file is gone or broken, everything is denied.

    Args:
      path: of the file
    Raises:
      OSError: if it cannot be read
      ValueError: if it is broken
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = WatchedFile(path, Rules.parse)

    def __call__(self, request: AccessRequest) -> Decision:
        """Decide about a request."""
        rules = self._file.value()
        return DENY if rules is None else rules(request)


@dataclass(frozen=True)
class _Rule:
    """One grant.

    Attributes:
      repositories: matches real paths of repositories, without ``.git`` at the end
      users: names, ``@all`` or ``@users``
      allow: what the users may do
      refs: matches the refs that they may update
      hide: the refs that they do not see by this rule
    """

    repositories: re.Pattern[str]
    users: frozenset[str]
    allow: frozenset[str]
    refs: re.Pattern[str]
    hide: HiddenRefs

    def covers(self, user: str | None, repository: str) -> bool:
        """Tell whether the rule is about a user and a repository."""
        has_user = user is not None and (_USERS in self.users or user in self.users)
        is_for = has_user or _ALL in self.users
        return is_for and self.repositories.fullmatch(repository) is not None


class Rules:
    """Rules; an ``authorize`` for :class:`.access.Access`.

    Args:
      rules: in any order
    """

    def __init__(self, rules: Iterable[_Rule]) -> None:
        self._rules = tuple(rules)

    @classmethod
    def parse(cls, text: str) -> Rules:
        """Read rules.

        Args:
          text: TOML. ``groups`` is a table of lists of users. Each of ``rules`` has lists of
            strings: ``repositories`` (globs of real paths, with or without ``.git``), ``users``
            (names, ``@group``, ``@users`` for all with a user, ``@all`` for everybody), ``allow``
            (``read``, and with it ``write`` for fast-forwards, ``create``, ``delete``,
            ``force``); perhaps ``refs`` (globs of the refs that may be updated) and ``hide``
            (refs that are not shown, as in ``transfer.hideRefs``). In globs ``*`` and ``?`` match
            no slash, ``**`` does.

        Raises:
          ValueError: if anything is not as it has to be
        """
        table = _toml().loads(text)
        _check_keys("the file", table, {"groups", "rules"})
        groups: dict[str, list[str]] = {}
        for name, members in _table("groups", table.get("groups", {})).items():
            if f"@{name}" in (_ALL, _USERS):
                raise ValueError(f"groups: {name!r} is built in")
            groups[name] = _strings(f"groups.{name}", members)
            _check_names(groups[name])
        rules = table.get("rules", [])
        if not isinstance(rules, list):
            raise ValueError("rules: expected [[rules]]")
        return cls(_rule(f"rule {place}", rule, groups) for place, rule in enumerate(rules, 1))

    def __call__(self, request: AccessRequest) -> Decision:
        """Decide about a request."""
        no = CHALLENGE if request.user is None else DENY
        repository = request.repository.removesuffix(".git")
        covering = [rule for rule in self._rules if rule.covers(request.user, repository)]
        reading = [rule for rule in covering if "read" in rule.allow]
        if not reading:
            return no
        if request.update is not None:
            need = _NEEDS[request.update.action]
            name = os.fsdecode(request.update.name)
            granting = (rule for rule in covering if need in rule.allow)
            return ALLOW if any(rule.refs.fullmatch(name) for rule in granting) else DENY
        if request.writes and not any(rule.allow & _WRITES for rule in covering):
            return no
        if all(rule.hide for rule in reading):
            return Decision(True, hidden=_HiddenByAll(rule.hide for rule in reading))
        return ALLOW


class _HiddenByAll(Container[bytes]):
    """The refs that no rule shows."""

    def __init__(self, parts: Iterable[HiddenRefs]) -> None:
        self._parts = tuple(parts)

    def __contains__(self, name: object) -> bool:
        return all(name in part for part in self._parts)


def _rule(where: str, table: Any, groups: dict[str, list[str]]) -> _Rule:
    _check_keys(where, _table(where, table), _KEYS)
    for key in ("repositories", "users", "allow"):
        if key not in table:
            raise ValueError(f"{where}: {key!r} is missing")
    lists = {key: _strings(f"{where}: {key}", value) for key, value in table.items()}
    users: set[str] = set()
    for user in lists["users"]:
        if user in (_ALL, _USERS):
            users.add(user)
        elif user.startswith("@"):
            if user[1:] not in groups:
                raise ValueError(f"{where}: there is no group {user!r}")
            users.update(groups[user[1:]])
        else:
            _check_names([user])
            users.add(user)
    unknown = set(lists["allow"]) - _WRITES - {"read"}
    if unknown:
        raise ValueError(f"{where}: allow: unknown {sorted(unknown)}")
    return _Rule(
        _globs(glob.removesuffix(".git") for glob in lists["repositories"]),
        frozenset(users),
        frozenset(lists["allow"]),
        _globs(lists.get("refs", ["**"])),
        HiddenRefs(map(os.fsencode, lists.get("hide", []))),
    )


def _globs(globs: Iterable[str]) -> re.Pattern[str]:
    """Make one pattern of globs; without any it matches nothing."""
    parts = []
    for glob in globs:
        words = (_AS_REGEX.get(word) or re.escape(word) for word in _WILD.split(glob))
        parts.append(f"(?:{''.join(words)})")
    return re.compile("|".join(parts) or "(?!)", re.DOTALL)


def _check_keys(where: str, table: dict[str, Any], known: set[str]) -> None:
    unknown = sorted(table.keys() - known)
    if unknown:
        raise ValueError(f"{where}: unknown key {unknown[0]!r}")


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not name or name.startswith("@"):
            raise ValueError(f"{name!r} is no name of a user")


def _table(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a table")
    return value


def _strings(where: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{where}: expected a list of strings")
    return value


def _toml() -> Any:
    """Import the TOML reader: the standard library's from Python 3.11 on."""
    return import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
