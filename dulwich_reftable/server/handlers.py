# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The handlers by the services' names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .receive import ReceivePackHandler
from .upload import UploadPackHandler

__all__ = ["HANDLERS", "Handlers"]

Handlers = Mapping[bytes, Callable[..., Any]]

HANDLERS: dict[bytes, Any] = {
    b"git-upload-pack": UploadPackHandler,
    b"git-receive-pack": ReceivePackHandler,
}
"""For dulwich's servers, and for ours.

There is none for ``git-upload-archive``; git's daemon does not offer that by default, either.
"""
