# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Select the objects of a pack: those that a client wants and does not have.

First, a walk goes from the wanted commits and from those of the client to older ones, until only
the client's are left. Then trees are read level by level: so each tree and blob is first met at its
least depth, which counts for a filter by depth. To find the trees and blobs that the client has,
its newest trees are read side by side with the wanted ones, but only where these differ. Last come
the annotated tags of selected objects. For a clone of the whole history, bitmaps of a pack spare
most of the walk, and so they do for old commits that the client has.
"""

from __future__ import annotations

from binascii import a2b_hex, b2a_hex
from collections.abc import Callable, Collection, Iterable, Set

from dulwich.errors import ObjectFormatException
from dulwich.objects import Blob, Commit, ObjectID, Tag, Tree

from ...objects.reader import ObjectReader
from ...objects.trees import TreeEntry, entry_type, new_entries
from ..history import FarWalkError, History
from .bitmap_reach import beyond_bitmaps, reach_by_bitmaps
from .filters import Filter

__all__ = ["Selection"]

_COMMIT, _TREE, _BLOB, _TAG = (kind.type_num for kind in (Commit, Tree, Blob, Tag))
_PROGRESS = 1000
"""The number of objects between two lines of progress."""
_FAR = 1000
"""Commits that cost half as much to visit as to read the bitmaps of a pack of 50,000 objects."""


class Selection:
    """The objects of one pack.

    Args:
      objects: those of the repository
      history: the commits, cut where the client's history will be cut
      keep: the filter of the client
      progress: sends a line about the progress

    Attributes:
      objects: binary ids of the selected objects; commits come first
      owned: binary ids of trees and blobs that the client has, as far as they were looked for
    """

    def __init__(
        self,
        objects: ObjectReader,
        history: History,
        keep: Filter,
        progress: Callable[[bytes], None],
    ) -> None:
        # A dictionary keeps the order.
        self.objects: dict[bytes, None] = {}
        self.owned: set[bytes] = set()
        self._reader = objects
        self._history = history
        self._keep = keep
        self._progress = progress
        self._known: set[bytes] = set()
        """Trees and blobs that the client has, or that were met before."""

    def add(self, wants: Iterable[bytes], haves: Collection[bytes]) -> None:
        """Select the wanted objects and what they reach.

        Args:
          wants: hex object ids that the client asks for; no filter applies to them
          haves: hex ids of objects that the client has, with everything that they reach
        Raises:
          KeyError: if an object is missing
          ObjectFormatException: if an object has a wrong type
        """
        wanted, given = self._sort(wants, select_tags=True)
        owned, _ = self._sort(haves, select_tags=False)
        commits, edges = self._from_bitmaps(wanted, haves) or self._newer(wanted, owned)
        for oid in commits:
            if _COMMIT in self._keep.kinds or oid in wanted:
                self._select(a2b_hex(oid))
        roots = {a2b_hex(self._history.tree(oid)) for oid in commits}
        if self._keep.needs_trees:
            self._know_trees({a2b_hex(self._history.tree(oid)) for oid in edges}, roots)
        self._walk(given, roots)

    def _newer(self, wanted: set[bytes], owned: set[bytes]) -> tuple[list[bytes], set[bytes]]:
        """Select wanted commits and their ancestors, as :meth:`~..history.History.newer` does.

        A client often wants old tags of the history that it has, and the walk would go down to the
        oldest of them. If that is far, bitmaps may tell that the client has them.
        """
        history = self._history
        oldest = min(map(history.time, owned), default=0)
        if history.is_whole and any(history.time(oid) < oldest for oid in wanted):
            try:
                return history.newer(wanted, owned, most=_FAR)
            except FarWalkError:
                wanted = beyond_bitmaps(self._reader, history, wanted, owned)
        return history.newer(wanted, owned)

    def _from_bitmaps(
        self, wanted: set[bytes], haves: Collection[bytes]
    ) -> tuple[list[bytes], set[bytes]] | None:
        """Select what bitmaps tell of a clone of the whole history.

        Returns: hex ids of the other commits, and no edges; None if bitmaps tell nothing
        """
        keep = self._keep
        if haves or not self._history.is_whole or keep != Filter(keep.kinds):
            return None
        reach = reach_by_bitmaps(self._reader, self._history, wanted, keep.kinds)
        if reach is None:
            return None
        self._select(*map(a2b_hex, wanted), *reach.kept)
        self._known.update(reach.objects)
        return reach.commits, set()

    def add_tags(self, tags: Iterable[tuple[bytes, bytes]]) -> None:
        """Select the annotated tags of selected objects.

        If a tag points to another tag, both are selected.

        Args:
          tags: object ids of tags, each with that of its final object
        """
        if not self.objects:
            return
        for oid, peeled in tags:
            if a2b_hex(peeled) not in self.objects or a2b_hex(oid) in self.objects:
                continue
            for link, kind in self._history.chain(oid):
                if a2b_hex(link) in self.objects:
                    break
                if kind == _TAG:
                    self._select(a2b_hex(link))

    def _select(self, *oids: bytes) -> None:
        before = len(self.objects)
        self.objects.update(dict.fromkeys(oids))
        if before // _PROGRESS != len(self.objects) // _PROGRESS:
            self._progress(b"counting objects: %d\r" % len(self.objects))

    def _sort(
        self, oids: Iterable[bytes], *, select_tags: bool
    ) -> tuple[set[bytes], dict[bytes, int]]:
        """Follow tags to their objects.

        Args:
          oids: hex object ids
          select_tags: whether to select the tags
        Returns: hex ids of commits; binary ids of trees and blobs, with their types
        """
        commits: set[bytes] = set()
        others: dict[bytes, int] = {}
        tags: set[bytes] = set()
        for oid in oids:
            for link, kind in self._history.chain(oid):
                if kind == _COMMIT:
                    commits.add(link)
                elif kind != _TAG:
                    others[a2b_hex(link)] = kind
                elif link in tags:
                    break
                else:
                    tags.add(link)
                    if select_tags:
                        self._select(a2b_hex(link))
        return commits, others

    # Trees

    def _entries(self, oid: bytes, known: Set[bytes] = frozenset()) -> list[TreeEntry]:
        """Read the entries of a tree, but for those of known objects.

        Args:
          oid: binary id of the tree
          known: binary ids of objects
        """
        name = b2a_hex(oid)
        kind, data = self._reader.get_raw(ObjectID(name))
        if kind != _TREE:
            raise ObjectFormatException(f"{name.decode()} is used as a tree and is none")
        return new_entries(data, len(oid), known)

    def _know_trees(self, owned: set[bytes], wanted: set[bytes]) -> None:
        """Find trees and blobs of the client, reading only where they differ from wanted ones.

        Args:
          owned: trees of the client's newest commits
          wanted: trees of the commits that are sent, at the same path
        """
        known = self.owned
        pending = [(owned, wanted)]
        while pending:
            owned, wanted = pending.pop()
            known |= owned
            wanted = wanted - known
            if not wanted or not owned:
                continue
            below: dict[bytes, tuple[set[bytes], set[bytes]]] = {}
            for oid in owned:
                for mode, name, child in self._entries(oid):
                    kind = entry_type(mode)
                    if kind == _TREE:
                        below.setdefault(name, (set(), set()))[0].add(child)
                    elif kind == _BLOB:
                        known.add(child)
            for oid in wanted:
                for mode, name, child in self._entries(oid):
                    if name in below and entry_type(mode) == _TREE:
                        below[name][1].add(child)
            pending += below.values()
        self._known |= known

    def _walk(self, given: dict[bytes, int], roots: set[bytes]) -> None:
        """Select trees and blobs, level by level.

        Args:
          given: trees and blobs that the client asks for, with their types; the entries of such a
            tree have the depth of a root
          roots: trees of commits
        """
        keep, known = self._keep, self._known
        self._select(*given)
        known.update(given)
        if not keep.needs_trees:
            return
        level = {oid for oid, kind in given.items() if kind == _TREE}
        depth = 0
        is_root = True
        while (level or is_root) and (keep.depth is None or depth < keep.depth):
            below = roots - known if is_root else set()
            known |= below
            for tree in self._reader.in_order(level):
                blobs = []
                for mode, _, child in self._entries(tree, known):
                    kind = entry_type(mode)
                    if kind == _TREE:
                        below.add(child)
                    elif kind != _BLOB or child in known:
                        continue
                    elif self._keeps_blob(child):
                        blobs.append(child)
                    known.add(child)
                self._select(*blobs)
            if _TREE in keep.kinds:
                self._select(*below)
            level, is_root = below, False
            depth += 1

    def _keeps_blob(self, oid: bytes) -> bool:
        if _BLOB not in self._keep.kinds:
            return False
        limit = self._keep.blob_size
        return limit is None or self._reader.size_of(b2a_hex(oid)) < limit
