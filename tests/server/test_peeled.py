"""The peeled values that clients are told, compared with ``git ls-remote``."""

from __future__ import annotations

from binascii import a2b_hex
from pathlib import Path

import pytest
from dulwich.objects import Blob, Commit, Tag
from support.git import Git, requires_git
from support.versions import needs_server

import dulwich_reftable as dr
from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.objects.reader import ObjectReader

pytestmark = [requires_git, needs_server]

ABSENT = b"1" * 40


def make_tag(git: Git, oid: bytes, kind: bytes) -> bytes:
    """Write a tag that may lie."""
    text = b"object %s\ntype %s\ntag x\ntagger A <a@b> 1 +0000\n\nx\n" % (oid, kind)
    return git.run("hash-object", "-w", "-t", "tag", "--literally", "--stdin", stdin=text).strip()


def commit(git: Git, message: str) -> bytes:
    return git.run("commit-tree", "-m", message, "main^{tree}").strip()


def unpeel(git: Git) -> None:
    """Store all refs again, without what tags point to (as ``git refs migrate`` may do)."""
    with dr.Repo(str(git.path)) as repo:
        values = [
            (name, value) for name, value in repo.refs.iter_refs() if not value.startswith(b"ref:")
        ]
        with repo.refs.store.shared.addition() as addition:
            index = addition.next_update_index
            records = [RefRecord(name, index, a2b_hex(value)) for name, value in values]
            addition.write(records, [])
            addition.commit()


@pytest.mark.parametrize("object_format", ["sha1", "sha256"], indirect=True)
@pytest.mark.parametrize("served", ["tcp-reftable", "tcp-files"], indirect=True)
def test_tags_anywhere(url: str, origin: Git, work: Git, ref_format: str) -> None:
    tag = origin.run("rev-parse", "v1").strip()
    nested = make_tag(origin, tag, b"tag")
    of_tree = make_tag(origin, origin.run("rev-parse", "main^{tree}").strip(), b"tree")
    lines = [
        b"update refs/%s/%s %s" % (place, name, oid)
        for place in (b"tags", b"changes", b"notes/x", b"remotes/o")
        for name, oid in (
            (b"tag", tag), (b"nested", nested), (b"tree", of_tree),
            (b"light", origin.run("rev-parse", "main").strip()),
        )
    ]  # fmt: skip
    origin.update_ref_stdin(lines)
    origin.run("symbolic-ref", "refs/changes/sym", "refs/changes/nested")
    origin.run("repack", "-adq")
    origin.run("pack-refs", "--all")
    told = []
    for version in ("0", "2"):
        ours, theirs = (
            work.run("-c", f"protocol.version={version}", "ls-remote", "--symref", place)
            for place in (url, str(origin.path))
        )
        # git 2.47 does not peel symrefs in reftables; newer ones do, as all do in files.
        peeled = origin.run("rev-parse", "v1^0").strip() + b"\trefs/changes/sym^{}\n"
        assert peeled in ours
        assert ours.replace(peeled, b"") == theirs.replace(peeled, b"")
        assert ours.count(b"^{}") == 4 * 3 + 2
        told.append(ours)
    if ref_format == "reftable":
        # git 2.47 cannot be compared with here: it does not peel where the tables do not.
        unpeel(origin)
        for version, before in zip(("0", "2"), told, strict=True):
            assert before == work.run(
                "-c", f"protocol.version={version}", "ls-remote", "--symref", url
            )


@pytest.mark.parametrize("served", ["tcp-reftable", "tcp-files"], indirect=True)
def test_tags_that_lie(url: str, origin: Git, work: Git) -> None:
    """The type that a tag names is believed.

    git forgets to peel where it met the object with its true type before, so each lie is about
    an object of its own.
    """
    tree = origin.run("mktree", stdin=b"100644 blob %s\tx\n" % origin.run(
        "hash-object", "-w", "--stdin", stdin=b"x"
    ).strip()).strip()  # fmt: skip
    lies = [
        (commit(origin, "one"), b"tree"),
        (tree, b"commit"),
        (make_tag(origin, commit(origin, "two"), b"commit"), b"commit"),
        (ABSENT, b"commit"),
        (b"2" * 40, b"tag"),
        (commit(origin, "three"), b"tag"),
        (make_tag(origin, commit(origin, "four"), b"tree"), b"tag"),
    ]
    for number, (oid, kind) in enumerate(lies):
        origin.start(
            ["update-ref", f"refs/tags/lie{number}", make_tag(origin, oid, kind)], b"", None
        )
    for version in ("0", "2"):
        ours, theirs = (
            work.run("-c", f"protocol.version={version}", "ls-remote", place)
            for place in (url, str(origin.path))
        )
        assert ours == theirs
    assert ours.count(b"lie") == 7 + 5
    for number in range(len(lies)):
        origin.run("update-ref", "-d", f"refs/tags/lie{number}")
    origin.run("prune", "--expire=now")


def test_types_of_objects(tmp_path: Path) -> None:
    """Packed as deltas of both kinds, loose, in an alternate, or not there."""
    git = Git.init(tmp_path / "git", bare=True)
    text = b"".join(b"%d\n" % number for number in range(4000))
    blobs = [
        git.run("hash-object", "-w", "--stdin", stdin=text + b"%d" % number).strip()
        for number in range(20)
    ]
    git.run("-c", "repack.useDeltaBaseOffset=true", "repack", "-q")
    for use_offsets in ("true", "false"):
        names = b"\n".join(blobs)
        flags = ["--delta-base-offset"] if use_offsets == "true" else []
        pack = git.path / "objects" / "pack" / f"pack-{use_offsets}"
        git.run("pack-objects", "-q", "--no-reuse-delta", *flags, str(pack), stdin=names)
    git.run("prune-packed")
    tree = git.run("mktree", stdin=b"100644 blob %s\tx\n" % blobs[0]).strip()
    loose = git.run("commit-tree", "-m", "x", tree.decode()).strip()
    tag = make_tag(git, loose, b"commit")
    other = Git.init(tmp_path / "other", bare=True)
    (other.path / "objects" / "info").mkdir(exist_ok=True)
    (other.path / "objects" / "info" / "alternates").write_text(f"{git.path}/objects\n")
    for path in (git.path, other.path):
        with dr.Repo(str(path)) as repo:
            types = ObjectReader(repo.object_store)
            assert {types.type_of(oid) for oid in blobs} == {Blob.type_num}
            assert types.type_of(loose) == Commit.type_num
            assert types.type_of(tag) == Tag.type_num
            assert all(types.exists(oid) for oid in (*blobs, loose, tag))
            assert types.type_of(ABSENT) is None
            assert not types.exists(ABSENT)
            # The packs are replaced, as by a repack, and closed by somebody else.
            repo.object_store.close()
            assert types.type_of(blobs[3]) == Blob.type_num


def test_types_are_found_without_inflating(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = Git.init(tmp_path / "git")
    git.run("commit", "-q", "--allow-empty", "-m", "one")
    tip = git.run("rev-parse", "main").strip()
    git.run("repack", "-adq")
    with dr.Repo(str(git.path)) as repo:
        types = ObjectReader(repo.object_store)
        monkeypatch.setattr(repo.object_store, "get_raw", lambda oid: pytest.fail("inflated"))
        assert types.type_of(tip) == Commit.type_num
