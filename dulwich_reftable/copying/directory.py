# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A directory as an end of a copy.

As a source it may be any repository: bare or not, with refs in reftables or in files, with
alternates. As a destination it becomes a bare one with reftables. ``HEAD`` and ``refs`` are written
last, and nobody takes a directory without them for a repository.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

from dulwich.file import GitFile
from dulwich.object_format import get_object_format
from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID, RawObjectID, ShaFile, sha_to_hex
from dulwich.pack import load_pack_index

from ..config.files import own_config
from ..config.ref_format import hash_size_of
from ..config.settings import Settings
from ..engine.errors import StorageError
from ..engine.stack.files import open_directory, sync
from ..engine.stack.stack import Stack
from ..engine.table.merged import Merged
from ..migration.migrator import open_stack
from ..migration.report import WRITTEN_MEANWHILE, MigrationError, Tally
from ..migration.to_reftable import ToReftable
from ..refs.container import ReftableRefsContainer
from ..repo.repo import Repo
from ..repo.stubs import write_stubs
from ..repo.tags import RepoPeeler
from .pack_files import INDEX_MAGIC, check_files, index_again, write_pack
from .report import CopyError
from .sides import Marker, PackFiles, SourcePack, State, Target, Traits, traits_of

__all__ = ["DirectorySource", "DirectoryTarget"]

MARKER = "dulwich-reftable-copy"
"""The file that says what a directory is a copy of."""

_TRIES = 5
"""How often refs in files are read, if somebody writes meanwhile."""
_AT_ONCE = 4096
_BYTES_AT_ONCE = 64 << 20
"""How many loose objects, and bytes of them, go into one pack."""
_TEMPORARY = "tmp_copy_"


class DirectorySource:
    """A repository in a directory.

    Args:
      path: its directory, or its control directory
    Raises:
      NotGitRepository: if there is none
      CopyError: if it cannot be copied
    """

    def __init__(self, path: str) -> None:
        self._repo = Repo(path)
        self.location = os.path.realpath(self._repo.commondir())
        self._temporary = tempfile.TemporaryDirectory(prefix="dulwich-reftable-")
        config = own_config(self.location)
        size = hash_size_of(config)
        self._format = get_object_format("sha256" if size == 32 else "sha1")
        self._folders = self._find_folders()
        self.traits = traits_of(
            config,
            size,
            _read(self._file("description")),
            _read(self._file("shallow")),
        )
        self.notes = self.traits.notes
        if os.path.isdir(self._file("worktrees")):
            self.notes.append("not carried: the refs of linked worktrees")
        hooks = self._file("hooks")
        if os.path.isdir(hooks) and not all(n.endswith(".sample") for n in os.listdir(hooks)):
            self.notes.append("not carried: hooks")

    def _file(self, name: str) -> str:
        return os.path.join(self.location, name)

    def close(self) -> None:
        """Close the repository, and remove temporary files."""
        self._repo.close()
        self._temporary.cleanup()

    def refs(self) -> Merged:
        """Give the refs and reflogs of one moment."""
        refs = self._repo.refs
        if isinstance(refs, ReftableRefsContainer):
            return refs.store.shared.snapshot()
        for left in reversed(range(_TRIES)):
            tree = tempfile.mkdtemp(dir=self._temporary.name)
            try:
                return self._refs_of_files(tree)
            except MigrationError as error:
                if not left or WRITTEN_MEANWHILE not in str(error):
                    raise
        raise AssertionError

    def _refs_of_files(self, tree: str) -> Merged:
        """Read refs in files, as a migration does, into tables in a temporary directory."""
        size = self.traits.hash_size
        settings = Settings.of(self._repo.get_config_stack(), size)
        tally = Tally()
        reader = ToReftable(self.location, settings, RepoPeeler(self._repo), tally)
        reader.prepare(tree)
        reader.check()
        self.notes += tally.notes
        return open_stack(tree, settings).snapshot()

    def _find_folders(self) -> list[str]:
        """Give the directories of objects: the repository's, then its alternates'."""
        found: list[str] = []
        pending: list[DiskObjectStore] = [self._repo.object_store]
        while pending:
            store = pending.pop()
            path = os.path.realpath(os.fsdecode(store.path))
            if path not in found:
                found.append(path)
                alternates = cast("list[DiskObjectStore]", store.alternates)
                for alternate in alternates:
                    alternate.object_format = self._format  # dulwich takes them all for SHA-1
                pending += alternates
        return found

    def packs(self) -> list[SourcePack]:
        """List the packs, also those of alternates."""
        found: dict[str, SourcePack] = {}
        length = self.traits.hash_size
        for folder in self._folders:
            directory = os.path.join(folder, "pack")
            for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
                stem = os.path.join(directory, name.removesuffix(".pack"))
                if not name.endswith(".pack") or not os.path.exists(stem + ".idx"):
                    continue
                with suppress(FileNotFoundError), open(stem + ".pack", "rb") as file:
                    size = file.seek(0, os.SEEK_END)
                    file.seek(max(size - length, 0))
                    checksum = file.read().hex()
                    found.setdefault(checksum, SourcePack(checksum, size, stem))
        return list(found.values())

    def index_of(self, pack: SourcePack) -> Iterator[bytes]:
        """Give the binary ids of the objects of a pack."""
        index = load_pack_index(f"{pack.key}.idx", self._format)
        try:
            for oid, _, _ in index.iterentries():
                yield oid
        finally:
            index.close()

    @contextmanager
    def fetched(self, pack: SourcePack, folder: str) -> Iterator[PackFiles]:
        """Give the files of a pack, checked."""
        source, index = f"{pack.key}.pack", f"{pack.key}.idx"
        with open(index, "rb") as file:
            is_new = file.read(len(INDEX_MAGIC)) == INDEX_MAGIC
        if not is_new:
            index = os.path.join(folder, "made.idx")
            index_again(source, index, self._format)
        checksum = check_files(source, index, self._format)
        yield PackFiles(source, index, checksum, is_ours=False)

    def unpacked(self, folder: str, known: Target) -> Iterator[PackFiles]:
        """Pack loose objects, some at a time."""
        oids = known.missing(sorted(set(self._loose_oids())))
        some: list[ShaFile] = []
        size = 0
        for oid in oids:
            hex_id = _hex(oid)
            with suppress(KeyError):  # it was packed meanwhile: that pack comes next
                found = self._repo.object_store[hex_id]
                some.append(found)
                size += found.raw_length()
            if len(some) >= _AT_ONCE or size >= _BYTES_AT_ONCE:
                yield self._packed(some, folder)
                some, size = [], 0
        if some:
            yield self._packed(some, folder)

    def _packed(self, objects: list[ShaFile], folder: str) -> PackFiles:
        pack, index = write_pack(objects, folder, self._format)
        return PackFiles(pack, index, check_files(pack, index, self._format), is_ours=True)

    def _loose_oids(self) -> Iterator[bytes]:
        rest = 2 * self.traits.hash_size - 2
        for folder in self._folders:
            for number in range(256):
                directory = os.path.join(folder, f"{number:02x}")
                for name in os.listdir(directory) if os.path.isdir(directory) else []:
                    if len(name) == rest and not name.strip("0123456789abcdef"):
                        yield bytes.fromhex(f"{number:02x}{name}")


class DirectoryTarget:
    """A directory that is to be a copy.

    Args:
      path: its name; it may be missing
    """

    def __init__(self, path: str) -> None:
        self.location = os.path.realpath(path)
        self._stack: Stack | None = None
        self._store: DiskObjectStore | None = None
        self._format: Any = None

    def close(self) -> None:
        """Close all files."""
        if self._stack is not None:
            self._stack.close()
        if self._store is not None:
            self._store.close()

    def _file(self, *parts: str) -> str:
        return os.path.join(self.location, *parts)

    def state(self) -> State:
        """Look at what is there."""
        try:
            is_empty = not os.listdir(self.location)
        except FileNotFoundError:
            is_empty = True
        text = None if is_empty else _read(self._file(MARKER))
        marker = None if text is None else Marker.decode(text, self._file(MARKER))
        return State(is_empty, os.path.lexists(self._file("HEAD")), marker)

    def begin(self, marker: Marker, traits: Traits) -> None:
        """Prepare to take objects."""
        os.makedirs(self.location, exist_ok=True)
        self.mark(marker)
        os.makedirs(self._file("objects", "pack"), exist_ok=True)
        os.makedirs(self._file("objects", "info"), exist_ok=True)
        for name in os.listdir(self._file("objects")):
            if name.startswith(_TEMPORARY):
                shutil.rmtree(self._file("objects", name))
        self._format = get_object_format(traits.object_format)

    def mark(self, marker: Marker) -> None:
        """Write the marker."""
        self._write(MARKER, marker.encode())

    def hash_size(self) -> int:
        """Give the bytes of an object id in the repository that is there."""
        return hash_size_of(own_config(self.location))

    def open_stack(self, traits: Traits) -> Stack:
        """Open the stack; the configuration says that refs are in it."""
        if self._stack is None:
            if not os.path.exists(self._file("config")):
                self._write("config", traits.config)
            self._stack = open_stack(self.location, traits.settings)
        return self._stack

    @contextmanager
    def work_folder(self) -> Iterator[str]:
        """Give a directory on the same file system."""
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=self._file("objects")) as folder:
            yield folder

    def checksums(self) -> frozenset[str]:
        """List the checksums of the packs that are there."""
        names = os.listdir(self._file("objects", "pack"))
        stems = {name.removesuffix(".idx") for name in names if name.endswith(".idx")}
        return frozenset(
            name.removeprefix("pack-").removesuffix(".pack")
            for name in names
            if name.startswith("pack-") and name.endswith(".pack") and name[:-5] in stems
        )

    def missing(self, oids: Iterable[bytes]) -> Iterator[bytes]:
        """Give those of some objects that are not there."""
        if self._store is None:
            self._store = DiskObjectStore(self._file("objects"), object_format=self._format)
        store = self._store
        return (oid for oid in oids if _hex(oid) not in store)

    def add_pack(self, files: PackFiles) -> None:
        """Put a pack into place, and then its index."""
        directory = self._file("objects", "pack")
        with self.work_folder() as folder:
            for source, suffix in ((files.pack_path, "pack"), (files.index_path, "idx")):
                path = source
                if not files.is_ours:
                    path = shutil.copyfile(source, os.path.join(folder, suffix))
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
                os.chmod(path, 0o444)
                os.replace(path, os.path.join(directory, f"pack-{files.checksum}.{suffix}"))
        with _opened(directory) as opened:
            sync(opened)

    def check_pack(self, checksum: str) -> None:
        """Read a pack and its index again."""
        stem = self._file("objects", "pack", f"pack-{checksum}")
        found = check_files(stem + ".pack", stem + ".idx", self._format)
        if found != checksum:
            raise CopyError(f"{stem}.pack: this is another pack")

    def finish(self, traits: Traits) -> None:
        """Write the stubs, which make a repository of the directory."""
        for name, data in (("description", traits.description), ("shallow", traits.shallow)):
            if data is not None:
                self._write(name, data)
        if traits.shallow is None:  # and an older state may have been shallow
            with suppress(FileNotFoundError):
                os.unlink(self._file("shallow"))
        if not os.path.lexists(self._file("HEAD")):
            write_stubs(self.location, traits.settings.shared)
            with _opened(self.location) as opened:
                sync(opened)

    def _write(self, name: str, data: bytes) -> None:
        try:
            with GitFile(self._file(name), "wb") as file:
                file.write(data)
        except OSError as error:
            raise StorageError.of(error, "write", self._file(name)) from error


@contextmanager
def _opened(directory: str) -> Iterator[Any]:
    opened = open_directory(directory)
    try:
        yield opened
    finally:
        if opened is not None:
            opened.close()


def _hex(oid: bytes) -> ObjectID:
    return sha_to_hex(RawObjectID(oid))


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
