# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Negotiation: the client names commits that it has, until the server knows enough to send a pack.

The server knows enough when each wanted commit has an ancestor that the client has. It has to
decide that again after each round, so it keeps its findings: it walks the wanted history once,
newest first, down to the oldest commit that the client has named, and marks each commit once. The
history and the number of lines bound the work that a client can cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum

from dulwich.errors import HangupException
from dulwich.objects import ObjectID
from dulwich.protocol import MULTI_ACK, MULTI_ACK_DETAILED, SINGLE_ACK, Protocol, format_ack_line

from ...objects.reader import ObjectReader
from ..errors import RefusedError
from ..history import CommitQueue, History
from ..pkt_lines import Mark, read_packet
from .packing import Fetch

__all__ = ["MAX_LINES", "Acks", "Reach", "negotiate"]

MAX_LINES = 1_000_000
"""The most lines (wants, haves and others) of one request."""


class Acks(IntEnum):
    """The way to acknowledge common commits (git: ``multi_ack``)."""

    SINGLE = SINGLE_ACK
    MULTI = MULTI_ACK
    DETAILED = MULTI_ACK_DETAILED


class Reach:
    """Tells whether each wanted commit has an ancestor that the client has.

    The answer can be no although it should be yes, because the walk ends at commits that are older
    than all commits of the client.

    Args:
      history: the commits
      wants: hex object ids; if one of them is neither a commit nor a tag of one, the answer is no
    """

    def __init__(self, history: History, wants: Iterable[bytes]) -> None:
        self._history = history
        self._queue = CommitQueue()
        self._children: dict[bytes, list[bytes]] = {}
        self._haves: set[bytes] = set()
        self._leads: set[bytes] = set()
        self._oldest: float = float("inf")
        self._is_hopeless = False
        self._open: set[bytes] = set()
        for want in wants:
            oid = history.peel(want)
            commit = history.commit(oid)
            if commit is None:
                self._is_hopeless = True
            else:
                self._open.add(oid)
                self._queue.push(commit.time, oid)

    def add(self, oid: bytes) -> None:
        """Add an object that the client has; if it is a commit, the client has its parents, too.

        Args:
          oid: hex object id
        """
        commit = self._history.commit(oid)
        if commit is None:
            return
        self._oldest = min(self._oldest, commit.time)
        for have in (oid, *commit.parents):
            if have not in self._haves:
                self._haves.add(have)
                if have in self._queue.pushed:
                    self._mark(have)

    def is_enough(self) -> bool:
        """Tell whether each wanted commit has an ancestor that the client has."""
        if self._is_hopeless or not self._haves:
            return False
        queue = self._queue
        while self._open and queue and queue.newest >= self._oldest:
            oid = queue.pop()[1]
            if oid in self._haves:
                self._mark(oid)
            if oid in self._leads:
                continue
            for parent in self._history.parents(oid):
                commit = self._history.commit(parent)
                if parent in self._haves or parent in self._leads:
                    self._mark(oid)
                elif commit is not None:
                    self._children.setdefault(parent, []).append(oid)
                    queue.push(commit.time, parent)
        return not self._open

    def _mark(self, start: bytes) -> None:
        """Mark a commit, and the visited commits that lead to it, as having such an ancestor."""
        pending = [start]
        while pending:
            oid = pending.pop()
            if oid not in self._leads:
                self._leads.add(oid)
                self._open.discard(oid)
                pending += self._children.pop(oid, ())


def negotiate(
    proto: Protocol,
    objects: ObjectReader,
    fetch: Fetch,
    acks: Acks,
    object_id: Callable[[bytes], bytes],
    *,
    is_stateless: bool,
    without_done: bool,
) -> bool:
    """Read and acknowledge haves, as in protocol versions 0 and 1.

    Args:
      proto: the connection
      objects: ours
      fetch: the request; the haves that we have, too, are added to it
      acks: how to acknowledge
      object_id: checks an object id
      is_stateless: whether this is a request over HTTP, which ends with a flush
      without_done: whether the pack may follow as soon as we are ready
    Returns: whether to send the pack
    Raises:
      RefusedError: if a line is malformed, or there are too many
    """
    reach = Reach(History(objects, fetch.roots), fetch.wants)
    last = b""
    found_some = missed_some = is_ready = False
    for number in range(MAX_LINES):
        try:
            line = read_packet(proto)
        except HangupException:
            if is_stateless and number == 0:
                return False  # it asked for shallow lines only, and will ask again
            raise
        if isinstance(line, Mark):
            if acks is Acks.DETAILED and found_some and not missed_some and reach.is_enough():
                is_ready = True
                proto.write_pkt_line(format_ack_line(ObjectID(last), b"ready"))
            if not fetch.haves or acks is not Acks.SINGLE:
                proto.write_pkt_line(b"NAK\n")
            if without_done and is_ready:
                proto.write_pkt_line(format_ack_line(ObjectID(last)))
                return True
            if is_stateless:
                return False
            found_some = missed_some = False
            continue
        line = line.removesuffix(b"\n")
        if line == b"done":
            if not fetch.haves:
                proto.write_pkt_line(b"NAK\n")
            elif acks is not Acks.SINGLE:
                proto.write_pkt_line(format_ack_line(ObjectID(last)))
            return True
        key, _, value = line.partition(b" ")
        if key != b"have":
            raise RefusedError(f"upload-pack: unexpected line {line[:60]!r}")
        oid = object_id(value)
        if fetch.add_have(oid, objects):
            reach.add(oid)
            found_some = True
            last = oid
            if acks is not Acks.SINGLE:
                kind = b"common" if acks is Acks.DETAILED else b"continue"
                proto.write_pkt_line(format_ack_line(ObjectID(oid), kind))
            elif len(fetch.haves) == 1:
                proto.write_pkt_line(format_ack_line(ObjectID(oid)))
        else:
            missed_some = True
            if acks is not Acks.SINGLE and reach.is_enough():
                is_ready = acks is Acks.DETAILED
                kind = b"ready" if is_ready else b"continue"
                proto.write_pkt_line(format_ack_line(ObjectID(oid), kind))
    raise RefusedError("upload-pack: too many lines")
