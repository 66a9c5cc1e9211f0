"""The ref advertisement of dulwich's own upload-pack, beside that of the unpatched code."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from dulwich.errors import GitProtocolError
from dulwich.objects import Blob, Commit, ObjectID, Tag, Tree
from dulwich.protocol import Protocol
from dulwich.refs import Ref
from dulwich.server import BackendRepo, DictBackend, UploadPackHandler

import dulwich_reftable as dr
from dulwich_reftable.refs.peeling import OneByOne
from dulwich_reftable.repo.repo import Repo

MANY = 2500


def tag_of(name: bytes, target: Commit | Tree | Blob | Tag) -> Tag:
    tag = Tag()
    tag.name, tag.object = name, (type(target), target.id)
    tag.tagger, tag.message = b"A <a@b>", b"m"
    tag.tag_time, tag.tag_timezone = 1, 0
    return tag


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Refs of all kinds to objects of all kinds, in a pack, outside of one, and missing."""
    path = tmp_path_factory.mktemp("repo")
    with dr.Repo.init_bare(str(path)) as repo:
        tree, blob, commit = Tree(), Blob.from_string(b"x"), Commit()
        commit.tree, commit.author = tree.id, b"A <a@b>"
        commit.committer, commit.message = commit.author, b"m"
        commit.author_time = commit.commit_time = 1
        commit.author_timezone = commit.commit_timezone = 0
        packed = tag_of(b"packed", commit)
        nested = tag_of(b"nested", packed)
        loose = tag_of(b"loose", blob)
        repo.object_store.add_objects([(each, None) for each in (tree, commit, packed, nested)])
        repo.object_store.add_objects([(blob, None)])
        repo.object_store.add_object(loose)
        for name, each in {
            "heads/main": commit,
            "heads/tagged": packed,
            "tags/blob": blob,
            "tags/light": commit,
            "tags/loose": loose,
            "tags/loose-too": loose,
            "tags/nested": nested,
            "tags/packed": packed,
            "tree": tree,
        }.items():
            repo.refs[Ref(f"refs/{name}".encode())] = each.id
        for gone in (b"refs/heads/gone", b"refs/tags/gone"):
            repo.refs[Ref(gone)] = ObjectID(b"1" * 40)
        repo.refs.set_symbolic_ref(b"HEAD", b"refs/heads/main")
        repo.refs.set_symbolic_ref(b"refs/heads/alias", b"refs/heads/tagged")
        repo.refs.set_symbolic_ref(b"refs/heads/nowhere", b"refs/heads/none")
        # A writer that does not peel: the store has to be asked.
        repo.refs.store.peel = OneByOne(lambda oid: None)
        with repo.refs.transaction() as transaction:
            transaction.create(b"refs/tags/unpeeled", nested.id)
            for number in range(MANY):
                transaction.create(b"refs/changes/%d" % number, commit.id)
    return path


@pytest.fixture
def repo(path: Path) -> Iterator[dr.Repo]:
    with dr.Repo(str(path)) as repo:
        yield repo


def advertisement(repo: dr.Repo, request: bytes = b"0000", *, http: bool = False) -> list[bytes]:
    """What a server writes, piece by piece."""
    written: list[bytes] = []
    proto = Protocol(BytesIO(request).read, lambda data: written.append(data) or len(data))
    repos: dict[str, BackendRepo] = {"/": repo}
    UploadPackHandler(DictBackend(repos), ["/"], proto, http, http).handle()
    return written


@pytest.mark.filterwarnings("ignore:ref .* points at:UserWarning")  # an older dulwich
@pytest.mark.parametrize("http", [False, True])
def test_it_is_what_dulwich_writes(
    repo: dr.Repo, http: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        ours = advertisement(repo, http=http)
    told = [record for record in caplog.records if "refs/tags/gone" in record.getMessage()]
    assert len(told) == 1
    monkeypatch.delattr(Repo, "find_missing_objects")
    theirs = advertisement(repo, http=http)
    assert b"".join(ours) == b"".join(theirs)
    assert len(ours) < 10 < MANY < len(theirs)
    assert b"".join(ours).count(b"^{}\n") == 5


def test_what_is_no_tag_is_not_read(repo: dr.Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    store = type(repo.object_store)
    get_raw = store.get_raw

    def reading(self: Any, oid: Any) -> tuple[int, bytes]:
        read.append(oid)
        return get_raw(self, oid)

    monkeypatch.setattr(store, "get_raw", reading)
    advertisement(repo)
    assert len(read) < 20


def test_a_client_may_want_what_was_advertised(repo: dr.Repo) -> None:
    def ask(oid: bytes) -> bytes:
        want = b"want %s side-band-64k thin-pack ofs-delta\n" % oid
        return b"".join(advertisement(repo, b"%04x%s00000009done\n" % (len(want) + 4, want)))

    for name in (b"refs/changes/7", b"refs/tags/nested"):
        assert b"PACK" in ask(repo.refs[Ref(name)])
    with pytest.raises(GitProtocolError, match="Client wants invalid object"):
        ask(b"1" * 40)


def test_no_refs(tmp_path: Path) -> None:
    with dr.Repo.init_bare(str(tmp_path)) as repo:
        assert advertisement(repo) == [b"0000"]
