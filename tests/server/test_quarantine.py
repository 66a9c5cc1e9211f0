"""The objects of a push while a garbage collection runs, and while the disk fills."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID
from support.git import Git, requires_git

from dulwich_reftable.server.receive_pack import loose_objects
from dulwich_reftable.server.receive_pack import quarantine as quarantine_module
from dulwich_reftable.server.receive_pack.incoming_directory import remove_stale
from dulwich_reftable.server.receive_pack.limits import Limits
from dulwich_reftable.server.receive_pack.quarantine import Quarantine

from . import making as make
from . import wire

BLOB = make.blob(b"a blob\n")
TREE = make.tree((b"100644", b"file", BLOB.oid))
COMMIT = make.commit(TREE.oid)
TAG = make.tag(COMMIT.oid, b"commit")
ALL = [TAG, COMMIT, TREE, BLOB]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskObjectStore]:
    """The objects of an empty repository."""
    store = DiskObjectStore.init(os.fspath(tmp_path / "objects"))
    yield store
    store.close()
    assert not list(tmp_path.rglob("incoming-*")), "something is left"
    assert not list(tmp_path.rglob("*.keep")), "something is left"


def received(
    store: DiskObjectStore, *, limit: int = 100, fsync_objects: bool = False
) -> Quarantine:
    """Receive all, and seal them."""
    quarantine = Quarantine(store, fsync_objects=fsync_objects, unpack_limit=limit)
    quarantine.receive(BytesIO(make.pack(*ALL)).read, Limits())
    quarantine.seal()
    return quarantine


def names(store: DiskObjectStore) -> set[str]:
    """List the endings of the files of objects."""
    files = (path for path in Path(store.path).rglob("*") if path.is_file())
    return {path.suffix or "loose" for path in files if "incoming-" not in str(path)}


def check(store: DiskObjectStore) -> None:
    """Check that all objects are there."""
    for one in ALL:
        assert store.get_raw(ObjectID(one.oid)) == (one.type_num, one.data)


@pytest.mark.parametrize("fsync_objects", [False, True])
def test_a_pack_is_kept_until_the_end(
    store: DiskObjectStore, fsync_objects: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its .keep file comes first, then the pack, then the index, which makes others look for it."""
    seen = []
    link = os.link

    def watched(source: str, target: str) -> None:
        seen.append(names(store))
        link(source, target)

    monkeypatch.setattr(os, "link", watched)
    with received(store, limit=1, fsync_objects=fsync_objects) as quarantine:
        quarantine.release()
        assert seen == [{".keep"}, {".keep", ".pack"}]
        assert names(store) == {".keep", ".pack", ".idx"}
        quarantine.secure()
        (pack,) = Path(store.pack_dir).glob("*.pack")
        pack.unlink()  # by a gc that did not see the .keep file
        quarantine.secure()
    assert names(store) == {".pack", ".idx"}
    check(store)


def test_a_note_of_somebody_else_stays(store: DiskObjectStore) -> None:
    with received(store, limit=1) as quarantine:
        assert quarantine.pack is not None
        note = Path(store.pack_dir, f"pack-{quarantine.pack.checksum.hex()}.keep")
        note.write_text("mine\n")
        quarantine.release()
    assert note.read_text() == "mine\n"
    note.unlink()


def test_files_appear_in_order(store: DiskObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object comes after those that it points to."""
    made = []
    replace = os.replace

    def watched(source: str, target: str) -> None:
        replace(source, target)
        made.append("".join(Path(target).parts[-2:]).encode())

    monkeypatch.setattr(os, "replace", watched)
    with received(store) as quarantine:
        quarantine.release()
    assert made == [one.oid for one in (BLOB, TREE, COMMIT, TAG)]
    assert names(store) == {"loose"}
    check(store)


@pytest.mark.parametrize("fsync_objects", [False, True])
def test_loose_objects_are_synced_with_their_directories(
    store: DiskObjectStore, fsync_objects: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was renamed can be lost until its directory is synced."""
    synced: list[int] = []
    moved_before: list[int] = []
    replace = os.replace

    def moved(source: str, target: str) -> None:
        replace(source, target)
        moved_before[:] = synced

    monkeypatch.setattr(os, "replace", moved)
    with received(store, fsync_objects=fsync_objects) as quarantine:
        monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
        quarantine.release()
    files = list(Path(store.path).glob("??/*"))
    assert len(files) == len(ALL)
    if not fsync_objects:
        assert not synced
        return
    assert {*moved_before} == {path.stat().st_ino for path in files}
    directories = {path.parent for path in files} | {Path(store.path)}
    assert {*synced} - {*moved_before} == {path.stat().st_ino for path in directories}


def test_old_files_get_a_new_time(store: DiskObjectStore) -> None:
    with received(store) as quarantine:
        quarantine.release()
    files = [path for path in Path(store.path).glob("??/*") if path.is_file()]
    for path in files:
        os.utime(path, (1, 1))
    with received(store) as quarantine:
        quarantine.release()
    assert len(files) == 4
    assert all(path.stat().st_mtime > time.time() - 1000 for path in files)


def test_directories_that_vanish(store: DiskObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git's gc removes those that are empty."""
    replace = os.replace
    removals = 0

    def late(source: str, target: str) -> None:
        nonlocal removals
        if removals % 3 < 2 and os.path.isdir(os.path.dirname(target)):
            os.rmdir(os.path.dirname(target))
        removals += 1
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    with received(store) as quarantine:
        quarantine.release()
    assert removals > 8
    check(store)


@pytest.mark.parametrize("note", ["gc.pid", "objects/maintenance.lock"])
def test_a_gc_that_runs(store: DiskObjectStore, tmp_path: Path, note: str) -> None:
    (tmp_path / note).write_text("1 here")
    with received(store) as quarantine:
        quarantine.release()
        assert names(store) >= {".pack", ".idx", ".keep"}
    check(store)


def test_a_gc_that_begins_or_is_over(store: DiskObjectStore, tmp_path: Path) -> None:
    with received(store) as quarantine:
        quarantine.release()
        quarantine.secure()
        assert names(store) == {"loose"}
        (tmp_path / "gc.pid").write_text("1 here")
        quarantine.secure()
        assert names(store) == {"loose", ".pack", ".idx", ".keep"}
    old = time.time() - 13 * 3600
    os.utime(tmp_path / "gc.pid", (old, old))
    shutil.rmtree(store.pack_dir)
    os.mkdir(store.pack_dir)
    with received(store) as quarantine:
        quarantine.release()
        assert names(store) == {"loose"}
        next(Path(store.path).glob("??/*")).unlink()
        quarantine.secure()
    check(store)


def failing(call: Callable[..., Any], at: int, calls: list[int]) -> Callable[..., Any]:
    """Give a function that finds the disk full from a call on."""

    def maybe(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) >= at:
            raise OSError(errno.ENOSPC, "no space left")
        return call(*args, **kwargs)

    return maybe


def test_a_disk_that_fills(store: DiskObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever file fails: the objects that are there are complete, and a retry works."""
    for at in range(1, 20):
        quarantine = received(store)
        calls: list[int] = []
        with monkeypatch.context() as patch:
            for module in (loose_objects, quarantine_module):
                patch.setattr(module, "open", failing(open, at, calls), raising=False)
            try:
                with quarantine:
                    quarantine.release()
            except OSError:
                assert not list(Path(store.pack_dir).iterdir())
            else:
                check(store)
        if len(calls) < at:
            break
        assert check_links(store)
        for path in (*Path(store.path).glob("??/*"), *Path(store.pack_dir).iterdir()):
            path.unlink()
    assert at == 5, "one for each object"


@pytest.mark.skipif(os.name == "nt", reason="needs a limit on the size of files")
@pytest.mark.parametrize("limit", [0, 100])
def test_nothing_is_left_of_a_pack_that_cannot_be_written(
    store: DiskObjectStore, limit: int
) -> None:
    """Even writing the buffer when the file is closed fails, as on a full disk."""
    import resource  # Windows has none

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with (
            pytest.raises(OSError, match=os.strerror(errno.EFBIG)),
            Quarantine(store, fsync_objects=False, unpack_limit=100) as quarantine,
        ):
            quarantine.receive(BytesIO(make.pack(*ALL)).read, Limits())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(store) == set()


def check_links(store: DiskObjectStore) -> bool:
    """Check that each object that is there points only to objects that are there."""
    there = [one.oid for one in ALL if ObjectID(one.oid) in store]
    needs = {TAG.oid: COMMIT.oid, COMMIT.oid: TREE.oid, TREE.oid: BLOB.oid}
    return all(needs[oid] in there for oid in there if oid in needs)


@requires_git
@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
@pytest.mark.parametrize("limit", ["1", "100"])
@pytest.mark.parametrize("clearing", ["repack -adq", "gc -q --prune=now", "gc -q"])
def test_clearing_up_in_a_hook(url: str, origin: Git, limit: str, clearing: str) -> None:
    """No ref points to the objects while a hook runs; a gc then must not lose them."""
    origin.run("config", "receive.unpackLimit", limit)
    hook = origin.path / "hooks" / "update"
    hook.write_text(f"#!/bin/sh\nunset GIT_QUARANTINE_PATH\ngit {clearing}\n")
    hook.chmod(0o755)
    # Before any ref points to them, all are there again.
    hook = origin.path / "hooks" / "reference-transaction"
    hook.write_text(
        "#!/bin/sh\n[ $1 = prepared ] || exit 0\n"
        "while read old new ref; do git rev-list --objects $new >/dev/null || exit 1; done\n"
    )
    hook.chmod(0o755)
    for number in range(3):
        blob = make.blob(b"%d\n" % number)
        tree = make.tree((b"100644", b"file", blob.oid))
        commit = make.commit(tree.oid)
        command = b"%s %s refs/heads/new%d" % (wire.ZERO, commit.oid, number)
        said = wire.push(url, command, pack=make.pack(commit, tree, blob))
        assert make.outcomes(said) == {b"refs/heads/new%d" % number: b""}
    assert not list((origin.path / "objects/pack").glob("*.keep"))
    assert len(origin.run("rev-list", "--all", "--objects").split(b"\n")) > 9


def test_a_file_is_what_git_writes(store: DiskObjectStore) -> None:
    with received(store) as quarantine:
        quarantine.release()
    oid = BLOB.oid.decode()
    path = Path(store.path) / oid[:2] / oid[2:]
    assert zlib.decompress(path.read_bytes()) == b"blob 7\0a blob\n"
    assert path.stat().st_mode & 0o777 == 0o444


def test_what_others_left_behind(store: DiskObjectStore, tmp_path: Path) -> None:
    """A directory that nobody has locked tells its age; one of a killed process goes at once."""
    old, young, link = (Path(store.path, f"incoming-{name}") for name in ("old", "young", "link"))
    for path in (old, young):
        (path / "pack").mkdir(parents=True)
    os.utime(old, (1, 1))
    (tmp_path / "other").mkdir()
    link.symlink_to(tmp_path / "other")
    with received(store), received(store) as alive:
        assert not old.exists()
        path = Path(alive.environment["GIT_QUARANTINE_PATH"])
        assert remove_stale(os.fspath(store.path)) == []
        assert (path / "pack").is_dir()
    assert young.is_dir()
    assert link.is_symlink()
    link.unlink()
    (young / "pack").rmdir()
    young.rmdir()  # its process may still be alive


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
def test_what_a_killed_process_left_behind(store: DiskObjectStore) -> None:
    program = """
import os, signal, sys
from dulwich_reftable.server.receive_pack.incoming_directory import IncomingDirectory
print(IncomingDirectory(sys.argv[1]).path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, os.fspath(store.path)], capture_output=True, check=False
    )
    path = done.stdout.decode().strip()
    assert os.path.isdir(path)
    assert remove_stale(os.fspath(store.path)) == [path]
    assert not os.path.exists(path)
