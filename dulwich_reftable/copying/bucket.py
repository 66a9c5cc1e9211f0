# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A place in an object store as an end of a copy.

The object ``config`` makes a repository of the place; it is written last.
"""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import cast

from dulwich.errors import ChecksumMismatch, NotGitRepository
from dulwich.object_format import get_object_format
from dulwich.objects import RawObjectID

from ..bucket.client import Bucket
from ..bucket.errors import MissingObjectError
from ..bucket.named_files import CONFIG, NamedFiles, key_of
from ..bucket.object_store import BucketObjectStore
from ..bucket.pack_bytes import read_pieces
from ..bucket.pack_name import PackName
from ..bucket.packs import StoredPack
from ..bucket.shallow import SHALLOW
from ..bucket.storage import BucketStorage
from ..compat import read_config
from ..config.files import naming_file
from ..config.ref_format import hash_size_of
from ..config.values import GitConfigFile
from ..engine.errors import StorageError
from ..engine.stack.stack import Stack
from ..engine.table.merged import Merged
from .pack_files import check_files, check_pieces
from .report import CopyError
from .sides import Marker, PackFiles, SourcePack, State, Target, Traits, traits_of

__all__ = ["BucketSource", "BucketTarget"]

_DESCRIPTION = "description"
_MARKER = "dulwich-reftable-copy"
"""Files of a repository."""

_LOCK_TIMEOUT = 10.0
"""Seconds for which a swap is tried while others are faster."""


class BucketSource:
    """A repository in an object store.

    Args:
      bucket: its place
    Raises:
      NotGitRepository: if there is none
      StorageError: one of :mod:`..bucket.errors`
    """

    def __init__(self, bucket: Bucket) -> None:
        self.location = bucket.location
        self._bucket = bucket
        files = NamedFiles(bucket)
        config = _config_of(bucket, files)
        description, shallow = _read(files, _DESCRIPTION), _read(files, SHALLOW)
        self.traits = traits_of(config, hash_size_of(config), description, shallow)
        self.notes = self.traits.notes
        self._format = get_object_format(self.traits.object_format)
        self._store = BucketObjectStore(bucket, object_format=self._format)

    def close(self) -> None:
        """Remove temporary files."""
        self._store.close()

    def refs(self) -> Merged:
        """Give the refs and reflogs of one moment."""
        return Stack(BucketStorage(self._bucket), self.traits.settings.write).snapshot()

    def packs(self) -> list[SourcePack]:
        """List the packs; retired ones come last, in case something is only there."""
        self._store.pack_list.refresh()
        found: dict[str, SourcePack] = {}
        for pack in self._store.pack_list.known():
            checksum = pack.name.checksum
            found.setdefault(checksum, SourcePack(checksum, pack.size, pack))
        return list(found.values())

    def index_of(self, pack: SourcePack) -> Iterator[bytes]:
        """Give the binary ids of the objects of a pack."""
        try:
            yield from cast(StoredPack, pack.key).index.oids()
        except MissingObjectError as error:
            raise FileNotFoundError(error.filename) from error

    @contextmanager
    def fetched(self, pack: SourcePack, folder: str) -> Iterator[PackFiles]:
        """Fetch a pack into a local directory, and check it."""
        stored = cast(StoredPack, pack.key)
        paths = os.path.join(folder, "fetched.pack"), os.path.join(folder, "fetched.idx")
        files = PackFiles(*paths, pack.checksum, is_ours=True)
        try:
            for path, key, size in (
                (files.pack_path, stored.name.pack_key, stored.size),
                (files.index_path, stored.name.index_key, stored.index_size),
            ):
                with open(path, "wb") as file:
                    for piece in read_pieces(self._bucket, key, size):
                        file.write(piece)
        except MissingObjectError as error:
            raise FileNotFoundError(error.filename) from error
        found = check_files(files.pack_path, files.index_path, self._format)
        if found != pack.checksum:
            location = self._bucket.locate(stored.name.pack_key)
            raise ChecksumMismatch(pack.checksum, found, location)
        yield files

    def unpacked(self, folder: str, known: Target) -> Iterator[PackFiles]:
        """Give nothing: all objects are in packs."""
        return iter(())


class BucketTarget:
    """A place in an object store that is to be a copy.

    Args:
      bucket: the place
    """

    def __init__(self, bucket: Bucket) -> None:
        self.location = bucket.location
        self._bucket = bucket
        self._files = NamedFiles(bucket)
        self._opened: BucketObjectStore | None = None

    def close(self) -> None:
        """Remove temporary files."""
        if self._opened is not None:
            self._opened.close()

    @property
    def _store(self) -> BucketObjectStore:
        assert self._opened is not None
        return self._opened

    def state(self) -> State:
        """Look at what is there."""
        text = _read(self._files, _MARKER)
        location = self._bucket.locate(key_of(_MARKER))
        marker = None if text is None else Marker.decode(text, location)
        is_repository = _read(self._files, CONFIG) is not None
        is_empty = not is_repository and marker is None and not any(self._bucket.list())
        return State(is_empty, is_repository, marker)

    def begin(self, marker: Marker, traits: Traits) -> None:
        """Prepare to take objects."""
        self.mark(marker)
        self._opened = BucketObjectStore(
            self._bucket, object_format=get_object_format(traits.object_format)
        )
        self._opened.pack_list.refresh()

    def mark(self, marker: Marker) -> None:
        """Write the marker."""
        self._files.put(_MARKER, marker.encode())

    def hash_size(self) -> int:
        """Give the bytes of an object id in the repository that is there."""
        return hash_size_of(_config_of(self._bucket, self._files))

    def open_stack(self, traits: Traits) -> Stack:
        """Open the stack; an empty one is made if there is none."""
        hash_id = "s256" if traits.hash_size == 32 else "sha1"
        try:
            storage = BucketStorage.create(self._bucket, hash_id)
        except StorageError as error:
            if not _exists(error):
                raise
            storage = BucketStorage(self._bucket)
        options = traits.settings.write
        return Stack(storage, options, lock_timeout=_LOCK_TIMEOUT)

    @contextmanager
    def work_folder(self) -> Iterator[str]:
        """Give a temporary directory."""
        with tempfile.TemporaryDirectory(prefix="dulwich-reftable-") as folder:
            yield folder

    def checksums(self) -> frozenset[str]:
        """List the checksums of the packs that are there and not retired."""
        known = self._store.pack_list.known()
        return frozenset(pack.name.checksum for pack in known if pack.retired is None)

    def missing(self, oids: Iterable[bytes]) -> Iterator[bytes]:
        """Give those of some objects that are in no pack in use."""
        packs = [pack for pack in self._store.pack_list.known() if pack.retired is None]
        for oid in oids:
            if not any(pack.offset_of(RawObjectID(oid)) is not None for pack in packs):
                yield oid

    def add_pack(self, files: PackFiles) -> None:
        """Upload a pack, then its index; a pack that was uploaded without one is taken."""
        checksum = files.checksum
        name = PackName(checksum, secrets.token_hex(8))
        size = os.path.getsize(files.pack_path)
        for left, parts in self._store.pack_list.remains.items():
            if left.checksum == checksum and "pack" in parts and parts["pack"].size == size:
                name = left
                break
        else:
            self._bucket.put_file(name.pack_key, files.pack_path)
        self._bucket.put_file(name.index_key, files.index_path)
        self._store.pack_list.refresh()

    def check_pack(self, checksum: str) -> None:
        """Read a pack and its index again."""
        for pack in self._store.pack_list.known():
            if pack.name.checksum != checksum:
                continue
            name = pack.name
            for key, size in ((name.pack_key, pack.size), (name.index_key, pack.index_size)):
                location = self._bucket.locate(key)
                ends = check_pieces(
                    read_pieces(self._bucket, key, size), location, self._store.object_format
                )
                if checksum not in ends:
                    raise ChecksumMismatch(checksum, ends[0], location)
            return
        raise CopyError(f"{self.location}: pack {checksum} is gone")

    def finish(self, traits: Traits) -> None:
        """Write the configuration, which makes a repository of the place."""
        for path, data in ((_DESCRIPTION, traits.description), (SHALLOW, traits.shallow)):
            if data is not None:
                self._files.put(path, data)
        if traits.shallow is None and _read(self._files, SHALLOW) is not None:
            self._files.delete(SHALLOW)  # an older state was shallow
        if _read(self._files, CONFIG) is None:
            own = b"[bucket]\n\tid = %s\n" % secrets.token_hex(8).encode()
            self._files.write(CONFIG, traits.config + own, None)


def _exists(error: StorageError) -> bool:
    return error.errno == errno.EEXIST


def _config_of(bucket: Bucket, files: NamedFiles) -> GitConfigFile:
    text = _read(files, CONFIG)
    if text is None:
        raise NotGitRepository(f"no repository at {bucket.location}")
    with naming_file(bucket.locate(CONFIG)):
        return GitConfigFile.of(read_config(BytesIO(text)))


def _read(files: NamedFiles, path: str) -> bytes | None:
    found = files.read(path)
    return None if found is None else found.data
