# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Opening a repository for a client that may use it.

The rules are asked before the client learns anything about a repository, and also about one that
does not exist. A client that may not read cannot tell the two apart.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dulwich.errors import NotGitRepository

from .authorization import AccessRequest, Authorize, Decision, Grant, decide
from .errors import RefusedError
from .folder import Session

__all__ = ["ChallengeError", "ForbiddenError", "admit", "apply_grant"]


class ChallengeError(NotGitRepository):
    """The client may not do that without a user."""


class ForbiddenError(RefusedError):
    """The client may read the repository, but not write to it."""


def admit(
    session: Session, authorize: Authorize | None, request: AccessRequest
) -> tuple[Any, Grant | None]:
    """Open a repository for a client, if the rules allow that.

    Args:
      session: opens the repository
      authorize: the rules; None allows all
      request: without the real path of the repository
    Returns: the repository, and what the handler has to obey
    Raises:
      NotGitRepository: if there is no repository, or the client may not read it
      ChallengeError: if the client needs a user
      ForbiddenError: if the client may read, but not write
    """
    try:
        repo = session.open_repository(request.path, for_push=request.writes)
    except NotGitRepository:
        if authorize is not None:
            _check(authorize, replace(request, repository=request.path.strip("/")))
        raise
    if authorize is None:
        return repo, None
    request = replace(request, repository=session.name_of(repo))
    return repo, Grant(authorize, request, _check(authorize, request).hidden)


def apply_grant(handler: Any, grant: Grant | None) -> None:
    """Make a handler obey a grant.

    Raises:
      TypeError: if it is no handler of ours, which could not obey
    """
    if grant is None:
        return
    if not hasattr(handler, "grant"):
        raise TypeError(f"{type(handler).__name__} cannot obey authorize()")
    handler.grant = grant


def _check(authorize: Authorize, request: AccessRequest) -> Decision:
    """Ask the rules; gives the decision if the request is allowed."""
    decision = decide(authorize, request)
    if decision.allows:
        return decision
    if decision.challenges:
        raise ChallengeError("authentication required")
    if request.writes and decide(authorize, replace(request, service="git-upload-pack")).allows:
        raise ForbiddenError("no permission to push to this repository")
    raise NotGitRepository(f"no repository at {request.path!a}")
