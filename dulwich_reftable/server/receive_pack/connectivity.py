# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Check that no object is missing, or of a wrong type, below the new values of refs.

git runs ``rev-list --objects <new> --not --all``: it checks every object that no ref reaches yet,
whether it comes with the pack or was in the repository before. That an object exists proves nothing
about the objects below it: an earlier push may have failed half way, or a ref was deleted and a
part of what it reached was pruned.

The cost depends on the push, not on the repository. The walk goes from the new commits back to
commits that refs reach. Most pushes build on the object of a ref, which is looked up. Otherwise the
history of branches is walked, newest first, down to the time of the commit in question. If that
walk misses a commit, because times are wrong, the commit is checked itself, which is always right.
A tree is compared with the trees at the same place in the parents of its commit: entries that are
equal there are not checked again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from itertools import islice

from dulwich.errors import ObjectFormatException
from dulwich.objects import Blob, Commit, ObjectID, Tag, Tree, object_class
from dulwich.refs import HEADREF, Ref, RefsContainer, SymrefLoop

from ...naming.symrefs import is_symref
from ...objects.commits import CommitHeader, parse_commit
from ...objects.reader import ObjectReader
from ...refs.container import ReftableRefsContainer
from ..errors import PackError
from ..history import History
from .incoming import IncomingPack
from .tree_scan import TreeEntry, scan_tree

__all__ = ["Connectivity"]

_MAX_BRANCHES = 1000
"""How many branches the walk of history starts from, and how many refs of a push."""

_SLACK = 86_400
"""How many seconds a commit may be older than its parent."""

_TAG = re.compile(rb"object ([0-9a-f]+)\ntype ([a-z]+)\n")


class _MissingError(Exception):
    """An object is missing, or of a wrong type."""


class Connectivity:
    """Checks the objects below the new values of refs.

    Args:
      pack: the pushed objects; None if there are none
      objects: those of the repository
      refs: of the repository
      names: refs that will be updated; most pushes build on their objects
      roots: commits whose parents may be missing, as in a shallow repository
      max_tree_depth: how deep trees may be nested; None for no limit

    Attributes:
      found: hex ids of objects below complete values that are neither in the pack nor reached by a
        ref
      problem: the latest problem, for the log; None if there is none so far
    """

    def __init__(
        self,
        pack: IncomingPack | None,
        objects: ObjectReader,
        refs: RefsContainer,
        names: Iterable[bytes] = (),
        roots: Collection[bytes] = (),
        max_tree_depth: int | None = None,
    ) -> None:
        self._max_tree_depth = max_tree_depth
        self._pack = pack
        self._objects = objects
        self._roots = roots
        self._reached = _Reached(refs, objects, names)
        self._seen: dict[bytes, int] = {}
        self._noted: set[bytes] = set()
        self.found: set[bytes] = set()
        self.problem: str | None = None

    def is_complete(self, tips: Iterable[bytes]) -> bool:
        """Tell whether all objects below some objects exist.

        Args:
          tips: hex object ids
        """
        try:
            for tip in tips:
                self._walk(tip)
        except (_MissingError, PackError) as error:
            self.problem = str(error)
            self._seen.clear()  # the objects below them were not all checked
            return False
        finally:
            noted, self._noted = self._noted, set()
        self.found |= noted
        return True

    def _walk(self, tip: bytes) -> None:
        pending: list[tuple[bytes, int | None]] = [(tip, None)]
        while pending:
            oid, wanted = pending.pop()
            known = self._seen.get(oid)
            if known is None:
                type_num, data = self._read(oid)
                if not self._is_new(oid) and self._reached.is_tip(oid):
                    pass  # everything below it exists
                elif type_num == Blob.type_num:
                    self._note(oid)
                elif type_num == Commit.type_num:
                    pending += self._look_at_commit(oid, data)
                elif type_num == Tag.type_num:
                    pending.append(self._look_at_tag(oid, data))
                else:
                    self._look_at_tree(oid, [])
                self._seen[oid] = known = type_num
            if wanted not in (None, known):
                raise _MissingError(f"{oid.decode()} is of type {known}, not {wanted}")

    def _look_at_commit(self, oid: bytes, data: bytes) -> list[tuple[bytes, int]]:
        """Check the tree of a commit; gives its parents, unless a ref reaches the commit."""
        time, parents, tree = _parse(oid, data)
        if not self._is_new(oid):
            if self._reached.contains(oid, time):
                return []
            self._note(oid)
        if oid in self._roots:
            parents = ()
        bases = []
        for parent in parents:
            _, content = self._read(parent)  # its type is checked later
            bases.append(_parse(parent, content).tree)
        self._look_at_tree(tree, bases)
        return [(parent, Commit.type_num) for parent in parents]

    def _look_at_tag(self, oid: bytes, data: bytes) -> tuple[bytes, int]:
        self._note(oid)
        found = _TAG.match(data)
        kind = object_class(found[2]) if found else None
        if found is None or kind is None:
            raise _MissingError(f"tag {oid.decode()} is not well-formed")
        return found[1], kind.type_num

    def _look_at_tree(self, root: bytes, bases: list[bytes]) -> None:
        """Check a tree and everything below it.

        Args:
          root: hex id
          bases: hex ids of trees at the same place that are checked elsewhere
        """
        pending = [(root, bases, 0)]
        while pending:
            oid, bases, depth = pending.pop()
            if oid in bases or self._seen.get(oid) == Tree.type_num:
                continue
            type_num, data = self._read(oid)
            if type_num != Tree.type_num:
                raise _MissingError(f"{oid.decode()} stands for a tree and is none")
            if self._max_tree_depth is not None and depth > self._max_tree_depth:
                raise _MissingError(f"{oid.decode()} exceeds the maximum depth of trees")
            self._seen[oid] = type_num
            self._note(oid)
            alongside = _Alongside([self._tree(base) for base in bases], len(oid) // 2)
            for entry in scan_tree(data, len(oid) // 2):
                for tree, below in self._look_at_entry(entry, alongside):
                    pending.append((tree, below, depth + 1))

    def _look_at_entry(
        self, entry: TreeEntry, alongside: _Alongside
    ) -> Iterable[tuple[bytes, list[bytes]]]:
        """Check an entry; gives its tree, if that has to be checked."""
        type_num = entry.type_num
        if type_num == Commit.type_num:
            return ()
        below = alongside.find(entry)
        if below is None:
            return ()
        name = entry.oid.hex().encode()
        if type_num == Tree.type_num:
            return ((name, below),)
        found = None if self._pack is None else self._pack.type_num(entry.oid)
        if found is None:
            found = self._seen.get(name) or self._objects.type_of(name)
            if found is None:
                raise _MissingError(f"{name.decode()} is missing")
            self._seen[name] = found
            self._note(name)
        if found != type_num:
            raise _MissingError(f"{name.decode()} stands for a blob and is none")
        return ()

    # Where objects are

    def _is_new(self, oid: bytes) -> bool:
        return self._pack is not None and bytes.fromhex(oid.decode()) in self._pack

    def _note(self, oid: bytes) -> None:
        if not self._is_new(oid):
            self._noted.add(oid)

    def _read(self, oid: bytes) -> tuple[int, bytes]:
        if self._pack is not None:
            raw = bytes.fromhex(oid.decode())
            type_num = self._pack.type_num(raw)
            if type_num is not None:
                is_blob = type_num == Blob.type_num
                return type_num, b"" if is_blob else self._pack.content(raw)
        for _ in range(2):  # an object may move from file to pack between two looks
            try:
                return self._objects.get_raw(ObjectID(oid))
            except KeyError:
                continue
        raise _MissingError(f"{oid.decode()} is missing")

    def _tree(self, oid: bytes) -> bytes:
        """Read a tree to compare with; empty if it is missing, which its own check reports."""
        try:
            type_num, data = self._read(oid)
        except _MissingError:
            return b""
        return data if type_num == Tree.type_num else b""


def _parse(oid: bytes, data: bytes) -> CommitHeader:
    header = parse_commit(data, len(oid))
    if header is None:
        raise _MissingError(f"commit {oid.decode()} is not well-formed")
    return header


class _Alongside:
    """Trees at the same place as a tree that is scanned; they are scanned side by side.

    If one of them is not sorted, some of its entries are not found, and are checked again.

    Args:
      trees: their contents
      id_length: bytes of an object id
    """

    def __init__(self, trees: Iterable[bytes], id_length: int) -> None:
        self._scans = [scan_tree(tree, id_length) for tree in trees if tree]
        self._nexts = [_next(scan) for scan in self._scans]

    def find(self, entry: TreeEntry) -> list[bytes] | None:
        """Look for an entry.

        Args:
          entry: of the scanned tree
        Returns: None if one of the others has the same entry; else the hex ids of the trees of that
          name in the others
        """
        key = entry.sort_key
        below = []
        for number, scan in enumerate(self._scans):
            other = self._nexts[number]
            while other is not None and other.sort_key < key:
                other = _next(scan)
            self._nexts[number] = other
            if other is not None and other.name == entry.name:
                if other.type_num == entry.type_num and other.oid == entry.oid:
                    return None
                if other.type_num == Tree.type_num:
                    below.append(other.oid.hex().encode())
        return below


def _next(scan: Iterator[TreeEntry]) -> TreeEntry | None:
    try:
        return next(scan, None)
    except PackError:
        return None  # its own check reports that


class _Reached:
    """Knows commits that refs reach, but not all of them.

    Args:
      refs: of the repository
      objects: of it
      names: refs to look at first
    """

    def __init__(self, refs: RefsContainer, objects: ObjectReader, names: Iterable[bytes]) -> None:
        self._refs = refs
        self._objects = objects
        self._tips = {
            oid for name in (HEADREF, *islice(names, _MAX_BRANCHES)) if (oid := self._value(name))
        }
        self._passed: set[bytes] = set()
        self._until: float | None = None

    def is_tip(self, oid: bytes) -> bool:
        """Tell whether a ref points to an object."""
        if oid in self._tips:
            return True
        if isinstance(self._refs, ReftableRefsContainer):
            return bool(self._refs.refs_for_object(oid))
        return oid in self._all

    def contains(self, oid: bytes, time: int) -> bool:
        """Tell whether a commit is known to be reached.

        Args:
          oid: hex id
          time: of the commit, in seconds
        """
        if oid in self._passed or self.is_tip(oid):
            return True
        while self._until is None or self._until >= time - _SLACK:
            passed, self._until = next(self._walk, (b"", float("-inf")))
            self._passed.add(passed)
            if passed == oid:
                return True
        return False

    @cached_property
    def _walk(self) -> Iterator[tuple[bytes, float]]:
        tips = self._tips.union(islice(self._branches(), _MAX_BRANCHES))
        try:
            yield from History(self._objects).newest_first(tips)
        except (ObjectFormatException, ValueError):
            return  # an old commit cannot be read

    def _branches(self) -> Iterable[bytes]:
        """List the object ids of branches."""
        if isinstance(self._refs, ReftableRefsContainer):
            pairs = self._refs.iter_refs(b"refs/heads/")
            return (value for _, value in pairs if not is_symref(value))
        return self._all

    @cached_property
    def _all(self) -> set[bytes]:
        return set(self._refs.as_dict().values())

    def _value(self, name: bytes) -> bytes:
        """Give the object id that a ref leads to; b"" if there is none."""
        try:
            return self._refs.follow(Ref(name))[1] or b""
        except (KeyError, SymrefLoop):
            return b""
