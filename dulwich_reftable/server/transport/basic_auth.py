# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""HTTP basic authentication: the user of a request (RFC 7617)."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from ..access import CheckPassword
from ..admission import ChallengeError

__all__ = ["user_of"]

_LONGEST = 4096
_WRONG = "wrong user or password"


def user_of(environ: dict[str, Any], check_password: CheckPassword | None) -> str | None:
    """Find the user of a request.

    Args:
      environ: of WSGI; a ``REMOTE_USER`` of the web server before us counts first, and one that is
        found is put there
      check_password: None if passwords are not looked at
    Returns: the user; None if the client does not say
    Raises:
      ChallengeError: if the user or the password is wrong, or cannot be read
      TooManyAttemptsError: if the password was not looked at
    """
    user: str | None = environ.get("REMOTE_USER") or None
    said = environ.get("HTTP_AUTHORIZATION", "")
    if user is not None or check_password is None or not said:
        return user
    user, password = _credentials(said)
    if not check_password(user, password, environ.get("REMOTE_ADDR")):
        raise ChallengeError(_WRONG)
    environ["REMOTE_USER"] = user
    environ["AUTH_TYPE"] = "Basic"
    return user


def _credentials(said: str) -> tuple[str, str]:
    scheme, _, encoded = said.partition(" ")
    if scheme.lower() != "basic" or len(said) > _LONGEST:
        raise ChallengeError(_WRONG)
    try:
        decoded = b64decode(encoded.strip(), validate=True).decode()
    except ValueError as error:  # those of base64 are such, too
        raise ChallengeError(_WRONG) from error
    user, separator, password = decoded.partition(":")
    if not separator or not user or not user.isprintable():
        raise ChallengeError(_WRONG)
    return user, password
