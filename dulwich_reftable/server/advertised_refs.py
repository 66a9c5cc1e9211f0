# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The refs that a server shows to one client: those of one moment, without the hidden ones.

All answers of one connection come from one :class:`AdvertisedRefs`, so they agree even if refs move
meanwhile. :mod:`.pinned_refs` makes them: of refs in reftables and of refs in files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from binascii import b2a_hex
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

from dulwich.objects import Tag
from dulwich.refs import HEADREF

from ..naming.names import is_legal
from ..objects.reader import ObjectReader
from .hidden_refs import HiddenRefs
from .tag_peeler import TagPeeler

__all__ = ["CHUNK", "AdvertisedRef", "AdvertisedRefs"]

_EXISTING_KEPT = 1 << 16
"""How many objects are remembered to exist."""
CHUNK = 1000
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

    Attributes:
      is_settled: whether all that was told so far will be the same as long as :attr:`identity` is
    """

    def __init__(self, objects: ObjectReader, hidden: HiddenRefs) -> None:
        self._hidden = hidden
        self._objects = objects
        self._peeler = TagPeeler(objects)
        self._existing: set[bytes] = set()
        self.is_settled = True

    @property
    def identity(self) -> tuple[Hashable, Hashable] | None:
        """Whose refs these are, with the hidden ones; and their state. None if nothing tells it."""
        return None

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
        if oid is None or self._hidden.conceals(last):
            return None
        if not self._exists(oid):
            self.is_settled = False  # it may be put there, without any other change
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
            self.is_settled = False
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
