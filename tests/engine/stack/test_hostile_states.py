"""Odd states of a stack's directory, what we make of each, and what git does.

Each state is made from a sound stack of three tables: ``refs/heads/one`` is in the first, ``two``
in the second, and the third sets ``one`` anew. `State` tells what can be seen and what becomes of a
write; nothing here may hang or crash, and no write may make things worse.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.filesystems import names_in, remove_tree
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.engine.stack.directory import DirectoryStorage
from dulwich_reftable.engine.stack.stack import Stack
from dulwich_reftable.engine.stack.storage import MissingTableError
from dulwich_reftable.engine.table.writer import TableWriter, WriteOptions

from . import scenes
from .scenes import refs_at

pytestmark = requires_git

ONE, TWO, NEW = b"refs/heads/one", b"refs/heads/two", b"refs/heads/new"
A, B, C = (digit * 40 for digit in (b"a", b"b", b"c"))
ALL = {ONE: C, TWO: B}


@dataclass
class State:
    """A state of the directory.

    Attributes:
      make: makes it; takes the directory and the names of the tables
      seen: the refs that are seen, or the error that reading raises
      said: what the error says
      written: what a write does: None for success, else its error
    """

    make: Callable[[Path, list[str]], object]
    seen: dict[bytes, bytes] | type[Exception]
    said: str = ""
    written: type[Exception] | None = None


def write_list(directory: Path, contents: bytes) -> None:
    (directory / "tables.list").unlink()
    (directory / "tables.list").write_bytes(contents)


def lines(*names: str, end: str = "\n") -> bytes:
    return ("\n".join(names) + end).encode()


def replace(make: Callable[[Path], object], path: Path) -> None:
    path.unlink()
    make(path)


def listen(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the address of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(here)


def table_of_sha256() -> bytes:
    chunks: list[bytes] = []
    writer = TableWriter(chunks.append, 2, 2, WriteOptions(hash_size=32))
    writer.add_refs([RefRecord(TWO, 2, bytes(32))])
    writer.finish()
    return b"".join(chunks)


def older_list(directory: Path, names: list[str]) -> None:
    write_list(directory, lines(*names[:1]))


def replaced_by(content: Callable[[Path, list[str]], bytes]) -> Callable[[Path, list[str]], None]:
    return lambda directory, names: write_list(directory, content(directory, names))


CORRUPT = dr.CorruptTableError
STORAGE = dr.StorageError

STATES: dict[str, State] = {
    "sound": State(lambda d, n: None, ALL),
    # The list
    "no directory": State(lambda d, n: remove_tree(d), {}),
    "no list": State(lambda d, n: (d / "tables.list").unlink(), {}),
    "empty list": State(replaced_by(lambda d, n: b""), {}),
    "list of an empty line": State(replaced_by(lambda d, n: b"\n"), {}),
    "empty lines in between": State(replaced_by(lambda d, n: b"\n\n" + lines(*n, end="\n\n")), ALL),
    "no newline at the end": State(replaced_by(lambda d, n: lines(*n, end="")), ALL),
    "last name cut short": State(
        replaced_by(lambda d, n: lines(*n, end="")[:-9]), MissingTableError, "No such file", STORAGE
    ),
    "older list": State(older_list, {ONE: A}),
    "lines end in CR LF": State(
        replaced_by(lambda d, n: lines(*n).replace(b"\n", b"\r\n")),
        CORRUPT,
        "cannot be a table",
        CORRUPT,
    ),
    "table named twice": State(
        replaced_by(lambda d, n: lines(*n, n[0])), CORRUPT, "cannot be a table", CORRUPT
    ),
    "name with a slash": State(
        replaced_by(lambda d, n: lines("../reftable/" + n[0])),
        CORRUPT,
        "cannot be a table",
        CORRUPT,
    ),
    "absolute name": State(
        replaced_by(lambda d, n: lines(str(d / n[0]))), CORRUPT, "cannot be a table", CORRUPT
    ),
    "name of a directory": State(
        replaced_by(lambda d, n: lines("..")), CORRUPT, "cannot be a table", CORRUPT
    ),
    "zero bytes": State(
        replaced_by(lambda d, n: bytes(100)), CORRUPT, "cannot be a table", CORRUPT
    ),
    "name too long": State(
        replaced_by(lambda d, n: b"x" * 5000 + b"\n"), STORAGE, "name too long", STORAGE
    ),
    "list names itself": State(
        replaced_by(lambda d, n: b"tables.list\n"), CORRUPT, "tables.list", CORRUPT
    ),
    "bytes that are no text": State(
        replaced_by(lambda d, n: b"\xff\xfe\n"), MissingTableError, "No such file", STORAGE
    ),
    "endless list": State(
        lambda d, n: os.truncate(d / "tables.list", 1 << 40), CORRUPT, "no list", CORRUPT
    ),
    "directory for a list": State(
        lambda d, n: replace(os.mkdir, d / "tables.list"), CORRUPT, "not a plain file", CORRUPT
    ),
    "pipe for a list": State(
        lambda d, n: replace(os.mkfifo, d / "tables.list"), CORRUPT, "not a plain file", CORRUPT
    ),
    "socket for a list": State(
        lambda d, n: replace(listen, d / "tables.list"), STORAGE, "tables.list", STORAGE
    ),
    "link to a list": State(
        lambda d, n: (
            os.rename(d / "tables.list", d / "elsewhere"),
            os.symlink("elsewhere", d / "tables.list"),
        ),
        ALL,
    ),
    "link to nothing": State(
        lambda d, n: replace(lambda p: os.symlink("nothing", p), d / "tables.list"),
        CORRUPT,
        "link to nothing",
        CORRUPT,
    ),
    "file for the directory": State(
        lambda d, n: (remove_tree(d), d.write_bytes(b"")), STORAGE, "Not a directory", STORAGE
    ),
    # Tables
    "missing table": State(
        lambda d, n: (d / n[1]).unlink(), MissingTableError, "No such file", STORAGE
    ),
    "empty table": State(
        lambda d, n: os.truncate(d / n[1], 0), CORRUPT, "0 bytes are too few", CORRUPT
    ),
    "table of another hash": State(
        lambda d, n: (d / n[1]).write_bytes(table_of_sha256()), CORRUPT, "of 32 bytes", CORRUPT
    ),
    "table cut short": State(lambda d, n: os.truncate(d / n[1], 100), CORRUPT, "footer", CORRUPT),
    "directory for a table": State(
        lambda d, n: replace(os.mkdir, d / n[1]), CORRUPT, "not a plain file", CORRUPT
    ),
    "pipe for a table": State(
        lambda d, n: replace(os.mkfifo, d / n[1]), CORRUPT, "not a plain file", CORRUPT
    ),
    "device for a table": State(
        lambda d, n: replace(lambda p: os.symlink("/dev/zero", p), d / n[1]),
        CORRUPT,
        "not a plain file",
        CORRUPT,
    ),
    "link to a table": State(
        lambda d, n: (os.rename(d / n[1], d / "elsewhere"), os.symlink("elsewhere", d / n[1])), ALL
    ),
    "odd name": State(
        lambda d, n: (
            os.rename(d / n[1], d / "some table"),
            write_list(d, lines(n[0], "some table", n[2])),
        ),
        ALL,
    ),
    # Locks
    "lock of the list": State(lambda d, n: (d / "tables.list.lock").touch(), ALL, "", dr.LockError),
    "directory for a lock": State(
        lambda d, n: (d / "tables.list.lock").mkdir(), ALL, "", dr.LockError
    ),
    "link for a lock": State(
        lambda d, n: (d / "tables.list.lock").symlink_to("nothing"), ALL, "", dr.LockError
    ),
    "locks of all tables": State(lambda d, n: [(d / f"{name}.lock").touch() for name in n], ALL),
    "who holds locks": State(
        lambda d, n: [
            (d / f"{name}~pid.lock").write_text("pid 1\n") for name in ("tables.list", *n)
        ],
        ALL,
    ),
}


@pytest.fixture
def directory(path: Path) -> Path:
    """A stack of three tables."""
    directory = path / ".git" / "reftable"
    stack = Stack(DirectoryStorage(str(directory), fsync=False))
    stack.auto_compacts = False
    remove_tree(directory)
    for name, value in ((ONE, A), (TWO, B), (ONE, C)):
        with stack.addition() as addition:
            record = RefRecord(name, addition.next_update_index, bytes.fromhex(value.decode()))
            addition.write([record], [])
            addition.commit()
    assert len(scenes.listed(directory)) == 3
    return directory


@pytest.mark.skipif(os.name != "posix", reason="makes files that POSIX has")
@pytest.mark.parametrize("name", STATES)
def test_state(directory: Path, path: Path, name: str) -> None:
    state = STATES[name]
    if name.startswith("pipe") and not hasattr(os, "mkfifo"):
        pytest.skip("needs os.mkfifo")
    state.make(directory, scenes.listed(directory))
    refs = refs_at(path)
    if isinstance(state.seen, dict):
        assert dict(refs.iter_refs()) == state.seen
        assert refs.snapshot().as_dict() == state.seen
        assert refs.read_ref(NEW) is None
    else:
        with pytest.raises(state.seen, match=state.said) as error:
            refs.as_dict()
        assert str(directory) in str(error.value)
    before = tree(directory)
    if state.written is None:
        assert refs.set_if_equals(NEW, None, A, message=b"m", **scenes.ABOUT)
        assert isinstance(state.seen, dict)
        assert refs.as_dict() == {**state.seen, NEW: A}
        assert refs_at(path).as_dict() == {**state.seen, NEW: A}
    else:
        with pytest.raises(state.written) as error:
            refs.set_if_equals(NEW, None, A, message=b"m", **scenes.ABOUT)
        assert str(directory) in str(error.value)
        assert isinstance(error.value, dr.ReftableError)
        assert tree(directory) == before, "a write that failed has changed something"
        with pytest.raises(dr.ReftableError):
            refs.clean()
        assert tree(directory) == before, "cleaning up has made it worse"


def tree(directory: Path) -> list[str]:
    return names_in(directory) if directory.is_dir() else []


@pytest.mark.parametrize("name", ["no directory", "no list", "empty list", "older list"])
def test_git_sees_the_same(directory: Path, path: Path, name: str) -> None:
    """Of those states that are no damage to git either."""
    state = STATES[name]
    state.make(directory, scenes.listed(directory))
    refs = refs_at(path)
    assert isinstance(state.seen, dict)
    git = Git(path)
    assert {k: v for k, v in shown(git).items() if k.startswith(b"refs/")} == state.seen
    refs[NEW] = A
    assert shown(git) == {**state.seen, NEW: A}


def shown(git: Git) -> dict[bytes, bytes]:
    """What git has, objects or not."""
    found = {}
    for name in (ONE, TWO, NEW):
        done = git.start(["rev-parse", "--verify", "--quiet", name], b"", None)
        if not done.returncode:
            found[name] = done.stdout.strip()
    return found


def test_older_list_after_newer_writes(directory: Path, path: Path) -> None:
    """Who holds the newer state sees the older one come back, and writes on from there."""
    saved = (directory / "tables.list").read_bytes()
    refs = refs_at(path)
    tables = {name: (directory / name).read_bytes() for name in scenes.listed(directory)}
    refs[ONE] = A
    refs[NEW] = A
    for name, contents in tables.items():
        (directory / name).write_bytes(contents)
    write_list(directory, saved)
    assert refs.as_dict() == ALL
    assert not refs.set_if_equals(ONE, A, B)
    assert refs.set_if_equals(ONE, C, B)
    assert refs_at(path).as_dict() == {ONE: B, TWO: B}


def test_lock_removed_by_hand(directory: Path, path: Path) -> None:
    """As the message says."""
    lock = directory / "tables.list.lock"
    lock.write_bytes(b"half a li")
    refs = refs_at(path)
    with pytest.raises(dr.LockError, match="remove the file by hand") as refused:
        refs[NEW] = A
    assert refused.value.lock_path == str(lock)
    os.unlink(refused.value.lock_path)
    refs[NEW] = A
    assert refs.as_dict() == {**ALL, NEW: A}
