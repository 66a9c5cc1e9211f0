# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Refs as pkt-lines, many at a time.

To write each ref by itself costs more than to read it from a table, so whole chunks are formatted
by one expression and written in pieces of some 64 KB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from enum import Enum

from dulwich.errors import GitProtocolError, HangupException
from dulwich.protocol import CAPABILITIES_REF, Protocol, pkt_line

from .advertised_refs import Shown, View

__all__ = [
    "DELIMITER",
    "FLUSH",
    "LineBuffer",
    "Mark",
    "advertise",
    "list_refs",
    "read_line",
    "read_packet",
]

FLUSH = b"0000"
DELIMITER = b"0001"

_SIZE = re.compile(rb"[0-9a-fA-F]{4}")
_PIECE = 1 << 16
_LONGEST_NAME = 65000
"""What is longer does not fit in a pkt-line with all that stands beside it."""


class Mark(Enum):
    """A packet that is no line."""

    FLUSH = FLUSH
    DELIMITER = DELIMITER


def read_packet(proto: Protocol) -> bytes | Mark:
    """Read a packet, telling flushes from delimiters, which dulwich takes for the same.

    Raises:
      HangupException: if there is none
      GitProtocolError: if it is malformed
    """
    digits = proto.read(4)
    if not digits:
        raise HangupException
    if digits in (FLUSH, DELIMITER):
        return Mark(digits)
    size = int(digits, 16) if _SIZE.fullmatch(digits) else 0
    if size < 4:
        raise GitProtocolError(f"invalid packet length {digits!r}")
    line = proto.read(size - 4) if size > 4 else b""
    if len(line) != size - 4:
        raise HangupException
    return line


def read_line(proto: Protocol) -> bytes | None:
    """Read a line without its newline; None for the end of the lines."""
    line = read_packet(proto)
    return None if isinstance(line, Mark) else line.removesuffix(b"\n")


class LineBuffer:
    """Gathers bytes to write them in large pieces.

    Args:
      write: where they go in the end
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> None:
        """Write, perhaps later."""
        self._parts.append(data)
        self._size += len(data)
        if self._size >= _PIECE:
            self.flush()

    def flush(self) -> None:
        """Write what is left."""
        if self._parts:
            self._write(b"".join(self._parts))
            self._parts = []
            self._size = 0


def _fitting(chunks: Iterable[list[Shown]]) -> Iterator[list[Shown]]:
    for chunk in chunks:
        yield [shown for shown in chunk if len(shown.name) <= _LONGEST_NAME]


def advertise(
    proto: Protocol,
    view: View,
    capabilities: Iterable[bytes],
    *,
    peel: bool,
    hex_size: int,
    shallow: Iterable[bytes] = (),
) -> None:
    """Tell all refs, as protocol version 0 begins.

    Args:
      proto: where to
      view: what to tell
      capabilities: for the first line; the symref that HEAD is comes by itself
      peel: whether to tell what annotated tags point to, too
      hex_size: digits of an object id
      shallow: commits whose parents the repository does not have
    """
    out = LineBuffer(proto.write)
    features = list(capabilities)
    head = view.head()
    if head is not None and head.target is not None:
        features.append(b"symref=HEAD:" + head.target)
    first: bytes | None = b"\0" + b" ".join(features)
    for chunk in _fitting(_with_head(head, view.refs())):
        if first is not None and chunk:
            shown = chunk.pop(0)
            out.add(pkt_line(b"%s %s%s\n" % (shown.oid, shown.name, first)))
            if peel and shown.peeled is not None:
                out.add(pkt_line(b"%s %s^{}\n" % (shown.peeled, shown.name)))
            first = None
        width = hex_size + 6
        if not peel:
            out.add(
                b"".join(
                    [b"%04x%s %s\n" % (len(name) + width, oid, name) for name, oid, _, _ in chunk]
                )
            )
            continue
        out.add(
            b"".join(
                [
                    b"%04x%s %s\n" % (len(name) + width, oid, name)
                    if peeled is None
                    else b"%04x%s %s\n%04x%s %s^{}\n"
                    % (len(name) + width, oid, name, len(name) + width + 3, peeled, name)
                    for name, oid, peeled, _ in chunk
                ]
            )
        )
    if first is not None:
        out.add(pkt_line(b"%s %s%s\n" % (b"0" * hex_size, CAPABILITIES_REF, first)))
    for oid in shallow:
        out.add(pkt_line(b"shallow " + oid))
    out.add(FLUSH)
    out.flush()


def list_refs(
    proto: Protocol,
    view: View,
    prefixes: Iterable[bytes],
    *,
    peel: bool,
    symrefs: bool,
    unborn: bool,
) -> None:
    """Answer the command ``ls-refs`` of protocol version 2.

    Args:
      proto: where to
      view: what to tell
      prefixes: only names that begin with one of them; all names, if there are none
      peel: whether to tell what annotated tags point to, too
      symrefs: whether to tell where symrefs lead
      unborn: whether to tell of a HEAD that leads to a branch that does not exist yet
    """
    out = LineBuffer(proto.write)
    wanted = _shortest(prefixes)
    if any(b"HEAD".startswith(prefix) for prefix in wanted):
        head = view.head()
        if head is not None:
            out.add(_lines([head], peel, symrefs))
        elif unborn and symrefs:
            target = view.unborn_head()
            if target is not None:
                out.add(pkt_line(b"unborn HEAD symref-target:%s\n" % target))
    for prefix in wanted:
        for chunk in _fitting(view.refs(prefix)):
            out.add(_lines(chunk, peel, symrefs))
    out.add(FLUSH)
    out.flush()


def _lines(chunk: list[Shown], peel: bool, symrefs: bool) -> bytes:
    """Format refs for version 2."""
    lines = []
    for name, oid, peeled, target in chunk:
        if peeled is None and target is None:
            lines.append(b"%04x%s %s\n" % (len(oid) + len(name) + 6, oid, name))
            continue
        line = b"%s %s" % (oid, name)
        if symrefs and target is not None:
            line += b" symref-target:" + target
        if peel and peeled is not None:
            line += b" peeled:" + peeled
        lines.append(pkt_line(line + b"\n"))
    return b"".join(lines)


def _shortest(prefixes: Iterable[bytes]) -> list[bytes]:
    """Sort prefixes, and leave out those that another one covers."""
    kept: list[bytes] = []
    for prefix in sorted(set(prefixes)) or [b""]:
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return kept


def _with_head(head: Shown | None, chunks: Iterator[list[Shown]]) -> Iterator[list[Shown]]:
    if head is not None:
        yield [head]
    yield from chunks
