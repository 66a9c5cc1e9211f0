# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Asking the operator's own rules: who may read and write which repository, and which refs.

The rules are one callable, given to :class:`.access.Access`. The servers ask it for each repository
(:mod:`.admission`), and for each ref of a push (:mod:`.receive_pack.permission`).
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from typing import NamedTuple

__all__ = [
    "ALLOW",
    "CHALLENGE",
    "DENY",
    "AccessRequest",
    "Authorize",
    "Decision",
    "Grant",
    "RefUpdate",
    "decide",
]


class RefUpdate(NamedTuple):
    """The update of one ref that a push asks for.

    Attributes:
      name: of the ref; for a symref, the servers ask for its final target, too
      old, new: hex object ids; zeros for no ref
      action: ``"create"``, ``"update"`` or ``"delete"``; ``"force"`` is asked after ``"update"`` if
        the update is no fast-forward of a commit, or moves a tag
    """

    name: bytes
    old: bytes
    new: bytes
    action: str


@dataclass(frozen=True)
class AccessRequest:
    """What a client wants to do.

    Attributes:
      user: name of the authenticated user; None if there is none
      address: of the client; None if it is not known
      path: of the repository, as the client sent it
      repository: its real path below the folder, without symbolic links and without ``/.git``; of
        a repository that does not exist, the path of the client
      service: ``"git-upload-pack"`` or ``"git-receive-pack"``
      update: one ref of a push; None when the question is about the whole repository
    """

    user: str | None
    address: str | None
    path: str
    service: str
    repository: str = ""
    update: RefUpdate | None = None

    @property
    def writes(self) -> bool:
        """Whether it is a push."""
        return self.service == "git-receive-pack"


@dataclass(frozen=True)
class Decision:
    """An answer to a request.

    Attributes:
      allows: whether the client may do it
      challenges: whether a client without a user may try again with a password, where the protocol
        can ask for one; otherwise it is denied
      hidden: names of refs that the client does not see, besides those that the repository hides
      reason: why the update of a ref is refused, for the client
    """

    allows: bool
    challenges: bool = False
    hidden: Container[bytes] = ()
    reason: str = "access denied"


ALLOW = Decision(True)
DENY = Decision(False)
CHALLENGE = Decision(False, challenges=True)

Authorize = Callable[[AccessRequest], Decision]


class Grant:
    """What a client was allowed to do with one repository.

    Args:
      authorize: is asked for each ref of a push
      request: that was allowed
      hidden: names of refs that the client does not see
    """

    def __init__(
        self, authorize: Authorize, request: AccessRequest, hidden: Container[bytes]
    ) -> None:
        self._authorize = authorize
        self._request = request
        self.hidden = hidden

    @property
    def hides(self) -> bool:
        """Whether it may hide refs."""
        return self.hidden != ()

    def refusal(self, update: RefUpdate) -> bytes | None:
        """Ask for the update of a ref; gives the reason if it is refused."""
        decision = decide(self._authorize, replace(self._request, update=update))
        if decision.allows:
            return None
        reason = " ".join(decision.reason.split()) or DENY.reason
        return reason.encode("utf-8", "backslashreplace")


def decide(authorize: Authorize, request: AccessRequest) -> Decision:
    """Ask the rules.

    Raises:
      TypeError: if they give no decision: nothing may pass for a yes
    """
    decision = authorize(request)
    if not isinstance(decision, Decision):
        raise TypeError(f"authorize() gave {type(decision).__name__}, not a Decision")
    return decision
