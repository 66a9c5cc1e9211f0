# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The services, put together: the handlers of all of them, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .receive_pack.handler import ReceivePackHandler
from .upload_pack.handler import UploadPackHandler

__all__ = ["HANDLERS", "Handlers", "about_client", "outcome_of"]

Handlers = Mapping[bytes, Callable[..., Any]]

HANDLERS: dict[bytes, Any] = {
    b"git-upload-pack": UploadPackHandler,
    b"git-receive-pack": ReceivePackHandler,
}
"""Handlers for dulwich's servers and for ours.

``git-upload-archive`` is missing: git's daemon does not offer it by default, either.
"""


def about_client(handler: Callable[..., Any], client: Mapping[str, str]) -> dict[str, Any]:
    """Give the arguments by which a handler learns who the client is, if it takes them.

    Args:
      handler: of a service
      client: environment variables for hooks, such as ``REMOTE_ADDR``
    """
    if isinstance(handler, type) and issubclass(handler, ReceivePackHandler):
        return {"client": client}
    return {}


def outcome_of(handler: Any) -> str:
    """Describe the outcome of a request and what the client says of itself, for the log."""
    outcome = str(getattr(handler, "outcome", "done"))
    heard = [said.decode("utf-8", "backslashreplace") for said in getattr(handler, "heard", ())]
    return " ".join([outcome, *(f"[{said}]" for said in heard)])
