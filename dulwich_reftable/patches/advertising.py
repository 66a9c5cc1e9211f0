# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The ref advertisement of dulwich's upload-pack: many lines at once, and only tags are peeled.

dulwich peels each ref, which means to read its object, and writes each line by itself. For hundreds
of thousands of refs that takes minutes. :class:`~..repo.present_refs.PresentRefs` knows which refs
are tags.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from dulwich.errors import GitProtocolError
from dulwich.protocol import format_ref_line, pkt_line, symref_capabilities

from ..repo.present_refs import PEELED_SUFFIX, PresentRefs

__all__ = ["determine_wants"]

_LINES_AT_ONCE = 1000


def determine_wants(original: Callable[..., list[bytes]]) -> Callable[..., list[bytes]]:
    """Patch ``_ProtocolGraphWalker.determine_wants``, which advertises refs and reads the wants.

    The replacement advertises them, and leaves to the original the line that ends the
    advertisement, and the wants.
    """

    @wraps(original)
    def determine_wants(self: Any, heads: Any, depth: int | None = None) -> list[bytes]:
        advertises = self.advertise_refs or not self.stateless_rpc
        if advertises and isinstance(heads, PresentRefs):
            _advertise(self, heads)
            heads = _Advertised(heads)
            self.get_symrefs = dict  # the original reads them for the first line
        return original(self, heads, depth)

    return determine_wants


class _Advertised:
    """Refs that the client has seen: it may want them, and none is left to be advertised."""

    def __init__(self, refs: PresentRefs) -> None:
        self.values = refs.values

    def items(self) -> tuple[()]:
        return ()


def _advertise(walker: Any, refs: PresentRefs) -> None:
    """Write the refs, and behind each tag what it peels to."""
    capabilities: list[bytes] | None = [
        *walker.handler.capabilities(),
        *symref_capabilities(walker.get_symrefs().items()),
    ]
    tags, peel = refs.tags, walker.get_peeled
    lines: list[bytes] = []
    for name, oid in sorted(refs.items()):
        if capabilities is None and name not in tags:
            lines.append(b"%04x%s %s\n" % (len(oid) + len(name) + 6, oid, name))
            if len(lines) >= _LINES_AT_ONCE:
                _write(walker.proto, lines)
            continue
        peeled = oid
        if name in tags:
            try:
                peeled = peel(name)
            except KeyError:  # it is not there any more
                continue
        lines.append(pkt_line(format_ref_line(name, oid, capabilities)))
        capabilities = None  # they are in the first line
        if peeled not in (None, oid):
            lines.append(pkt_line(format_ref_line(name + PEELED_SUFFIX, peeled)))
    if lines:
        _write(walker.proto, lines)


def _write(proto: Any, lines: list[bytes]) -> None:
    """Write lines, and forget them."""
    data = b"".join(lines)
    lines.clear()
    try:
        proto.write(data)
    except OSError as error:
        raise GitProtocolError(str(error)) from error
    if proto.report_activity:
        proto.report_activity(len(data), "write")
