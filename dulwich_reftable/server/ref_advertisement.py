# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Write refs as pkt-lines: the advertisement of versions 0 and 1, the ``ls-refs`` of version 2.

Formatting one ref at a time would cost more than reading it from a table. So one expression formats
a whole chunk of refs, and a :class:`~.pkt_lines.WriteBuffer` writes the result in large pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter

from dulwich.protocol import CAPABILITIES_REF, Protocol, pkt_line

from .advertised_refs import AdvertisedRef, AdvertisedRefs
from .pkt_lines import FLUSH, WriteBuffer

__all__ = ["advertise", "list_refs"]

_LONGEST_NAME = 65000
"""A longer name does not fit into a pkt-line with its object id and attributes."""


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
    first: bytes | None = b"\0" + b" ".join(features)
    for chunk in _fitting(_with_head(head, advertised.refs())):
        if first is not None and chunk:
            ref = chunk.pop(0)
            out.add(pkt_line(b"%s %s%s\n" % (ref.oid, ref.name, first)))
            if peel and ref.peeled is not None:
                out.add(pkt_line(b"%s %s^{}\n" % (ref.peeled, ref.name)))
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
    wanted = _shortest(prefixes)
    if any(b"HEAD".startswith(prefix) for prefix in wanted):
        head = advertised.head()
        if head is not None:
            out.add(_format([head], peel, symrefs))
        elif unborn and symrefs:
            target = advertised.unborn_head()
            if target is not None:
                out.add(pkt_line(b"unborn HEAD symref-target:%s\n" % target))
    for prefix in wanted:
        for chunk in _fitting(advertised.refs(prefix)):
            out.add(_format(chunk, peel, symrefs))
    out.add(FLUSH)
    out.flush()


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
