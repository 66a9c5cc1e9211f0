# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Log signatures: committer, time and message of a reflog entry, in dulwich's form and on disk.

In dulwich the committer is ``b"Name <address>"``, the time zone is in seconds, and the message has
no newline. On disk there are name and address, the decimal ``±hhmm``, and a line with its newline.
Object ids are hex digits in dulwich and raw bytes on disk.
"""

from __future__ import annotations

import re
import time
from binascii import a2b_hex
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from dulwich.reflog import Entry
from dulwich.repo import check_user_identity

from ..engine.format.log_scan import LogText
from ..engine.format.records import LogUpdate
from .store import RefStore

__all__ = ["Signature", "entries_of", "message_line"]

_BLANKS = re.compile(rb"[ \t\r\n]+")
_LATEST = (1 << 63) - 1
"""The latest time that git can read, in seconds since the epoch."""

_WIDEST_ZONE = 327 * 60 + 59
"""The largest offset of a time zone that the format has room for, in minutes."""


class Signature(NamedTuple):
    """All of a reflog entry except its object ids.

    Attributes:
      name: committer's name
      email: committer's address without the angle brackets
      time: seconds since the epoch
      tz_offset: the decimal ``±hhmm``
      message: one line with its newline
    """

    name: bytes
    email: bytes
    time: int
    tz_offset: int
    message: bytes

    @classmethod
    def of(
        cls,
        store: RefStore,
        message: bytes,
        committer: bytes | None = None,
        timestamp: int | None = None,
        timezone: int | None = None,
    ) -> Signature:
        """Make a signature from dulwich's form.

        Args:
          store: tells the committer and the largest size of a message
          message: in any number of lines
          committer: ``b"Name <address>"``; None for the configured one
          timestamp: seconds since the epoch; None for now. The format has no time before 1970:
            an earlier one becomes 0
          timezone: seconds east of UTC; None for the local zone. It is cut to whole minutes, as in
            git
        Raises:
          InvalidUserIdentity: if the committer is malformed
        """
        if committer is None:
            committer = store.identity()
        check_user_identity(committer)
        name, _, rest = committer.partition(b" <")
        if timestamp is None:
            timestamp = int(time.time())
        if timezone is None:
            timezone = _local_zone(timestamp)
        line = message_line(message, store.settings.write.block_size)
        email = rest.rpartition(b">")[0]
        seconds = min(max(int(timestamp), 0), _LATEST)
        return cls(name, email, seconds, _to_hhmm(timezone), line)

    def update(self, old: bytes, new: bytes) -> LogUpdate:
        """Make an entry.

        Args:
          old: hex object id before, zeros for none
          new: hex object id after, zeros for none
        """
        return LogUpdate(a2b_hex(old), a2b_hex(new), *self)


def message_line(message: bytes, block_size: int) -> bytes:
    """Make a message one line, the way git does.

    Runs of white space become a blank, and there is none at the ends (git: ``copy_reflog_msg``). A
    message longer than half a block is cut.
    """
    text = _BLANKS.sub(b" ", message.split(b"\0", 1)[0]).strip(b" ")
    return text[: block_size // 2] + b"\n"


def entries_of(texts: Iterable[LogText]) -> list[Entry]:
    """Give entries in dulwich's form."""
    make = Entry._make
    return [
        make((old, new, committer, seconds, _from_hhmm(zone), message))
        for old, new, committer, seconds, zone, message in texts
    ]


def _local_zone(timestamp: float) -> int:
    """Give the local time zone at some time, in seconds east of UTC."""
    try:
        return time.localtime(timestamp).tm_gmtoff
    except (OverflowError, ValueError, OSError):  # the calendar has no such year
        return time.localtime().tm_gmtoff


def _to_hhmm(seconds: int) -> int:
    sign = -1 if seconds < 0 else 1
    minutes = min(abs(int(seconds)) // 60, _WIDEST_ZONE)
    return sign * (minutes // 60 * 100 + minutes % 60)


@lru_cache(maxsize=64)
def _from_hhmm(hhmm: int) -> int:
    sign = -1 if hhmm < 0 else 1
    hours, minutes = divmod(abs(hhmm), 100)
    return sign * (hours * 3600 + minutes * 60)
