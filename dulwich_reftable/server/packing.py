# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What to send for a fetch, and sending it: the part that all protocol versions share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from dulwich.object_filters import (
    CombineFilter,
    FilterSpec,
    SparseOidFilter,
    TreeDepthFilter,
    filter_pack_objects,
    filter_pack_objects_with_paths,
)
from dulwich.object_store import MissingObjectFinder, find_shallow
from dulwich.objects import Commit, ObjectID
from dulwich.pack import write_pack_from_container
from dulwich.repo import ParentsProvider

from .history import boundary
from .lines import LineBuffer
from .view import View

__all__ = ["Fetch", "send_pack"]


@dataclass
class Fetch:
    """What a client asks for.

    Attributes:
      wants: object ids
      haves: commits that the client has, and so do we
      client_shallow: commits whose parents the client does not have
      depth, since, without: where the client wants history cut: after so many commits, by time in
        seconds since the epoch, at object ids; None and nothing for nowhere
      is_relative: whether the depth counts from where the client's history is cut
      filter: what to leave out of a partial clone
      include_tags: whether tags of what is sent are sent
      shallow: commits whose parents the client will not have afterwards
    """

    wants: list[bytes] = field(default_factory=list)
    haves: list[bytes] = field(default_factory=list)
    client_shallow: set[bytes] = field(default_factory=set)
    depth: int | None = None
    since: int | None = None
    without: list[bytes] = field(default_factory=list)
    is_relative: bool = False
    filter: FilterSpec | None = None
    include_tags: bool = False
    shallow: set[bytes] = field(default_factory=set)

    @property
    def is_cut(self) -> bool:
        """Whether the client asked for history to be cut."""
        return self.depth is not None or self.since is not None or bool(self.without)

    def cut(self, repo: Any) -> tuple[list[bytes], list[bytes]]:
        """Find out where history ends for the client, if it asked for that.

        Args:
          repo: the repository
        Returns: commits that are shallow from now on, and those that are not any more
        """
        store = repo.object_store
        own: set[bytes] = {*repo.get_shallow()}
        self.shallow = set(own)
        if not self.is_cut:
            self.shallow |= self.client_shallow
            return sorted(own - self.client_shallow), []
        if self.depth is None:
            edge, inner = boundary(store, self.wants, self.since, self.without)
        else:
            depth, starts = self.depth, set(self.wants)
            if self.is_relative:
                depth, starts = depth + 1, {oid for oid in self.client_shallow if oid in store}
            found, inside = find_shallow(store, [ObjectID(oid) for oid in starts], depth)
            inner = set[bytes](inside)
            edge = set[bytes](found) - inner
        unshallow = inner & self.client_shallow
        self.shallow |= edge | (self.client_shallow - unshallow)
        return sorted(edge - self.client_shallow), sorted(unshallow)


def _needs_paths(spec: FilterSpec) -> bool:
    if isinstance(spec, CombineFilter):
        return any(_needs_paths(part) for part in spec.filters)
    return isinstance(spec, TreeDepthFilter | SparseOidFilter)


def _tags_of(view: View) -> dict[ObjectID, ObjectID]:
    """Give the annotated tags that are shown, by what they finally point to."""
    return {
        ObjectID(shown.peeled): ObjectID(shown.oid)
        for chunk in view.refs(b"refs/tags/")
        for shown in chunk
        if shown.peeled is not None
    }


def send_pack(
    repo: Any,
    view: View,
    fetch: Fetch,
    write: Callable[[bytes], object],
    progress: Callable[[bytes], None],
) -> None:
    """Send a pack.

    Args:
      repo: the repository
      view: its refs
      fetch: what to send, after :meth:`Fetch.cut`
      write: takes the pack in pieces
      progress: takes lines about the progress
    """
    store = repo.object_store
    shallow = {ObjectID(oid) for oid in fetch.shallow}
    parents = ParentsProvider(store, shallows=shallow)

    def get_parents(commit: Commit) -> list[ObjectID]:
        return parents.get_parents(commit.id, commit)

    # What the client has says little about its objects where its history is cut anew.
    haves: Iterable[bytes] = () if fetch.is_cut else fetch.haves
    finder = MissingObjectFinder(
        store,
        haves=[ObjectID(oid) for oid in haves],
        wants=[ObjectID(oid) for oid in fetch.wants],
        shallow=shallow,
        progress=progress,
        get_tagged=(lambda: _tags_of(view)) if fetch.include_tags else None,
        get_parents=get_parents,
    )
    objects = list(finder)
    if fetch.filter is not None:
        wants = [ObjectID(oid) for oid in fetch.wants]
        if _needs_paths(fetch.filter):
            left = set(filter_pack_objects_with_paths(store, wants, fetch.filter))
        else:
            left = set(filter_pack_objects(store, [oid for oid, _ in objects], fetch.filter))
        left.update(wants)  # what is asked for by its id is no subject to filters
        objects = [pair for pair in objects if pair[0] in left]
    progress(b"counting objects: %d, done.\n" % len(objects))
    out = LineBuffer(write)
    write_pack_from_container(out.add, store, objects, object_format=repo.object_format)
    out.flush()
