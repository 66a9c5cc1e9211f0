# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Who may use which service of which repository.

The rules are git's. Fetching is on. Pushing is off, unless the operator or the repository turns it
on (``git daemon --enable``, ``daemon.receivePack``, ``http.receivePack``). Over HTTP it is also on
for users whom the web server has authenticated. A repository of another user is served only if
``safe.directory`` names it, because its hooks would run with our rights.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator

from dulwich.config import Config
from dulwich.repo import Repo

from ..config.files import config_in_force
from ..config.values import get_boolean, items_of
from .authorization import Authorize

__all__ = ["Access", "CheckPassword", "is_enabled", "is_safe"]

CheckPassword = Callable[[str, str, str | None], bool]
"""Takes a user, a password and the client's address, and tells whether the password is right."""


class Access:
    """Decides which services are on.

    Args:
      enable: services to turn on besides ``"upload-pack"``, such as ``"receive-pack"``
      disable: services to turn off, also for authenticated users
      forbid_override: services that the configuration of a repository cannot turn on or off
      authorize: rules for users, repositories and refs; they can only take away from what is on.
        None for no such rules
      check_password: for HTTP basic authentication; None if the server authenticates nobody
    """

    def __init__(
        self,
        *,
        enable: Collection[str] = (),
        disable: Collection[str] = (),
        forbid_override: Collection[str] = (),
        authorize: Authorize | None = None,
        check_password: CheckPassword | None = None,
    ) -> None:
        self.authorize = authorize
        self.check_password = check_password
        self._enabled = {"upload-pack", *enable} - set(disable)
        self._disabled = frozenset(disable)
        self._fixed = frozenset(forbid_override)

    def allows(self, config: Config, server: str, service: str, user: str | None = None) -> bool:
        """Tell whether a client may use a service.

        Args:
          config: of the repository
          server: section of the configuration: ``"daemon"`` or ``"http"``
          service: such as ``"git-receive-pack"``
          user: name of the authenticated user; None if there is none
        """
        name = service.removeprefix("git-")
        is_on = name in self._enabled or (bool(user) and name not in self._disabled)
        if name in self._fixed:
            return is_on
        return is_enabled(config, server, name, is_on)

    def describe(self, server: str) -> str:
        """Describe in two lines for the operator who may fetch and push.

        Args:
          server: ``"daemon"`` or ``"http"``
        """
        lines = []
        for doing, name in (("fetch", "upload-pack"), ("push", "receive-pack")):
            if name in self._enabled:
                who = "EVERYBODY who reaches this address"
            elif self.check_password is not None and name not in self._disabled:
                who = "users with a password"
            else:
                who = "nobody"
            if self.authorize is not None and who != "nobody":
                who += ", if the rules allow it"
            key = f"{server}.{name.replace('-', '').replace('pack', 'Pack')}"
            but = "" if name in self._fixed else f", unless a repository's {key} says otherwise"
            lines.append(f"{doing}: {who}{but}")
        return "\n".join(lines)


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


def is_safe(repo: Repo) -> bool:
    """Tell whether a repository is our own, or ``safe.directory`` names its directory.

    As in git, this setting is read from the system's and the user's configuration and from the
    environment (``GIT_CONFIG_COUNT``), not from the repository itself.
    """
    control_dir = repo.controldir()
    owned = [control_dir]
    link = os.path.join(repo.path, ".git")
    if os.path.isfile(link):
        owned.append(link)
    if all(map(_is_ours, owned)):
        return True
    real = os.path.realpath(control_dir)
    allowed = False
    for value in _safe_directories():
        if not value:
            allowed = False
        elif value == "*" or _covers(value, real):
            allowed = True
    return allowed


def _is_ours(path: str) -> bool:
    if not hasattr(os, "geteuid"):
        return True  # Windows has no numeric owners
    try:
        owner = os.lstat(path).st_uid
    except OSError:
        return False
    user = os.geteuid()
    if user == 0 and owner != 0:
        behind_sudo = os.environ.get("SUDO_UID", "")
        return behind_sudo.isdigit() and owner == int(behind_sudo)
    return owner == user


def _covers(value: str, path: str) -> bool:
    value = os.path.expanduser(value)
    if not os.path.isabs(value):
        return False
    if value.endswith("/*"):
        return path.startswith(os.path.join(os.path.realpath(value[:-2]), ""))
    return os.path.realpath(value) == path


def _safe_directories() -> Iterator[str]:
    """Read ``safe.directory``, the least binding value first."""
    for subsection, key, value in items_of(config_in_force(), b"safe"):
        if not subsection and key == b"directory":
            yield os.fsdecode(value)
