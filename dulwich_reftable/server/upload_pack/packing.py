# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The request of a fetch, and sending its pack: the part that all protocol versions share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...objects.reader import ObjectReader
from ..advertised_refs import AdvertisedRefs
from ..errors import RefusedError
from ..history import History
from ..turns import PACKING
from .filters import Filter
from .pack_plan import PackPlan
from .pack_writer import PackWriter
from .selection import Selection
from .shallow import INFINITE_DEPTH, Cut, cut_by_depth, cut_by_revisions

__all__ = ["Fetch", "send_pack"]


@dataclass
class Fetch:
    """The request of a client.

    Attributes:
      wants: object ids
      want_refs: refs that the client wants by name, with their object ids, which are wants, too
      haves: ids of objects that both the client and we have
      client_shallow: commits whose parents the client does not have
      depth: cut history after this many commits; None for no cut
      since: cut history at this time, in seconds since the epoch; None for no cut
      without: cut history at these object ids
      is_relative: whether the depth counts from the client's shallow commits
      filter: of a partial clone; None for a full one
      include_tags: whether to send annotated tags of objects that are sent
      is_thin: whether deltas may have bases that the client has
      has_offsets: whether deltas may name their bases by offset
      roots: commits whose parents are not sent: shallow commits of the client, before and after the
        fetch, and of the repository
    """

    # Dictionaries keep the order of the client and drop repetitions.
    wants: dict[bytes, None] = field(default_factory=dict)
    want_refs: dict[bytes, bytes] = field(default_factory=dict)
    haves: dict[bytes, None] = field(default_factory=dict)
    client_shallow: set[bytes] = field(default_factory=set)
    depth: int | None = None
    since: int | None = None
    without: set[bytes] = field(default_factory=set)
    is_relative: bool = False
    filter: Filter | None = None
    include_tags: bool = False
    is_thin: bool = False
    has_offsets: bool = True
    roots: set[bytes] = field(default_factory=set)

    @property
    def is_cut(self) -> bool:
        """Whether the client asked for history to be cut."""
        return self.depth is not None or self.is_cut_by_revisions

    @property
    def is_cut_by_revisions(self) -> bool:
        """Whether the client asked for a cut by time or at object ids."""
        return self.since is not None or bool(self.without)

    def add_have(self, oid: bytes, objects: ObjectReader) -> bool:
        """Add an object that the client has, if we have it, too.

        Args:
          oid: hex object id
          objects: ours
        Returns: whether we have it
        """
        if oid not in self.haves:
            if not objects.exists(oid):
                return False
            self.haves[oid] = None
        return True

    def cut(
        self, repo: Any, objects: ObjectReader, *, at_own: bool = False
    ) -> tuple[list[bytes], list[bytes]]:
        """Find the commits at which the client's history ends.

        If a commit is no longer shallow, its parents are added to the wants.

        Args:
          repo: the repository
          objects: its objects
          at_own: whether to name the repository's own shallow commits even if the client did not
            ask for a cut, as protocol version 2 does
        Returns: commits that become shallow, and commits that are no longer shallow
        Raises:
          RefusedError: if no commit is left, or the client asked for two kinds of cuts
        """
        if self.depth is not None and self.is_cut_by_revisions:
            raise RefusedError("deepen and deepen-since (or deepen-not) cannot be used together")
        own: set[bytes] = {*repo.get_shallow()}
        self.roots = own | self.client_shallow
        if not self.is_cut and not (at_own and own):
            return [], []
        # A client that does not ask for a cut keeps its own ends, too.
        ends = own if self.is_cut else self.roots
        history = History(objects, ends)
        edge, inner = self._parted(history, ends)
        unshallow = inner & self.client_shallow
        for oid in unshallow:
            self.wants.update(dict.fromkeys(history.parents(oid)))
            self.haves[oid] = None
        self.roots |= edge
        return sorted(edge - self.client_shallow), sorted(unshallow)

    def _parted(self, history: History, ends: set[bytes]) -> Cut:
        if self.is_cut_by_revisions:
            return cut_by_revisions(history, self.wants, self.since, self.without, roots=ends)
        depth = INFINITE_DEPTH if self.depth is None else self.depth
        if depth >= INFINITE_DEPTH and not ends:
            return Cut(set(), self.client_shallow)
        relative_to = self.client_shallow if self.is_relative else None
        return cut_by_depth(history, self.wants, depth, roots=ends, relative_to=relative_to)


def send_pack(
    repo: Any,
    objects: ObjectReader,
    advertised: AdvertisedRefs,
    fetch: Fetch,
    write: Callable[[bytes], object],
    progress: Callable[[bytes], None],
) -> None:
    """Select objects, when it is our turn, and send them as a pack.

    Args:
      repo: the repository
      objects: its objects
      advertised: its refs
      fetch: the request, after :meth:`Fetch.cut`
      write: writes a piece of the pack
      progress: sends a line about the progress
    Raises:
      KeyError: if an object is missing
      ObjectFormatException: if an object is of the wrong type
    """
    writer = PackWriter(objects, repo.object_format, write, has_offsets=fetch.has_offsets)
    with PACKING.turn():
        plan = _plan(objects, advertised, fetch, progress)
        objects.drop_caches()
    writer.write(plan)


def _plan(
    objects: ObjectReader,
    advertised: AdvertisedRefs,
    fetch: Fetch,
    progress: Callable[[bytes], None],
) -> PackPlan:
    history = History(objects, fetch.roots)
    selection = Selection(objects, history, fetch.filter or Filter(), progress)
    selection.add(fetch.wants, fetch.haves)
    if fetch.include_tags:
        selection.add_tags(
            (ref.oid, ref.peeled)
            for chunk in advertised.refs(b"refs/tags/")
            for ref in chunk
            if ref.peeled is not None
        )
    progress(b"counting objects: %d, done.\n" % len(selection.objects))
    # A client with a filter may lack objects that it is thought to have.
    is_thin = fetch.is_thin and fetch.filter is None
    return PackPlan(objects, selection.objects, selection.owned if is_thin else ())
