# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Write refs as pkt-lines: the advertisement of versions 0 and 1, the ``ls-refs`` of version 2.

Formatting one ref at a time would cost more than reading it from a table. So one expression formats
a whole chunk of refs, and a :class:`~.pkt_lines.WriteBuffer` writes the result in large pieces.
What was made for one client is kept for the next ones (:mod:`.kept_listings`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from operator import itemgetter

from dulwich.protocol import CAPABILITIES_REF, Protocol, pkt_line

from .advertised_refs import AdvertisedRef, AdvertisedRefs
from .kept_listings import LISTINGS
from .pkt_lines import FLUSH, WriteBuffer

__all__ = ["advertise", "list_refs"]

_LONGEST_NAME = 65000
"""A longer name does not fit into a pkt-line with its object id and attributes."""
_LONGEST_KEPT = 1 << 12
"""Bytes of prefixes that a client asks for, up to which its listing is kept for others."""


def _fitting(chunks: Iterable[list[AdvertisedRef]]) -> Iterator[list[AdvertisedRef]]:
    for chunk in chunks:
        is_fitting = max(map(len, map(itemgetter(0), chunk)), default=0) <= _LONGEST_NAME
        yield chunk if is_fitting else [ref for ref in chunk if len(ref.name) <= _LONGEST_NAME]


def advertise(
    proto: Protocol,
    advertised: AdvertisedRefs,
    capabilities: Iterable[bytes],
    *,
    peel: bool,
    hex_size: int,
    shallow: Iterable[bytes] = (),
) -> None:
    """Write the ref advertisement of protocol versions 0 and 1.

    Args:
      proto: the connection
      advertised: the refs
      capabilities: for the first line; ``symref=HEAD:...`` is added here
      peel: whether to write peeled tags, too
      hex_size: digits of an object id
      shallow: commits whose parents the repository does not have
    """
    out = WriteBuffer(proto.write)
    features = list(capabilities)
    head = advertised.head()
    if head is not None and head.target is not None:
        features.append(b"symref=HEAD:" + head.target)
    pieces = iter(
        _pieces(advertised, ("advertise", peel), lambda: _advertised(advertised, head, peel))
    )
    first = next(pieces, None) or b"%s %s" % (b"0" * hex_size, CAPABILITIES_REF)
    out.add(pkt_line(b"%s\0%s\n" % (first, b" ".join(features))))
    for piece in pieces:
        out.add(piece)
    for oid in shallow:
        out.add(pkt_line(b"shallow " + oid))
    out.add(FLUSH)
    out.flush()


def _pieces(
    advertised: AdvertisedRefs, asked: Hashable | None, make: Callable[[], Iterator[bytes]]
) -> Iterable[bytes]:
    """Give what ``make`` makes; it may have been made for another client.

    Args:
      advertised: the refs
      asked: what is made of them; None if it is not to be kept
      make: makes it
    """
    identity = advertised.identity
    if identity is None or asked is None:
        return make()
    whose, state = identity
    return LISTINGS.pieces((whose, asked), state, make, lambda: advertised.is_settled)


def _advertised(
    advertised: AdvertisedRefs, head: AdvertisedRef | None, peel: bool
) -> Iterator[bytes]:
    """Make the first ref, which capabilities follow; then the lines that follow that one."""
    is_first = True
    for chunk in _fitting(_with_head(head, advertised.refs())):
        if not chunk:
            continue
        if is_first:
            ref = chunk.pop(0)
            yield b"%s %s" % (ref.oid, ref.name)
            if peel and ref.peeled is not None:
                yield pkt_line(b"%s %s^{}\n" % (ref.peeled, ref.name))
            is_first = False
        if not peel:
            yield b"".join(
                [
                    b"%04x%s %s\n" % (len(oid) + len(name) + 6, oid, name)
                    for name, oid, _, _ in chunk
                ]
            )
            continue
        yield b"".join(
            [
                b"%04x%s %s\n" % (len(oid) + len(name) + 6, oid, name)
                if peeled is None
                else b"%04x%s %s\n%04x%s %s^{}\n"
                % (len(oid) + len(name) + 6, oid, name, len(oid) + len(name) + 9, peeled, name)
                for name, oid, peeled, _ in chunk
            ]
        )


def list_refs(
    proto: Protocol,
    advertised: AdvertisedRefs,
    prefixes: Iterable[bytes],
    *,
    peel: bool,
    symrefs: bool,
    unborn: bool,
) -> None:
    """Answer the command ``ls-refs`` of protocol version 2.

    Args:
      proto: the connection
      advertised: the refs
      prefixes: only names that begin with one of them are written; all names if there are none
      peel: whether to write peeled tags, too
      symrefs: whether to write the targets of symrefs
      unborn: whether to write a HEAD whose branch does not exist yet
    """
    out = WriteBuffer(proto.write)
    wanted = tuple(_shortest(prefixes))

    def make() -> Iterator[bytes]:
        return _listed(advertised, wanted, peel, symrefs, unborn)

    is_usual = sum(map(len, wanted)) + len(wanted) <= _LONGEST_KEPT
    asked = ("ls-refs", wanted, peel, symrefs, unborn) if is_usual else None
    for piece in _pieces(advertised, asked, make):
        out.add(piece)
    out.add(FLUSH)
    out.flush()


def _listed(
    advertised: AdvertisedRefs, wanted: Iterable[bytes], peel: bool, symrefs: bool, unborn: bool
) -> Iterator[bytes]:
    """Make the lines of :func:`list_refs`."""
    if any(b"HEAD".startswith(prefix) for prefix in wanted):
        head = advertised.head()
        if head is not None:
            yield _format([head], peel, symrefs)
        elif unborn and symrefs:
            target = advertised.unborn_head()
            if target is not None:
                yield pkt_line(b"unborn HEAD symref-target:%s\n" % target)
    for prefix in wanted:
        for chunk in _fitting(advertised.refs(prefix)):
            yield _format(chunk, peel, symrefs)


def _format(chunk: list[AdvertisedRef], peel: bool, symrefs: bool) -> bytes:
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
    """Sort prefixes and drop each one that begins with another."""
    kept: list[bytes] = []
    for prefix in sorted(set(prefixes)) or [b""]:
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return kept


def _with_head(
    head: AdvertisedRef | None, chunks: Iterator[list[AdvertisedRef]]
) -> Iterator[list[AdvertisedRef]]:
    if head is not None:
        yield [head]
    yield from chunks
