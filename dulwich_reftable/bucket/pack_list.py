# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Know which packs a bucket has, with few requests.

The packs are what a listing of ``objects/pack`` shows. There is no list object beside it: pushes of
many servers would all have to swap it, and the large stores list consistently. A pack counts once
its index is listed, which is uploaded after it. The mark ``.retired`` says that ``gc`` has copied
all that is needed of a pack to others; the pack is still read, because a request that began earlier
may know no other.

A listing is one request, so a miss is not a reason for one. An object that is not in the known
packs is looked for in a new listing only if there may be one with it:

* after :meth:`PackList.expect_news`, which whoever reads refs calls when they have changed. A push
  uploads packs before it writes refs, so an object that a ref names is found at once;
* or if the known listing is older than a second, for objects that no ref has told of.

An old listing may name packs that are gone by now, of which there still are copies in the cache. So
no listing is used for longer than some minutes, a time that is short beside the grace period of gc.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from dulwich.errors import ChecksumMismatch

from .client import Bucket, ObjectInfo
from .errors import MissingObjectError
from .pack_name import PREFIX, PackName
from .packs import StoredPack

__all__ = ["TRUSTED_FOR", "PackList", "Parts"]

TRUSTED_FOR = 300.0
"""Seconds after which a listing is not used any more."""

Parts = dict[str, ObjectInfo]
"""The objects of one pack, by their suffixes: ``pack``, ``idx``, ``retired``."""


class PackList:
    """The packs of a bucket. Threads may share it.

    Args:
      bucket: the bucket
      hex_length: digits of a checksum
      make: makes a pack of its name, of what the listing says of it and of its index
      max_age: seconds after which a miss asks for a new listing in any case

    Attributes:
      remains: objects of packs that are not complete, as of the latest listing
    """

    def __init__(
        self,
        bucket: Bucket,
        hex_length: int,
        make: Callable[[PackName, ObjectInfo, ObjectInfo], StoredPack],
        max_age: float,
    ) -> None:
        self._bucket = bucket
        self._hex_length = hex_length
        self._make = make
        self._max_age = max_age
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # one listing at a time
        self._packs: tuple[StoredPack, ...] = ()  # what was of use last comes first, retired last
        self._listed_at: float | None = None
        self._has_news = False
        self._added: set[PackName] = set()  # since the latest listing began
        self.remains: dict[PackName, Parts] = {}

    def known(self) -> tuple[StoredPack, ...]:
        """Give the known packs without a request, those in use before the retired ones."""
        return self._packs

    def trusted(self) -> tuple[StoredPack, ...]:
        """Give the known packs, from a listing that is not too old."""
        listed_at = self._listed_at
        if listed_at is None or time.monotonic() - listed_at > TRUSTED_FOR:
            self.refresh()
        return self._packs

    def read_indexes(self, packs: Iterable[StoredPack]) -> None:
        """Fetch the indexes of packs that have not been looked into yet, side by side.

        A problem of a pack is told by whoever looks into it.
        """

        def read(pack: StoredPack) -> None:
            with suppress(MissingObjectError, ChecksumMismatch):
                _ = pack.index

        calls = [partial(read, pack) for pack in packs if not pack.has_index]
        self._bucket.client.side_by_side(calls)

    def expect_news(self) -> None:
        """Say that refs have changed: the next miss asks for a new listing."""
        self._has_news = True

    def is_outdated(self) -> bool:
        """Tell whether a miss is a reason to list again."""
        listed_at = self._listed_at
        if listed_at is None or self._has_news:
            return True
        return time.monotonic() - listed_at > self._max_age

    def prefer(self, pack: StoredPack) -> None:
        """Look into a pack first from now on: neighbouring objects are often in the same one."""
        packs = self._packs
        if packs and packs[0] is not pack and pack.retired is None:
            with self._lock:
                if pack in self._packs:
                    self._packs = (pack, *(other for other in self._packs if other is not pack))

    def add(self, pack: StoredPack) -> None:
        """Add a pack that this process has uploaded."""
        with self._lock:
            self._packs = (pack, *self._packs)
            self._added.add(pack.name)

    def refresh(self) -> bool:
        """List the packs.

        Returns: whether there are other packs than before
        Raises:
          StorageError: one of :mod:`.errors`
        """
        with self._turn:
            began = time.monotonic()
            self._has_news = False  # what comes from now on may not be listed
            with self._lock:
                self._added.clear()
                before = {pack.name: pack for pack in self._packs}
            found, remains = self._parts(self._bucket.list(PREFIX))
            packs = {}
            for name, parts in found.items():
                pack = before.get(name) or self._make(name, parts["pack"], parts["idx"])
                pack.modified = parts["pack"].modified
                pack.retired = parts["retired"].modified if "retired" in parts else None
                packs[name] = pack
            with self._lock:
                packs.update((pack.name, pack) for pack in self._packs if pack.name in self._added)
                places = {pack.name: place for place, pack in enumerate(self._packs)}
                self._packs = tuple(
                    sorted(
                        packs.values(),
                        key=lambda pack: (pack.retired is not None, places.get(pack.name, -1)),
                    )
                )
                self.remains = remains
                self._listed_at = began
            return packs.keys() != before.keys()

    def _parts(
        self, infos: Iterable[ObjectInfo]
    ) -> tuple[dict[PackName, Parts], dict[PackName, Parts]]:
        """Sort objects by packs; gives the complete ones, and the others."""
        found: dict[PackName, Parts] = {}
        for info in infos:
            stem, _, suffix = info.key.rpartition("/")[2].rpartition(".")
            name = PackName.parse(stem, self._hex_length)
            if name is not None and suffix in ("pack", "idx", "retired"):
                found.setdefault(name, {})[suffix] = info
        whole = {name for name, parts in found.items() if {"pack", "idx"} <= parts.keys()}
        return (
            {name: parts for name, parts in found.items() if name in whole},
            {name: parts for name, parts in found.items() if name not in whole},
        )
