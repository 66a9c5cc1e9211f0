# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Refs in reftables that are advertised: a snapshot, which keeps reading the tables of its moment.

Listing streams, and the scan seeks past hidden refs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

from dulwich.refs import Ref, SymrefLoop

from ..engine.format.records import RefRecord
from ..objects.reader import ObjectReader
from ..refs.container import ReftableRefsContainer
from .advertised_refs import CHUNK, AdvertisedRef, AdvertisedRefs
from .hidden_refs import HiddenRefs

__all__ = ["SnapshotRefs"]


class SnapshotRefs(AdvertisedRefs):
    """The refs of a snapshot of reftables."""

    def __init__(
        self, refs: ReftableRefsContainer, objects: ObjectReader, hidden: HiddenRefs
    ) -> None:
        super().__init__(objects, hidden)
        self._refs = refs.snapshot()

    @property
    def identity(self) -> tuple[Hashable, Hashable] | None:
        """The places of refs and objects and the rules; the tables and packs that there are."""
        objects, hidden = self._objects.identity, self._hidden.identity
        if objects is None or hidden is None:
            return None
        stacks = self._refs.identity
        return (tuple(place for place, _ in stacks), hidden), (stacks, objects)

    def _follow(self, name: bytes) -> tuple[bytes, bytes | None]:
        try:
            names, oid = self._refs.follow(Ref(name))
        except SymrefLoop:
            return name, None
        if not all(name.startswith(b"refs/") for name in names[1:]):
            self.is_settled = False  # a file, or a ref of another worktree
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


def _larger(
    chunks: Iterable[tuple[Sequence[bytes], Sequence[RefRecord]]],
) -> Iterator[tuple[list[bytes], list[RefRecord]]]:
    """Put chunks together to larger ones."""
    names: list[bytes] = []
    records: list[RefRecord] = []
    for more_names, more_records in chunks:
        names += more_names
        records += more_records
        if len(names) >= CHUNK:
            yield names, records
            names, records = [], []
    yield names, records
