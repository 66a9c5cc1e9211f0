# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The file ``packed-refs``, as it was when it was opened.

Whoever changes the file puts another one in its place, so an open one never changes. It is mapped
and searched by bisection; only what is asked for is read (``packed_backend.c``). dulwich reads the
whole file into a dictionary.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Hashable, Iterator
from mmap import ACCESS_READ, mmap
from typing import NamedTuple

from dulwich.errors import PackedRefsException

from ..engine.stack import files

__all__ = ["PackedChunk", "PackedRefs"]

_HEADER = b"# pack-refs with:"
# A byte that belongs to no ref is found as a ref without a name.
_REF = re.compile(
    rb"([0-9a-fA-F]{40,64}) ([^\r\n]+)\r?(?:\n|\Z)(?:\^([0-9a-fA-F]{40,64})\r?(?:\n|\Z))?|.",
    re.DOTALL,
)
_JUST_NOW = 2_000_000_000
"""Nanoseconds within which one file after another may have the same times and inode."""
_PIECE = 1 << 16
"""About how many bytes are read at once."""


def _identity(status: os.stat_result) -> Hashable | None:
    """Tell a file from those that may take its place; None if it is too new for that."""
    times = status.st_mtime_ns, status.st_ctime_ns
    if max(times) > time.time_ns() - _JUST_NOW:
        return None
    return status.st_dev, status.st_ino, status.st_size, *times


class PackedChunk(NamedTuple):
    """Some refs.

    Attributes:
      names: ascending
      values: beside each its hex object id
      peeled: beside each the hex id that its tag peels to; empty if the file does not say
    """

    names: list[bytes]
    values: list[bytes]
    peeled: list[bytes]


class PackedRefs:
    """The refs in one file.

    Args:
      data: its content

    Attributes:
      identity: equal as long as the file is the same; None if its times cannot tell that

    Raises:
      PackedRefsException: if the file does not say that it is sorted, and a line cannot be read
    """

    identity: Hashable = ()

    def __init__(self, data: bytes | mmap = b"") -> None:
        self._data = data
        self._start = 0
        if data[: len(_HEADER)] == _HEADER:
            self._start = data.find(b"\n") + 1 or len(data)
        if b"sorted" not in data[: self._start].split():
            self._sort()
        # All ids have the same length.
        self._hex_size = max(self._data.find(b" ", self._start) - self._start, 0)

    @classmethod
    def open(cls, path: str | bytes) -> PackedRefs:
        """Open a file; if there is none, there are no refs.

        Args:
          path: of the file
        Raises:
          OSError: if the file cannot be read
          PackedRefsException: as above
        """
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                if files.IS_WINDOWS:  # a mapped file could not be replaced there
                    refs = cls(file.read())
                elif status.st_size:  # an empty file cannot be mapped
                    refs = cls(mmap(file.fileno(), 0, access=ACCESS_READ))
                else:
                    refs = cls()
                refs.identity = _identity(status)
                return refs
        except FileNotFoundError:
            return cls()

    def find(self, name: bytes) -> bytes | None:
        """Give the hex object id of a ref; None if the file does not have it."""
        at = self._place(name)
        if at == len(self._data) or self._name_at(at) != name:
            return None
        return self._data[at : at + self._hex_size].lower()

    def chunks(self, prefix: bytes = b"") -> Iterator[PackedChunk]:
        """List the refs whose names begin with a prefix.

        Yields: chunks, none of them empty, in the order of the names
        Raises:
          PackedRefsException: if a line cannot be read
        """
        at, end = self._place(prefix), len(self._data)
        while at < end:
            behind = self._next(min(at + _PIECE, end - 1))
            chunk = self._parse(self._data[at:behind])
            count = len(chunk.names)
            if not chunk.names[-1].startswith(prefix):
                count = sum(name.startswith(prefix) for name in chunk.names)
                chunk, end = PackedChunk(*(column[:count] for column in chunk)), at
            if count:
                yield chunk
            at = behind

    def _parse(self, text: bytes) -> PackedChunk:
        found = _REF.findall(text)
        names = [name for _, name, _ in found]
        if not all(names):
            raise PackedRefsException("packed-refs has a line that is no ref")
        return PackedChunk(
            names, [oid.lower() for oid, _, _ in found], [peeled for _, _, peeled in found]
        )

    def _sort(self) -> None:
        """Sort the refs, if they are not sorted."""
        text = self._data[self._start :]
        if b"#" in text:
            text = b"".join(line for line in text.splitlines(True) if line[:1] != b"#")
        refs = list(zip(*self._parse(text), strict=True))
        refs.sort()
        lines = [
            b"%s %s\n^%s\n" % (oid, name, peeled) if peeled else b"%s %s\n" % (oid, name)
            for name, oid, peeled in refs
        ]
        self._data, self._start = b"".join(lines), 0

    def _place(self, name: bytes) -> int:
        """Find the place of the first ref whose name is not before another one."""
        low, high = self._start, len(self._data)
        while low < high:
            middle = self._begin((low + high) // 2, low)
            if self._name_at(middle) < name:
                low = self._next(middle)
            else:
                high = middle
        return low

    def _begin(self, at: int, low: int) -> int:
        """Give the place where the ref begins that a byte is part of; at the least ``low``."""
        begin = self._data.rfind(b"\n", low, at) + 1 or low
        if begin > low and self._data[begin : begin + 1] == b"^":
            begin = self._data.rfind(b"\n", low, begin - 1) + 1 or low
        return begin

    def _next(self, at: int) -> int:
        """Give the place where the next ref begins."""
        data = self._data
        behind = data.find(b"\n", at) + 1 or len(data)
        if data[behind : behind + 1] == b"^":
            behind = data.find(b"\n", behind) + 1 or len(data)
        return behind

    def _name_at(self, at: int) -> bytes:
        end = self._data.find(b"\n", at)
        name = self._data[at + self._hex_size + 1 : len(self._data) if end < 0 else end]
        return name.removesuffix(b"\r")
