# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Times as the options and settings of reflog expiry give them (git: ``parse_expiry_date``).

dulwich reads some of git's forms. This module reads the others that people use: spans without an
"ago" or of several units, calendar months, dates at the current time of day, and time zones.
"""

from __future__ import annotations

import re
import time
from calendar import timegm

from ..compat import approximate_time

__all__ = ["ALWAYS", "NEVER", "expiry_time"]

ALWAYS = (1 << 64) - 1
"""A limit later than any entry: all entries are before it."""

NEVER = 0
"""A limit that no entry is before."""

_DAY = 24 * 60 * 60
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": _DAY, "week": 7 * _DAY}
_NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_RAW = re.compile(r"@?(\d{9,})(?: [-+]\d{4})?|@(\d+)(?: [-+]\d{4})?")
_DATE = re.compile(
    r"(\d{4})[-/.](\d\d?)[-/.](\d\d?)"
    r"(?:[ T]+(\d\d?):(\d\d)(?::(\d\d)(?:\.\d+)?)?(?: *(?:Z|([-+])(\d\d):?(\d\d)))?)?"
)


def expiry_time(text: str) -> int:
    """Read a time in one of the forms of the options and settings of expiry.

    Args:
      text: ``never`` or ``false``; ``all`` or ``now``; seconds since the epoch, also behind an
        ``@``; a date, with or without a time and a zone; or a span of time, such as ``90 days``,
        ``3.months.ago`` or ``1 year 2 weeks ago``
    Returns: seconds since the epoch, :data:`NEVER` or :data:`ALWAYS`
    Raises:
      ValueError: if it has none of these forms
    """
    text = text.strip()
    if text in ("never", "false"):
        return NEVER
    if text in ("all", "now"):
        return ALWAYS
    if (raw := _RAW.fullmatch(text)) is not None:
        return min(int(raw[1] or raw[2]), ALWAYS)
    now = int(time.time())
    try:
        if (date := _DATE.fullmatch(text)) is not None:
            return max(_time_of_date(date, now), NEVER)
        if (span := _time_before(text, now)) is not None:
            return max(span, NEVER)
    except OverflowError:
        raise ValueError(f"not a possible time: {text!r}") from None
    return max(approximate_time(text), NEVER)


def _time_of_date(date: re.Match[str], now: int) -> int:
    year, month, day = (int(date[group]) for group in (1, 2, 3))
    if date[4] is None:
        # In git, a date alone is that day at the current time of day.
        hour, minute, second = time.localtime(now)[3:6]
    else:
        hour, minute, second = int(date[4]), int(date[5]), int(date[6] or 0)
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        raise ValueError(f"not a possible date: {date[0]!r}")
    local = int(time.mktime((year, month, day, hour, minute, second, 0, 0, -1)))
    if not date[0].endswith("Z") and date[7] is None:
        return local
    zone = int(date[8]) * 3600 + int(date[9]) * 60 if date[7] else 0
    universal = timegm((year, month, day, hour, minute, second, 0, 0, 0))
    return universal - (-zone if date[7] == "-" else zone)


def _time_before(text: str, now: int) -> int | None:
    """Read a span of time and give the time that long ago; None if it is no span."""
    words = re.split(r"[\s.,]+", text.lower().strip(" .,"))
    if words[-1] == "ago":
        del words[-1]
    if len(words) % 2 or not words:
        return None
    moment = now
    for number, unit in zip(words[::2], words[1::2], strict=True):
        if number in _NUMBERS:
            count = _NUMBERS.index(number)
        elif number == "last":
            count = 1
        elif number.isdecimal() and len(number) < 10:
            count = int(number)
        else:
            return None
        unit = unit.removesuffix("s")
        if unit in _UNITS:
            moment -= count * _UNITS[unit]
        elif unit in ("month", "year"):
            moment = _months_before(moment, count * (12 if unit == "year" else 1))
        else:
            return None
    return moment


def _months_before(moment: int, count: int) -> int:
    """Give the same day and time some months earlier; a 31st that is missing is the 1st after."""
    then = time.localtime(moment)
    years, month = divmod(then.tm_year * 12 + then.tm_mon - 1 - count, 12)
    if years < 1:
        return NEVER
    return int(time.mktime((years, month + 1, *then[2:6], 0, 0, -1)))
