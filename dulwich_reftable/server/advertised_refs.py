# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The refs as one client sees them: pinned to one moment, without those that are hidden.

All that a server says about refs during a connection comes from one view, so that a ref that moves
meanwhile contradicts nothing. Of reftables a view is a snapshot, which goes on reading the tables
that it began with: listing streams, and hidden refs are sought past, not filtered. Of files it is
a copy of all refs, since nothing else holds them still.
"""

from __future__ import annotations

from binascii import b2a_hex
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple, Protocol

from dulwich.object_store import BaseObjectStore
from dulwich.objects import ObjectID, Tag, valid_hexsha
from dulwich.refs import HEADREF, Ref, RefsContainer, SymrefLoop

from ..engine.format.ref_scan import SYMREF_PREFIX
from ..refs.container import ReftableRefsContainer
from ..refs.names import is_legal, prefix_end
from ..refs.prepared_update import MAX_SYMREF_DEPTH
from ..repo.tags import TAG_HEADER
from .object_types import ObjectTypes
from .settings import HiddenRefs

__all__ = ["Shown", "View", "view_of"]

_KNOWN_OBJECTS = 1 << 16
"""How many objects a view remembers to exist."""
_CHUNK = 1000
"""How many refs in files are listed at once."""


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

    def find(self, name: bytes) -> Shown | None:
        """Give a ref by its full name, if it is shown."""

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

    def __init__(self, store: BaseObjectStore, hidden: HiddenRefs) -> None:
        self._store = store
        self._hidden = hidden
        self._types = ObjectTypes(store)
        self._known: set[bytes] = set()
        self._peeled: dict[bytes, bytes | None] = {}

    def _exists(self, oid: bytes) -> bool:
        known = self._known
        if oid in known:
            return True
        if not self._types.exists(oid):
            return False
        if len(known) >= _KNOWN_OBJECTS:
            known.clear()
        known.add(oid)
        return True

    def _ask_peeled(self, name: bytes, oid: bytes) -> bytes | None:
        """Peel by the object store what a ref holds; a branch is a commit."""
        if name.startswith(b"refs/heads/"):
            return None
        if oid not in self._peeled:
            if len(self._peeled) >= _KNOWN_OBJECTS:
                self._peeled.clear()
            self._peel(oid)
        return self._peeled[oid]

    def _peel(self, oid: bytes) -> None:
        """Note what a tag, and each tag on the way, finally points to; None for all else.

        As in git, what a tag says of the type of its object is believed, so that the last object
        need not be there. A tag that leads to a broken tag is not peeled.
        """
        tags: list[bytes] = []
        final: bytes | None = oid
        while final is not None and final not in self._peeled:
            tags.append(final)
            header = self._tag_header(final)
            final = None if header is None else header[0]
            if header is not None and header[1] != Tag.type_name:
                break
        else:
            final = None if final is None else self._peeled[final]
        self._peeled.update(dict.fromkeys(tags, final))

    def _tag_header(self, oid: bytes) -> tuple[bytes, bytes] | None:
        """Give what a tag is of, and the type that it names; None if it is no tag."""
        if self._types.type_of(oid) != Tag.type_num:
            return None
        found = TAG_HEADER.match(self._store.get_raw(ObjectID(oid))[1])
        return None if found is None else (found[1], found[2])

    def _follow(self, name: bytes) -> tuple[bytes, bytes | None]:
        """Follow a symref: gives the last name, and its object id if there is one."""
        raise NotImplementedError

    def _show(self, name: bytes) -> Shown | None:
        """Show a ref that may be a symref, if it leads to an object."""
        last, oid = self._follow(name)
        if oid is None or not self._exists(oid):
            return None
        return Shown(name, oid, self._peel_of(last, oid), last if last != name else None)

    def _peel_of(self, name: bytes, oid: bytes) -> bytes | None:
        """Peel what a ref holds that is no symref."""
        return self._ask_peeled(name, oid)

    def head(self) -> Shown | None:
        return None if HEADREF in self._hidden else self._show(HEADREF)

    def find(self, name: bytes) -> Shown | None:
        is_shown = name.startswith(b"refs/") and is_legal(name) and name not in self._hidden
        return self.head() if name == HEADREF else self._show(name) if is_shown else None

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

    def __init__(
        self, refs: ReftableRefsContainer, store: BaseObjectStore, hidden: HiddenRefs
    ) -> None:
        super().__init__(store, hidden)
        self._refs = refs.snapshot()

    def _follow(self, name: bytes) -> tuple[bytes, bytes | None]:
        try:
            names, oid = self._refs.follow(Ref(name))
        except SymrefLoop:
            return name, None
        return names[-1], oid

    def _peel_of(self, name: bytes, oid: bytes) -> bytes | None:
        peeled = self._refs.get_peeled(Ref(name))
        # A record without a peeled value says nothing; whoever wrote it may not have peeled.
        return self._ask_peeled(name, oid) if peeled in (None, oid) else peeled

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
                    else:
                        peeled = self._ask_peeled(name, oid)
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
    """A copy of refs in files.

    Each ref is read once, and symrefs are followed within the copy. So the copy does not
    contradict itself, even if refs change while it is made.
    """

    def __init__(self, refs: RefsContainer, store: BaseObjectStore, hidden: HiddenRefs) -> None:
        super().__init__(store, hidden)
        self._values: dict[bytes, bytes] = {}
        for name in refs.allkeys() | {HEADREF}:
            value = refs.read_ref(name)
            if value is not None and is_legal(name) and _is_possible(value):
                self._values[name] = value
        self._names = sorted(name for name in self._values if name.startswith(b"refs/"))

    def _follow(self, name: bytes) -> tuple[bytes, bytes | None]:
        last = name
        for _ in range(MAX_SYMREF_DEPTH + 1):
            value = self._values.get(last)
            if value is None or not value.startswith(SYMREF_PREFIX):
                return last, value
            last = value[len(SYMREF_PREFIX) :]
        return name, None

    def refs(self, prefix: bytes = b"") -> Iterator[list[Shown]]:
        names = self._names
        chunk = []
        for place in range(bisect_left(names, prefix), len(names)):
            name = names[place]
            if not name.startswith(prefix):
                break
            shown = None if name in self._hidden else self._show(name)
            if shown is not None:
                chunk.append(shown)
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
        yield chunk

    @cached_property
    def _tips(self) -> dict[bytes, bool]:
        """The objects that refs point to, and whether a ref that is shown does."""
        tips: dict[bytes, bool] = {}
        for name in self._values:
            oid = self._follow(name)[1]
            if oid is not None:
                tips[oid] = tips.get(oid, False) or name not in self._hidden
        return tips

    def is_tip(self, oid: bytes, *, hidden_too: bool = False) -> bool:
        is_shown = self._tips.get(oid)
        return is_shown is not None and (is_shown or hidden_too) and self._exists(oid)


def _is_possible(value: bytes) -> bool:
    """Tell whether a file holds what a ref can hold."""
    return value.startswith(SYMREF_PREFIX) or valid_hexsha(value)


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
