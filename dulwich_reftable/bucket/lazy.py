# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A table whose bytes are fetched when they are looked at.

A lookup in a large table needs its header, its footer, some index blocks and one block. It is read
in pages, and header and footer come at once with the first look. A reader that goes on where it was
gets more and more pages with one request, so that a scan of millions of refs takes a dozen.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from .ranges import Range

__all__ = ["LazyTable"]

_PAGE = 64 << 10
_FIRST = 4 << 10
"""Bytes fetched of the beginning at first, where only the header is of use."""

_GROWTH = 8
_MOST = 16 << 20
"""How fast, and how far, reading ahead grows."""

_KEPT = 24 << 20
"""Bytes of pages that are kept for one table."""


class LazyTable:
    """The bytes of one table.

    Args:
      size: in bytes
      fetch: gives the bytes of ranges of the object
    """

    def __init__(self, size: int, fetch: Callable[[Sequence[Range]], list[bytes]]) -> None:
        self._size = size
        self._fetch = fetch
        self._lock = threading.Lock()
        self._pages: OrderedDict[int, bytes] = OrderedDict()
        self._first = b""
        self._behind = -1  # the page after those that were fetched last
        self._ahead = _PAGE

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, key: slice, /) -> bytes:
        start, stop, step = key.indices(self._size)
        if step != 1:
            raise ValueError("a table is read forwards, byte by byte")
        if stop <= start:
            return b""
        self.open()
        if stop <= len(self._first):
            return self._first[start:stop]
        first, last = start // _PAGE, (stop - 1) // _PAGE
        pages = self._get(range(first, last + 1))
        return b"".join(pages)[start - first * _PAGE : stop - first * _PAGE]

    def open(self) -> None:
        """Fetch both ends, unless that is done."""
        if self._first:
            return
        tail = max(self._size - 1, 0) // _PAGE
        first, last = self._fetch(
            [(0, min(_FIRST, self._size)), (tail * _PAGE, self._size)],
        )
        with self._lock:
            self._keep(tail, last)
            self._first = first

    def _get(self, wanted: range) -> list[bytes]:
        with self._lock:
            found = {number: self._pages.get(number) for number in wanted}
            for number in wanted:
                if number in self._pages:
                    self._pages.move_to_end(number)
            missing = [number for number, page in found.items() if page is None]
            if missing:
                goes_on = missing[0] == self._behind
                self._ahead = min(self._ahead * _GROWTH, _MOST) if goes_on else _PAGE
                total = (self._size + _PAGE - 1) // _PAGE
                end = max(missing[-1] + 1, min(missing[0] + self._ahead // _PAGE, total))
                while end - 1 > missing[-1] and end - 1 in self._pages:
                    end -= 1
                self._behind = end
        if missing:
            start = missing[0] * _PAGE
            (data,) = self._fetch([(start, min(end * _PAGE, self._size))])
            with self._lock:
                for number in range(missing[0], end):
                    at = (number - missing[0]) * _PAGE
                    page = data[at : at + _PAGE]
                    if number in found:
                        found[number] = page
                    self._keep(number, page)
        return [page for page in found.values() if page is not None]

    def _keep(self, number: int, page: bytes) -> None:
        self._pages[number] = page
        self._pages.move_to_end(number)
        while len(self._pages) > _KEPT // _PAGE:
            self._pages.popitem(last=False)
