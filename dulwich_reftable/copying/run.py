# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A copy, step by step. Whoever ends it early leaves no repository, or the one that was there.

1. The refs and reflogs of the source are read: those of one moment.
2. The packs that the destination lacks are sent, each after its checksum was verified; then the
   objects that are in no pack. A pack that is gone by then was replaced by another: packs are
   listed again.
3. What was sent is read back and verified. Every object that a ref names has to be there.
4. The refs and reflogs are written, in one swap, and read back.
5. The destination becomes a repository.

A *marker* in the destination says what it is a copy of, and which refs and reflogs a copy has left
there. Another try of the same copy sends only what is missing. An update replaces the refs only if
they are those that a copy has left: what somebody else has written there is not overwritten.
"""

from __future__ import annotations

import os

from ..bucket import is_bucket_url, open_store
from ..bucket.client import Bucket
from ..engine.stack.addition import Addition
from ..engine.table.merged import Merged
from .bucket import BucketSource, BucketTarget
from .directory import DirectorySource, DirectoryTarget
from .refs_state import digest_of, object_ids, write_difference
from .report import Copy, CopyError, Progress
from .sides import Marker, PackFiles, Source, SourcePack, Target

__all__ = ["copy_repository"]

_ROUNDS = 5
"""How often packs are listed, if some vanish meanwhile."""


def copy_repository(
    source: str | os.PathLike[str] | Bucket,
    destination: str | os.PathLike[str] | Bucket,
    *,
    update: bool = False,
    progress: Progress | None = None,
) -> Copy:
    """Copy a repository with all refs, reflogs and objects; the copy is bare and has reftables.

    Linked worktrees, hooks and indexes are not copied, and of the configuration only how the
    repository is kept and served; the result has notes of what was left behind.

    Args:
      source: a directory, the URL of a place in an object store, or a
        :class:`~dulwich_reftable.bucket.Bucket`
      destination: the same; nothing may be there, or what an unfinished copy has left
      update: whether to bring an earlier copy up to date
      progress: is told of the progress
    Returns: what was done
    Raises:
      NotGitRepository: if the source is no repository
      CopyError: if something else is at the destination; if somebody has written to the copy since;
        if an object that a ref names is missing in the source
      ChecksumMismatch: if a pack is damaged
      ReftableError: if reading or writing failed; the copy can be tried again
    """
    opened: Source = (
        DirectorySource(found) if isinstance(found := _place(source), str) else BucketSource(found)
    )
    try:
        place = _place(destination)
        target: Target = DirectoryTarget(place) if isinstance(place, str) else BucketTarget(place)
        try:
            return _Run(opened, target, progress or (lambda phase, done, total: None)).run(update)
        finally:
            target.close()
    finally:
        opened.close()


def _place(place: str | os.PathLike[str] | Bucket) -> str | Bucket:
    if isinstance(place, Bucket):
        return place
    path = os.fspath(place)
    return open_store(path) if is_bucket_url(path) else path


class _Run:
    def __init__(self, source: Source, target: Target, progress: Progress) -> None:
        self._source = source
        self._target = target
        self._progress = progress
        self._done = Copy()
        self._sent: list[str] = []

    def run(self, update: bool) -> Copy:
        source, target = self._source, self._target
        marker = self._marker(update)
        snapshot = source.refs()
        wanted = digest_of(snapshot, self._done)
        target.begin(marker, source.traits)
        self._send_objects()
        self._check_objects(snapshot)
        self._write_refs(snapshot, wanted, marker)
        target.finish(source.traits)
        target.mark(Marker(source.location, (wanted,)))
        self._done.notes += source.notes
        return self._done

    def _marker(self, update: bool) -> Marker:
        """Look at what is at the destination; give the marker that it has, or is to have."""
        source, target = self._source, self._target
        state = target.state()
        if source.location == target.location:
            raise CopyError(f"{source.location} cannot be copied to itself")
        if state.is_empty:
            return Marker(source.location)
        if state.marker is None:
            what = "a repository" if state.is_repository else "something else"
            raise CopyError(f"{target.location}: {what} is there already, which is no copy")
        if state.marker.source != source.location:
            raise CopyError(f"{target.location} is a copy of {state.marker.source}")
        if state.is_repository:
            if not update:
                raise CopyError(f"{target.location} is a copy already: ask for an update of it")
            if target.hash_size() != source.traits.hash_size:
                raise CopyError(f"{target.location} has another object format")
        return state.marker

    # Objects

    def _send_objects(self) -> None:
        source, target = self._source, self._target
        for left in reversed(range(_ROUNDS)):
            try:
                self._send_packs(source.packs())
                break
            except FileNotFoundError:
                # Somebody has repacked the source. What was sent stays.
                if not left:
                    raise
        with target.work_folder() as folder:
            for files in source.unpacked(folder, target):
                self._add(files)

    def _send_packs(self, packs: list[SourcePack]) -> None:
        source, target = self._source, self._target
        total, done = sum(pack.size for pack in packs), 0
        for pack in packs:
            self._progress("packs", done, total)
            if not self._has(pack):
                with target.work_folder() as folder, source.fetched(pack, folder) as files:
                    self._add(files)
            done += pack.size
        self._done.present = max(len(packs) - len(self._sent), 0)
        self._progress("packs", total, total)

    def _has(self, pack: SourcePack) -> bool:
        """Tell whether the destination has a pack, or all of its objects in others."""
        target = self._target
        checksums = target.checksums()
        if not checksums or pack.checksum in checksums:
            return bool(checksums)
        return next(target.missing(self._source.index_of(pack)), None) is None

    def _add(self, files: PackFiles) -> None:
        checksum = files.checksum
        if checksum not in self._target.checksums():
            self._target.add_pack(files)
        self._sent.append(checksum)
        self._done.packs += 1

    def _check_objects(self, snapshot: Merged) -> None:
        """Verify what was sent, and look for the object of each ref."""
        source, target = self._source, self._target
        for at, checksum in enumerate(self._sent):
            self._progress("checks", at, len(self._sent))
            target.check_pack(checksum)
        self._progress("checks", len(self._sent), len(self._sent))
        for pack in source.packs():
            if not self._has(pack):
                raise CopyError(f"{source.location}: somebody writes to it; try again")
        names = {oid: name for name, oid in object_ids(snapshot)}
        for oid in target.missing(names):
            name = names[oid].decode(errors="backslashreplace")
            raise CopyError(
                f"{source.location}: object {oid.hex()} is missing, which '{name}' points to"
            )

    # Refs

    def _write_refs(self, snapshot: Merged, wanted: str, marker: Marker) -> None:
        source, target = self._source, self._target
        stack = target.open_stack(source.traits)
        before = digest_of(stack.snapshot())
        is_first = not target.state().is_repository
        if not is_first and before not in (*marker.states, wanted):
            raise _written_meanwhile(target.location)
        if before == wanted:
            return
        # If this ends between the two writes, either state is that of a copy.
        target.mark(Marker(source.location, (before, wanted)))

        def work(addition: Addition) -> None:
            if digest_of(addition.snapshot) != before:
                raise _written_meanwhile(target.location)
            write_difference(addition, snapshot)

        stack.update(work)
        if digest_of(stack.snapshot()) != wanted:
            raise _written_meanwhile(target.location)


def _written_meanwhile(location: str) -> CopyError:
    return CopyError(f"{location}: somebody has written refs there since they were copied")
