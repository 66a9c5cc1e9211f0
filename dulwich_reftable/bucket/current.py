# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The head of a stack that a process knows.

Each read asks for a newer head by one conditional request; each write swaps in a successor of the
one that is known (:mod:`.commit`). The newest head that either has brought is remembered, for all
threads.

While processes are in each other's way, each looks before a write whose turn it is (:mod:`.turns`),
and waits if others go first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, cast

from ..engine.stack.storage import Listing
from .client import Bucket
from .commit import FasterError, HeadObject, Installed
from .head import Head
from .turns import Turns

__all__ = ["CurrentHead", "head_of", "installed"]

_LONGEST_WAIT = 1.0
"""Seconds for which a process looks whether its turn has come, before it tries all the same."""

_CONTENDED = 2.0
"""Seconds for which a process takes turns with others, after it has met one."""

_MANY_WINS = 8
"""After so many swaps, one after another, a process looks whether others want to write."""


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
        self._turns = Turns()
        self._met_at = float("-inf")
        self._brought: object = None  # the head that the last lost swap has brought

    def create(self, head: Head) -> None:
        """Make the first head of a new stack; raises as :meth:`.HeadObject.create` does."""
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
        successor = base.head.successor(self._turns.new_nonce(), now, **changes)
        try:
            found = self._object.swap(base, successor)
        except FasterError as error:
            self._met_at, self._brought = time.monotonic(), error.found
            self._take(error.found, begun)
            if self.on_news is not None:
                self.on_news()
            raise
        self._turns.took(time.monotonic() - begun)
        return self._take(found, begun)

    def wait_for_turn(self) -> None:
        """Wait if it is the turn of other processes, and see to it that the head is a fresh one.

        A process that has met no other one lately does without: nobody is in its way. Only after
        many swaps in a row it looks whether others want to write, too.

        Raises:
          StorageError: one of :mod:`.errors`; nothing has happened
        """
        with self._lock:
            latest = self._latest
        if latest is None:
            return
        turns = self._turns
        begun = changed = time.monotonic()
        wins = turns.wins(head_of(latest))
        if begun - self._met_at > _CONTENDED and wins < _MANY_WINS:
            return
        has_lost = latest.token is self._brought  # just now; so others may be done by now
        is_fresh = has_lost or wins > 0
        while time.monotonic() - begun < _LONGEST_WAIT:
            before = turns.before_us(head_of(latest), time.time(), expects_more=not has_lost)
            if before is None or (is_fresh and not before):
                return
            if before:
                time.sleep(turns.pause(before))
            known, latest = latest, self.refresh(latest)
            has_lost, is_fresh = False, True
            now = time.monotonic()
            if latest is not known:
                self._met_at = changed = now
            elif before and now - changed > turns.patience:
                turns.skip(before[0])
                changed = now


def installed(listing: Listing) -> Installed:
    """Give the head that a list was made of, with its version."""
    return cast("Installed", listing.token)


def head_of(listing: Listing) -> Head:
    """Give the head that a list was made of."""
    return installed(listing).head


def _is_same(one: Head, other: Head) -> bool:
    return one is other or (one.serial == other.serial and one.nonce == other.nonce)
