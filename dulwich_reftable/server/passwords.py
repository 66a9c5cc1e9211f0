# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Passwords of users, from an htpasswd file.

Only bcrypt hashes count (``htpasswd -B``): the other kinds of such files are too fast to resist a
guesser who has got the file. bcrypt is slow, so the server bounds what clients make it compute:

* A password that was right is remembered, by a keyed hash and together with its entry in the file.
* Wrong passwords are counted by address, by all processes together that are forked later. After
  some of them, an address has to wait, but passwords that are remembered are still right.
* Only a few hashes are computed at a time; a request waits for its turn, for a limited time.

A user that does not exist costs the same time as a wrong password.
"""

from __future__ import annotations

import hmac
import logging
import os
import secrets
import threading
from collections import OrderedDict
from importlib import import_module
from typing import Any

from ..engine.errors import ConfigurationError
from .buckets import Buckets, key_of
from .watched_file import WatchedFile

__all__ = ["PasswordFile", "TooManyAttemptsError"]

_log = logging.getLogger("dulwich_reftable.server")

_KINDS = ("$2y$", "$2b$", "$2a$")
_LONGEST_USER = 255
_LONGEST_PASSWORD = 72
"""Bytes that bcrypt looks at; the rest of a password has no effect, as with Apache's httpd."""
_DUMMY = "$2b${:02}$" + "." * 53
_DEFAULT_COST = 10
_MOST_KEPT = 4096
_AT_ONCE = 2
_LONGEST_WAIT = 10.0


class TooManyAttemptsError(Exception):
    """The password is not looked at: the address or the server has too many attempts."""


class PasswordFile:
    """Checks passwords by a file; a ``check_password`` for :class:`.access.Access`.

    While the file is gone or broken, no password is right. It is read again when it has changed.

    Args:
      path: of the file: lines of ``user:hash``; ``#`` begins a comment
    Raises:
      OSError: if it cannot be read
      ValueError: if it is broken
      ConfigurationError: if the package ``bcrypt`` is missing

    Attributes:
      max_failures: wrong passwords that an address may send at once
      period: seconds after which it may send as many again; a part of them after a part of it
    """

    max_failures = 10
    period = 60.0

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            self._bcrypt: Any = import_module("bcrypt")
        except ImportError as error:
            need = "passwords need bcrypt: pip install 'dulwich-reftable[auth]'"
            raise ConfigurationError(need) from error
        self._file = WatchedFile(path, _parse)
        self._key = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, None] = OrderedDict()
        self._attempts = Buckets()
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def __call__(self, user: str, password: str, address: str | None) -> bool:
        """Tell whether a password is right.

        Raises:
          TooManyAttemptsError: if it was not looked at
        """
        users = self._file.value()
        if users is None:
            return False
        entry = users.get(user)
        secret = password.encode("utf-8", "surrogateescape")
        seal = self._seal(user, secret, entry or "")
        with self._lock:
            if seal in self._verified:
                self._verified.move_to_end(seal)
                return True
            # Before it is made, so that many at once cannot exceed the limit.
            self._count_attempt(key := key_of(address or ""))
        if not self._turns.acquire(timeout=_LONGEST_WAIT):
            raise TooManyAttemptsError("the server is busy")
        try:
            is_right = self._verify(secret, entry, users)
        finally:
            self._turns.release()
        if is_right:
            with self._lock:
                self._attempts.give_back(key)
                self._verified[seal] = None
                if len(self._verified) > _MOST_KEPT:
                    self._verified.popitem(last=False)
        return is_right

    def _count_attempt(self, key: int) -> None:
        rate = self.max_failures / max(self.period, 1e-9)
        if not self._attempts.take(key, rate, self.max_failures):
            raise TooManyAttemptsError("too many wrong passwords; try again later")

    def _verify(self, secret: bytes, entry: str | None, users: dict[str, str]) -> bool:
        """Compute the hash, also for a user that does not exist."""
        costs = [int(known[4:6]) for known in users.values()]
        known = entry or _DUMMY.format(max(costs, default=_DEFAULT_COST))
        fits = b"\0" not in secret
        is_equal = self._bcrypt.checkpw(
            secret[:_LONGEST_PASSWORD] if fits else b"", known.encode("ascii")
        )
        return bool(is_equal) and fits and entry is not None

    def _seal(self, user: str, secret: bytes, entry: str) -> bytes:
        parts = (user.encode("utf-8", "surrogateescape"), secret, entry.encode())
        framed = b"".join(b"%d:%s" % (len(part), part) for part in parts)
        return hmac.digest(self._key, framed, "sha256")


def _parse(text: str) -> dict[str, str]:
    """Read the users and their hashes; entries with other hashes are left out."""
    users: dict[str, str] = {}
    names: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        user, separator, entry = line.partition(":")
        if not separator or not user or len(user) > _LONGEST_USER or not user.isprintable():
            raise ValueError(f"line {number}: expected user:hash")
        if user in names:
            raise ValueError(f"line {number}: user {user!r} is there twice")
        names.add(user)
        is_bcrypt = entry.startswith(_KINDS) and len(entry) == 60 and entry.isascii()
        if not is_bcrypt or not entry[4:6].isdigit() or not 4 <= int(entry[4:6]) <= 16:
            _log.warning("line %d: user %a has no bcrypt hash and is left out", number, user)
            continue
        users[user] = entry
    return users
