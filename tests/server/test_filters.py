"""Filters of partial clones, compared with ``git rev-list``."""

from __future__ import annotations

import random
from binascii import b2a_hex
from pathlib import Path

import pytest
from dulwich.errors import ObjectFormatException
from dulwich.objects import ObjectID, Tree
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.objects.reader import ObjectReader
from dulwich_reftable.server.errors import RefusedError
from dulwich_reftable.server.history import History
from dulwich_reftable.server.upload_pack.filters import Filter, FilterPolicy, parse_filter
from dulwich_reftable.server.upload_pack.selection import Selection
from dulwich_reftable.server.upload_pack.settings import UploadSettings

from .fetching import World, filters

pytestmark = requires_git

ANY = FilterPolicy()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    git = Git.init(tmp_path_factory.mktemp("filters"), bare=True)
    world = World(git, random.Random(5))
    world.grow(25, 6)
    world.settle()
    # A name that is no UTF-8, one level below a directory that is used twice.
    blob = git.run("hash-object", "-w", "--stdin", stdin=b"x" * 10).strip()
    inner = git.run("mktree", stdin=b"100644 blob %s\t\xff\xfe\n" % blob).strip()
    outer = git.run("mktree", stdin=b"040000 tree %s\ta\n040000 tree %s\tb\n" % (inner, inner))
    commit = git.run("commit-tree", "-m", "odd", "-p", "main", outer.strip().decode()).strip()
    git.run("update-ref", "refs/heads/odd", commit)
    return world


def selected(git: Git, tips: list[bytes], keep: Filter) -> set[bytes]:
    with dr.Repo(str(git.path)) as repo:
        store = ObjectReader(repo.object_store)
        selection = Selection(store, History(store), keep, lambda line: None)
        selection.add(tips, [])
        return {b2a_hex(oid) for oid in selection.objects}


def listed(git: Git, tips: list[bytes], spec: str) -> set[bytes]:
    lines = git.run("rev-list", "--objects", f"--filter={spec}", "--stdin", stdin=b"\n".join(tips))
    return {line.split()[0] for line in lines.splitlines()}


def test_each_filter(world: World) -> None:
    git = world.git
    tips = git.run("for-each-ref", "--format=%(objectname)").split()
    specs = list(filters(world))
    left = {spec: listed(git, tips, spec) for spec in specs}
    assert len({frozenset(oids) for oids in left.values()}) > 8
    for spec in specs:
        assert selected(git, tips, parse_filter(spec.encode(), ANY)) == left[spec], spec
    # An object that the client asks for by id comes whole; below it, depth counts from 0.
    tree = git.run("rev-parse", "odd^{tree}").strip()
    inner = git.run("rev-parse", "odd:a").strip()
    for spec in ("tree:0", "tree:1", "tree:2", "blob:none", "object:type=tree"):
        expected = listed(git, [tree], spec)
        assert selected(git, [tree], parse_filter(spec.encode(), ANY)) == expected, spec
        assert tree in expected
        assert (inner in expected) == (spec != "tree:0")
    # A combination keeps what every part keeps.
    draw = random.Random(3)
    for _ in range(30):
        parts = draw.sample(specs, draw.choice((1, 2, 3)))
        spec = "combine:" + "+".join(part.replace(":", draw.choice((":", "%3a"))) for part in parts)
        keep = parse_filter(spec.encode(), ANY)
        assert selected(git, tips, keep) == set.intersection(*(left[part] for part in parts)), spec


@pytest.mark.parametrize(
    "spec",
    [
        "", "blob", "blob:none=", "blob:limit", "blob:limit=", "blob:limit=x", "blob:limit=-1",
        "blob:limit=1kk", "blob:limit=1p", "blob:limit=0x", "blob:limit=99999999999999999999",
        "tree", "tree:", "tree:x", "tree:-1", "tree:1 ", "tree:08",
        "object:type", "object:type=", "object:type=bolb", "sparse:path=x", "nothing:1",
        "combine:", "combine:blob", "combine:blob:none+tree:x", "combine:tree:1,tree:2",
        "combine:" + "combine%3A" * 3 + "x",
    ],
)  # fmt: skip
def test_malformed_filters(world: World, spec: str) -> None:
    with pytest.raises(RefusedError):
        parse_filter(spec.encode(), ANY)
    assert world.git.start(
        ["rev-list", "--objects", f"--filter={spec}", "main"], b"", None
    ).returncode


def test_filters_that_git_would_take_and_we_refuse() -> None:
    """One needs patterns, the other is nested too deeply."""
    with pytest.raises(RefusedError, match="'sparse:oid' not supported"):
        parse_filter(b"sparse:oid=main:patterns", ANY)
    deep = b"combine:" * 2000 + b"tree:1"
    with pytest.raises(RefusedError):
        parse_filter(deep, ANY)
    with pytest.raises(RefusedError):
        parse_filter(b"blob:limit=" + b"9" * 100_000, ANY)


POLICIES: list[dict[str, str]] = [
    {},
    {"allow": "false"},
    {"allow": "false", "blob:none.allow": "true"},
    {"blob:none.allow": "false"},
    {"tree.allow": "no"},
    {"tree.maxDepth": "1"},
    {"allow": "false", "tree.maxDepth": "1"},
    {"tree.maxDepth": "1", "tree.allow": "false"},
    {"combine.allow": "false"},
    {"allow": "0", "combine.allow": "on", "blob:limit.allow": "1", "tree.allow": "yes"},
    {"object:type.allow": "false", "blob:limit.allow": "off"},
]
SPECS = [
    "blob:none", "blob:limit=10", "tree:1", "tree:2", "object:type=blob",
    "combine:tree:1+blob:limit=10", "combine:tree:2+blob:none",
]  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES)
def test_filters_that_are_not_allowed(world: World, policy: dict[str, str]) -> None:
    """As ``uploadpackfilter.*`` says; git's upload-pack answers each request, too."""
    git = world.git
    settings = {"uploadpack.allowFilter": "true"}
    settings.update((f"uploadpackfilter.{key}", value) for key, value in policy.items())
    flags = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    tip = git.run("rev-parse", "main").strip()
    config = git.path / "config"
    before = config.read_bytes()
    for key, value in settings.items():
        git.run("config", key, value)
    with dr.Repo(str(git.path)) as repo:
        rules = UploadSettings.of(repo.get_config_stack()).filters
    config.write_bytes(before)
    for spec in SPECS:
        lines = [b"command=fetch", b"want " + tip, b"filter " + spec.encode(), b"done"]
        framed = [b"%04x%s" % (len(line) + 4, line) for line in lines]
        request = framed[0] + b"0001" + b"".join(framed[1:]) + b"0000"
        done = git.start(
            [*flags, "upload-pack", "--stateless-rpc", str(git.path)],
            request,
            {"GIT_PROTOCOL": "version=2"},
        )
        try:
            parse_filter(spec.encode(), rules)
            said = b""
        except RefusedError as error:
            said = str(error).encode()
        assert (b"ERR " in done.stdout) == bool(said), spec
        assert said in done.stdout


def test_filters_are_off_by_default(world: World, tmp_path: Path) -> None:
    with dr.Repo(str(world.git.path)) as repo:
        assert not UploadSettings.of(repo.get_config_stack()).allow_filter


def test_an_object_of_a_wrong_type_is_found(world: World) -> None:
    """An entry says tree and names a blob: the fetch fails instead of leaving it out."""
    blob = world.git.run("hash-object", "-w", "--stdin", stdin=b"no tree").strip()
    with dr.Repo(str(world.git.path)) as repo:
        tree = Tree()
        tree.add(b"directory", 0o40000, ObjectID(blob))
        repo.object_store.add_object(tree)
        store = ObjectReader(repo.object_store)
        with pytest.raises(ObjectFormatException):
            Selection(store, History(store), Filter(), lambda line: None).add([tree.id], [])
