"""Receive packs of git, broken packs, and packs that are too large."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest
from dulwich.object_format import SHA1, SHA256
from dulwich.object_store import DiskObjectStore, MemoryObjectStore
from support.git import Git, requires_git
from support.memory import measured

from dulwich_reftable.server.errors import PackError
from dulwich_reftable.server.receive_pack import incoming
from dulwich_reftable.server.receive_pack.deltas import apply_delta
from dulwich_reftable.server.receive_pack.incoming import IncomingPack
from dulwich_reftable.server.receive_pack.limits import Limits

from . import making as make
from .making import BLOB, TREE, Object

LIMITS = Limits(object_size=1 << 20, tree_entries=1000)


def receive(path: Path, pack: bytes, limits: Limits = LIMITS) -> IncomingPack:
    """Receive a pack into an empty repository, in small pieces."""
    store = MemoryObjectStore()
    read = BytesIO(pack).read
    (path / "pack").unlink(missing_ok=True)
    got = IncomingPack(os.fspath(path / "pack"), SHA1, limits)
    try:
        got.receive(lambda size: read(min(size, 1000)), store)
    except BaseException:
        got.close()
        raise
    return got


@pytest.fixture(scope="module", params=["sha1", "sha256"])
def versions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Git:
    """A repository of a text that changes a little with each commit."""
    object_format = request.param
    path = tmp_path_factory.mktemp("versions")
    git = Git.init(path, bare=True, object_format=object_format)
    draw = random.Random(1)
    text = [b"%d\n" % draw.randrange(10**9) for _ in range(300)]
    lines = []
    for number in range(12):
        text[draw.randrange(300)] = b"changed %d\n" % number
        large = draw.randbytes(200_000) if number == 5 else b""
        lines.append(b"commit refs/heads/main\ncommitter a <a> %d +0000\ndata 0\n" % number)
        for name, data in ((b"file", b"".join(text)), (b"large", large)):
            lines.append(b"M 644 inline %s\ndata %d\n%s\n" % (name, len(data), data))
    git.run("fast-import", "--quiet", stdin=b"".join(lines))
    return git


@requires_git
@pytest.mark.parametrize("flags", [["--delta-base-offset"], [], ["--thin"]])
@pytest.mark.parametrize("cache", [1 << 20, 0])
def test_packs_of_git(
    tmp_path: Path,
    versions: Git,
    flags: list[str],
    cache: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The index is git's, byte by byte; a thin pack is completed to one that git verifies."""
    monkeypatch.setattr(incoming, "_CACHE_SIZE", cache)
    git, object_format = versions, versions.object_format
    wanted = b"main\n^main~3\n" if "--thin" in flags else b"main\n"
    pack = git.run("pack-objects", "--revs", "--stdout", "-q", *flags, stdin=wanted)
    form = SHA1 if object_format == "sha1" else SHA256
    path = tmp_path / "pack"
    with (
        closing(DiskObjectStore(os.fspath(git.path / "objects"), object_format=form)) as store,
        closing(IncomingPack(os.fspath(path), form, Limits())) as got,
    ):
        got.receive(BytesIO(pack).read, store)
        got.write_index(os.fspath(tmp_path / "ours.idx"), fsync=False)
        listed = {oid.hex().encode() for oid in got}
        for oid in got:
            assert got.content(oid) == b"".join(got.pieces(oid)[1])
    name = f"--object-format={object_format}"
    git.run("index-pack", name, "-o", str(tmp_path / "git.idx"), str(path))
    assert (tmp_path / "ours.idx").read_bytes() == (tmp_path / "git.idx").read_bytes()
    new = git.run("rev-list", "--objects", "--no-object-names", "--stdin", stdin=wanted).split()
    assert listed >= set(new)
    assert (listed == set(new)) == ("--thin" not in flags)


def test_broken_packs(tmp_path: Path) -> None:
    """Changing any byte of a pack breaks it."""
    blob = make.blob(b"some text\n" * 5)
    change = make.delta(blob, 60, b"\x90\x32" + b"\x0a" + b"0123456789")
    pack = make.pack(blob, change, make.tree((b"100644", b"x", blob.oid)))
    with closing(receive(tmp_path, pack)) as got:
        assert len(got) == 3
    draw = random.Random(2)
    for position in range(len(pack)):
        broken = bytearray(pack)
        broken[position] ^= 1 << draw.randrange(8)
        with pytest.raises(PackError):
            receive(tmp_path, bytes(broken)).close()
        with pytest.raises(PackError):
            receive(tmp_path, pack[:position]).close()


def deltas() -> Iterator[tuple[str, bytes]]:
    """Deltas of a base of ten bytes that are wrong."""
    yield "no sizes", b""
    yield "half a size", b"\x80"
    yield "endless size", b"\xff" * 30
    yield "other base", b"\x0b\x01\x01x"
    yield "unknown instruction", b"\x0a\x01\x00"
    yield "copies too much", b"\x0a\x0b\x90\x0b"
    yield "copies from behind", b"\x0a\x01\x91\x0b\x01"
    yield "makes more", b"\x0a\x01\x90\x02"
    yield "makes less", b"\x0a\x02\x01x"
    yield "ends in a copy", b"\x0a\x01\x91"
    yield "ends in an insert", b"\x0a\x05\x05x"


@pytest.mark.parametrize("delta", [case[1] for case in deltas()], ids=[c[0] for c in deltas()])
def test_broken_deltas(tmp_path: Path, delta: bytes) -> None:
    with pytest.raises(PackError):
        apply_delta(b"0123456789", delta)
    blob = make.blob(b"0123456789")
    with pytest.raises(PackError):
        receive(tmp_path, make.pack(blob, Object(7, delta, bytes.fromhex(blob.oid.decode()))))


def test_deltas_that_build_on_each_other_or_nothing(tmp_path: Path) -> None:
    ids = [bytes([number]) * 20 for number in range(2)]
    loop = [Object(7, b"\x01\x01\x01x", oid) for oid in ids]
    with pytest.raises(PackError, match="2 deltas whose bases are not there"):
        receive(tmp_path, make.pack(*loop))
    itself = make.entry(6, 4) + b"\0" + zlib.compress(b"\x01\x01\x01x")
    with pytest.raises(PackError, match="bases are not there"):
        receive(tmp_path, make.seal(1, [itself]))


def test_a_long_chain_in_a_small_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "_CACHE_SIZE", 1000)
    last = make.blob(b"x" * 100)
    objects = [last]
    for number in range(300):
        text = b"%03d" % number
        objects.append(make.delta(last, 100, b"\x03" + text + b"\x91\x03\x61"))
        last = make.blob(text + last.data[3:])
    with closing(receive(tmp_path, make.pack(*objects))) as got:
        assert bytes.fromhex(last.oid.decode()) in got


def test_many_large_results_in_a_small_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "_CACHE_SIZE", 1 << 20)
    size = 1 << 19
    last = make.blob(bytes(size))
    objects = [last]
    for number in range(40):
        objects.append(make.delta(last, size, b"\x02%02d\xf1\x02" % number + b"\xfe\xff\x07"))
        last = make.blob(b"%02d" % number + last.data[2:])
    pack = make.pack(*objects)
    with measured() as memory, closing(receive(tmp_path, pack)) as got:
        assert bytes.fromhex(last.oid.decode()) in got
    assert memory.peak < 6 << 20


def test_what_is_too_large(tmp_path: Path) -> None:
    """It is refused by its announced size, before memory is allocated; or by its data."""
    zeros = make.blob(bytes(2 << 20))
    base = make.blob(b"0123456789")
    names = [(b"100644", b"%04d" % number, base.oid) for number in range(1001)]
    cases = {
        "exceeds the 1048576 bytes of receive.maxObjectSize": [
            make.pack(zeros),
            make.pack(Object(TREE, bytes(2 << 20))),
            make.pack(base, make.delta(base, 1 << 40, b"\x90\x0a" * 100)),
            make.pack(base, Object(7, bytes(2 << 20), bytes.fromhex(base.oid.decode()))),
        ],
        "has not the size it announces": [
            make.seal(1, [make.entry(BLOB, 5) + zlib.compress(zeros.data)]),
        ],
        "more than it announces": [
            make.pack(base, make.delta(base, 20, b"\x90\x0a" * 100)),
        ],
        "1000 entries of receive.maxTreeEntries": [make.pack(make.tree(*names))],
    }
    for said, packs in cases.items():
        for pack in packs:
            with measured() as memory, pytest.raises(PackError, match=said):
                receive(tmp_path, pack)
            assert memory.peak < 1 << 19
    receive(tmp_path, make.pack(make.tree(*names[1:]))).close()


def test_large_blobs_are_streamed(tmp_path: Path) -> None:
    pack = make.pack(make.blob(bytes(16 << 20)))
    with measured() as memory, closing(receive(tmp_path, pack, Limits())) as got:
        (oid,) = got
        size, pieces = got.pieces(oid)
        assert size == sum(map(len, pieces)) == 16 << 20
    assert memory.peak < 1 << 20


def test_the_size_of_the_input(tmp_path: Path) -> None:
    pack = make.pack(make.blob(b"x" * 10_000))
    receive(tmp_path, pack, Limits(input_size=10_000)).close()
    with pytest.raises(PackError, match=r"an object of 10000 bytes .* of 9999 bytes"):
        receive(tmp_path, pack, Limits(input_size=9999))
    with pytest.raises(PackError, match="the pack exceeds the maximum input size of 20 bytes"):
        receive(tmp_path, pack, Limits(input_size=20))
