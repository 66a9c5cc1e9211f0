"""Bitmaps of packs that git wrote, beside walks by git."""

from __future__ import annotations

import hashlib
import random
from binascii import a2b_hex
from pathlib import Path

import pytest
from dulwich.objects import Blob, Commit, Tag, Tree
from server.fetching import World
from support.git import Git, requires_git

from dulwich_reftable.objects.pack_bitmap import PackBitmap
from dulwich_reftable.objects.pack_index import PackIndex

pytestmark = requires_git

HASHES = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}


class Packed:
    """A repository in one pack with bitmaps."""

    def __init__(self, path: Path, object_format: str) -> None:
        self.git = Git.init(path, bare=True, object_format=object_format)
        world = World(self.git, random.Random(5))
        world.grow(250, 12)
        self.git.run("repack", "-adbq")
        (file,) = (path / "objects" / "pack").glob("*.bitmap")
        self.data = file.read_bytes()
        self.hash = HASHES[object_format]
        size = self.hash().digest_size
        index = PackIndex.open(str(file.with_suffix(".idx")), size)
        self.offsets = index.entries()
        index.close()
        self.checksum = file.with_suffix(".pack").read_bytes()[-size:]

    def opened(self, data: bytes) -> PackBitmap:
        return PackBitmap(data, self.checksum, self.offsets)

    def sealed(self, data: bytes) -> bytes:
        """Give the bytes a checksum that is right."""
        body = data[: -len(self.checksum)]
        return body + self.hash(body).digest()


@pytest.fixture(scope="module", params=list(HASHES))
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return Packed(tmp_path_factory.mktemp("git") / "git", request.param)


def test_bitmaps_tell_what_commits_reach(packed: Packed) -> None:
    bitmaps = packed.opened(packed.data)
    commits = [a2b_hex(oid) for oid in packed.git.run("rev-list", "--all").split()]
    there = [oid for oid in commits if oid in bitmaps]
    assert len(there) > 20
    assert len(there) < len(commits)
    for oid in random.Random(1).sample(there, 5):
        walk = packed.git.run("rev-list", "--objects", "--no-object-names", oid.hex()).split()
        found = bitmaps.objects(bitmaps[oid])
        assert set(found) == set(map(a2b_hex, walk))
        assert found == sorted(found, key=packed.offsets.__getitem__)
        is_there = {name for name, at in packed.offsets.items() if bitmaps.has(bitmaps[oid], at)}
        assert is_there == set(found)


def test_bitmaps_tell_types(packed: Packed) -> None:
    bitmaps = packed.opened(packed.data)
    names = {kind.type_name: kind.type_num for kind in (Commit, Tree, Blob, Tag)}
    kinds: dict[int, set[bytes]] = {}
    listed = packed.git.run("cat-file", "--batch-all-objects", "--batch-check")
    for line in listed.splitlines():
        oid, kind = line.split()[:2]
        kinds.setdefault(names[kind], set()).add(a2b_hex(oid))
    for number, oids in kinds.items():
        assert set(bitmaps.objects(bitmaps.of_kinds([number]))) == oids
    assert set(bitmaps.objects(bitmaps.of_kinds([1, 4]))) == kinds[1] | kinds[4]


def test_what_is_not_whole_is_refused(packed: Packed) -> None:
    draw = random.Random(2)
    for _ in range(50):
        damaged = bytearray(packed.data)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        with pytest.raises(ValueError, match="bitmap"):
            packed.opened(bytes(damaged))
        with pytest.raises(ValueError, match="bitmap"):
            packed.opened(packed.data[: draw.randrange(len(damaged))])
    with pytest.raises(ValueError, match="another pack"):
        PackBitmap(packed.data, bytes(len(packed.checksum)), packed.offsets)


def test_damage_behind_a_right_checksum_is_a_value_error(packed: Packed) -> None:
    """It is an error, or a wrong answer; never anything else, and never more than the pack has."""
    draw = random.Random(3)
    refused = 0
    for _ in range(50):
        damaged = bytearray(packed.data)
        for _ in range(draw.randrange(1, 4)):
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        try:
            bitmaps = packed.opened(packed.sealed(bytes(damaged)))
            for oid in packed.offsets:
                if oid in bitmaps:
                    assert len(bitmaps.objects(bitmaps[oid])) <= len(packed.offsets)
        except ValueError:
            refused += 1
    assert refused
