"""Packs of git, read entry by entry; dulwich and git say what is in them."""

from __future__ import annotations

import os
import random
import sys
import zlib
from binascii import a2b_hex, b2a_hex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from dulwich.objects import ObjectID
from dulwich.pack import write_pack_index_v2
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.objects.pack_file import BROKEN, PackFile
from dulwich_reftable.objects.reader import ObjectReader
from dulwich_reftable.server.upload_pack.pack_plan import PackPlan
from dulwich_reftable.server.upload_pack.pack_writer import PackWriter

pytestmark = requires_git


def make(path: Path, *options: str, object_format: str = "sha1") -> Git:
    """A repository with chains of deltas, all in one pack."""
    git = Git.init(path, bare=True, object_format=object_format)
    draw = random.Random(5)
    lines = [b"%d\n" % draw.getrandbits(200) for _ in range(300)]
    stream = []
    for number in range(30):
        lines[draw.randrange(len(lines))] = b"%d\n" % draw.getrandbits(200)
        blob = b"".join(lines)
        stream.append(
            b"commit refs/heads/main\ncommitter a <a> %d +0000\ndata 1\nx\n" % (10**9 + number)
        )
        stream.append(b"M 644 inline f%d\ndata %d\n%s\n" % (number % 7, len(blob), blob))
    stream.append(b"tag t\nfrom refs/heads/main\ntagger a <a> 1500000000 +0000\ndata 1\nx\n")
    git.run("fast-import", "--quiet", stdin=b"".join(stream))
    git.run(*options, "repack", "-adfq")
    return git


@pytest.fixture(
    params=[
        ("sha1", ()),
        ("sha1", ("-c", "repack.useDeltaBaseOffset=false")),
        ("sha1", ("-c", "pack.indexVersion=1")),
        ("sha256", ()),
    ],
    ids=["offsets", "ids", "index-1", "sha256"],
)
def git(request: pytest.FixtureRequest, tmp_path: Path) -> Git:
    object_format, options = request.param
    return make(tmp_path / "git", *options, object_format=object_format)


def objects_of(git: Git) -> list[bytes]:
    listed = git.run("cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    return listed.split()


@pytest.fixture
def reader(git: Git) -> Iterator[ObjectReader]:
    with dr.Repo(str(git.path)) as repo, ObjectReader(repo.object_store) as reader:
        yield reader


def pack_of(reader: ObjectReader, oid: bytes) -> tuple[PackFile, int]:
    found = reader.find(a2b_hex(oid))
    assert found is not None
    return found


def test_all_is_as_dulwich_says(git: Git, reader: ObjectReader) -> None:
    deltas = 0
    oids = objects_of(git)
    for oid in oids:
        pack, offset = pack_of(reader, oid)
        kind, data = reader.store.get_raw(ObjectID(oid))
        assert pack.read(offset) == (kind, data)
        assert pack.type_at(offset) == kind
        assert pack.size_at(offset) == len(data)
        deltas += pack.entry(offset).base is not None
        ends = sorted(pack.offsets())
        assert pack.end_of(offset) == ends[ends.index(offset) + 1]
    assert len(pack) == len(oids)
    assert deltas > 20
    assert reader.find(b"\1" * (len(oids[0]) // 2)) is None


def test_what_is_kept_is_bounded(
    git: Git, reader: ObjectReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dulwich_reftable.objects.pack_file._CACHED", 100_000)
    monkeypatch.setattr("dulwich_reftable.objects.pack_file._LARGE", 19_000)
    for oid in objects_of(git):
        assert reader.get_raw(oid) == reader.store.get_raw(ObjectID(oid))
        for pack in reader._packs:
            kept = [*pack._young.values(), *pack._old.values()]
            assert sum(len(data) for _, data in kept) <= 100_000
            assert all(len(data) <= 19_000 for _, data in kept)


def test_damaged_packs_end_in_a_known_error(tmp_path: Path) -> None:
    """A pack that says nonsense gives an error or another answer, but no hang and no crash."""
    git = make(tmp_path / "git")
    oids = objects_of(git)
    (path,) = (git.path / "objects" / "pack").glob("*.pack")
    sound = path.read_bytes()
    path.chmod(0o644)
    draw = random.Random(9)
    for _ in range(60):
        damaged = bytearray(sound)
        for _ in range(draw.randint(1, 200)):
            damaged[draw.randrange(12, len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        with dr.Repo(str(git.path)) as repo, ObjectReader(repo.object_store) as reader:
            for oid in draw.sample(oids, 10):
                pack, offset = pack_of(reader, oid)
                for ask in (pack.read, pack.type_at, pack.size_at, pack.end_of):
                    with suppress(*BROKEN):
                        ask(offset)


def test_a_broken_entry_is_asked_of_the_store(tmp_path: Path) -> None:
    """If another pack or a loose object has it, it is found."""
    git = make(tmp_path / "git")
    oid = git.run("rev-parse", "main").strip()
    whole = git.run("cat-file", "commit", oid.decode())
    (path,) = (git.path / "objects" / "pack").glob("*.pack")
    loose = git.path / "objects" / oid[:2].decode() / oid[2:].decode()
    loose.parent.mkdir(exist_ok=True)
    loose.write_bytes(zlib.compress(b"commit %d\0" % len(whole) + whole))
    with dr.Repo(str(git.path)) as repo, ObjectReader(repo.object_store) as reader:
        pack, offset = pack_of(reader, oid)
        at = pack.entry(offset).data
    path.chmod(0o644)
    damaged = bytearray(path.read_bytes())
    damaged[at : at + 4] = b"\0\0\0\0"
    path.write_bytes(damaged)
    with dr.Repo(str(git.path)) as repo, ObjectReader(repo.object_store) as reader:
        pack, offset = pack_of(reader, oid)
        with pytest.raises(BROKEN):
            pack.read(offset)
        reader.store.packs[0].close()
        path.unlink()
        path.with_suffix(".idx").unlink()
        assert reader.get_raw(oid)[1] == whole


def test_a_closed_reader_asks_the_store(git: Git) -> None:
    with dr.Repo(str(git.path)) as repo:
        reader = ObjectReader(repo.object_store)
        before = {oid: reader.get_raw(oid) for oid in objects_of(git)}
        reader.close()
        assert reader.find(a2b_hex(next(iter(before)))) is None
        assert {oid: reader.get_raw(oid) for oid in before} == before


@pytest.mark.skipif(sys.platform != "linux", reason="needs files with holes")
def test_entries_beyond_two_gigabytes(tmp_path: Path) -> None:
    """They are found by the index's table of large offsets, and are copied into other packs."""
    git = make(tmp_path / "git")
    oids = [a2b_hex(oid) for oid in objects_of(git)]
    with dr.Repo(str(git.path)) as repo, ObjectReader(repo.object_store) as reader:
        expected = {oid: reader.get_raw(b2a_hex(oid)) for oid in oids}
        (pack,) = repo.object_store.packs
        entries = list(pack.index.iterentries())
        checksum = pack.index.get_pack_checksum()
        assert checksum is not None
    (path,) = (git.path / "objects" / "pack").glob("*.pack")
    content, hole = path.read_bytes(), 1 << 31
    path.unlink()
    with path.open("wb") as file:
        file.write(content[:12])
        file.seek(hole, os.SEEK_CUR)
        file.write(content[12:])
    path.with_suffix(".idx").unlink()
    with path.with_suffix(".idx").open("wb") as file:
        write_pack_index_v2(file, [(oid, at + hole, crc) for oid, at, crc in entries], checksum)
    pieces: list[bytes] = []
    with dr.Repo(str(git.path)) as repo, ObjectReader(repo.object_store) as reader:
        assert {oid: reader.get_raw(b2a_hex(oid)) for oid in oids} == expected
        found = reader.find(oids[0])
        assert found is not None
        assert found[1] > hole
        PackWriter(reader, repo.object_format, pieces.append).write(PackPlan(reader, oids))
    other = Git.init(tmp_path / "other", bare=True)
    other.run("index-pack", "--stdin", stdin=b"".join(pieces))
    assert sorted(objects_of(other)) == sorted(map(b2a_hex, oids))
