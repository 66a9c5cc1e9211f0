"""All objects below the new value of a ref must exist and have the right type.

Objects of every wrong type in every place are pushed to ours and to git's receive-pack.
"""

from __future__ import annotations

import os
import shutil
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID, RawObjectID
from dulwich.refs import Ref
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.objects.reader import ObjectReader
from dulwich_reftable.server.receive_pack.connectivity import Connectivity
from dulwich_reftable.server.receive_pack.incoming import IncomingPack
from dulwich_reftable.server.receive_pack.limits import Limits

from . import making as make
from . import wire
from .making import BLOB, COMMIT, NAMES, TAG, TREE, Object

pytestmark = [requires_git, pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)]

MISSING = b"12" * 20


class Family:
    """Objects, and a ref to point at each that is of interest."""

    def __init__(self, work: Git) -> None:
        there = {BLOB: "main:file0", TREE: "main^{tree}", COMMIT: "main", TAG: "v1"}
        self.there = {t: work.run("rev-parse", name).strip() for t, name in there.items()}
        blob = make.blob(b"new\n")
        tree = make.tree((b"100644", b"new", blob.oid))
        commit = make.commit(tree.oid)
        new = {BLOB: blob, TREE: tree, COMMIT: commit, TAG: make.tag(blob.oid, b"blob")}
        self.new = {t: one.oid for t, one in new.items()}
        self.objects = [*new.values()]
        self.refs: dict[bytes, bytes] = {}
        self.ours_only: set[bytes] = set()

    def add(self, name: str, *objects: Object) -> bytes:
        """Add objects; a ref will point at the last of them."""
        self.objects += objects
        tip = objects[-1]
        place = b"refs/heads/" if tip.type_num == COMMIT else b"refs/tags/"
        ref = place + name.encode()
        self.refs[ref] = tip.oid
        return ref

    def fill(self) -> None:
        """Put an object of each type into each place."""
        for age, oids in (("there", self.there), ("new", self.new)):
            for type_num, oid in [*oids.items(), (0, MISSING)]:
                kind = f"{age}-{NAMES.get(type_num, b'missing').decode()}"
                self.add(f"tree/{kind}", make.commit(oid, message=b"a"))
                self.add(f"parent/{kind}", make.commit(self.there[TREE], oid))
                self.add(f"two/{kind}", make.commit(self.new[TREE], self.there[COMMIT], oid))
                for mode in (b"40000", b"100644", b"120000", b"160000", b"100777", b"0100644"):
                    tree = make.tree((mode, b"it", oid))
                    ref = self.add(f"{mode.decode()}/{kind}", tree, make.commit(tree.oid))
                    is_file = mode[-6:-3] in (b"100", b"120")
                    if is_file and type_num in (TREE, COMMIT, TAG):
                        self.ours_only.add(ref)
                for type_name in NAMES.values():
                    self.add(f"{type_name.decode()}/{kind}", make.tag(oid, type_name))
        blob = bytes.fromhex(self.there[BLOB].decode())
        for name, data in {
            "no-name": b"100644 \0" + blob,
            "no-mode": b" x\0" + blob,
            "bad-mode": b"10z644 x\0" + blob,
            "short": b"100644 x\0" + blob[:-1],
            "no-nul": b"100644 x",
            "empty": b"",
        }.items():
            tree = Object(TREE, data)
            self.add(f"entry/{name}", tree, make.commit(tree.oid))
        head = b"tree " + self.there[TREE]
        rest = b"\nauthor %s\ncommitter %s\n\nx\n" % (make.WHO, make.WHO)
        for name, data in {
            "no-tree": b"author x\n",
            "bad-tree": b"tree 12345" + rest,
            "bad-parent": head + b"\nparent 123" + rest,
            "nothing": b"",
        }.items():
            self.add(f"commit/{name}", Object(COMMIT, data))
        self.add("no-type", Object(TAG, b"object %s\ntag x\n" % self.there[BLOB]))
        self.add("odd-type", make.tag(self.there[BLOB], b"blobs"))

    @property
    def commands(self) -> list[bytes]:
        return [b"%s %s %s" % (wire.ZERO, oid, ref) for ref, oid in self.refs.items()]

    @property
    def pack(self) -> bytes:
        return make.pack(*{one.oid: one for one in self.objects}.values())


def test_wrong_objects_in_all_places(url: str, origin: Git, work: Git, tmp_path: Path) -> None:
    family = Family(work)
    family.fill()
    shutil.copytree(origin.path, tmp_path / "theirs")
    theirs = make.push_to_git(Git(tmp_path / "theirs"), *family.commands, pack=family.pack)
    ours = make.outcomes(wire.push(url, *family.commands, pack=family.pack))
    assert ours.keys() == theirs.keys() == family.refs.keys()
    assert sum(1 for said in theirs.values() if not said) > 20, "hardly anything is accepted"
    verdicts = {ref: (bool(said), bool(theirs[ref])) for ref, said in ours.items()}
    # git looks at what a file's entry names only if it meets it otherwise.
    assert {ref for ref, (a, b) in verdicts.items() if a and not b} <= family.ours_only
    assert {ref for ref, (a, b) in verdicts.items() if b and not a} == set()
    assert set(ours.values()) <= {b"", b"missing necessary objects"}
    work.run("clone", "-q", "--mirror", url, str(tmp_path / "clone"))
    # As with git, objects that no ref reaches came in, and so did odd modes, which fsck reports.
    # Everything else is sound; the fixture checks that.
    odd = [ref for ref in ours if b"/0100644/" in ref or b"/100777/" in ref]
    origin.update_ref_stdin(b"delete " + ref for ref in odd)
    origin.run("gc", "--quiet", "--prune=now")


def put(git: Git, *objects: Object) -> None:
    """Put objects into a repository without checking them."""
    for one in objects:
        oid, data = one.oid.decode(), b"%s %d\0" % (NAMES[one.type_num], len(one.data)) + one.data
        path = git.path / "objects" / oid[:2] / oid[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(data))


def test_objects_that_came_with_half_of_a_push(url: str, origin: Git) -> None:
    """A commit in the repository may lack objects below it."""
    blob = make.blob(b"the disk was full\n")
    below = make.tree((b"100644", b"file", blob.oid))
    tree = make.tree((b"40000", b"dir", below.oid))
    commit = make.commit(tree.oid)
    tag = make.tag(commit.oid, b"commit")
    put(origin, below, tree, commit, tag)
    tips = {b"refs/heads/a": commit, b"refs/tags/b": tag, b"refs/tags/c": tree}
    commands = [b"%s %s %s" % (wire.ZERO, one.oid, ref) for ref, one in tips.items()]
    theirs = make.push_to_git(origin, *commands, pack=make.pack())
    ours = make.outcomes(wire.push(url, *commands, pack=make.pack()))
    assert ours == theirs == dict.fromkeys(tips, b"missing necessary objects")
    above = make.commit(tree.oid, commit.oid)
    command = b"%s %s refs/heads/d" % (wire.ZERO, above.oid)
    said = make.outcomes(wire.push(url, command, pack=make.pack(above)))
    assert said == {b"refs/heads/d": b"missing necessary objects"}
    # With the blob, everything is there.
    ours = make.outcomes(wire.push(url, *commands, pack=make.pack(blob)))
    assert ours == dict.fromkeys(tips, b"")


def test_objects_of_a_deleted_branch(url: str, origin: Git, work: Git) -> None:
    """They are complete, so a ref may point to them again, and a gc cannot remove them."""
    for number in range(3):
        (work.path / "file").write_text(f"{number}\n")
        work.run("add", ".")
        work.run("commit", "-q", "-m", f"{number}")
    work.run("push", "-q", url, "main:gone")
    origin.run("repack", "-adq")
    origin.run("update-ref", "-d", "refs/heads/gone")
    tip = work.run("rev-parse", "main").strip()
    hook = origin.path / "hooks" / "update"
    hook.write_text("#!/bin/sh\ngit repack -adq\n")
    hook.chmod(0o755)
    said = wire.push(url, b"%s %s refs/heads/again" % (wire.ZERO, tip), pack=make.pack())
    assert make.outcomes(said) == {b"refs/heads/again": b""}
    assert len(origin.run("rev-list", "again").split()) == 6


class Counting(DiskObjectStore):
    """Counts the objects that are read."""

    reads = 0

    def get_raw(self, name: ObjectID | RawObjectID) -> tuple[int, bytes]:
        self.reads += 1
        return super().get_raw(name)


@pytest.mark.parametrize("base", ["main", "old"])
def test_the_cost_does_not_follow_the_repository(origin: Git, tmp_path: Path, base: str) -> None:
    lines = [b"feature done\n"]
    for number in range(100):
        lines.append(
            b"commit refs/heads/main\ncommitter a <a> %d +0000\ndata 1\nx\n" % (10**9 + number)
        )
        lines += [
            b"M 644 inline d%d/f%d\ndata 2\n%02d\n" % (i, number % 7, number) for i in range(20)
        ]
    origin.run("fast-import", "--quiet", "--force", stdin=b"".join(lines) + b"done\n")
    if base == "old":
        origin.run("update-ref", "refs/heads/unknown", "main~50")  # no name in the push leads to it
    parent = origin.run("rev-parse", "main" if base == "main" else "main~51").strip()
    blob = make.blob(b"changed")
    listed = origin.run("ls-tree", parent).splitlines()
    entries = {line.split(b"\t")[1]: line.split()[2] for line in listed}
    below = origin.run("ls-tree", parent + b":d3").splitlines()
    kept = [(b"100644", line.split(b"\t")[1], line.split()[2]) for line in below]
    inner = make.tree(*kept, (b"100644", b"new", blob.oid))
    entries[b"d3"] = inner.oid
    tree = make.tree(*((b"40000", name, oid) for name, oid in sorted(entries.items())))
    commit = make.commit(tree.oid, parent)
    store = Counting(os.fspath(origin.path / "objects"))
    incoming = IncomingPack(os.fspath(tmp_path / "pack"), store.object_format, Limits())
    incoming.receive(BytesIO(make.pack(blob, inner, tree, commit)).read, store)
    with dr.Repo(os.fspath(origin.path)) as repo:
        walk = Connectivity(incoming, ObjectReader(store), repo.refs, [b"refs/heads/main"])
        assert walk.is_complete([commit.oid])
        assert not walk.found
    incoming.close()
    store.close()
    # The parent, its tree and one below; and the commits between it and the branch.
    assert store.reads <= (5 if base == "main" else 60)


def test_many_commands_that_fail(
    url: str, origin: Git, monkeypatch: pytest.MonkeyPatch, work: Git
) -> None:
    """Each command is judged by itself, as in git, without checking all others again."""
    followed = 0
    follow = dr.ReftableRefsContainer.follow

    def counting(refs: dr.ReftableRefsContainer, name: Ref) -> tuple[list[Ref], ObjectID | None]:
        nonlocal followed
        followed += 1
        return follow(refs, name)

    monkeypatch.setattr(dr.ReftableRefsContainer, "follow", counting)
    main = work.run("rev-parse", "main").strip()
    tips = [main if number % 100 == 0 else b"%040x" % (number + 1) for number in range(300)]
    commands = [b"%s %s refs/heads/n%03d" % (wire.ZERO, t, n) for n, t in enumerate(tips)]
    said = make.outcomes(wire.push(url, *commands, pack=make.pack()))
    assert list(said.values()) == [
        b"" if tip == main else b"missing necessary objects" for tip in tips
    ]
    assert followed < 1000


def test_how_deep_trees_are(url: str, origin: Git, tmp_path: Path) -> None:
    """A tree deeper than git reads is refused: nobody could clone it."""
    shutil.copytree(origin.path, tmp_path / "theirs")
    theirs = Git(tmp_path / "theirs")
    for limit, most in ((None, 2048), ("5", 5), ("0", 0)):
        if limit is not None:
            for git in (origin, theirs):
                git.run("config", "core.maxTreeDepth", limit)
        objects: list[Object] = []
        commands = []
        for depth in (most, most + 1):
            name = b"%d-%d" % (most, depth)
            objects.append(make.tree((b"160000", name, b"1" * 40)))
            for _ in range(depth):
                objects.append(make.tree((b"40000", b"a", objects[-1].oid)))
            objects.append(make.commit(objects[-1].oid))
            commands.append(b"%s %s refs/heads/d%s" % (wire.ZERO, objects[-1].oid, name))
        pack = make.pack(*objects)
        ours = make.outcomes(wire.push(url, *commands, pack=pack))
        assert ours == make.push_to_git(theirs, *commands, pack=pack)
        assert list(ours.values()) == [b"", b"missing necessary objects"]
    for git in (origin, theirs):
        git.run("config", "--unset", "core.maxTreeDepth")
