# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Filters of partial clones: the objects that a client leaves out.

Every filter of git is a bound: on the types of objects, on the size of blobs, or on the depth of
trees and blobs. Combined filters are the tightest of their bounds, so one :class:`Filter` can stand
for all of them. No filter applies to objects that a client wants by id; see :mod:`.selection`.

``sparse:oid`` is refused, because the server would have to match every path of the history against
patterns of the client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from dulwich.objects import Blob, Commit, Tag, Tree

from ...config.types import unsigned
from ..errors import RefusedError

__all__ = ["Filter", "FilterPolicy", "parse_filter"]

_KINDS = {kind.type_name: kind.type_num for kind in (Commit, Tree, Blob, Tag)}
_ALL_KINDS = frozenset(_KINDS.values())
_RESERVED = frozenset(b"~`!@#$^&*()[]{}\\;'\",<>?")
"""Characters to be percent-encoded in a combined filter, besides controls and spaces."""
_MAX_NESTING = 8
"""How deep combined filters may be nested."""


@dataclass(frozen=True)
class Filter:
    """The bounds on what is sent.

    Attributes:
      kinds: type numbers of the objects that are sent
      blob_size: blobs of this many bytes or more are not sent; None for no bound
      depth: trees and blobs at this depth or deeper are not sent; the root tree of a commit has
        depth 0; None for no bound
    """

    kinds: frozenset[int] = _ALL_KINDS
    blob_size: int | None = None
    depth: int | None = None

    def __and__(self, other: Filter) -> Filter:
        """Combine two filters: only objects that both send are sent."""
        return Filter(
            self.kinds & other.kinds,
            _least(self.blob_size, other.blob_size),
            _least(self.depth, other.depth),
        )

    @property
    def needs_trees(self) -> bool:
        """Whether trees have to be read to find the objects to send."""
        return bool(self.kinds & {Tree.type_num, Blob.type_num})


def _least(one: int | None, other: int | None) -> int | None:
    return min((bound for bound in (one, other) if bound is not None), default=None)


@dataclass(frozen=True)
class FilterPolicy:
    """The filters that a server accepts (git: ``uploadpackfilter.*``).

    Attributes:
      default: whether filters that are not in ``allowed`` are accepted
      allowed: whether a filter is accepted, by its name such as ``b"blob:none"`` or ``b"tree"``
      tree_depth: the greatest depth of ``tree:<depth>``; None for no limit
    """

    default: bool = True
    allowed: Mapping[bytes, bool] = field(default_factory=dict)
    tree_depth: int | None = None

    def check(self, name: bytes) -> None:
        """Refuse a filter that is not accepted.

        Args:
          name: of the filter
        Raises:
          RefusedError: if it is not accepted
        """
        if not self.allowed.get(name, self.default):
            raise RefusedError(f"filter '{name.decode()}' not supported")

    def check_depth(self, depth: int) -> None:
        """Refuse a depth of trees that is too great.

        Raises:
          RefusedError: if it is
        """
        if self.tree_depth is not None and depth > self.tree_depth:
            raise RefusedError(f"tree filter allows max depth {self.tree_depth}, but got {depth}")


def parse_filter(spec: bytes, policy: FilterPolicy, nesting: int = 0) -> Filter:
    """Parse a filter, written as for git's ``--filter``.

    Args:
      spec: the filter
      policy: the filters that are accepted
      nesting: the number of combined filters around this one
    Raises:
      RefusedError: if it is malformed, unknown or not accepted
    """
    name, _, value = spec.partition(b"=")
    if spec == b"blob:none":
        policy.check(spec)
        return Filter(kinds=_ALL_KINDS - {Blob.type_num})
    if name == b"blob:limit":
        size = _number(value, spec)
        policy.check(name)
        return Filter(blob_size=size)
    if spec.startswith(b"tree:"):
        depth = _number(spec[len(b"tree:") :], spec)
        policy.check(b"tree")
        policy.check_depth(depth)
        return Filter(depth=depth)
    if name == b"object:type":
        if value not in _KINDS:
            raise RefusedError(f"filter: {value[:40]!r} is no type of objects")
        policy.check(name)
        return Filter(kinds=frozenset({_KINDS[value]}))
    if spec.startswith(b"combine:"):
        policy.check(b"combine")
        return _combined(spec[len(b"combine:") :], policy, nesting + 1)
    if name == b"sparse:oid":
        raise RefusedError("filter 'sparse:oid' not supported")
    raise RefusedError(f"invalid filter-spec {spec[:80]!r}")


def _combined(specs: bytes, policy: FilterPolicy, nesting: int) -> Filter:
    if not specs or nesting > _MAX_NESTING:
        raise RefusedError("filter: nothing is combined, or it is nested too deeply")
    combined = Filter()
    for part in filter(None, specs.split(b"+")):
        if any(byte <= 0x20 or byte in _RESERVED for byte in part):
            raise RefusedError(f"filter: unescaped character in {part[:80]!r}")
        combined &= parse_filter(unquote_to_bytes(part), policy, nesting)
    return combined


def _number(text: bytes, spec: bytes) -> int:
    """Read a number with an optional unit."""
    try:
        return unsigned(text)
    except ValueError as error:
        raise RefusedError(f"invalid filter-spec {spec[:80]!r}: {error}") from error
