# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The small commands of protocol version 2: ``object-info`` and ``bundle-uri``.

The first tells the sizes of objects, the second lists bundles to begin a clone with. Both are off
unless the repository turns them on (``transfer.advertiseObjectInfo``,
``uploadpack.advertiseBundleURIs``). As in git, sizes are told of all objects that exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dulwich.protocol import Protocol, pkt_line

from ...objects.reader import ObjectReader
from ..errors import RefusedError
from ..pkt_lines import FLUSH, WriteBuffer

__all__ = ["list_bundles", "tell_sizes"]


def tell_sizes(
    proto: Protocol,
    objects: ObjectReader,
    arguments: Iterable[bytes],
    object_id: Callable[[bytes], bytes],
) -> None:
    """Answer the command ``object-info``.

    Args:
      proto: the connection
      objects: those of the repository
      arguments: of the command
      object_id: checks an object id
    Raises:
      RefusedError: if an argument is malformed
    """
    oids: dict[bytes, None] = {}
    wants_size = False
    for argument in arguments:
        key, _, value = argument.partition(b" ")
        if argument == b"size":
            wants_size = True
        elif key == b"oid":
            oids[object_id(value)] = None
        else:
            raise RefusedError(f"object-info: unexpected line: {argument[:60]!r}")
    out = WriteBuffer(proto.write)
    if oids and wants_size:
        out.add(pkt_line(b"size"))
    for oid in oids:
        try:
            size = b"%d" % objects.size_of(oid)
        except KeyError:
            out.add(pkt_line(oid + b" "))
            continue
        out.add(pkt_line(oid + b" " + size if wants_size else oid))
    out.add(FLUSH)
    out.flush()


def list_bundles(proto: Protocol, bundles: Iterable[bytes], arguments: Iterable[bytes]) -> None:
    """Answer the command ``bundle-uri``.

    Args:
      proto: the connection
      bundles: lines of the answer
      arguments: of the command, which has none
    Raises:
      RefusedError: if there is an argument
    """
    for argument in arguments:
        raise RefusedError(f"bundle-uri: unexpected argument: {argument[:60]!r}")
    for line in bundles:
        proto.write_pkt_line(line)
    proto.write(FLUSH)
