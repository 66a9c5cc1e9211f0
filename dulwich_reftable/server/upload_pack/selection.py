# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Select the objects of a pack: those that a client wants and does not have.

First, a walk goes from the wanted commits and from those of the client to older ones, until only
the client's are left. Then trees are read level by level: so each tree and blob is first met at its
least depth, which counts for a filter by depth. To find the trees and blobs that the client has,
its newest trees are read side by side with the wanted ones, but only where these differ. Last come
the annotated tags of selected objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from stat import S_ISDIR

from dulwich.errors import ObjectFormatException
from dulwich.object_store import BaseObjectStore
from dulwich.objects import S_ISGITLINK, Blob, Commit, ObjectID, Tag, Tree
from dulwich.pack import PackHint

from ..history import History
from .filters import Filter

__all__ = ["Selection"]

_COMMIT, _TREE, _BLOB, _TAG = (kind.type_num for kind in (Commit, Tree, Blob, Tag))
_PROGRESS = 1000
"""The number of objects between two lines of progress."""


class Selection:
    """The objects of one pack.

    Args:
      store: the objects
      history: the commits, cut where the client's history will be cut
      keep: the filter of the client
      progress: sends a line about the progress

    Attributes:
      objects: the selected objects, with hints for packing; commits come first
    """

    def __init__(
        self,
        store: BaseObjectStore,
        history: History,
        keep: Filter,
        progress: Callable[[bytes], None],
    ) -> None:
        self.objects: dict[ObjectID, PackHint | None] = {}
        self._store = store
        self._history = history
        self._keep = keep
        self._progress = progress
        self._known: set[bytes] = set()
        """Trees and blobs that the client has, or that were met before."""

    def add(self, wants: Iterable[bytes], haves: Iterable[bytes]) -> None:
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
        commits, edges = self._history.newer(wanted, owned)
        for oid in commits:
            if _COMMIT in self._keep.kinds or oid in wanted:
                self._select(oid, (_COMMIT, None))
        roots = {self._history.tree(oid) for oid in commits}
        if self._keep.needs_trees:
            self._know_trees({self._history.tree(oid) for oid in edges}, roots)
        self._walk(given, roots)

    def add_tags(self, tags: Iterable[tuple[bytes, bytes]]) -> None:
        """Select the annotated tags of selected objects.

        If a tag points to another tag, both are selected.

        Args:
          tags: object ids of tags, each with that of its final object
        """
        if not self.objects:
            return
        for oid, peeled in tags:
            if peeled not in self.objects or oid in self.objects:
                continue
            for link, kind in self._history.chain(oid):
                if link in self.objects:
                    break
                if kind == _TAG:
                    self._select(link, (_TAG, None))

    def _select(self, oid: bytes, hint: PackHint | None) -> None:
        self.objects[ObjectID(oid)] = hint
        if len(self.objects) % _PROGRESS == 0:
            self._progress(b"counting objects: %d\r" % len(self.objects))

    def _sort(
        self, oids: Iterable[bytes], *, select_tags: bool
    ) -> tuple[set[bytes], dict[bytes, int]]:
        """Follow tags to their objects.

        Args:
          oids: hex object ids
          select_tags: whether to select the tags
        Returns: commits; trees and blobs, with their types
        """
        commits: set[bytes] = set()
        others: dict[bytes, int] = {}
        tags: set[bytes] = set()
        for oid in oids:
            for link, kind in self._history.chain(oid):
                if kind == _COMMIT:
                    commits.add(link)
                elif kind != _TAG:
                    others[link] = kind
                elif link in tags:
                    break
                else:
                    tags.add(link)
                    if select_tags:
                        self._select(link, (_TAG, None))
        return commits, others

    # Trees

    def _entries(self, oid: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
        """Read a tree.

        Yields: name, object id, and whether it is a tree
        """
        tree = self._store[ObjectID(oid)]
        if not isinstance(tree, Tree):
            raise ObjectFormatException(f"{oid.decode()} is used as a tree and is none")
        for name, mode, child in tree.iteritems():
            if not S_ISGITLINK(mode):
                yield name, child, S_ISDIR(mode)

    def _know_trees(self, owned: set[bytes], wanted: set[bytes]) -> None:
        """Find trees and blobs of the client, reading only where they differ from wanted ones.

        Args:
          owned: trees of the client's newest commits
          wanted: trees of the commits that are sent, at the same path
        """
        known = self._known
        pending = [(owned, wanted)]
        while pending:
            owned, wanted = pending.pop()
            known |= owned
            wanted = wanted - known
            if not wanted or not owned:
                continue
            below: dict[bytes, tuple[set[bytes], set[bytes]]] = {}
            for oid in owned:
                for name, child, is_tree in self._entries(oid):
                    if is_tree:
                        below.setdefault(name, (set(), set()))[0].add(child)
                    else:
                        known.add(child)
            for oid in wanted:
                for name, child, is_tree in self._entries(oid):
                    if is_tree and name in below:
                        below[name][1].add(child)
            pending += below.values()

    def _walk(self, given: dict[bytes, int], roots: set[bytes]) -> None:
        """Select trees and blobs, level by level.

        Args:
          given: trees and blobs that the client asks for, with their types; the entries of such a
            tree have the depth of a root
          roots: trees of commits
        """
        keep, known = self._keep, self._known
        for oid, kind in given.items():
            self._select(oid, (kind, None))
            known.add(oid)
        if not keep.needs_trees:
            return
        level = {oid: b"" for oid, kind in given.items() if kind == _TREE}
        depth = 0
        is_root = True
        while (level or is_root) and (keep.depth is None or depth < keep.depth):
            below: dict[bytes, bytes] = dict.fromkeys(roots - known, b"") if is_root else {}
            known |= below.keys()
            for tree in level:
                for name, child, is_tree in self._entries(tree):
                    if child in known:
                        continue
                    known.add(child)
                    if is_tree:
                        below[child] = name
                    elif self._keeps_blob(child):
                        self._select(child, (_BLOB, name))
            if _TREE in keep.kinds:
                for child, name in below.items():
                    self._select(child, (_TREE, name))
            level, is_root = below, False
            depth += 1

    def _keeps_blob(self, oid: bytes) -> bool:
        if _BLOB not in self._keep.kinds:
            return False
        limit = self._keep.blob_size
        return limit is None or len(self._store.get_raw(ObjectID(oid))[1]) < limit
