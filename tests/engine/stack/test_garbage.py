"""Garbage that nobody has collected yet; without reference counts, there is much of it.

A reference cycle makes such garbage in CPython, too.
"""

from __future__ import annotations

import errno
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dulwich_reftable.engine.errors import LockError
from dulwich_reftable.engine.stack import files
from dulwich_reftable.engine.stack.files import Descriptor, open_plain
from dulwich_reftable.engine.stack.locks import LockFile

from .scenes import MAIN, refs_at, set_config


def drop(*things: object) -> None:
    """Make garbage of objects that the caller refers to no more."""
    cycle: list[object] = [*things]
    cycle.append(cycle)


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect garbage only when somebody asks for it."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_dropped_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "COUNTS_REFERENCES", False)
    with uncollected():
        drop(LockFile(str(tmp_path / "x"), 0.1))
        assert (tmp_path / "x.lock").exists()
        LockFile(str(tmp_path / "x"), 0.05).release()
        held = LockFile(str(tmp_path / "x"), 0.05)
        with pytest.raises(LockError):
            LockFile(str(tmp_path / "x"), 0.05)
        held.release()


def test_dropped_transaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "COUNTS_REFERENCES", False)
    refs = refs_at(path)
    with uncollected():
        for number in range(2):
            transaction = refs.transaction()
            transaction.create(MAIN, b"1" * 40)
            transaction.prepare()
            drop(transaction)
            del transaction
            refs[b"refs/heads/n%d" % number] = b"2" * 40
    assert MAIN not in refs
    assert len(refs.as_dict()) == 2


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE])
def test_too_many_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """Descriptors of garbage are closed before an error is raised."""
    (tmp_path / "file").touch()
    most = 3
    is_open: set[int] = set()
    opened, closed = os.open, os.close

    def open_few(*args: Any) -> int:
        if len(is_open) == most:
            raise OSError(error, os.strerror(error))
        fd = opened(*args)
        is_open.add(fd)
        return fd

    def close(fd: int) -> None:
        is_open.discard(fd)
        closed(fd)

    monkeypatch.setattr(os, "open", open_few)
    monkeypatch.setattr(os, "close", close)
    with uncollected():
        for _ in range(10):
            drop(open_plain(str(tmp_path / "file"))[0])
        gc.collect()
        for _ in range(most):
            file = Descriptor()
            file.open(str(tmp_path / "file"), os.O_RDONLY)
            drop(file)
            del file
        LockFile(str(tmp_path / "x"), 0).release()
        held = [open_plain(str(tmp_path / "file"))[0] for _ in range(most)]
        with pytest.raises(OSError, match=os.strerror(error)):
            open_plain(str(tmp_path / "file"))
    for file in held:
        file.close()


def test_files_that_stay_open_are_counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write keeps its list open, until somebody collects the one before."""
    collections: list[None] = []
    monkeypatch.setattr(files, "_KEPT_OPEN", 3)
    monkeypatch.setattr(files, "COUNTS_REFERENCES", True)
    refs = refs_at(path)
    with uncollected():
        monkeypatch.setattr(gc, "collect", lambda: collections.append(None))
        for number in range(9):
            refs[b"refs/heads/n%d" % number] = b"2" * 40
        assert not collections
        monkeypatch.setattr(files, "COUNTS_REFERENCES", False)
        for number in range(9):
            refs[b"refs/heads/n%d" % number] = b"3" * 40
    assert len(collections) >= 3


def test_a_synced_directory_is_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write does not leave it to the garbage collection."""
    opened: list[Descriptor] = []
    open_to_sync = files.WriteRules.open_to_sync

    def keep(rules: files.WriteRules, path: str) -> Descriptor | None:
        directory = open_to_sync(rules, path)
        if directory is not None:
            opened.append(directory)
        return directory

    monkeypatch.setattr(files.WriteRules, "open_to_sync", keep)
    set_config(path, fsync="all")
    refs = refs_at(path)
    refs[MAIN] = b"1" * 40
    refs.compact()
    assert opened
    assert [directory.fd for directory in opened] == [-1] * len(opened)
