# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Filters of partial clones: which objects a client does without.

Every filter that git knows is a bound: on the kinds of objects, on the size of blobs, or on the
depth at which trees and blobs are found. Several filters combined are the tightest of their
bounds, so that one small value stands for all of them. What a client wants by its id is subject
to no filter; :mod:`.selection` sees to that.

``sparse:oid`` is refused. It would have the server match every path of the history against
patterns that the client chooses.
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
"""What has to be percent-encoded in a part of a combined filter, beside controls and spaces."""
_MAX_NESTING = 8
"""How deeply combined filters may be combined again."""


@dataclass(frozen=True)
class Filter:
    """The bounds on what is sent.

    Attributes:
      kinds: type numbers of the objects that are sent
      blob_size: blobs of so many bytes or more are not sent; None for no bound
      depth: trees and blobs at this depth or deeper are not sent; the root tree of a commit has
        depth 0; None for no bound
    """

    kinds: frozenset[int] = _ALL_KINDS
    blob_size: int | None = None
    depth: int | None = None

    def __and__(self, other: Filter) -> Filter:
        """Combine two filters: what both send is sent."""
        return Filter(
            self.kinds & other.kinds,
            _least(self.blob_size, other.blob_size),
            _least(self.depth, other.depth),
        )

    @property
    def needs_trees(self) -> bool:
        """Whether trees have to be read to find what is sent."""
        return bool(self.kinds & {Tree.type_num, Blob.type_num})


def _least(one: int | None, other: int | None) -> int | None:
    return min((bound for bound in (one, other) if bound is not None), default=None)


@dataclass(frozen=True)
class FilterPolicy:
    """Which filters a server accepts (git: ``uploadpackfilter.*``).

    Attributes:
      default: whether filters are accepted that no key names
      allowed: whether a filter is accepted, by its name such as ``b"blob:none"`` or ``b"tree"``
      tree_depth: the greatest depth of ``tree:<depth>``; None for any
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
    """Read a filter, as git's ``--filter`` writes it.

    Args:
      spec: the filter
      policy: which filters are accepted
      nesting: how many combined filters this one is part of
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
    """Read a number, which may have a unit."""
    try:
        return unsigned(text)
    except ValueError as error:
        raise RefusedError(f"invalid filter-spec {spec[:80]!r}: {error}") from error
