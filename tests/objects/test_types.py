"""The types of objects, one by one and the tags among many: packed, loose, lent, late or absent."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dulwich.objects import Blob, Commit, Tag, Tree
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.objects import reader as reader_module
from dulwich_reftable.objects.reader import ObjectReader

pytestmark = requires_git

TYPES = {kind.type_name: kind.type_num for kind in (Blob, Commit, Tag, Tree)}


def tag_of(git: Git, oid: bytes, text: str) -> bytes:
    kind = git.run("cat-file", "-t", oid.decode()).strip()
    data = b"object %b\ntype %b\ntag x\ntagger a <a> 1 +0000\n\n%b\n" % (oid, kind, text.encode())
    return git.run("hash-object", "-t", "tag", "-w", "--stdin", stdin=data).strip()


def grow(git: Git, draw: random.Random, number: int) -> None:
    """Add objects of every type."""
    for _ in range(number):
        blob = git.run(
            "hash-object", "-w", "--stdin", stdin=draw.randbytes(40).hex().encode()
        ).strip()
        tree = git.run("mktree", stdin=b"100644 blob %b\tx\n" % blob).strip()
        commit = git.run("commit-tree", "-m", "x", tree.decode()).strip()
        for oid in (blob, tree, commit, tag_of(git, commit, blob.decode())):
            tag_of(git, oid, oid.decode())


def pack(git: Git) -> None:
    """Pack all loose objects."""
    everything = git.run("cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    target = git.git_dir / "objects" / "pack" / "pack"
    git.run("pack-objects", "-q", "--incremental", str(target), stdin=everything)
    git.run("prune-packed")


def types_of(git: Git) -> dict[bytes, int]:
    listed = git.run("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)")
    return {oid: TYPES[kind] for oid, kind in (line.split() for line in listed.splitlines())}


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    """A repository with two packs and loose objects, and the same again in an alternate."""
    draw = random.Random(8)
    path = tmp_path_factory.mktemp("types")
    lender = Git.init(path / "lender", bare=True)
    git = Git.init(path / "git", bare=True)
    for each in (lender, git):
        for number in (3, 3):
            grow(each, draw, number)
            pack(each)
        grow(each, draw, 2)
    (git.git_dir / "objects" / "info").mkdir(exist_ok=True)
    (git.git_dir / "objects" / "info" / "alternates").write_text(f"{lender.git_dir}/objects\n")
    return git


@pytest.fixture
def repo(git: Git) -> Iterator[dr.Repo]:
    with dr.Repo(str(git.path)) as repo:
        yield repo


def unread(monkeypatch: pytest.MonkeyPatch, repo: dr.Repo) -> None:
    """Let a test fail that reads an object by the store."""
    kind = type(repo.object_store)
    monkeypatch.setattr(kind, "_get_loose_object", lambda self, oid: pytest.fail("read"))
    monkeypatch.setattr(zlib, "decompress", lambda *args, **options: pytest.fail("inflated"))


def absent(number: int) -> list[bytes]:
    draw = random.Random(9)
    return [draw.randbytes(20).hex().encode() for _ in range(number)]


def test_types_are_told_without_reading(
    monkeypatch: pytest.MonkeyPatch, git: Git, repo: dr.Repo
) -> None:
    types = types_of(git)
    assert set(types.values()) == set(TYPES.values())
    with ObjectReader(repo.object_store) as reader:
        unread(monkeypatch, repo)
        assert {oid: reader.type_of(oid) for oid in types} == types
        assert not any(reader.exists(oid) for oid in absent(30))
        for asked in (list(types), list(types)[::7], [*types, *absent(3000)], absent(3), []):
            random.Random(1).shuffle(asked)
            tags = [oid for oid in asked if types.get(oid) == Tag.type_num]
            missing = {oid for oid in asked if oid not in types}
            assert reader.tags_and_missing(asked) == (set(tags), missing)


def test_pages_are_dropped_and_read_again(
    monkeypatch: pytest.MonkeyPatch, git: Git, repo: dr.Repo
) -> None:
    monkeypatch.setattr(reader_module, "_MANY_PAGES", 1)
    types = types_of(git)
    tags = [oid for oid, kind in types.items() if kind == Tag.type_num]
    with ObjectReader(repo.object_store) as reader:
        for _ in range(2):
            assert reader.tags_among(types) == set(tags)
        assert {oid: reader.get_raw(oid)[0] for oid in types} == types


def test_what_does_not_exist_is_not_looked_for_in_lists(
    monkeypatch: pytest.MonkeyPatch, git: Git, repo: dr.Repo
) -> None:
    """No directory is listed once for each object."""
    for store in (git.git_dir, git.git_dir.parent / "lender"):
        os.utime(store / "objects" / "pack", (10**9, 10**9))
    with ObjectReader(repo.object_store) as reader:
        listed: list[Any] = []
        listdir = os.listdir
        monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listdir(path))
        assert {reader.type_of(oid) for oid in absent(50)} == {None}
        assert listed == []
        assert reader.tags_among(absent(20_000)) == set()
        assert len(listed) <= 2 * 256


@pytest.mark.parametrize("is_old", [True, False])
def test_packs_that_come_later(tmp_path: Path, is_old: bool) -> None:
    """They are found whether the time of their directory shows that or may not."""
    draw = random.Random(10)
    git = Git.init(tmp_path / "git", bare=True)
    grow(git, draw, 1)
    pack(git)
    packs = git.git_dir / "objects" / "pack"
    time = 10**9 if is_old else packs.stat().st_mtime
    os.utime(packs, (time, time))
    with dr.Repo(str(git.path)) as repo, ObjectReader(repo.object_store) as reader:
        before = types_of(git)
        assert {oid: reader.type_of(oid) for oid in before} == before
        grow(git, draw, 1)
        late = types_of(git).keys() - before.keys()
        pack(git)
        if not is_old:
            os.utime(packs, (time, time))  # as after two changes within one tick of the clock
        assert {reader.type_of(oid) for oid in late} == set(TYPES.values())
        assert reader.find(bytes.fromhex(min(late).decode())) is not None
        git.run("repack", "-adfq")
        assert {oid: reader.type_of(oid) for oid in before} == before


def test_a_header_that_cannot_be_read(tmp_path: Path) -> None:
    """The store has the last word on a file that is no usual loose object."""
    git = Git.init(tmp_path / "git", bare=True)
    oid = git.run("hash-object", "-w", "--stdin", stdin=b"text").strip()
    path = git.git_dir / "objects" / oid[:2].decode() / oid[2:].decode()
    path.chmod(0o644)
    for data in (b"", b"rubbish", zlib.compress(b"rubbish"), path.read_bytes()[:3]):
        path.write_bytes(data)
        with dr.Repo(str(git.path)) as repo, ObjectReader(repo.object_store) as reader:
            told = reader._kind(oid)
            assert told == 0
    path.unlink()
    with dr.Repo(str(git.path)) as repo, ObjectReader(repo.object_store) as reader:
        assert reader.type_of(oid) is None


def test_more_packs_than_are_opened(
    monkeypatch: pytest.MonkeyPatch, git: Git, repo: dr.Repo
) -> None:
    """Then an object may be in a pack that was left out, and the store is asked."""
    monkeypatch.setattr(reader_module, "_MAX_PACKS", 1)
    types = types_of(git)
    with ObjectReader(repo.object_store) as reader:
        assert {oid: reader.type_of(oid) for oid in types} == types
        tags = {oid for oid, kind in types.items() if kind == Tag.type_num}
        assert reader.tags_among([*types, *absent(500)]) == tags


def test_an_object_that_is_packed_while_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no longer a file when dulwich has looked into the packs, and is found all the same."""
    git = Git.init(tmp_path / "git")
    git.run("commit", "-q", "--allow-empty", "-m", "one")
    oid = git.run("rev-parse", "HEAD").strip()
    with dr.Repo(str(git.path)) as repo, ObjectReader(repo.object_store) as reader:
        look = repo.object_store.get_raw
        looks: list[bytes] = []

        def miss(name: bytes) -> tuple[int, bytes]:
            looks.append(name)
            if len(looks) > 1:
                return look(name)
            git.run("repack", "-adq")
            raise KeyError(name)

        monkeypatch.setattr(repo.object_store, "get_raw", miss)
        assert reader.get_raw(oid)[0] == Commit.type_num
        looks[:] = [b""]
        with pytest.raises(KeyError):
            reader.get_raw(b"1" * 40)
        assert len(looks) < 5
