# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The refs that a server shows to one client: those of one moment, without the hidden ones.

All answers of one connection come from one :class:`AdvertisedRefs`, so they agree even if refs move
meanwhile. On reftables it is a snapshot, which keeps reading the tables of its moment: listing
streams, and the scan seeks past hidden refs. On files it is a copy of all refs, because files offer
no snapshot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from binascii import a2b_hex, b2a_hex
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from dulwich.objects import Tag, valid_hexsha
from dulwich.refs import HEADREF, Ref, RefsContainer, SymrefLoop

from ..engine.format.records import RefRecord
from ..naming.names import is_legal
from ..naming.symrefs import MAX_SYMREF_DEPTH, is_symref, resolve
from ..objects.reader import ObjectReader
from ..refs.container import ReftableRefsContainer
from .hidden_refs import HiddenRefs
from .tag_peeler import TagPeeler

__all__ = ["AdvertisedRef", "AdvertisedRefs", "pin_refs"]

_EXISTING_KEPT = 1 << 16
"""How many objects are remembered to exist."""
_CHUNK = 1000
"""How many refs are listed, and their objects looked up, at once."""
_BRANCHES = b"refs/heads/"
"""The refs that point to commits, and need not be peeled."""


class AdvertisedRef(NamedTuple):
    """A ref as a client sees it.

    Attributes:
      name: full name
      oid: hex object id; of a symref, that of its final target
      peeled: hex id of what an annotated tag finally points to; None for other objects
      target: final target of a symref; None for other refs
    """

    name: bytes
    oid: bytes
    peeled: bytes | None = None
    target: bytes | None = None


# Makes one of a tuple of all fields; calling the class takes longer.
_make_ref: Callable[[type[AdvertisedRef], tuple[Any, ...]], AdvertisedRef] = tuple.__new__


class AdvertisedRefs(ABC):
    """The refs that one client sees.

    Args:
      objects: a ref is not advertised if its object does not exist
      hidden: the refs that are not advertised
    """

    def __init__(self, objects: ObjectReader, hidden: HiddenRefs) -> None:
        self._hidden = hidden
        self._objects = objects
        self._peeler = TagPeeler(objects)
        self._existing: set[bytes] = set()

    def head(self) -> AdvertisedRef | None:
        """Find HEAD, if it leads to an object."""
        return None if HEADREF in self._hidden else self._resolve(HEADREF)

    def unborn_head(self) -> bytes | None:
        """Find the branch that HEAD leads to, if the branch does not exist yet."""
        last, oid = self._follow(HEADREF)
        if oid is not None or last == HEADREF or not is_legal(last):
            return None
        return None if HEADREF in self._hidden or last in self._hidden else last

    def find(self, name: bytes) -> AdvertisedRef | None:
        """Find an advertised ref by its full name."""
        if name == HEADREF:
            return self.head()
        # A name that is not legal could be another spelling of a hidden one.
        is_candidate = name.startswith(b"refs/") and is_legal(name) and name not in self._hidden
        return self._resolve(name) if is_candidate else None

    @abstractmethod
    def refs(self, prefix: bytes = b"") -> Iterator[list[AdvertisedRef]]:
        """List the refs below ``refs/``, in order of their names.

        Args:
          prefix: only names that begin so are listed
        Yields: chunks of refs, which may be empty
        """

    @abstractmethod
    def is_tip(self, oid: bytes, *, hidden_too: bool = False) -> bool:
        """Tell whether a ref points to an object.

        Args:
          oid: hex object id
          hidden_too: whether hidden refs count
        """

    def tips(self) -> Iterator[bytes]:
        """List the hex object ids of all advertised refs."""
        head = self.head()
        if head is not None:
            yield head.oid
        for chunk in self.refs():
            for ref in chunk:
                yield ref.oid

    @abstractmethod
    def _follow(self, name: bytes) -> tuple[bytes, bytes | None]:
        """Follow symrefs; gives the last name, and its object id if that ref exists."""

    def _resolve(self, name: bytes) -> AdvertisedRef | None:
        """Resolve a ref, which may be a symref; None if it leads to no object."""
        last, oid = self._follow(name)
        if oid is None or self._hidden.conceals(last) or not self._exists(oid):
            return None
        return AdvertisedRef(name, oid, self._peel_ref(last, oid), last if last != name else None)

    def _exists(self, oid: bytes) -> bool:
        existing = self._existing
        if oid in existing:
            return True
        if not self._objects.exists(oid):
            return False
        if len(existing) >= _EXISTING_KEPT:
            existing.clear()
        existing.add(oid)
        return True

    def _chunk(
        self,
        names: Sequence[bytes],
        oids: Sequence[bytes | None],
        peeled: Sequence[bytes | None],
    ) -> list[AdvertisedRef]:
        """Make a chunk of refs whose objects exist; many objects are looked up at once.

        Args:
          names: of the refs
          oids: beside each its object id in bytes; None for a symref
          peeled: beside each what it peels to, in bytes, if that is known
        """
        kinds = self._objects.packed_among({oid for oid in oids if oid is not None})
        kind_of: Any = kinds.get
        make, tag = _make_ref, Tag.type_num
        chunk = [
            make(AdvertisedRef, (name, b2a_hex(oid), None, None))
            if oid and kind and kind != tag and final is None  # as most are
            else self._ref(name, oid, final, kind)
            for name, oid, final, kind in zip(names, oids, peeled, map(kind_of, oids), strict=True)
        ]
        hidden = self._hidden
        if hidden:
            return [ref for ref in chunk if ref is not None and ref.name not in hidden]
        return list(filter(None, chunk))

    def _ref(
        self, name: bytes, oid: bytes | None, peeled: bytes | None, kind: int | None
    ) -> AdvertisedRef | None:
        """Make one ref of what :meth:`_chunk` knows; None if it is not advertised.

        Args:
          name: of the ref
          oid: its object id in bytes; None for a symref
          peeled: what it peels to, in bytes, if that is known
          kind: number of the object's type; 0 or None if only the object store can tell
        """
        if oid is None:
            return self._resolve(name)
        digits = b2a_hex(oid)
        if kind is None and not self._exists(digits):
            return None
        if peeled is not None:
            return AdvertisedRef(name, digits, b2a_hex(peeled))
        is_tag = kind in (None, 0, Tag.type_num)
        return AdvertisedRef(name, digits, self._peel_object(name, digits) if is_tag else None)

    def _peel_ref(self, name: bytes, oid: bytes) -> bytes | None:
        """Peel the object of a ref that is no symref."""
        return self._peel_object(name, oid)

    def _peel_object(self, name: bytes, oid: bytes) -> bytes | None:
        """Peel the object of a ref by the object store; a branch is a commit."""
        if name.startswith(_BRANCHES):
            return None
        return self._peeler.peel(oid)


def pin_refs(refs: RefsContainer, objects: ObjectReader, hidden: HiddenRefs) -> AdvertisedRefs:
    """Take the refs of this moment.

    Args:
      refs: of a repository
      objects: those of the repository; a ref is not advertised if its object does not exist
      hidden: the refs that are not advertised
    """
    kind = SnapshotRefs if isinstance(refs, ReftableRefsContainer) else CopiedRefs
    return kind(refs, objects, hidden)  # type: ignore[arg-type]


class SnapshotRefs(AdvertisedRefs):
    """The refs of a snapshot of reftables."""

    def __init__(
        self, refs: ReftableRefsContainer, objects: ObjectReader, hidden: HiddenRefs
    ) -> None:
        super().__init__(objects, hidden)
        self._refs = refs.snapshot()

    def _follow(self, name: bytes) -> tuple[bytes, bytes | None]:
        try:
            names, oid = self._refs.follow(Ref(name))
        except SymrefLoop:
            return name, None
        return names[-1], oid

    def _peel_ref(self, name: bytes, oid: bytes) -> bytes | None:
        peeled = self._refs.get_peeled(Ref(name))
        # A record without a peeled value says nothing: not every writer peels.
        return self._peel_object(name, oid) if peeled in (None, oid) else peeled

    def refs(self, prefix: bytes = b"") -> Iterator[list[AdvertisedRef]]:
        """List the refs below ``refs/``, in order of their names."""
        scan = self._refs.ref_records(prefix, self._hidden.prefixes or ())
        for names, records in _larger(scan):
            oids = [record.value for record in records]
            if None in oids:
                records = [record for record in records if not record.is_deletion]
                names = [record.name for record in records]
                oids = [record.value for record in records]
            yield self._chunk(names, oids, [record.peeled for record in records])

    def is_tip(self, oid: bytes, *, hidden_too: bool = False) -> bool:
        """Tell whether a ref points to an object."""
        # The index also lists refs whose tag peels to the object; those do not count.
        for name in self._refs.refs_for_object(oid):
            if (hidden_too or name not in self._hidden) and self._refs.read_ref(name) == oid:
                return True
        # The index lists no symrefs: HEAD may lead to a branch that is hidden.
        head = self.head()
        return head is not None and head.oid == oid


class CopiedRefs(AdvertisedRefs):
    """A copy of refs in files.

    It reads each ref once and follows symrefs within the copy. So the copy is consistent even if
    refs change while it is made.
    """

    def __init__(self, refs: RefsContainer, objects: ObjectReader, hidden: HiddenRefs) -> None:
        super().__init__(objects, hidden)
        self._values: dict[bytes, bytes] = {}
        for name in refs.allkeys() | {HEADREF}:
            value = refs.read_ref(name)
            if value is not None and is_legal(name) and _is_possible(value):
                self._values[name] = value
        self._names = sorted(name for name in self._values if name.startswith(b"refs/"))

    def _follow(self, name: bytes) -> tuple[bytes, bytes | None]:
        names, value = resolve(name, self._values.get, MAX_SYMREF_DEPTH + 1)
        if value is not None and is_symref(value):
            return name, None
        return names[-1], value

    def refs(self, prefix: bytes = b"") -> Iterator[list[AdvertisedRef]]:
        """List the refs below ``refs/``, in order of their names."""
        names = self._names
        for start in range(bisect_left(names, prefix), len(names), _CHUNK):
            if not names[start].startswith(prefix):
                break
            some = [name for name in names[start : start + _CHUNK] if name.startswith(prefix)]
            values = [self._values[name] for name in some]
            oids = [None if is_symref(value) else a2b_hex(value) for value in values]
            yield self._chunk(some, oids, [None] * len(some))

    @cached_property
    def _tips(self) -> dict[bytes, bool]:
        """The objects that refs point to; True if one of these refs is not hidden."""
        tips: dict[bytes, bool] = {}
        for name in self._values:
            last, oid = self._follow(name)
            if oid is not None:
                is_hidden = name in self._hidden or self._hidden.conceals(last)
                tips[oid] = tips.get(oid, False) or not is_hidden
        return tips

    def is_tip(self, oid: bytes, *, hidden_too: bool = False) -> bool:
        """Tell whether a ref points to an object."""
        is_advertised = self._tips.get(oid)
        return is_advertised is not None and (is_advertised or hidden_too) and self._exists(oid)


def _larger(
    chunks: Iterable[tuple[Sequence[bytes], Sequence[RefRecord]]],
) -> Iterator[tuple[list[bytes], list[RefRecord]]]:
    """Put chunks together to larger ones."""
    names: list[bytes] = []
    records: list[RefRecord] = []
    for more_names, more_records in chunks:
        names += more_names
        records += more_records
        if len(names) >= _CHUNK:
            yield names, records
            names, records = [], []
    yield names, records


def _is_possible(value: bytes) -> bool:
    """Tell whether a file holds a value that a ref can have."""
    return is_symref(value) or valid_hexsha(value)
