# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A table whose bytes are fetched when they are looked at.

The head tells the ends of a large table (:class:`.head.Ends`): the header, and the footer, which
knows where the indexes are. So a first lookup takes one request for the whole index of refs, most
often a hundredth of the table, and one for the page of the block. A reader that goes on where it
was gets more and more pages with one request. One that says before that it reads all refs gets the
largest parts at once.

Ranges carry no checksum of the store's, and the digest in the head is one of the whole table. What
protects them is the format: lengths, restarts and the order of keys have to agree, log blocks have
zlib's checksum, and so has the footer, which the checksum of the head covers, too. A flipped bit in
an object id of a ref goes unnoticed, as it does in a file.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from ..engine.format.layout import Footer
from .head import Ends
from .ranges import Range

__all__ = ["LazyTable"]

_T = TypeVar("_T")

_PAGE = 64 << 10

_GROWTH = 8
_MOST = 16 << 20
"""How fast, and how far, reading ahead grows."""

_KEPT = 24 << 20
"""Bytes of pages that are kept for one table."""

_INDEX_PART = 96
"""So small a part of the table, before its root, is taken for an index; mostly it is smaller."""

_LARGEST_INDEX = 1 << 20
"""Bytes of an index that are fetched at once."""


class _SideBySide(Protocol):
    """Makes several calls at once, and gives their results in order."""

    def __call__(self, calls: Sequence[Callable[[], _T]], /) -> list[_T]: ...


class LazyTable:
    """The bytes of one table; see :class:`~..engine.format.layout.RemoteBuffer`.

    Args:
      size: in bytes
      ends: of the table
      fetch: gives the bytes of ranges of the object
      side_by_side: makes several calls at once

    Attributes:
      fetches: how often bytes were fetched
      side_by_side: as given
    """

    def __init__(
        self,
        size: int,
        ends: Ends,
        fetch: Callable[[Sequence[Range]], list[bytes]],
        side_by_side: _SideBySide,
    ) -> None:
        self._size = size
        self._first, self._last = ends
        footer = Footer.decode(ends.last, size - len(ends.last))
        self._ref_index = footer.ref_index
        self._ends_of_sections = sorted({*footer.starts, footer.position})
        self._indexes = _indexes(size, footer)
        self._fetch = fetch
        self.side_by_side = side_by_side
        self.fetches = 0
        self._lock = threading.Lock()
        self._pages: OrderedDict[int, bytes] = OrderedDict()
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
        if stop <= len(self._first):
            return self._first[start:stop]
        end = self._size - len(self._last)
        if start >= end:
            return self._last[start - end : stop - end]
        first, last = start // _PAGE, (stop - 1) // _PAGE
        pages = self._get(range(first, last + 1))
        return b"".join(pages)[start - first * _PAGE : stop - first * _PAGE]

    def fetch_ref_index(self) -> None:
        """Fetch the index of refs, if there is one."""
        page = self._ref_index // _PAGE
        if self._ref_index:
            self._get(range(page, page + 1))

    def read_ahead(self) -> None:
        """Fetch the first part of the refs; those who go on get equally large parts."""
        end = -(-self._end_of_section(0) // _PAGE)
        with self._lock:
            first = next((page for page in range(end) if page not in self._pages), end)
            self._behind, self._ahead = first, _MOST
        if first < end:
            self._get(range(first, first + 1))

    def _end_of_section(self, position: int) -> int:
        return next((end for end in self._ends_of_sections if end > position), self._size)

    def _get(self, wanted: range) -> list[bytes]:
        with self._lock:
            found = {number: self._pages.get(number) for number in wanted}
            for number in wanted:
                if number in self._pages:
                    self._pages.move_to_end(number)
            missing = [number for number, page in found.items() if page is None]
            if missing:
                begin, end = self._plan(missing[0], missing[-1] + 1)
        if missing:
            (data,) = self._fetch([(begin * _PAGE, min(end * _PAGE, self._size))])
            with self._lock:
                self.fetches += 1
                for number in range(begin, end):
                    at = (number - begin) * _PAGE
                    page = data[at : at + _PAGE]
                    if number in found:
                        found[number] = page
                    self._keep(number, page)
        return [page for page in found.values() if page is not None]

    def _plan(self, begin: int, end: int) -> tuple[int, int]:
        """Decide which pages to fetch, if some are missing: those of an index, or the next ones."""
        for start, stop in self._indexes:
            if start <= begin < stop:
                return start, max(stop, end)
        goes_on = begin == self._behind
        self._ahead = min(self._ahead * _GROWTH, _MOST) if goes_on else _PAGE
        last = (self._end_of_section(begin * _PAGE) - 1) // _PAGE
        wanted, end = end, max(end, min(begin + self._ahead // _PAGE, last + 1))
        while end > wanted and end - 1 in self._pages:
            end -= 1
        self._behind = end
        return begin, end

    def _keep(self, number: int, page: bytes) -> None:
        self._pages[number] = page
        self._pages.move_to_end(number)
        while len(self._pages) > _KEPT // _PAGE:
            self._pages.popitem(last=False)


def _indexes(size: int, footer: Footer) -> list[Range]:
    """Tell in which pages the indexes are; where they begin is a guess."""
    starts = sorted({*footer.starts, footer.position})
    found = []
    for root in (footer.ref_index, footer.obj_index, footer.log_index):
        if 0 < root < footer.position:
            stop = min(starts[starts.index(root) + 1], root + _PAGE)
            part = min(size // _INDEX_PART, _LARGEST_INDEX)
            found.append((max(root - part, 0) // _PAGE, (stop - 1) // _PAGE + 1))
    return found
