# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Errors of requests, and how the client and the log are told of them."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from dulwich.errors import GitProtocolError, HangupException
from dulwich.protocol import SIDE_BAND_CHANNEL_FATAL, Protocol

__all__ = ["HANGUPS", "PackError", "RefusedError", "describe", "printable", "telling", "trace"]

HANGUPS = (HangupException, ConnectionError, TimeoutError)
"""The client has gone or is too slow, so nobody can be told."""

_INTERNAL = b"internal server error"

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class RefusedError(GitProtocolError):
    """A request is wrong or not allowed; the message is for the client."""


class PackError(GitProtocolError):
    """A pack is broken or exceeds a limit; the message is for the client."""


@contextmanager
def telling(proto: Protocol) -> Iterator[None]:
    """Tell the client why its request ends, and raise the error again.

    The client gets the message of a protocol error. Any other error is only called an internal
    server error. A handler tells its client by itself, and the server around it tells of what comes
    before; the client is told once.

    Args:
      proto: the connection. If its attribute ``has_bands`` is true, the client already reads side
        bands, and the text goes over the band for fatal errors; else it goes into an ``ERR`` line.
        ``is_told`` becomes true
    """
    try:
        yield
    except HANGUPS:
        raise
    except GitProtocolError as error:
        _tell(proto, str(error).encode("utf-8", "backslashreplace"))
        raise
    except Exception:
        _tell(proto, _INTERNAL)
        raise


def _tell(proto: Any, text: bytes) -> None:
    if getattr(proto, "is_told", False):
        return
    proto.is_told = True
    with suppress(OSError, GitProtocolError):  # the client may have gone
        if getattr(proto, "has_bands", False):
            proto.write_sideband(SIDE_BAND_CHANNEL_FATAL, text + b"\n")
        else:
            proto.write_pkt_line(b"ERR " + text)


def printable(text: str) -> str:
    r"""Escape characters that could forge a log line or move a cursor: ``\n`` becomes two."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def describe(error: BaseException) -> str:
    """Describe an unexpected error and its place in the code in one line, for the log."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return printable(f"{type(error).__name__}: {error}{where}")


def trace(error: BaseException) -> str:
    """Give the traceback of an error in one line, for the log: clients may write parts of it."""
    return printable("".join(traceback.format_exception(error)))
