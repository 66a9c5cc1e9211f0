"""Faults in the objects of repositories in buckets."""

from __future__ import annotations

from ..mutation import Mutation

MUTATIONS = (
    Mutation(
        "bucket-gc-of-young-packs",
        "bucket/gc.py",
        "            elif self._is_old(pack.modified):\n",
        "            elif True:\n",
        "the objects of a push that has not written its refs yet are retired",
        ("bucket/test_gc.py",),
    ),
    Mutation(
        "bucket-gc-trusts-retired-packs",
        "bucket/gc.py",
        "        in_use = [pack for pack in packs if pack.retired is None]\n",
        "        in_use = [*packs]\n",
        "objects that a late ref needs are removed with their retired pack",
        ("bucket/test_gc.py",),
    ),
    Mutation(
        "bucket-gc-without-its-last-look",
        "bucket/gc.py",
        "        late = self._reach.walk(_Roots(self._refs))\n",
        "        late: set[RawObjectID] = set()\n",
        "an object is removed that a ref needs since gc began",
        ("bucket/test_gc.py",),
    ),
    Mutation(
        "bucket-gc-lists-before-it-reads-refs",
        "bucket/gc.py",
        "        roots = _Roots(self._refs)\n        store.pack_list.refresh()\n"
        "        packs = store.pack_list.known()\n",
        "        store.pack_list.refresh()\n        packs = store.pack_list.known()\n"
        "        roots = _Roots(self._refs)\n",
        "gc takes no notice of the pack of a push that has just ended",
        ("bucket/test_gc.py",),
    ),
    Mutation(
        "bucket-gc-without-reflogs",
        "bucket/gc.py",
        "        if isinstance(seen, RefsReader):\n",
        "        if False:\n",
        "objects that only reflogs name are removed",
        ("bucket/test_gc.py",),
    ),
    Mutation(
        "bucket-retired-packs-count",
        "bucket/object_search.py",
        "for pack in self._packs.trusted() if pack.retired is None]",
        "for pack in self._packs.trusted()]",
        "an object is not uploaded again although its only pack is about to go",
        ("bucket/test_gc.py",),
    ),
    Mutation(
        "bucket-no-news",
        "bucket/pack_list.py",
        "if listed_at is None or self._has_news:",
        "if listed_at is None:",
        "the objects of another server's push are not found",
        ("bucket/test_object_store.py",),
    ),
    Mutation(
        "bucket-each-miss-lists",
        "bucket/object_search.py",
        "            if not is_gone and not self._packs.is_outdated():\n",
        "            if False:\n",
        "each missing object costs a request",
        ("bucket/test_object_store.py",),
    ),
    Mutation(
        "bucket-objects-are-not-verified",
        "bucket/packs.py",
        "        if digest.digest() != oid:\n",
        "        if False:\n",
        "an exchanged pack gives other objects",
        ("bucket/test_object_store.py",),
    ),
    Mutation(
        "bucket-any-index-will-do",
        "bucket/packs.py",
        "        found = self._parse_index(buffer).pack_checksum.hex()\n",
        "        found = self.name.checksum\n",
        "an exchanged index makes objects vanish",
        ("bucket/test_object_store.py",),
    ),
    Mutation(
        "bucket-damaged-copies-stay",
        "bucket/pack_bytes.py",
        '            self._shelf.drop(f"{self._name}.pack")\n',
        "            pass\n",
        "a pack that is damaged in the cache is never fetched anew",
        ("bucket/test_object_store.py",),
    ),
    Mutation(
        "bucket-cache-trusts-the-disk",
        "bucket/cache.py",
        "                    if self._verified.get(name) != version:\n",
        "                    if False:\n",
        "what a power cut has damaged is read from the cache",
        ("bucket/test_cache.py",),
    ),
    Mutation(
        "bucket-cache-never-evicts",
        "bucket/cache.py",
        "        if total > self.limit:\n",
        "        if False:\n",
        "the cache fills the disk",
        ("bucket/test_cache.py",),
    ),
    Mutation(
        "bucket-last-object-of-a-pack",
        "bucket/pack_index.py",
        "return ordered[rank] if rank < len(ordered) else self._end",
        "return ordered[rank] if rank < len(ordered) else ordered[rank - 1]",
        "the last object of a pack is not read",
        ("bucket/test_object_store.py",),
    ),
)
