# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Who, when and why: what reflog entries say beside the object ids, and how dulwich's form maps.

dulwich has the committer as ``b"Name <address>"``, the time zone in seconds and a message without
newline; on disk there are name and address, the decimal ``±hhmm``, and a line. Ids are hex digits
on dulwich's side and raw bytes on disk.
"""

from __future__ import annotations

import re
import time
from binascii import a2b_hex, b2a_hex
from typing import NamedTuple

from dulwich.reflog import Entry
from dulwich.repo import check_user_identity

from ..engine.format.records import LogUpdate
from .store import RefStore

__all__ = ["Signature", "entry_of", "message_line"]

_BLANKS = re.compile(rb"[ \t\r\n]+")
_LATEST = (1 << 63) - 1
"""The latest time that git reads, in seconds since the epoch."""

_WIDEST_ZONE = 327 * 60 + 59
"""The minutes of the widest time zone that the format has room for."""


class Signature(NamedTuple):
    """All of a reflog entry but its ids.

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
        """Make a signature.

        Args:
          store: tells who is at work, and how long a message may be
          message: in any number of lines
          committer: ``b"Name <address>"``; None for who is at work
          timestamp: seconds since the epoch; None for now. The format has no time before 1970:
            an earlier one becomes 0
          timezone: seconds east of UTC; None for the local zone. Odd seconds, such as those of old
            local times, are cut off, as by git
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

    Runs of white space become a blank and those at the ends go (git: ``copy_reflog_msg``); what is
    longer than half a block is cut.
    """
    text = _BLANKS.sub(b" ", message.split(b"\0", 1)[0]).strip(b" ")
    return text[: block_size // 2] + b"\n"


def entry_of(update: LogUpdate) -> Entry:
    """Give an entry as dulwich has it."""
    return Entry(
        b2a_hex(update.old_id),
        b2a_hex(update.new_id),
        update.name + b" <" + update.email + b">",
        update.time,
        _from_hhmm(update.tz_offset),
        update.message.removesuffix(b"\n"),
    )


def _local_zone(timestamp: float) -> int:
    """Give the local time zone at some time, in seconds east of UTC."""
    try:
        return time.localtime(timestamp).tm_gmtoff
    except (OverflowError, ValueError, OSError):  # a year that the calendar does not have
        return time.localtime().tm_gmtoff


def _to_hhmm(seconds: int) -> int:
    sign = -1 if seconds < 0 else 1
    minutes = min(abs(int(seconds)) // 60, _WIDEST_ZONE)
    return sign * (minutes // 60 * 100 + minutes % 60)


def _from_hhmm(hhmm: int) -> int:
    sign = -1 if hhmm < 0 else 1
    hours, minutes = divmod(abs(hhmm), 100)
    return sign * (hours * 3600 + minutes * 60)
