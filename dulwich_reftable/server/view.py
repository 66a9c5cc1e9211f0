# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The refs as one client sees them: pinned to one moment, without those that are hidden.

All that a server says about refs during a connection comes from one view, so that a ref that moves
meanwhile contradicts nothing. Of reftables a view is a snapshot, which goes on reading the tables
that it began with: listing streams, and hidden refs are sought past, not filtered. Of files it is
a copy of all refs, since nothing else holds them still.
"""

from __future__ import annotations

from binascii import b2a_hex
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from dulwich.object_store import BaseObjectStore, peel_sha
from dulwich.objects import ObjectID
from dulwich.refs import HEADREF, Ref, RefsContainer, SymrefLoop

from ..engine.ref_run import SYMREF_PREFIX
from ..names import is_legal, prefix_end
from ..reader import RefsSnapshot
from ..refs import ReftableRefsContainer
from .settings import HiddenRefs

__all__ = ["Shown", "View", "view_of"]

_KNOWN_OBJECTS = 1 << 16
"""How many objects a view remembers to exist."""


class Shown(NamedTuple):
    """A ref that is shown.

    Attributes:
      name: full name
      oid: hex object id; where symrefs lead
      peeled: what an annotated tag finally points to; None for all else
      target: of a symref, where it finally leads; None for all else
    """

    name: bytes
    oid: bytes
    peeled: bytes | None = None
    target: bytes | None = None


class View(Protocol):
    """What a client may see of the refs."""

    def head(self) -> Shown | None:
        """Give HEAD, if it leads to an object."""

    def unborn_head(self) -> bytes | None:
        """Give the branch that HEAD leads to, if that does not exist."""

    def refs(self, prefix: bytes = b"") -> Iterator[list[Shown]]:
        """List the refs below ``refs/``, in order of their names, in chunks."""

    def is_tip(self, oid: bytes, *, hidden_too: bool = False) -> bool:
        """Tell whether a ref that is shown points to an object."""

    def tips(self) -> Iterator[bytes]:
        """Give the object ids of all refs that are shown."""


def view_of(refs: RefsContainer, store: BaseObjectStore, hidden: HiddenRefs) -> View:
    """Pin the refs.

    Args:
      refs: of a repository
      store: its objects; a ref to an object that is not there is not shown
      hidden: what is not shown either
    """
    if isinstance(refs, ReftableRefsContainer):
        return TablesView(refs, store, hidden)
    return CopiedView(refs, store, hidden)


class _View:
    """What both kinds have in common."""

    def __init__(self, refs: RefsContainer, store: BaseObjectStore, hidden: HiddenRefs) -> None:
        self._refs = refs
        self._store = store
        self._hidden = hidden
        self._known: set[bytes] = set()
        self._peeled: dict[bytes, bytes | None] = {}

    def _exists(self, oid: bytes) -> bool:
        known = self._known
        if oid in known:
            return True
        if ObjectID(oid) not in self._store:
            return False
        if len(known) >= _KNOWN_OBJECTS:
            known.clear()
        known.add(oid)
        return True

    def _ask_peeled(self, oid: bytes) -> bytes | None:
        """Peel by the object store."""
        peeled = self._peeled
        if oid not in peeled:
            if len(peeled) >= _KNOWN_OBJECTS:
                peeled.clear()
            try:
                final = peel_sha(self._store, ObjectID(oid))[1].id
            except KeyError:
                final = ObjectID(oid)
            peeled[oid] = None if final == oid else final
        return peeled[oid]

    def _follow(self, name: bytes) -> tuple[bytes, bytes | None]:
        """Follow a symref: gives the last name, and its object id if there is one."""
        try:
            names, oid = self._refs.follow(Ref(name))
        except SymrefLoop:
            return name, None
        return names[-1], oid

    def _show(self, name: bytes) -> Shown | None:
        """Show a ref that may be a symref, if it leads to an object."""
        last, oid = self._follow(name)
        if oid is None or not self._exists(oid):
            return None
        return Shown(name, oid, self._peel_of(last, oid), last if last != name else None)

    def _peel_of(self, name: bytes, oid: bytes) -> bytes | None:
        peeled = self._refs.get_peeled(Ref(name))
        if peeled is None:
            return self._ask_peeled(oid)
        return None if peeled == oid else peeled

    def head(self) -> Shown | None:
        return None if HEADREF in self._hidden else self._show(HEADREF)

    def unborn_head(self) -> bytes | None:
        last, oid = self._follow(HEADREF)
        if HEADREF in self._hidden or oid is not None or last == HEADREF or last in self._hidden:
            return None
        return last

    def refs(self, prefix: bytes = b"") -> Iterator[list[Shown]]:
        raise NotImplementedError

    def tips(self) -> Iterator[bytes]:
        head = self.head()
        if head is not None:
            yield head.oid
        for chunk in self.refs():
            for shown in chunk:
                yield shown.oid


class TablesView(_View):
    """A snapshot of reftables."""

    _refs: RefsSnapshot

    def __init__(
        self, refs: ReftableRefsContainer, store: BaseObjectStore, hidden: HiddenRefs
    ) -> None:
        super().__init__(refs.snapshot(), store, hidden)

    def refs(self, prefix: bytes = b"") -> Iterator[list[Shown]]:
        for start, stop in _ranges(prefix, self._hidden.prefixes or ()):
            for names, records in self._refs.ref_records(start, stop):
                chunk = []
                for name, record in zip(names, records, strict=True):
                    # A table may hold names that would break the lines they are told in.
                    if (self._hidden and name in self._hidden) or not is_legal(name):
                        continue
                    if record.value is None:
                        shown = self._show(name) if record.target is not None else None
                        if shown is not None:
                            chunk.append(shown)
                        continue
                    oid = b2a_hex(record.value)
                    if not self._exists(oid):
                        continue
                    peeled = None
                    if record.peeled is not None:
                        peeled = b2a_hex(record.peeled)
                    elif name.startswith(b"refs/tags/"):
                        # Whoever wrote it may not have peeled.
                        peeled = self._ask_peeled(oid)
                    chunk.append(Shown(name, oid, peeled))
                yield chunk

    def is_tip(self, oid: bytes, *, hidden_too: bool = False) -> bool:
        # Tags of the object are among them, too.
        for name in self._refs.refs_for_object(oid):
            if (hidden_too or name not in self._hidden) and self._refs.read_ref(name) == oid:
                return True
        # A detached HEAD was among the names; what remains is one that leads to a hidden branch.
        head = self.head()
        return head is not None and head.oid == oid


class CopiedView(_View):
    """A copy of refs in files."""

    def __init__(self, refs: RefsContainer, store: BaseObjectStore, hidden: HiddenRefs) -> None:
        super().__init__(refs, store, hidden)
        self._head = super().head()
        self._unborn = super().unborn_head()
        self._values = refs.as_dict()
        self._symrefs = _symrefs_of(refs)
        self._names = sorted(
            name for name in self._values if name.startswith(b"refs/") and is_legal(name)
        )
        self._oids = {
            oid for name, oid in self._values.items() if name not in hidden and self._exists(oid)
        }
        self._all_oids = set(self._values.values())

    def head(self) -> Shown | None:
        return self._head

    def unborn_head(self) -> bytes | None:
        return self._unborn

    def refs(self, prefix: bytes = b"") -> Iterator[list[Shown]]:
        chunk = []
        for name in self._names:
            if not name.startswith(prefix) or name in self._hidden:
                continue
            oid = self._values[name]
            if not self._exists(oid):
                continue
            target: bytes | None = self._symrefs.get(name)
            while target in self._symrefs:
                target = self._symrefs[Ref(target)]
            chunk.append(Shown(name, oid, self._peel_of(name, oid), target))
            if len(chunk) == 1000:
                yield chunk
                chunk = []
        yield chunk

    def is_tip(self, oid: bytes, *, hidden_too: bool = False) -> bool:
        return oid in (self._all_oids if hidden_too else self._oids)


def _symrefs_of(refs: RefsContainer) -> dict[Ref, Ref]:
    """Read the symrefs among refs in files; dulwich takes it ill if a ref is deleted meanwhile."""
    found = {}
    for name in refs.allkeys():
        value = refs.read_ref(name)
        if value is not None and value.startswith(SYMREF_PREFIX):
            found[name] = Ref(value[len(SYMREF_PREFIX) :])
    return found


def _ranges(
    prefix: bytes, excluded: tuple[bytes, ...] | list[bytes]
) -> Iterator[tuple[bytes, bytes | None]]:
    """Give the parts of what is below ``refs/`` and a prefix that no excluded prefix covers."""
    if not (prefix.startswith(b"refs/") or b"refs/".startswith(prefix)):
        return
    start = max(prefix, b"refs/")
    end = prefix_end(start)
    for cut in sorted(excluded):
        behind = prefix_end(cut)
        if behind is None or behind <= start or (end is not None and cut >= end):
            continue
        if cut > start:
            yield start, cut
        start = behind
        if end is not None and start >= end:
            return
    yield start, end
