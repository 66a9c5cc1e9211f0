"""The repositories that are measured, made from the data sets once and kept in a cache.

All are bare, and all have the same pack, which has every object that a ref points to. Those to be
written to are copies.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from random import Random

from dulwich.repo import Repo as DulwichRepo

import dulwich_reftable as dr
from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, RefRecord
from dulwich_reftable.engine.table.writer import TableWriter, WriteOptions

from .datasets import (
    EMPTY_TREE,
    HEAD_TARGET,
    GitObject,
    LogEntry,
    commit,
    object_id,
    objects_of,
    peeled_id,
    ref_names,
    reflogs,
)
from .packs import write_pack
from .scale import Scale

__all__ = ["REFTABLE_OR_FILES", "Repositories"]

REFTABLE_OR_FILES = {"ours": "reftable", "git": "reftable", "dulwich": "files"}
"""The format of the refs that each contender works on."""

_VERSION = 2  # of what this module makes: a new one for new contents
_TABLES = 8
_STEP = 2.5  # how many times larger a table of the stack is than the next newer one
_WHO = b"B Enchmark", b"bench@example.com"
_ZERO = bytes(20)


class Repositories:
    """A cache of repositories.

    Args:
      cache: directory to keep them in
      scale: their sizes
    """

    def __init__(self, cache: Path, scale: Scale) -> None:
        self._cache = cache
        self._scale = scale
        self._numbers = count()
        self._commits: list[bytes] = []

    # What is read

    @property
    def one(self) -> Path:
        """All refs, in one table."""
        return self._cached(f"one-{self._scale.refs}", self._make_one)

    @property
    def eight(self) -> Path:
        """The same refs, in a geometric stack of eight tables."""
        return self._cached(f"eight-{self._scale.refs}", self._make_eight)

    @property
    def files(self) -> Path:
        """The same refs, in ``packed-refs``."""
        return self._cached(f"files-{self._scale.refs}", self._make_files)

    @property
    def each(self) -> Path:
        """The same refs, in one table; each was updated at an update index of its own."""
        return self._cached(f"each-{self._scale.refs}", self._make_each)

    def logs(self, ref_format: str, refs: int, entries: int) -> Path:
        """Reflogs of some refs, in one table or in files."""
        return self._cached(
            f"logs-{ref_format}-{refs}-{entries}-{self._scale.commits}",
            lambda path: self._make_logs(path, ref_format, refs, entries),
        )

    @property
    def commits(self) -> list[bytes]:
        """Hex ids of commits that no ref of the large set points to."""
        if not self._commits:
            self._commits = [each.oid.hex().encode() for each in self._spare()]
        return self._commits

    def _spare(self) -> Iterable[GitObject]:
        return (commit(b"spare %d" % i) for i in range(self._scale.commits))

    @property
    def bulk(self) -> Path:
        """A file that creates all refs: ``git update-ref --stdin`` reads it, and so do others."""
        return self._cached(f"bulk-{self._scale.refs}", self._make_bulk)

    # What is written to

    def small(self, ref_format: str, where: Path) -> Path:
        """Make a repository with one branch and with objects."""
        path = where / f"small-{ref_format}-{next(self._numbers)}"
        with self._init(path, ref_format) as repo:
            repo.refs.set_symbolic_ref(b"HEAD", HEAD_TARGET)
            repo.refs.set_if_equals(HEAD_TARGET, None, self.commits[0])
        _settle()
        return path

    def empty(self, ref_format: str, where: Path) -> Path:
        """Make a repository with objects and no refs."""
        path = where / f"empty-{ref_format}-{next(self._numbers)}"
        self._init(path, ref_format).close()
        _settle()
        return path

    def copy(self, original: Path, where: Path) -> Path:
        """Copy a repository, with its objects."""
        path = where / f"{original.name}-{next(self._numbers)}"
        shutil.copytree(original, path, ignore=shutil.ignore_patterns("pack-*"))
        self._lend_objects(path)
        _settle()
        return path

    # Making them

    def _cached(self, name: str, make: Callable[[Path], None]) -> Path:
        path = self._cache / f"{name}-v{_VERSION}"
        if not path.exists():
            half_done = path.with_suffix(".part")
            if half_done.is_dir():
                shutil.rmtree(half_done)
            self._cache.mkdir(parents=True, exist_ok=True)
            make(half_done)
            half_done.rename(path)
        return path

    def _init(self, path: Path, ref_format: str) -> DulwichRepo:
        """Make a repository with objects and no refs, and open it."""
        if ref_format == "files":
            DulwichRepo.init_bare(path, mkdir=True).close()
        else:
            dr.Repo.init_bare(path, mkdir=True, ref_format=ref_format).close()
        self._lend_objects(path)
        return DulwichRepo(os.fspath(path)) if ref_format == "files" else dr.Repo(path)

    # Objects

    @property
    def _objects(self) -> Path:
        """The directory of the pack."""
        scale = self._scale
        return self._cached(f"objects-{scale.refs}-{scale.commits}", self._make_objects)

    def _lend_objects(self, path: Path) -> None:
        for file in self._objects.iterdir():
            lent = path / "objects" / "pack" / file.name
            try:
                os.link(file, lent)
            except OSError:  # on another file system
                shutil.copy(file, lent)

    def _make_objects(self, path: Path) -> None:
        path.mkdir()
        names = ref_names(self._scale.refs)
        count = 1 + self._scale.commits + len(names) + sum(map(_is_tag, names))
        write_pack(path, count, self._all_objects())

    def _all_objects(self) -> Iterable[GitObject]:
        yield EMPTY_TREE
        yield from self._spare()
        for name in ref_names(self._scale.refs):
            yield from objects_of(name)

    # Refs

    def _records(self, index: int) -> Iterable[RefRecord]:
        yield RefRecord(b"HEAD", index, target=HEAD_TARGET)
        for name in ref_names(self._scale.refs):
            yield RefRecord(name, index, object_id(name), peeled_id(name))

    def _make_one(self, path: Path) -> None:
        self._init(path, "reftable").close()
        _write_stack(path, [(1, 1, self._records(1), [])])

    def _make_eight(self, path: Path) -> None:
        """Give each ref to a table by lot; some in newer tables have an older value in the oldest.

        What is seen in the end is the same as in the one table.
        """
        random = Random(_TABLES)
        weights = [_STEP**-i for i in range(_TABLES)]
        records: list[list[RefRecord]] = [[] for _ in weights]
        for record in self._records(1):
            (table,) = random.choices(range(_TABLES), weights)
            records[table].append(record._replace(update_index=table + 1))
            if table and record.value and not random.randrange(10):
                old = object_id(record.value)
                records[0].append(RefRecord(record.name, 1, old))
        self._init(path, "reftable").close()
        _write_stack(path, [(i, i, refs, []) for i, refs in enumerate(records, 1)])

    def _make_files(self, path: Path) -> None:
        self._write_files(path, self._records(1))

    def _make_each(self, path: Path) -> None:
        records = list(self._records(1))
        indexes = list(range(1, len(records) + 1))
        Random(len(records)).shuffle(indexes)
        self._init(path, "reftable").close()
        refs = [
            record._replace(update_index=index)
            for record, index in zip(records, indexes, strict=True)
        ]
        _write_stack(path, [(1, len(records), refs, [])])

    def _write_files(self, path: Path, records: Iterable[RefRecord]) -> None:
        self._init(path, "files").close()
        with open(path / "packed-refs", "wb") as file:
            file.write(b"# pack-refs with: peeled fully-peeled sorted \n")
            for record in records:
                if record.value is not None:
                    file.write(b"%b %b\n" % (record.value.hex().encode(), record.name))
                if record.peeled is not None:
                    file.write(b"^%b\n" % record.peeled.hex().encode())
        (path / "HEAD").write_bytes(b"ref: " + HEAD_TARGET + b"\n")

    def _make_bulk(self, path: Path) -> None:
        with open(path, "wb") as file:
            file.write(b"start\n")
            for name in ref_names(self._scale.refs):
                file.write(b"create %b %b\n" % (name, object_id(name).hex().encode()))
            file.write(b"commit\n")

    def _make_logs(self, path: Path, ref_format: str, refs: int, entries: int) -> None:
        made = reflogs(refs, entries, self._scale.commits)
        self._init(path, ref_format).close()
        if ref_format == "files":
            self._write_log_files(path, made)
        else:
            self._write_log_table(path, made)

    def _write_log_table(self, path: Path, made: Iterable[tuple[bytes, list[LogEntry]]]) -> None:
        refs: list[RefRecord] = []
        logs: list[LogRecord] = []
        index = 0
        ids = [bytes.fromhex(oid.decode()) for oid in self.commits]
        for name, log in made:
            records = []
            for entry in log:
                index += 1
                old = ids[entry.old] if entry.old >= 0 else _ZERO
                update = LogUpdate(old, ids[entry.new], *_WHO, entry.time, 0, entry.message + b"\n")
                records.append(LogRecord(name, index, update))
            refs.append(RefRecord(name, index, ids[log[-1].new]))
            logs += reversed(records)
        _write_stack(path, [(1, index, refs, logs)])

    def _write_log_files(self, path: Path, made: Iterable[tuple[bytes, list[LogEntry]]]) -> None:
        commits = self.commits
        with open(path / "packed-refs", "wb") as packed:
            packed.write(b"# pack-refs with: peeled fully-peeled sorted \n")
            for name, log in made:
                packed.write(b"%b %b\n" % (commits[log[-1].new], name))
                log_path = path / "logs" / name.decode()
                log_path.parent.mkdir(parents=True, exist_ok=True)
                log_path.write_bytes(
                    b"".join(
                        b"%b %b %b <%b> %d +0000\t%b\n"
                        % (
                            commits[entry.old] if entry.old >= 0 else b"0" * 40,
                            commits[entry.new],
                            *_WHO,
                            entry.time,
                            entry.message,
                        )
                        for entry in log
                    )
                )


def _is_tag(name: bytes) -> bool:
    return name.startswith(b"refs/tags/")


def _settle() -> None:
    """Wait until everything is on disk, so that nobody who is timed has to wait for it."""
    if hasattr(os, "sync"):
        os.sync()


def _write_stack(
    path: Path, tables: Iterable[tuple[int, int, Iterable[RefRecord], Iterable[LogRecord]]]
) -> None:
    """Make a repository's stack consist of tables: (first index, last index, refs, logs)."""
    directory = path / "reftable"
    for old in directory.iterdir():
        old.unlink()
    names = []
    for first, last, refs, logs in tables:
        names.append(f"0x{first:012x}-0x{last:012x}-{first:08x}.ref")
        with open(directory / names[-1], "wb") as file:
            writer = TableWriter(file.write, first, last, WriteOptions())
            for ref in refs:
                writer.add_refs([ref])
            writer.add_logs(logs)
            writer.finish()
    (directory / "tables.list").write_text("".join(name + "\n" for name in names))
