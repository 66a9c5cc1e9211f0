"""The packs that are sent: git indexes them, and they say what was asked for."""

from __future__ import annotations

import random
from binascii import a2b_hex, b2a_hex
from collections.abc import Collection
from pathlib import Path

import pytest
from dulwich.object_store import BaseObjectStore
from dulwich.pack import OFS_DELTA, REF_DELTA
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.objects.pack_file import PackFile
from dulwich_reftable.objects.reader import ObjectReader
from dulwich_reftable.server.upload_pack.pack_plan import PackPlan
from dulwich_reftable.server.upload_pack.pack_writer import PackWriter

from .fetching import World

pytestmark = requires_git


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Objects in packs of all kinds, loose ones, and ones of an alternate."""
    folder = tmp_path_factory.mktemp("packs")
    world = World(Git.init(folder / "git", bare=True), random.Random(3))
    git = world.git
    world.grow(40, 5)
    git.run("repack", "-adkq")
    for options in ((), ("-c", "repack.useDeltaBaseOffset=false"), ("-c", "pack.indexVersion=1")):
        world.grow(15, 2)
        git.run(*options, "repack", "-dq")
    alternate = folder / "alternate"
    git.run("clone", "-q", "--bare", "--no-local", str(git.path), str(alternate))
    git.run("repack", "-akq")  # many objects are in two packs
    git.run("hash-object", "-w", "--stdin", stdin=b"loose")
    (git.path / "objects" / "info" / "alternates").write_text(f"{alternate}/objects\n")
    world.grow(10, 1)
    return world


def all_objects(git: Git) -> list[bytes]:
    listed = git.run("cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    return [a2b_hex(oid) for oid in listed.split()]


def write(
    store: BaseObjectStore,
    object_format: object,
    oids: Collection[bytes],
    bases: Collection[bytes] = (),
    has_offsets: bool = True,
) -> bytes:
    pieces: list[bytes] = []
    with ObjectReader(store) as reader:
        writer = PackWriter(
            reader,
            object_format,  # type: ignore[arg-type]
            pieces.append,
            has_offsets=has_offsets,
        )
        writer.write(PackPlan(reader, oids, bases))
    return b"".join(pieces)


def kinds_in(git: Git) -> set[int]:
    """The kinds of entries in the only pack of a repository."""
    with dr.Repo(str(git.path)) as repo, ObjectReader(repo.object_store) as reader:
        found = [reader.find(oid) for oid in all_objects(git)]
        return {place[0].entry(place[1]).kind for place in found if place is not None}


@pytest.mark.parametrize("has_offsets", [True, False])
def test_packs_are_whole(world: World, tmp_path: Path, has_offsets: bool) -> None:
    """Any set of objects, with any others that the client has."""
    draw = random.Random(has_offsets)
    known = all_objects(world.git)
    kinds: set[int] = set()
    with dr.Repo(str(world.git.path)) as repo:
        half = len(known) // 2
        sizes = [(1, 0), (3, half), (half, 0), (half, half), (half, len(known)), (len(known), 0)]
        for number, (count, base_count) in enumerate(sizes):
            oids = draw.sample(known, count)
            bases = set(draw.sample(known, base_count)).difference(oids)
            pack = write(repo.object_store, repo.object_format, oids, bases, has_offsets)
            client = Git.init(tmp_path / f"client{number}", bare=True)
            if bases:
                given = b"\n".join(map(b2a_hex, bases)) + b"\n"
                base_pack = world.git.run("pack-objects", "-q", "--stdout", stdin=given)
                client.run("unpack-objects", "-q", stdin=base_pack)
            client.run("index-pack", "--stdin", "--fix-thin", stdin=pack)
            assert {*all_objects(client)} == {*oids, *bases}
            kinds |= kinds_in(client)
            asked = b"\n".join(map(b2a_hex, draw.sample(oids, len(oids) // 3)))
            shown = client.run("cat-file", "--batch", stdin=asked)
            assert shown == world.git.run("cat-file", "--batch", stdin=asked)
    assert (OFS_DELTA in kinds) == has_offsets
    assert REF_DELTA in kinds


def test_entries_are_copied(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole objects, and deltas whose bases are sent, are not compressed again."""
    git = Git.init(tmp_path / "git", bare=True)
    git.run("fetch", "-q", str(world.git.path), "refs/*:refs/*")
    git.run("repack", "-adq")
    monkeypatch.setattr(PackWriter, "put_object", lambda *args: pytest.fail("read"))
    with dr.Repo(str(git.path)) as repo:
        oids = all_objects(git)
        deltas = [oid for oid in oids if _is_delta(repo.object_store, oid)]
        assert len(deltas) > 5
        sent = write(repo.object_store, repo.object_format, oids)
        (pack,) = (git.path / "objects" / "pack").glob("*.pack")
        assert sent == pack.read_bytes()
        # Entry by entry, the same comes out as for the pack as a whole.
        with monkeypatch.context() as patch:
            patch.setattr(PackFile, "__len__", lambda pack: len(oids) + 1)
            assert write(repo.object_store, repo.object_format, oids) == sent
        # The bases are at the client.
        rest = set(oids).difference(deltas)
        write(repo.object_store, repo.object_format, deltas, rest)


def _is_delta(store: BaseObjectStore, oid: bytes) -> bool:
    with ObjectReader(store) as reader:
        found = reader.find(oid)
        return found is not None and found[0].entry(found[1]).base is not None


def test_a_missing_object_is_noticed_before_anything_is_written(world: World) -> None:
    with dr.Repo(str(world.git.path)) as repo, pytest.raises(KeyError):
        write(repo.object_store, repo.object_format, [b"\1" * 20])


def test_packs_that_are_kept(tmp_path: Path) -> None:
    """Packs that git does not repack are sent like others."""
    world = World(Git.init(tmp_path / "git", bare=True), random.Random(6))
    git = world.git
    packs = git.path / "objects" / "pack"
    world.grow(20, 2)
    git.run("repack", "-Adq")
    for pack in packs.glob("*.pack"):
        pack.with_suffix(".keep").touch()
    world.grow(20, 2)
    git.run("repack", "-Adq")
    assert len(list(packs.glob("*.pack"))) == 2
    oids = all_objects(git)
    with dr.Repo(str(git.path)) as repo:
        pack_bytes = write(repo.object_store, repo.object_format, oids)
    client = Git.init(tmp_path / "client", bare=True)
    client.run("index-pack", "--stdin", stdin=pack_bytes)
    assert sorted(all_objects(client)) == sorted(oids)
