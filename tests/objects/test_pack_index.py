"""Indexes of packs, beside git's own listing of them."""

from __future__ import annotations

import random
import struct
from binascii import a2b_hex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.git import Git, requires_git

from dulwich_reftable.objects import pack_index
from dulwich_reftable.objects.pack_index import PackIndex

pytestmark = requires_git

COUNT = 3000


def make(path: Path, object_format: str, *options: str) -> tuple[Path, dict[bytes, int]]:
    """An index, and the offsets of all objects by what git says."""
    git = Git.init(path, bare=True, object_format=object_format)
    blobs = b"".join(b"blob\ndata %d\n%d\n" % (len(str(i)), i) for i in range(COUNT))
    git.run("fast-import", "--quiet", stdin=blobs)
    (pack,) = (path / "objects" / "pack").glob("*.pack")
    index = path / "index.idx"
    git.run("index-pack", *options, "-o", str(index), str(pack))
    offsets = {}
    for line in git.run(
        "show-index", f"--object-format={object_format}", stdin=index.read_bytes()
    ).splitlines():
        offset, oid = line.split()[:2]
        offsets[a2b_hex(oid)] = int(offset)
    return index, offsets


@pytest.fixture(
    params=[("sha1", ()), ("sha256", ()), ("sha1", ("--index-version=2,0x1000",))],
    ids=["sha1", "sha256", "large offsets"],
)
def made(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[PackIndex, dict[bytes, int]]]:
    object_format, options = request.param
    path, offsets = make(tmp_path / "git", object_format, *options)
    index = PackIndex.open(str(path), 32 if object_format == "sha256" else 20)
    yield index, offsets
    index.close()


@pytest.fixture(params=[False, True], ids=["fan-out", "finer fan-out"])
def is_finer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the first search of many objects makes the finer fan-out table."""
    if request.param:
        monkeypatch.setattr(pack_index, "_LARGE_INDEX", 1)
        monkeypatch.setattr(pack_index, "_WORTH_A_FAN_OUT", 1)
    return bool(request.param)


def test_every_object_is_found(made: tuple[PackIndex, dict[bytes, int]], is_finer: bool) -> None:
    index, offsets = made
    assert len(index) == len(offsets) == COUNT
    draw = random.Random(3)
    absent = [draw.randbytes(len(next(iter(offsets)))) for _ in range(300)]
    # Neighbours of ids that are there, and the ends of the range.
    absent += [oid[:-1] + bytes([oid[-1] ^ 1]) for oid in draw.sample(sorted(offsets), 50)]
    absent += [bytes(len(absent[0])), b"\xff" * len(absent[0])]
    for oid, offset in offsets.items():
        assert index.find(oid) == offset
    for oid in absent:
        with pytest.raises(KeyError):
            index.find(oid)
    for number in (0, 1, 20, COUNT):  # some buckets are searched, some become dictionaries
        asked = [*draw.sample(sorted(offsets), number), *absent]
        found = index.find_all(asked)
        assert found == {oid: offsets[oid] for oid in asked if oid in offsets}
    some = sorted(offsets)[0]
    assert index.find_all([some, some]) == {some: offsets[some]}
    assert index.find_all([some[:-1], some + b"\0"]) == {}
    assert (index._finer is not None) == is_finer


def test_an_id_across_two_others_does_not_hide_one(
    monkeypatch: pytest.MonkeyPatch, is_finer: bool
) -> None:
    """The bytes of an id may also stand where two other ids meet."""
    monkeypatch.setattr(pack_index, "_WORTH_A_DICTIONARY", 2)
    monkeypatch.setattr(pack_index, "_STILL_WORTH_A_DICTIONARY", 2)
    sought = b"\1" * 20
    ids = [b"\1\1\0" + b"\1" * 17, b"\1" * 10 + b"\0" * 10, sought, b"\2" * 20]
    head = b"\xfftOc\0\0\0\2" + struct.pack(">256I", 0, 3, *[4] * 254)
    tail = b"\0" * 16 + struct.pack(">4I", 12, 34, 56, 78) + b"\0" * 40
    index = PackIndex(head + b"".join(ids) + tail, 20)
    for oids in (ids, [sought]):
        assert index.find_all(oids) == {oid: 12 + 22 * ids.index(oid) for oid in oids}
    assert (index._finer is not None) == is_finer


def test_damaged_indexes_end_in_a_known_error(tmp_path: Path, is_finer: bool) -> None:
    """Another answer, a missing object or one of two errors; no crash, and no endless search."""
    path, offsets = make(tmp_path / "git", "sha1", "--index-version=2,0x1000")
    sound = path.read_bytes()
    damaged = tmp_path / "damaged.idx"
    draw = random.Random(4)
    for number in range(150):
        data = bytearray(sound)
        if number % 3 == 0:
            del data[draw.randrange(len(data)) :]
        for _ in range(draw.randint(1, 400)):
            at = draw.randrange(1100 if number % 2 else len(data)) % max(len(data), 1)
            if data:
                data[at] = draw.choice((0, 255, draw.randrange(256)))
        damaged.write_bytes(data)
        try:
            index = PackIndex.open(str(damaged), 20)
        except ValueError:
            continue
        asked = sorted(draw.sample(sorted(offsets), 200))
        with suppress(KeyError, ValueError):
            for oid in asked:
                index.find(oid)
        for oids in (asked, asked[:9]):
            with suppress(KeyError, ValueError):
                index.find_all(oids)
        index.close()


@pytest.mark.parametrize("data", [b"", b"\xfftOc\0\0\0\2", b"\xfftOc\0\0\0\3" + bytes(2000)])
def test_no_index(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.idx"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"index|empty"):
        PackIndex.open(str(path), 20)
