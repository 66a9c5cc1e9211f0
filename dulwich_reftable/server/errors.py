# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Why a request is refused, in words for the client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dulwich.errors import GitProtocolError
from dulwich.protocol import Protocol

__all__ = ["PackError", "RefusedError", "telling"]


class RefusedError(GitProtocolError):
    """A request that is wrong or not allowed; the message is for the client."""


class PackError(GitProtocolError):
    """A pack that is broken, or holds more than is allowed; the message is for the client."""


@contextmanager
def telling(proto: Protocol) -> Iterator[None]:
    """Tell the client why it is refused, by an ``ERR`` line, and let the error go on.

    Args:
      proto: where to
    """
    try:
        yield
    except RefusedError as error:
        proto.write_pkt_line(b"ERR " + str(error).encode("utf-8", "backslashreplace"))
        raise
