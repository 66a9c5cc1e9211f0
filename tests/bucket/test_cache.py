"""The cache on disk: what it keeps, what it mends, and what it lets go of."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dulwich.errors import ChecksumMismatch

from dulwich_reftable import ReftableError
from dulwich_reftable.bucket.cache import Cache, Check, NoRoomError, Shelf, default_directory
from dulwich_reftable.engine.format.layout import Buffer


class Source:
    """Gives bytes, and counts how often."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads = 0

    def __call__(self) -> Iterator[bytes]:
        self.reads += 1
        yield self.data[:3]
        yield self.data[3:]


def ends_in_one(buffer: Buffer) -> None:
    if buffer[len(buffer) - 1 :] != b"1":
        raise ChecksumMismatch("1", buffer[len(buffer) - 1 :].hex())


CHECKS = [None, ends_in_one]


def files(path: Path) -> list[Path]:
    return sorted(found for found in path.rglob("*") if found.is_file())


@pytest.mark.parametrize("check", CHECKS)
def test_object_is_fetched_once(tmp_path: Path, check: Check | None) -> None:
    source = Source(b"some bytes 1")
    for _ in range(2):
        shelf = Cache(tmp_path).shelf("here")
        assert shelf.find("elsewhere", 12, check) is None
        for _ in range(2):
            found = shelf.fetch("name", 12, source, check)
            assert isinstance(found, mmap.mmap)
            assert found[:] == source.data
            assert len(found) == 12
    assert source.reads == 1
    assert len(files(tmp_path)) == 1
    other = Cache(tmp_path).shelf("there")
    assert other.fetch("name", 12, Source(b"other bytes1"), check)[:] == b"other bytes1"


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: bytes(len(data)),
        lambda data: data + b"1",
        lambda data: data[:11] + b"2" + data[12:],
    ],
)
def test_damaged_file_is_fetched_anew(
    tmp_path: Path, check: Check | None, damage: Callable[[bytes], bytes]
) -> None:
    source = Source(b"some bytes 1")
    shelf = Cache(tmp_path).shelf("here")
    shelf.fetch("name", 12, source, check)
    [path] = files(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    os.utime(path, (1, 1))
    for again in (shelf, Cache(tmp_path).shelf("here")):
        assert again.fetch("name", 12, source, check)[:] == source.data
    assert source.reads == 2


def test_what_is_wrong_at_its_source_is_not_kept(tmp_path: Path) -> None:
    shelf = Cache(tmp_path).shelf("here")
    with pytest.raises(ChecksumMismatch):
        shelf.fetch("name", 12, Source(b"some bytes 2"), ends_in_one)
    for data in (b"too short", b"a bit too long"):
        with pytest.raises(ReftableError, match="bytes where 12 are expected"):
            shelf.fetch("name", 12, Source(data))

    def fail() -> Iterator[bytes]:
        yield b"some"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        shelf.fetch("name", 12, fail)
    assert not files(tmp_path)
    assert shelf.fetch("name", 0, Source(b""))[:] == b""


def test_oldest_files_go(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=10_000)
    shelf = cache.shelf("here")
    for number in range(30):
        shelf.fetch(f"{number:02}", 1000, Source(bytes(1000)), lambda buffer: None)
        path = next(path for path in files(tmp_path) if path.name == f"{number:02}")
        os.utime(path, (1000 + number, path.stat().st_mtime))
        if number > 2:
            assert shelf.find("01", 1000, lambda buffer: None) is not None
            [used] = [path for path in files(tmp_path) if path.name == "01"]
            os.utime(used, (2000 + number, used.stat().st_mtime))
    names = [path.name for path in files(tmp_path)]
    assert "01" in names
    assert {"28", "29"} < {*names}
    assert 5 <= len(names) <= 10
    assert not cache.fits(6000)


def test_mapping_outlives_its_file(tmp_path: Path) -> None:
    shelf = Cache(tmp_path).shelf("here")
    found = shelf.fetch("name", 12, Source(b"some bytes 1"))
    shelf.drop("name")
    shelf.drop("name")
    assert not files(tmp_path)
    assert found[:] == b"some bytes 1"


def test_two_processes_may_evict_at_once(tmp_path: Path) -> None:
    """Each has its own idea of what is there; neither minds what the other has removed."""

    def work(number: int) -> None:
        shelf = Cache(tmp_path, limit=5000).shelf("here")
        for turn in range(60):
            data = bytes([turn % 20]) * 500
            assert shelf.fetch(f"{turn % 20}", 500, Source(data))[:] == data
            done[number] += 1

    done = [0, 0, 0]
    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [60, 60, 60]
    assert not [path for path in files(tmp_path) if path.name.startswith("tmp-")]


def test_threads_wait_for_one_download(tmp_path: Path) -> None:
    shelf = Cache(tmp_path).shelf("here")
    source = Source(bytes(500))
    threads = [threading.Thread(target=shelf.fetch, args=("name", 500, source)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.reads == 1


def test_what_dead_processes_left_goes(tmp_path: Path) -> None:
    shelf = Cache(tmp_path, limit=1000).shelf("here")
    shelf.fetch("name", 12, Source(b"some bytes 1"))
    folder = files(tmp_path)[0].parent
    for name, age in (("tmp-old", 7200), ("tmp-new", 60)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (time.time() - age,) * 2)
    for number in range(10):
        shelf.fetch(f"{number}", 12, Source(b"some bytes 1"))
    names = {path.name for path in files(tmp_path)}
    assert "tmp-new" in names
    assert "tmp-old" not in names


def test_private_cache_is_removed() -> None:
    cache = Cache()
    shelf = cache.shelf("here")
    shelf.fetch("name", 12, Source(b"some bytes 1"))
    directory = Path(cache.directory())
    assert files(directory)
    cache.close()
    assert not directory.exists()
    cache.close()


def blocked(tmp_path: Path) -> Shelf:
    (tmp_path / "file").write_bytes(b"")
    return Cache(tmp_path / "file").shelf("here")


def test_disk_that_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for shelf in (blocked(tmp_path), Cache(tmp_path, limit=10).shelf("here")):
        source = Source(b"some bytes 1")
        for _ in range(2):
            assert shelf.fetch("name", 12, source)[:] == b"some bytes 1"
        assert source.reads == 2
        with pytest.raises(ChecksumMismatch):
            shelf.fetch("name", 12, Source(b"some bytes 2"), ends_in_one)
        monkeypatch.setattr("dulwich_reftable.bucket.cache._IN_MEMORY", 11)
        with pytest.raises(NoRoomError):
            shelf.fetch("name", 12, source)
        monkeypatch.undo()


def test_adopted_file(tmp_path: Path) -> None:
    shelf = Cache(tmp_path / "cache").shelf("here")
    (tmp_path / "local").write_bytes(b"some bytes 1")
    shelf.adopt("name", str(tmp_path / "local"))
    assert not (tmp_path / "local").exists()
    source = Source(b"")
    assert shelf.fetch("name", 12, source, ends_in_one)[:] == b"some bytes 1"
    assert not source.reads
    (tmp_path / "local").write_bytes(b"some bytes 1")
    blocked(tmp_path).adopt("name", str(tmp_path / "local"))
    assert (tmp_path / "local").exists()


def test_default_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == str(tmp_path / "dulwich-reftable")
