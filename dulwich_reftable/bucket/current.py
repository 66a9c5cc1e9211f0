# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The head of a stack that a process knows.

Each read asks for a newer head by one conditional request; each write swaps in a successor of the
one that is known (:mod:`.commit`). The newest head that either has brought is remembered, for all
threads.

Who has swapped the head knows the new one at once, and all others learn that they have lost only
when their own swaps fail. So one process would win again and again. To be fair, it gives way for a
moment after a swap, as long as the chain of nonces tells that others write, too.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile
from typing import Any, cast

from ..engine.stack.storage import Listing
from .client import Bucket
from .commit import FasterError, HeadObject, Installed
from .head import Head, new_nonce

__all__ = ["CurrentHead", "head_of", "installed"]

_RECENT = 2.0
"""Seconds for which a swap of another process tells that it may want to write again."""

_OWN_SWAPS = 1024
_LONGEST_PAUSE = 0.25


class CurrentHead:
    """The newest head of a stack that this process knows. Threads may share it.

    Args:
      bucket: where the stack is

    Attributes:
      on_news: is called when others have changed the head; may be set
    """

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.on_news: Callable[[], None] | None = None
        self._object = HeadObject(bucket)
        self._lock = threading.Lock()
        self._latest: Listing | None = None
        self._checked = float("-inf")
        self._own_swaps: dict[str, None] = {}  # the oldest first
        self._gives_way_until = float("-inf")

    def create(self, head: Head) -> None:
        """Make the first head of a new stack; raises as :meth:`.HeadObject.create` does."""
        self._remember_own(head.nonce)
        self._take(self._object.create(head), time.monotonic())

    def latest(self) -> Installed:
        """Give the newest head that is known."""
        with self._lock:
            latest = self._latest
        return installed(self.refresh(None) if latest is None else latest)

    def refresh(self, known: Listing | None, max_age: float = 0) -> Listing:
        """Give the list as it is, by one conditional request at most."""
        asked = time.monotonic()
        with self._lock:
            latest = self._latest
            is_recent = asked - self._checked < max_age
        if latest is None or not is_recent:
            known_before = latest
            latest = self._take(self._object.read(latest and installed(latest)), asked)
            if latest is not known_before and self.on_news is not None:
                self.on_news()
        if known is not None and _is_same(head_of(known), head_of(latest)):
            return known
        return latest

    def _take(self, found: Installed, asked: float) -> Listing:
        """Remember a head that was read or written.

        Args:
          found: the head
          asked: when the request for it began (:func:`time.monotonic`)
        Returns: the list; that of a newer head, if another thread has brought one since
        """
        with self._lock:
            latest = self._latest
            if latest is None or (
                # Older, although asked for later: the store was set back.
                found.head.serial >= head_of(latest).serial or asked > self._checked
            ):
                if latest is None or not _is_same(head_of(latest), found.head):
                    latest = Listing(found.head.names, found)
                elif latest.token is not found:
                    latest = latest._replace(token=found)  # under another entity tag
                self._latest = latest
            self._checked = max(self._checked, asked)
            return latest

    def swap(self, base: Installed, **changes: Any) -> Listing:
        """Swap the head, and remember the one that is in place.

        Args:
          base: the head to be replaced
          changes: of its attributes
        Returns: the list that is in place
        Raises:
          StaleListError: if another was faster
          OutcomeUnknownError: if nobody knows
          StorageError: one of :mod:`.errors`; nothing has happened
        """
        now = time.time()
        claims = changes.get("claims", base.head.claims)
        changes["claims"] = tuple(claim for claim in claims if claim.until > now)
        begun = time.monotonic()
        nonce = new_nonce()
        self._remember_own(nonce)
        try:
            found = self._object.swap(base, base.head.successor(nonce, now, **changes))
        except FasterError as error:
            self._take(error.found, begun)
            if self.on_news is not None:
                self.on_news()
            raise
        self._give_way(found.head, time.monotonic() - begun)
        return self._take(found, begun)

    def _give_way(self, head: Head, seconds: float) -> None:
        """Let others be faster next time, if there are any.

        Args:
          head: that this process has just put in place
          seconds: what that took
        """
        limit = time.time() - _RECENT
        recent = takewhile(lambda one: one.when > limit, reversed(head.commits))
        if any(one.nonce not in self._own_swaps for one in recent):
            pause = random.uniform(1, 3) * min(seconds, _LONGEST_PAUSE)
            self._gives_way_until = time.monotonic() + pause

    def _remember_own(self, nonce: str) -> None:
        self._own_swaps[nonce] = None
        if len(self._own_swaps) > _OWN_SWAPS:
            with suppress(StopIteration, KeyError):  # another thread was faster
                del self._own_swaps[next(iter(self._own_swaps))]

    def wait_for_others(self) -> None:
        """Wait if others are to be faster now."""
        time.sleep(max(self._gives_way_until - time.monotonic(), 0.0))


def installed(listing: Listing) -> Installed:
    """Give the head that a list was made of, with its version."""
    return cast("Installed", listing.token)


def head_of(listing: Listing) -> Head:
    """Give the head that a list was made of."""
    return installed(listing).head


def _is_same(one: Head, other: Head) -> bool:
    return one is other or (one.serial == other.serial and one.nonce == other.nonce)
