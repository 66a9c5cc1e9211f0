"""The repositories that are measured, made from the data sets once and kept in a cache.

All are bare. Those to be written to are copies, with the objects that git wants to see before it
lets a ref point at them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from random import Random

from dulwich.objects import Commit, Tree
from dulwich.repo import Repo as DulwichRepo

import dulwich_reftable as dr
from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, RefRecord
from dulwich_reftable.engine.table.writer import TableWriter, WriteOptions

from .datasets import HEAD_TARGET, object_id, peeled_id, ref_names, reflogs
from .scale import Scale

__all__ = ["REFTABLE_OR_FILES", "Repositories"]

REFTABLE_OR_FILES = {"ours": "reftable", "git": "reftable", "dulwich": "files"}
"""The format of the refs that each contender works on."""

_VERSION = 1  # of what this module makes: a new one for new contents
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
    def served_reftable(self) -> Path:
        """The same names, in one table, with objects that exist: a server advertises no others."""
        return self._cached(f"served-reftable-{self._scale.refs}", self._make_served_reftable)

    @property
    def served_files(self) -> Path:
        """The same in ``packed-refs``."""
        return self._cached(f"served-files-{self._scale.refs}", self._make_served_files)

    @property
    def logs_reftable(self) -> Path:
        """All reflogs, in one table."""
        return self._cached(f"logs-reftable-{self._scale.log_entries}", self._make_logs_reftable)

    @property
    def logs_files(self) -> Path:
        """The same reflogs, in files."""
        return self._cached(f"logs-files-{self._scale.log_entries}", self._make_logs_files)

    @property
    def commits(self) -> list[bytes]:
        """Hex ids of the objects that are in copies."""
        if not self._commits:
            text = (self._objects / "commits").read_bytes()
            self._commits = text.split()
        return self._commits

    @property
    def bulk(self) -> Path:
        """A file that creates all refs: ``git update-ref --stdin`` reads it, and so do others."""
        return self._cached(f"bulk-{self._scale.refs}-{self._scale.commits}", self._make_bulk)

    # What is written to

    def small(self, ref_format: str, where: Path) -> Path:
        """Make a repository with one branch and with objects."""
        path = where / f"small-{ref_format}-{next(self._numbers)}"
        with self._init(path, ref_format) as repo:
            repo.refs.set_symbolic_ref(b"HEAD", HEAD_TARGET)
            repo.refs.set_if_equals(HEAD_TARGET, None, self.commits[0])
        self._lend_objects(path)
        return path

    def empty(self, ref_format: str, where: Path) -> Path:
        """Make a repository with objects and no refs."""
        path = where / f"empty-{ref_format}-{next(self._numbers)}"
        self._init(path, ref_format).close()
        self._lend_objects(path)
        return path

    def copy(self, original: Path, where: Path) -> Path:
        """Copy a repository and give it objects."""
        path = where / f"{original.name}-{next(self._numbers)}"
        shutil.copytree(original, path)
        self._lend_objects(path)
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

    @property
    def _objects(self) -> Path:
        return self._cached(f"objects-{self._scale.commits}", self._make_objects)

    def _lend_objects(self, path: Path) -> None:
        for file in (self._objects / "objects" / "pack").iterdir():
            shutil.copy(file, path / "objects" / "pack")
        if hasattr(os, "sync"):
            os.sync()  # so that nobody who is timed has to wait for what was copied

    @staticmethod
    def _init(path: Path, ref_format: str) -> DulwichRepo:
        if ref_format == "files":
            return DulwichRepo.init_bare(path, mkdir=True)
        return dr.Repo.init_bare(path, mkdir=True, ref_format=ref_format)

    def _make_objects(self, path: Path) -> None:
        tree = Tree()
        commits = []
        for i in range(self._scale.commits):
            commit = Commit()
            commit.tree = tree.id
            commit.author = commit.committer = b"%b <%b>" % _WHO
            commit.author_time = commit.commit_time = 1_600_000_000 + i
            commit.author_timezone = commit.commit_timezone = 0
            commit.message = b"commit %d\n" % i
            commits.append(commit)
        with self._init(path, "files") as repo:
            repo.object_store.add_objects([(tree, None), *((commit, None) for commit in commits)])
        (path / "commits").write_bytes(b"\n".join(commit.id for commit in commits))

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

    def _served(self) -> Iterable[RefRecord]:
        commits = [bytes.fromhex(commit.decode()) for commit in self.commits]
        for i, record in enumerate(self._records(1)):
            if record.target is None:
                yield RefRecord(record.name, 1, commits[i % len(commits)])
            else:
                yield record

    def _make_served_reftable(self, path: Path) -> None:
        self._init(path, "reftable").close()
        _write_stack(path, [(1, 1, self._served(), [])])
        self._lend_objects(path)

    def _make_served_files(self, path: Path) -> None:
        self._write_files(path, self._served())
        self._lend_objects(path)

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
        commits = self.commits
        with open(path, "wb") as file:
            file.write(b"start\n")
            for i, name in enumerate(ref_names(self._scale.refs)):
                file.write(b"create %b %b\n" % (name, commits[i % len(commits)]))
            file.write(b"commit\n")

    def _make_logs_reftable(self, path: Path) -> None:
        scale = self._scale
        refs: list[RefRecord] = []
        logs: list[LogRecord] = []
        index = 0
        ids = [bytes.fromhex(commit.decode()) for commit in self.commits]
        for name, log in reflogs(scale.log_refs, scale.log_entries, scale.commits):
            records = []
            for entry in log:
                index += 1
                old = ids[entry.old] if entry.old >= 0 else _ZERO
                update = LogUpdate(old, ids[entry.new], *_WHO, entry.time, 0, entry.message + b"\n")
                records.append(LogRecord(name, index, update))
            refs.append(RefRecord(name, index, ids[log[-1].new]))
            logs += reversed(records)
        self._init(path, "reftable").close()
        _write_stack(path, [(1, index, refs, logs)])
        self._lend_objects(path)

    def _make_logs_files(self, path: Path) -> None:
        scale = self._scale
        self._init(path, "files").close()
        commits = self.commits
        with open(path / "packed-refs", "wb") as packed:
            packed.write(b"# pack-refs with: peeled fully-peeled sorted \n")
            for name, log in reflogs(scale.log_refs, scale.log_entries, scale.commits):
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
        self._lend_objects(path)


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
            for log in logs:
                writer.add_log(log)
            writer.finish()
    (directory / "tables.list").write_text("".join(name + "\n" for name in names))
