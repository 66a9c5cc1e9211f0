# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Reads refs from files: loose refs into a sorted list, ``packed-refs`` as a stream.

Loose refs are few, packed refs may be a million: only the loose refs are held in memory. The two
are merged by name, and a loose ref hides the packed ref of the same name. A ref that git considers
broken is reported and left out.
"""

from __future__ import annotations

import os
from binascii import a2b_hex
from collections.abc import Callable, Iterator
from itertools import chain, pairwise
from typing import NamedTuple

from ..engine.errors import CorruptTableError
from ..engine.format.records import RefRecord
from ..engine.stack.files import open_plain
from ..engine.stack.stale_files import LOCK_SUFFIX
from ..naming.names import is_legal
from ..naming.symrefs import symref_target, symref_to
from .layout import GitDir, root_files, walk
from .report import MigrationError, Tally

__all__ = ["Peel", "RefFiles"]

Peel = Callable[[bytes], "bytes | None"]
"""Takes a hex object id; gives the hex id that an annotated tag finally points to, or None."""

_LONGEST_VALUE = 1 << 16
_HEADER = b"# pack-refs with:"
_BLANKS = b" \t\n\r"


class _Packed(NamedTuple):
    """The traits that the header of ``packed-refs`` declares.

    Attributes:
      is_sorted: whether the lines are sorted by name
      peels: prefix of the names whose tags are all peeled; None if no tags are
    """

    is_sorted: bool = False
    peels: bytes | None = None


class RefFiles:
    """The refs of one control directory.

    Args:
      git_dir: the directory
      hash_size: bytes of an object id
      peel: peels tags without a peeled value in ``packed-refs``
      tally: collects broken refs
    """

    def __init__(self, git_dir: GitDir, hash_size: int, peel: Peel, tally: Tally) -> None:
        self._git_dir = git_dir
        self._hex_size = 2 * hash_size
        self._peel = peel
        self._tally = tally
        self._packed_path = git_dir.file("packed-refs")

    def count(self) -> int | None:
        """Count the refs in ``packed-refs``; None if there is no such file."""
        if not self._git_dir.is_main or not os.path.exists(self._packed_path):
            return None
        with open(self._packed_path, "rb") as file:
            return sum(line[:1] not in (b"^", b"#") for line in file)

    def records(self, update_index: int) -> Iterator[RefRecord]:
        """Read all refs.

        Args:
          update_index: the update index of all records
        Yields: records in the order of their names
        Raises:
          MigrationError: if ``packed-refs`` cannot be read
        """
        loose = iter(self._loose(update_index))
        packed = self._packed(update_index) if self._git_dir.is_main else iter(())
        next_loose = next(loose, None)
        for record in packed:
            while next_loose is not None and next_loose.name < record.name:
                yield next_loose
                next_loose = next(loose, None)
            if next_loose is None or next_loose.name != record.name:
                yield record
        if next_loose is not None:
            yield next_loose
        yield from loose

    # Loose refs

    def _loose(self, update_index: int) -> list[RefRecord]:
        git_dir = self._git_dir
        found = chain(
            ((os.fsencode(entry.name), entry) for entry in root_files(git_dir)),
            walk(git_dir.file("refs"), "refs"),
        )
        records = []
        for name, entry in found:
            value = self._read(name, entry)
            if value is None:
                continue
            target = symref_target(value)
            if target is not None:
                records.append(RefRecord(name, update_index, target=target))
            else:
                peeled = self._peeled(name, value)
                records.append(RefRecord(name, update_index, a2b_hex(value), peeled))
        records.sort()
        return records

    def _read(self, name: bytes, entry: os.DirEntry[str]) -> bytes | None:
        """Read the value of a loose ref; report a broken one, and give None."""
        path = entry.path
        if not is_legal(name):
            if not any(_is_overlooked(part) for part in name.split(b"/")):
                self._broken(path, "is not a legal ref name")
            return None
        if not self._git_dir.holds(name):
            self._tally.notes.append(
                f"'{path}': a ref of this name does not belong in this directory"
            )
            return None
        value, reason = None, "contains neither an object id nor a symref"
        try:
            if entry.is_symlink():
                target = os.fsencode(os.readlink(path))
                if target.startswith(b"refs/") and is_legal(target):
                    return symref_to(target)  # how HEAD once was
            file, _ = open_plain(path)
            with file as fd:
                value = _parse(os.read(fd, _LONGEST_VALUE), self._hex_size)
        except (OSError, CorruptTableError) as error:
            reason = str(error)
        if value is None:
            self._broken(path, reason)
        return value

    def _peeled(self, name: bytes, value: bytes) -> bytes | None:
        """Peel a ref; branches are not looked at, because they are commits."""
        peeled = None if name.startswith(b"refs/heads/") else self._peel(value)
        return None if peeled is None else a2b_hex(peeled)

    def _broken(self, path: str, reason: str) -> None:
        self._tally.broken.append(f"'{path}': {reason}")

    # Packed refs

    def _packed(self, update_index: int) -> Iterator[RefRecord]:
        try:
            header = self._header()
        except FileNotFoundError:
            return
        lines = self._lines()
        if not header.is_sorted:
            # Files without that trait are mostly sorted all the same.
            names = (name for _, name, _ in self._lines())
            if not all(before < name for before, name in pairwise(names)):
                lines = iter(sorted(lines, key=lambda line: line[1]))
        zero = b"0" * self._hex_size
        last = b""
        for value, name, peeled in lines:
            if name <= last:
                raise MigrationError(
                    f"'{self._packed_path}' is not sorted, or contains a ref twice"
                )
            last = name
            if not is_legal(name) or name[:5] != b"refs/" or value == zero:
                self._broken(self._packed_path, f"'{os.fsdecode(name)}' is not a legal ref")
                continue
            try:
                oid, peeled_to = a2b_hex(value), None if peeled is None else a2b_hex(peeled)
            except ValueError:
                self._broken(self._packed_path, f"'{os.fsdecode(name)}' has no object id")
                continue
            if peeled is None and (header.peels is None or not name.startswith(header.peels)):
                peeled_to = self._peeled(name, value)
            yield RefRecord(name, update_index, oid, peeled_to)

    def _header(self) -> _Packed:
        with open(self._packed_path, "rb") as file:
            line = file.readline(_LONGEST_VALUE)
        if not line.startswith(_HEADER):
            return _Packed()
        traits = line[len(_HEADER) :].split()
        peels = b"" if b"fully-peeled" in traits else b"refs/tags/" if b"peeled" in traits else None
        return _Packed(b"sorted" in traits, peels)

    def _lines(self) -> Iterator[tuple[bytes, bytes, bytes | None]]:
        """Read the file. Yields value, name, and the peeled value or None."""
        size = self._hex_size
        last: tuple[bytes, bytes, bytes | None] | None = None
        with open(self._packed_path, "rb") as file:
            for line in file:
                if line[size : size + 1] == b" ":
                    if last is not None:
                        yield last
                    last = line[:size], line[size + 1 :].rstrip(b"\r\n"), None
                elif line[:1] == b"^" and last is not None and len(line) > size:
                    last = last[0], last[1], line[1 : size + 1]
                elif line[:1] != b"#" and line.strip():
                    shown = line[:80].decode("utf-8", "backslashreplace").rstrip()
                    raise MigrationError(
                        f"'{self._packed_path}' has a line that cannot be parsed: {shown}"
                    )
        if last is not None:
            yield last


def _is_overlooked(part: bytes) -> bool:
    """Tell whether git ignores files and directories of this name."""
    return part.startswith(b".") or part.endswith(os.fsencode(LOCK_SUFFIX))


def _parse(data: bytes, hex_size: int) -> bytes | None:
    """Parse the contents of a loose ref as git does (``files_read_raw_ref``)."""
    if data.startswith(b"ref:"):
        target = data[len(b"ref:") :].strip(_BLANKS)
        return symref_to(target) if target else None
    value, behind = data[:hex_size].lower(), data[hex_size : hex_size + 1]
    if len(value) < hex_size or not value.strip(b"0") or (behind and behind not in _BLANKS):
        return None
    return value if not value.translate(None, b"0123456789abcdef") else None
