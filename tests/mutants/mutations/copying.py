"""Faults in copies of repositories, in waiting for a store, and in gc after pushes."""

from __future__ import annotations

from ..mutation import Mutation

_COPY = ("copying/test_copy.py",)
_COPY_GIT = ("copying/test_copy_git.py",)
_INTERRUPTS = ("bucket/test_interrupts.py",)
_AUTO_GC = ("bucket/test_auto_gc.py",)

MUTATIONS = (
    Mutation(
        "copy-over-what-others-wrote",
        "copying/run.py",
        "        if not is_first and before not in (*marker.states, wanted):\n",
        "        if False:\n",
        "an update of a copy drops refs that somebody has written there",
        _COPY,
    ),
    Mutation(
        "copy-marks-only-the-new-state",
        "copying/run.py",
        "        target.mark(Marker(source.location, (before, wanted)))\n",
        "        target.mark(Marker(source.location, (wanted,)))\n",
        "a copy that is killed before its refs are written can never be finished",
        _COPY,
    ),
    Mutation(
        "copy-without-the-objects-of-refs",
        "copying/run.py",
        "        for oid in target.missing(names):\n",
        "        for oid in target.missing(()):\n",
        "refs are copied whose objects are not there",
        _COPY,
    ),
    Mutation(
        "copy-publishes-before-refs",
        "copying/run.py",
        "        self._write_refs(snapshot, wanted, marker)\n",
        "        target.finish(source.traits)\n"
        "        self._write_refs(snapshot, wanted, marker)\n",
        "a copy that is killed is a repository without refs",
        _COPY,
    ),
    Mutation(
        "copy-sends-packs-again",
        "copying/bucket.py",
        "            if left.checksum == checksum and ",
        "            if False and ",
        "a copy that is tried again uploads what is there",
        _COPY,
    ),
    Mutation(
        "copy-of-unchecked-packs",
        "copying/pack_files.py",
        "    if digest.digest() != end:\n",
        "    if False:\n",
        "a damaged pack is copied, and nobody is told",
        _COPY,
    ),
    Mutation(
        "copy-keeps-old-reflog-entries",
        "copying/refs_state.py",
        "        if not grows:\n            yield from",
        "        if False:\n            yield from",
        "entries that were expired at the source stay in the copy",
        _COPY,
    ),
    Mutation(
        "copy-stays-shallow",
        "copying/bucket.py",
        "        if traits.shallow is None and _read(self._files, SHALLOW) is not None:\n",
        "        if False:\n",
        "the copy of a repository that got its whole history ends where it did before",
        _COPY_GIT,
    ),
    Mutation(
        "copy-takes-alternates-for-sha1",
        "copying/directory.py",
        "                    alternate.object_format = self._format",
        "                    pass",
        "a SHA-256 repository with alternates cannot be copied",
        _COPY_GIT,
    ),
    Mutation(
        "bucket-ctrl-c-waits-for-the-store",
        "bucket/requests.py",
        '            if self.kind == "memory" or threading',
        "            if self.kind or threading",
        "Ctrl-C has no effect while a store does not answer",
        _INTERRUPTS,
    ),
    Mutation(
        "bucket-ctrl-c-and-then-requests",
        "bucket/storage.py",
        "        if claim is not None and not is_ending():  # else it lapses\n",
        "        if claim is not None:\n",
        "after Ctrl-C, a compaction waits for a store that does not answer",
        _INTERRUPTS,
    ),
    Mutation(
        "bucket-interrupted-table-is-removed",
        "bucket/change.py",
        "            self.may_be_swapped = isinstance(error, OutcomeUnknownError)\n",
        "            self.may_be_swapped = False\n",
        "a table is removed that a put which comes late lists",
        ("bucket/test_unknown.py",),
    ),
    Mutation(
        "bucket-auto-gc-of-every-server",
        "bucket/auto_gc.py",
        "    if last is not None and now - last.modified < _PAUSE:\n",
        "    if False:\n",
        "each server merges what another one is merging",
        _AUTO_GC,
    ),
    Mutation(
        "bucket-auto-gc-cannot-be-switched-off",
        "server/receive_pack/handler.py",
        "            if self.settings.auto_gc and isinstance(self.repo, BucketRepo):\n",
        "            if isinstance(self.repo, BucketRepo):\n",
        "receive.autogc has no effect",
        _AUTO_GC,
    ),
    Mutation(
        "bucket-auto-gc-counts-retired-packs",
        "bucket/auto_gc.py",
        "        if not limit or sum(pack.retired is None for pack in packs) <= limit:\n",
        "        if not limit or len(packs) <= limit:\n",
        "gc is run again and again until the packs that it has retired are gone",
        _AUTO_GC,
    ),
)
