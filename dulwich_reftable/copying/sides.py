# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The two ends of a copy, and what is said of a repository beside its refs and objects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from typing import IO, NamedTuple, Protocol

from dulwich.config import ConfigFile

from ..compat import add_setting
from ..config.ref_format import OBJECT_FORMATS
from ..config.settings import Settings
from ..engine.stack.stack import Stack
from ..engine.table.merged import Merged
from .report import CopyError

__all__ = ["Marker", "PackFiles", "Source", "SourcePack", "State", "Target", "Traits", "traits_of"]

_CARRIED = frozenset(
    (b"fsck", b"gc", b"pack", b"receive", b"reftable", b"repack", b"transfer", b"uploadpack")
)
"""Sections that say how the repository is kept and served, wherever it is."""
_CARRIED_KEYS = frozenset(
    (
        (b"core", b"logallrefupdates"),
        (b"http", b"receivepack"),
        (b"http", b"uploadpack"),
    )
)
_SECRET = frozenset(((b"receive", b"certnonceseed"),))
_MADE_ANEW = frozenset(
    (b"bare", b"filemode", b"ignorecase", b"precomposeunicode", b"repositoryformatversion")
)
"""Keys of ``core`` that every repository has; nobody misses them."""
_DEFAULT_DESCRIPTION = b"Unnamed repository"


@dataclass(frozen=True)
class Traits:
    """What is carried beside refs and objects.

    Attributes:
      hash_size: bytes of an object id
      settings: of the refs
      config: text of the copy's configuration
      description: None if there is none
      shallow: the file of shallow commits; None if there is none
      left: full names of the variables of the configuration that are not carried
    """

    hash_size: int
    settings: Settings
    config: bytes
    description: bytes | None
    shallow: bytes | None
    left: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """What is not carried, one sentence each."""
        if not self.left:
            return []
        return [f"not carried of the configuration: {', '.join(self.left)}"]

    @property
    def object_format(self) -> str:
        """The name of the hash."""
        return OBJECT_FORMATS[self.hash_size == 32]


def traits_of(
    config: ConfigFile, hash_size: int, description: bytes | None, shallow: bytes | None
) -> Traits:
    """Choose what is carried of a repository.

    Args:
      config: its own configuration
      hash_size: bytes of an object id
      description: its description
      shallow: its file of shallow commits
    Raises:
      CopyError: if objects are missing by intention
    """
    made = ConfigFile()
    made.set(b"core", b"repositoryformatversion", b"1")
    made.set(b"core", b"bare", True)
    made.set(b"extensions", b"refStorage", b"reftable")
    if hash_size == 32:
        made.set(b"extensions", b"objectFormat", b"sha256")
    left: list[str] = []
    for section in config.sections():
        name = section[0].lower()
        for key, value in config.items(section):
            pair = (name, key.lower())
            if name == b"extensions":
                if key.lower() == b"partialclone":
                    raise CopyError("a partial clone lacks objects: copy what it was cloned from")
                continue
            if pair in _CARRIED_KEYS or (name in _CARRIED and pair not in _SECRET):
                add_setting(made, section, key, value)
            elif name != b"bucket" and (name != b"core" or pair[1] not in _MADE_ANEW):
                shown = b".".join((*section, key)).decode(errors="backslashreplace")
                if shown not in left:
                    left.append(shown)
    if description is not None and description.startswith(_DEFAULT_DESCRIPTION):
        description = None
    text: IO[bytes] = BytesIO()
    made.write_to_file(text)
    text.seek(0)
    settings = Settings.of(made, hash_size)
    return Traits(hash_size, settings, text.read(), description, shallow or None, tuple(left))


class PackFiles(NamedTuple):
    """A pack on the local disk.

    Attributes:
      pack_path: of the pack
      index_path: of its index, in version 2
      checksum: hex digits at the end of the pack; both files have been verified
      is_ours: whether the files may be moved away
    """

    pack_path: str
    index_path: str
    checksum: str
    is_ours: bool


class SourcePack(NamedTuple):
    """A pack that is to be copied.

    Attributes:
      checksum: hex digits at its end
      size: in bytes
      key: the source's own name of it
    """

    checksum: str
    size: int
    key: object


class Source(Protocol):
    """The repository that is copied.

    Attributes:
      location: its name, for messages and for the marker
      traits: what is carried beside refs and objects
      notes: what is not carried; :meth:`refs` may add some
    """

    location: str
    traits: Traits
    notes: list[str]

    def refs(self) -> Merged:
        """Give the refs and reflogs of one moment."""

    def packs(self) -> list[SourcePack]:
        """List the packs."""

    def index_of(self, pack: SourcePack) -> Iterator[bytes]:
        """Give the binary ids of the objects of a pack."""

    def fetched(self, pack: SourcePack, folder: str) -> AbstractContextManager[PackFiles]:
        """Give the files of a pack, checked.

        Args:
          pack: one of :meth:`packs`
          folder: an empty directory on the local disk, which may be used
        Raises:
          FileNotFoundError: if the pack is gone by now
          ChecksumMismatch: if it is damaged
        """

    def unpacked(self, folder: str, known: Target) -> Iterator[PackFiles]:
        """Pack the objects that are in no pack, some at a time.

        Args:
          folder: an empty directory on the local disk, which may be used
          known: objects that it has are left out
        """

    def close(self) -> None:
        """Close files."""


@dataclass
class Marker:
    """What the destination says of itself, beside the repository.

    Attributes:
      source: what it is a copy of
      states: digests of the refs and reflogs that a copy may have left there; none while the first
        copy has not come so far
    """

    source: str
    states: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Give the text of the marker."""
        return json.dumps({"source": self.source, "states": self.states}).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes, location: str) -> Marker:
        """Parse the text.

        Raises:
          CopyError: if it is none
        """
        try:
            found = json.loads(data)
            source, states = found["source"], found["states"]
            if not all(isinstance(word, str) for word in (source, *states)):
                raise ValueError(source)
        except (ValueError, KeyError, TypeError):
            raise CopyError(f"{location}: this is no mark of a copy") from None
        return cls(source, tuple(states))


class State(NamedTuple):
    """What a destination is.

    Attributes:
      is_empty: whether nothing is there
      is_repository: whether a repository is there
      marker: what it is a copy of; None if it is none
    """

    is_empty: bool
    is_repository: bool
    marker: Marker | None


class Target(Protocol):
    """The place that a repository is copied to."""

    location: str

    def state(self) -> State:
        """Look at what is there."""

    def begin(self, marker: Marker, traits: Traits) -> None:
        """Prepare to take objects."""

    def mark(self, marker: Marker) -> None:
        """Write the marker."""

    def hash_size(self) -> int:
        """Give the bytes of an object id in the repository that is there."""

    def open_stack(self, traits: Traits) -> Stack:
        """Open the stack; one is made if there is none."""

    def work_folder(self) -> AbstractContextManager[str]:
        """Give an empty directory from which packs can be added."""

    def checksums(self) -> frozenset[str]:
        """List the checksums of the packs that are there."""

    def missing(self, oids: Iterable[bytes]) -> Iterator[bytes]:
        """Give those of some objects that are not there, by binary ids."""

    def add_pack(self, files: PackFiles) -> None:
        """Add a pack, durably."""

    def check_pack(self, checksum: str) -> None:
        """Read a pack and its index again.

        Raises:
          ChecksumMismatch: if it is not what was written
        """

    def finish(self, traits: Traits) -> None:
        """Make a repository of it, if it is none."""

    def close(self) -> None:
        """Close files."""
