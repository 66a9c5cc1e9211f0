"""Transactions of very many plain updates: they do what one of a few updates does."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from dulwich.objects import Blob, Tag
from dulwich.refs import Ref

import dulwich_reftable as dr
from dulwich_reftable.engine.errors import ReftableError
from dulwich_reftable.refs import prepared_update
from dulwich_reftable.refs.bulk_update import BulkUpdate
from dulwich_reftable.refs.ref_updates import PlainUpdate, RefUpdate, RefUpdates
from dulwich_reftable.refs.signature import Signature
from dulwich_reftable.refs.transaction import Transaction

ZERO = b"0" * 40
ABOUT: dict[str, Any] = {
    "message": b"many",
    "committer": b"T <t@example.com>",
    "timestamp": 1_600_000_000,
    "timezone": 0,
}


class World(NamedTuple):
    """A repository, refs that exist, and ids of objects."""

    path: Path
    refs: dict[bytes, bytes]
    ids: list[bytes]


def objects(repo: dr.Repo) -> list[bytes]:
    """Make blobs and tags of some of them; some ids are of no object."""
    ids = []
    for number in range(12):
        blob = Blob.from_string(b"%d" % number)
        repo.object_store.add_object(blob)
        ids.append(blob.id)
        if number % 3 == 0:
            tag = Tag()
            tag.object = (Blob, blob.id)
            tag.name = tag.message = b"%d" % number
            tag.tagger, tag.tag_time, tag.tag_timezone = b"A <a@example.com>", 1, 0
            repo.object_store.add_object(tag)
            ids.append(tag.id)
        ids.append(b"%040x" % (number + 1))
    return ids


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    path = tmp_path_factory.mktemp("bulk") / "repo"
    draw = random.Random(1)
    with dr.Repo.init_bare(path, mkdir=True, default_branch=b"main") as repo:
        ids = objects(repo)
        refs = {name: draw.choice(ids) for name in names(draw, 40)}
        refs[b"refs/heads/main"] = ids[0]
        with repo.refs.transaction(**ABOUT) as transaction:
            for name, oid in refs.items():
                transaction.create(name, oid)
        for name in list(refs)[1::4]:  # a second table, and refs that were deleted
            del repo.refs[name]
            del refs[name]
    return World(path, refs, ids)


def names(draw: random.Random, number: int) -> list[bytes]:
    """Draw names none of which is a directory of another one."""
    folders = (b"heads", b"tags", b"changes/1")
    parts = [b"refs/%b/%d" % (draw.choice(folders), at) for at in range(99)]
    return [name + draw.choice((b"", b"/x")) for name in draw.sample(parts, number)]


Asked = tuple[bytes, bytes, bytes | None]  # name, new and old value


def updates(world: World, draw: random.Random, *, faults: int) -> list[Asked]:
    """Draw updates: of refs that exist, new ones, and some that are not possible."""
    asked: dict[bytes, Asked] = {}
    for name in [*draw.sample(sorted(world.refs), 12), *names(draw, 30)]:
        value = world.refs.get(name)
        if value is None and any(
            name.startswith(other + b"/") or other.startswith(name + b"/") for other in world.refs
        ):
            continue
        new = draw.choice([*world.ids, value or world.ids[0]])
        asked[name] = (name, new, draw.choice((None, value or ZERO)))
    main = b"refs/heads/main"  # HEAD's branch, which may stay as it is
    asked[main] = (main, draw.choice((world.refs[main], world.ids[1])), None)
    for _ in range(faults):
        name = draw.choice(sorted(world.refs))
        kind = draw.randrange(4)
        if kind == 0:  # another value, or none
            asked[name] = (name, world.ids[1], draw.choice((ZERO, b"e" * 40)))
        elif kind == 1:  # below a ref
            asked[name + b"/below"] = (name + b"/below", world.ids[2], draw.choice((None, ZERO)))
        elif kind == 2:  # two new ones in each other's way
            for new in (b"refs/n/a", b"refs/n/a/b"):
                asked[new] = (new, world.ids[3], draw.choice((None, ZERO)))
        else:  # a ref that does not exist
            asked[b"refs/n/none"] = (b"refs/n/none", world.ids[4], world.ids[5])
    for name in draw.sample(sorted(world.refs), 3 if faults > 1 else 0):  # to be created
        asked[name] = (name, world.ids[1], ZERO)
    ordered = list(asked.values())
    draw.shuffle(ordered)
    return ordered


Outcome = tuple[object, list[tuple[str, bytes]]]


def link(path: Path, branch: bytes) -> Path:
    """Give a repository a linked worktree, on a branch and with a ref of its own."""
    git_dir, tree = path / "worktrees" / "w", path / "tree"
    git_dir.mkdir(parents=True)
    tree.mkdir()
    (git_dir / "commondir").write_text("../..\n")
    (git_dir / "gitdir").write_text(f"{tree / '.git'}\n")
    (git_dir / "HEAD").write_text("ref: refs/heads/.invalid\n")
    (tree / ".git").write_text(f"gitdir: {git_dir}\n")
    with dr.Repo(tree) as repo:
        repo.refs.set_symbolic_ref(b"HEAD", Ref(branch))
        repo.refs[Ref(b"refs/bisect/bad")] = b"1" * 40
    return tree


def outcome(
    path: Path, asked: list[Asked], *, logs: bool, allow_failure: bool, branch: bytes | None = None
) -> Outcome:
    """Do the updates; give all that is left, to the byte, and what was said.

    Args:
      branch: of the linked worktree that does them; None for the main one
    """
    said: object
    with dr.Repo(path if branch is None else link(path, branch)) as repo:
        store = repo.refs.store
        signature = None
        if logs:
            signature = Signature.of(store, *ABOUT.values())
        try:
            with Transaction(store, signature, allow_failure=allow_failure) as transaction:
                for name, new, old in asked:
                    transaction.add_update(name, new, old=old)
            said = {name: repr(error) for name, error in transaction.rejected.items()}
        except ReftableError as error:
            said = repr(error)
    tables = []
    for reftable in (path / "reftable", path / "worktrees" / "w" / "reftable"):
        if reftable.exists():
            listed = (reftable / "tables.list").read_text().split()
            tables += [(name[:28], (reftable / name).read_bytes()) for name in listed]
    return said, tables


@pytest.mark.parametrize("allow_failure", [False, True])
@pytest.mark.parametrize("logs", [False, True])
def test_all_is_as_for_a_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World, logs: bool, allow_failure: bool
) -> None:
    refused = 0
    for seed in range(8):
        draw = random.Random(seed)
        asked = updates(world, draw, faults=(0, 1, 3)[seed % 3])
        outcomes = []
        for many in (1, 10**6):
            monkeypatch.setattr(prepared_update, "_MANY", many)
            path = tmp_path / f"{seed}-{many}"
            shutil.copytree(world.path, path)
            outcomes.append(outcome(path, asked, logs=logs, allow_failure=allow_failure))
        assert outcomes[0] == outcomes[1], asked
        refused += bool(outcomes[0][0])
    assert 1 < refused < 8


@pytest.mark.parametrize("allow_failure", [False, True])
@pytest.mark.parametrize("branch", [b"refs/heads/main", b"refs/heads/other"])
def test_linked_worktree(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    world: World,
    branch: bytes,
    allow_failure: bool,
) -> None:
    """Refs in its own stack are in the way of shared ones; its HEAD may have to be logged there."""
    made: list[object] = []

    class Noted(BulkUpdate):
        def write(self, *args: Any) -> None:
            made.append(self)
            super().write(*args)

    monkeypatch.setattr(prepared_update, "BulkUpdate", Noted)
    for number, extra in enumerate((b"", b"refs/bisect", b"refs/worktree/x")):
        asked = updates(world, random.Random(3), faults=0)
        if extra:
            asked.append((extra, world.ids[0], None))
        outcomes = []
        for many in (1, 10**6):
            monkeypatch.setattr(prepared_update, "_MANY", many)
            path = tmp_path / f"{number}-{many}"
            shutil.copytree(world.path, path)
            outcomes.append(
                outcome(path, asked, logs=True, allow_failure=allow_failure, branch=branch)
            )
        assert outcomes[0] == outcomes[1]
        assert bool(outcomes[0][0]) == (extra == b"refs/bisect")
    # Two stacks are written to for HEAD's branch, and for the worktree's own refs.
    assert len(made) == (branch != b"refs/heads/main") * (2 if allow_failure else 1)


def test_what_is_not_plain_goes_the_other_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    """A symref among the refs, another kind of update, a linked worktree's own refs."""
    monkeypatch.setattr(prepared_update, "_MANY", 1)
    path = tmp_path / "repo"
    shutil.copytree(world.path, path)
    new, alias, target = b"refs/n/1", Ref(b"refs/n/alias"), Ref(b"refs/n/target")
    with dr.Repo(path) as repo:
        refs = repo.refs
        refs.set_symbolic_ref(alias, target)
        with refs.transaction() as transaction:
            transaction.create(new, world.ids[0])
            transaction.update(alias, world.ids[1])
        assert refs.read_ref(alias) == b"ref: " + target
        assert (refs[new], refs[target]) == (world.ids[0], world.ids[1])
        with refs.transaction() as transaction:
            transaction.delete(new)
            transaction.create(b"refs/n/1/2", world.ids[0])
            transaction.verify(target, world.ids[1])
            transaction.set_symbolic_ref(alias, new)
        assert new not in refs
        assert refs[b"refs/n/1/2"] == world.ids[0]
        with refs.transaction() as transaction:
            transaction.update(b"HEAD", world.ids[2])
        assert refs[b"refs/heads/main"] == world.ids[2]


def every_update() -> Iterator[RefUpdate]:
    one, two, who = b"1" * 40, b"2" * 40, Signature(b"n", b"e", 1, 0, b"m")
    for at, (expects, old) in enumerate([(False, None), (True, None), (True, two)]):
        yield RefUpdate(b"plain%d" % at, one, expects, old, True, None)
        yield RefUpdate(b"plain%d" % at, one, expects, old, False, None)
        yield RefUpdate(b"none%d" % at, None, expects, old, True, None)
        yield RefUpdate(b"signed%d" % at, one, expects, old, True, who)
        yield RefUpdate(b"verify%d" % at, None, expects, old, True, None, verify_only=True)
        yield RefUpdate(b"resolved%d" % at, one, expects, old, True, None, old_is_resolved=True)
    for odd in (b"A" * 40, b"ref: refs/heads/x", b"1" * 39, b"", b"1" * 64):
        yield RefUpdate(b"old " + odd, one, True, odd, True, None)
    yield RefUpdate(b"symref", b"ref: refs/heads/x", False, None, True, None)


def add(kept: RefUpdates, update: RefUpdate) -> bool:
    packed = None
    is_plain = update.follow and not update.verify_only and not update.old_is_resolved
    if is_plain and update.new is not None and update.signature is None:
        expected = ZERO if update.old is None else update.old
        old = expected if update.expects else None
        packed = PlainUpdate.pack(update.new, old, 40)
    return kept.add(update) if packed is None else kept.add_plain(update.name, packed)


def test_updates_come_back_as_they_were() -> None:
    kept = RefUpdates(None, 40)
    given = list(every_update())
    assert all(add(kept, update) for update in given)
    assert not any(add(kept, update) for update in given)
    assert list(kept) == given
    assert list(kept.names()) == [update.name for update in given]
    assert len(kept) == len(given)
    assert given[3] in kept
    assert RefUpdate(b"other", None, False, None, True, None) not in kept
    assert kept.plain() is None
    kept.discard({update.name for update in given if not update.name.startswith(b"plain")})
    kept.discard([])
    assert kept.plain() is None  # two of each, one of which does not follow
    kept.clear()
    for update in given[0], given[6], given[12]:
        add(kept, update)
    assert {*(kept.plain() or ())} == {b"plain0", b"plain1", b"plain2"}
