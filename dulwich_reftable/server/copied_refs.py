# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Refs in files that are advertised: an open ``packed-refs``, and a copy of all other refs.

Each ref is read once, loose refs first: git removes the file of a ref when ``packed-refs`` has it.
Symrefs are followed within what was read. So what is shown stays as it is even if refs change.
"""

from __future__ import annotations

import os
from binascii import a2b_hex
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterator
from functools import cached_property
from hashlib import sha256

from dulwich.objects import valid_hexsha
from dulwich.refs import HEADREF, DiskRefsContainer, RefsContainer

from ..naming.names import is_legal, may_be_illegal
from ..naming.symrefs import MAX_SYMREF_DEPTH, is_symref, resolve
from ..objects.reader import ObjectReader
from ..repo.files_refs import WatchedFilesRefs, loose_refs
from ..repo.packed_refs import PackedChunk, PackedRefs
from .advertised_refs import CHUNK, AdvertisedRef, AdvertisedRefs
from .hidden_refs import HiddenRefs

__all__ = ["CopiedRefs"]


class CopiedRefs(AdvertisedRefs):
    """The refs of a container that offers no snapshot."""

    def __init__(self, refs: RefsContainer, objects: ObjectReader, hidden: HiddenRefs) -> None:
        super().__init__(objects, hidden)
        self._packed = PackedRefs()
        self._place: Hashable = None
        if isinstance(refs, DiskRefsContainer):
            values = loose_refs(refs)
            self._place = refs.path, refs.worktree_path
            self._packed = PackedRefs.open(os.path.join(refs.path, b"packed-refs"))
            if isinstance(refs, WatchedFilesRefs):
                refs.check_format()  # they may have been migrated meanwhile
        else:
            names = {*refs.allkeys(), HEADREF}
            values = {name: value for name in names if (value := refs.read_ref(name)) is not None}
        self._values = {
            name: value
            for name, value in values.items()
            if is_legal(name) and (is_symref(value) or valid_hexsha(value))
        }
        self._names = sorted(name for name in self._values if name.startswith(b"refs/"))

    @property
    def identity(self) -> tuple[Hashable, Hashable] | None:
        """The place and the rules; the packed refs, the others, and the packs that there are."""
        hidden, packed, objects = (
            self._hidden.identity,
            self._packed.identity,
            self._objects.identity,
        )
        if self._place is None or None in (hidden, packed, objects):
            return None
        others = b"\n".join(b"%s %s" % pair for pair in sorted(self._values.items()))
        return (self._place, hidden), (packed, sha256(others).digest(), objects)

    def _read(self, name: bytes) -> bytes | None:
        value = self._values.get(name)
        if value is None and name.startswith(b"refs/") and is_legal(name):
            value = self._packed.find(name)
        return value

    def _follow(self, name: bytes) -> tuple[bytes, bytes | None]:
        names, value = resolve(name, self._read, MAX_SYMREF_DEPTH + 1)
        if value is not None and is_symref(value):
            return name, None
        return names[-1], value

    def refs(self, prefix: bytes = b"") -> Iterator[list[AdvertisedRef]]:
        """List the refs below ``refs/``, in order of their names."""
        names = self._names
        at = bisect_left(names, prefix)
        end = at + sum(name.startswith(prefix) for name in names[at:])
        for chunk in self._packed.chunks(prefix):
            until = bisect_right(names, chunk.names[-1], at, end)
            yield self._chunk(*self._columns(chunk, names[at:until]))
            at = until
        for start in range(at, end, CHUNK):
            some = names[start : min(start + CHUNK, end)]
            yield self._chunk(*self._columns(PackedChunk([], [], []), some))

    def _columns(
        self, packed: PackedChunk, loose: list[bytes]
    ) -> tuple[list[bytes], list[bytes | None], list[bytes | None]]:
        """Merge some packed refs and some loose ones, which hide packed ones of the same names.

        Returns: names, in order, and beside each its object id in bytes, or None for a symref, and
          what it peels to, in bytes, or None if that is not known
        """
        names, values, peeled = packed
        if loose or not _are_legal(names):
            refs = {
                name: (value, final)
                for name, value, final in zip(*packed, strict=True)
                if name.startswith(b"refs/") and is_legal(name)
            }
            refs.update((name, (self._values[name], b"")) for name in loose)
            names = sorted(refs)
            values, peeled = ([refs[name][place] for name in names] for place in (0, 1))
        oids = [None if is_symref(value) else a2b_hex(value) for value in values]
        return names, oids, [a2b_hex(final) if final else None for final in peeled]

    @cached_property
    def _tips(self) -> dict[bytes, bool]:
        """The objects that refs point to; True if one of these refs is not hidden."""
        tips: dict[bytes, bool] = {}
        hidden = self._hidden
        for name in self._values:
            last, oid = self._follow(name)
            if oid is not None:
                is_hidden = name in hidden or hidden.conceals(last)
                tips[oid] = tips.get(oid, False) or not is_hidden
        for chunk in self._packed.chunks(b"refs/"):
            for name, oid in zip(chunk.names, chunk.values, strict=True):
                if name not in self._values and is_legal(name):
                    tips[oid] = tips.get(oid, False) or name not in hidden
        return tips

    def is_tip(self, oid: bytes, *, hidden_too: bool = False) -> bool:
        """Tell whether a ref points to an object."""
        is_advertised = self._tips.get(oid)
        return is_advertised is not None and (is_advertised or hidden_too) and self._exists(oid)


def _are_legal(names: list[bytes]) -> bool:
    """Tell whether refs may have these names, which ascend, below ``refs/``."""
    if not names:
        return True
    is_below = names[0].startswith(b"refs/") and names[-1].startswith(b"refs/")
    return is_below and not may_be_illegal(names)
