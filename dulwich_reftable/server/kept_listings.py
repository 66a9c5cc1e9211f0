# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Keep the latest listings of refs, as bytes, for the next clients of this process.

To list many refs takes seconds of the processor, and most clients of a repository are told the
same. A listing is kept by what it was asked for (*topic*), together with all that its answer
depends on (*state*): it is never told for another state. If clients come at once, the first one
lists and the others wait for that. It lists without writing, so that no client waits for another
one's connection. Listings that are too large for that are made for each client anew, piece by
piece.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import chain

__all__ = ["LISTINGS", "KeptListings"]


class _Listing:
    """A listing, or what is known of it.

    Args:
      state: what it depends on

    Attributes:
      lock: held while it is made
      pieces: of the listing; None if they are not known
      size: bytes of them
      is_kept: whether it may be; if not, it is made for each client anew
    """

    def __init__(self, state: Hashable) -> None:
        self.state = state
        self.lock = threading.Lock()
        self.pieces: list[bytes] | None = None
        self.size = 0
        self.is_kept = True


class KeptListings:
    """The latest listings. Threads share it."""

    most_bytes = 16 << 20
    """Bytes of all that are kept."""
    largest = 8 << 20
    """Bytes of one that is kept."""
    most = 256
    """Number of listings that are kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listings: OrderedDict[Hashable, _Listing] = OrderedDict()
        self._size = 0

    def pieces(
        self,
        topic: Hashable,
        state: Hashable,
        make: Callable[[], Iterator[bytes]],
        may_keep: Callable[[], bool],
    ) -> Iterable[bytes]:
        """Give a listing.

        Args:
          topic: whose refs are listed, which ones, and in which form
          state: all that the listing depends on besides; a listing of another state is forgotten
          make: makes its pieces
          may_keep: asked when it is made; whether it depends on nothing else
        Returns: the pieces, which may be made while they are read
        """
        listing = self._find(topic, state)
        with listing.lock:
            if listing.pieces is None and listing.is_kept:
                made: list[bytes] = []
                size = 0
                source = make()
                for piece in source:
                    made.append(piece)
                    size += len(piece)
                    if size > self.largest:
                        listing.is_kept = False
                        return chain(made, source)
                if not may_keep():
                    listing.is_kept = False
                    return made
                self._keep(topic, listing, made, size)
        return make() if listing.pieces is None else listing.pieces

    def _find(self, topic: Hashable, state: Hashable) -> _Listing:
        with self._lock:
            listing = self._listings.get(topic)
            if listing is None or listing.state != state:
                self._forget(topic)
                listing = self._listings[topic] = _Listing(state)
                if len(self._listings) > self.most:
                    self._forget(next(iter(self._listings)))
            self._listings.move_to_end(topic)
            return listing

    def _keep(self, topic: Hashable, listing: _Listing, pieces: list[bytes], size: int) -> None:
        """Keep a listing, and forget those that were not asked for longest."""
        with self._lock:
            listing.pieces = pieces
            if self._listings.get(topic) is not listing:
                return  # only those who wait for it have it
            listing.size = size
            self._size += size
            while self._size > self.most_bytes:
                self._forget(next(iter(self._listings)))

    def _forget(self, topic: Hashable) -> None:
        listing = self._listings.pop(topic, None)
        if listing is not None:
            self._size -= listing.size


LISTINGS = KeptListings()
"""Those of this process."""
