"""Clones and fetches, and what they may see, compared with git serving the same repository."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from wsgiref.simple_server import make_server

import pytest
from dulwich.objects import ObjectID
from dulwich.server import BackendRepo, DictBackend, TCPGitServer
from dulwich.web import WSGIRequestHandlerLogger, make_wsgi_chain
from support.git import Git, GitError, requires_git

import dulwich_reftable as dr
from dulwich_reftable.server import HANDLERS, Server
from dulwich_reftable.server.hidden_refs import HiddenRefs

from . import wire
from .pushing import refs_of

pytestmark = requires_git


@pytest.fixture(params=[0, 1, 2])
def version(request: pytest.FixtureRequest) -> int:
    """The protocol version."""
    return int(request.param)


def speaking(version: int) -> list[str]:
    return ["-c", f"protocol.version={version}"]


@pytest.fixture
def rich(origin: Git, work: Git) -> Git:
    """Give the repository all kinds of refs, and one that is broken."""
    origin.run("update-ref", "refs/heads/topic/a", "main~1")
    origin.run("update-ref", "refs/heads/topic/b", "main~2")
    origin.run("update-ref", "refs/tags/light", "main")
    origin.run("update-ref", "refs/notes/x", "main~1")
    origin.run("tag", "-a", "-m", "tag of a tag", "v2", "v1")
    origin.run("symbolic-ref", "refs/heads/alias", "refs/heads/topic/a")
    origin.run("symbolic-ref", "refs/heads/chain", "refs/heads/alias")
    origin.run("symbolic-ref", "refs/heads/dangling", "refs/heads/nowhere")
    return origin


def listed(git: Git, *args: str) -> list[bytes]:
    return git.run("ls-remote", *args).splitlines()


PATTERNS = [
    (),
    ("--symref",),
    ("refs/heads/*",),
    ("--heads",),
    ("--tags",),
    ("v1", "main"),
    ("--symref", "HEAD"),
    ("nothing",),
]


def test_ls_remote(url: str, rich: Git, work: Git, version: int) -> None:
    for pattern in PATTERNS:
        flags = [word for word in pattern if word.startswith("--")]
        words = [word for word in pattern if not word.startswith("--")]
        ours, theirs = (
            work.run(*speaking(version), "ls-remote", *flags, place, *words)
            for place in (url, str(rich.path))
        )
        assert ours == theirs, pattern
    rich.run("symbolic-ref", "--delete", "refs/heads/dangling")


def test_clone_and_fetch(url: str, rich: Git, work: Git, tmp_path: Path, version: int) -> None:
    work.run(*speaking(version), "clone", "-q", "--mirror", url, str(tmp_path / "mirror"))
    mirror = Git(tmp_path / "mirror")
    assert refs_of(mirror) == refs_of(rich)
    assert mirror.complaints() == b""
    work.run("commit", "-q", "--allow-empty", "-m", "more")
    work.run("push", "-q", url, "main", ":refs/tags/light", "main:refs/heads/new")
    mirror.run(*speaking(version), "fetch", "-q", "--prune")
    assert refs_of(mirror) == refs_of(rich)
    assert mirror.complaints() == b""
    # A fetch brings the tags of the commits that it brings.
    work.run(*speaking(version), "clone", "-q", "--no-tags", url, str(tmp_path / "plain"))
    plain = Git(tmp_path / "plain")
    plain.run(*speaking(version), "fetch", "-q", url, "+refs/heads/*:refs/x/*")
    work.run("commit", "-q", "--allow-empty", "-m", "tagged")
    work.run("tag", "-a", "-m", "follows", "v3")
    work.run("push", "-q", url, "main", "v3")
    plain.run(*speaking(version), "config", "--unset", "remote.origin.tagOpt")
    plain.run(*speaking(version), "fetch", "-q")
    assert plain.run("rev-parse", "v3") == work.run("rev-parse", "v3")
    rich.run("symbolic-ref", "--delete", "refs/heads/dangling")


@pytest.mark.parametrize("version", [0, 2], indirect=True)
def test_all_tags_of_what_is_sent(
    url: str, origin: Git, work: Git, tmp_path: Path, version: int
) -> None:
    """This includes a second tag of a commit, and tags between a tag and its commit."""
    for name, of in (("one", "main"), ("two", "main"), ("inner", "two"), ("outer", "inner")):
        origin.run("tag", "-a", "-m", name, name, of)
    origin.run("tag", "-d", "inner")
    tags = {name for name in refs_of(origin) if name.startswith(b"refs/tags/")}
    for number, flags in enumerate((["--single-branch"], ["--depth=1"])):
        got = Git(tmp_path / f"got{number}")
        work.run(*speaking(version), "clone", "-q", "--bare", *flags, url, str(got.path))
        expected = tags if number == 0 else tags - {b"refs/tags/v1"}
        assert {name for name in refs_of(got) if name.startswith(b"refs/tags/")} == expected
        assert got.complaints() == b""


def count(git: Git, name: str = "HEAD") -> int:
    return len(git.run("rev-list", name).split())


@pytest.mark.parametrize("version", [0, 2], indirect=True)
def test_shallow(url: str, origin: Git, work: Git, tmp_path: Path, version: int) -> None:
    for number in range(4):
        work.run("commit", "-q", "--allow-empty", "-m", "x", env=work.date(2 * 10**9 + number, 0))
    work.run("push", "-q", url, "main")
    speak = speaking(version)
    work.run(*speak, "clone", "-q", "--depth", "2", url, str(tmp_path / "shallow"))
    shallow = Git(tmp_path / "shallow")
    assert count(shallow) == 2
    shallow.run(*speak, "fetch", "-q", "--depth", "4")
    assert count(shallow) == 4
    # A later fetch leaves the boundary where it is.
    work.run("commit", "-q", "--allow-empty", "-m", "x")
    work.run("push", "-q", url, "main")
    shallow.run(*speak, "fetch", "-q")
    assert count(shallow, "origin/main") == 5
    assert shallow.complaints() == b""
    shallow.run(*speak, "fetch", "-q", "--unshallow")
    assert count(shallow, "origin/main") == 8
    assert shallow.complaints() == b""
    shallow.run(*speak, "clone", "-q", "--shallow-since=@1500000000", url, "since")
    since = Git(shallow.path / "since")
    assert count(since) == 5
    since.run(*speak, "fetch", "-q", "--deepen=1")
    assert count(since) == 6
    shallow.run(*speak, "clone", "-q", "--shallow-exclude=v1", url, "without")
    assert count(Git(shallow.path / "without")) == 6
    for flag, said in (
        ("--shallow-exclude=nothing", "deepen-not is not a ref"),
        ("--shallow-exclude=main", "no commits selected"),
        ("--shallow-since=@3000000000", "no commits selected"),
    ):
        with pytest.raises(GitError, match=said):
            shallow.run(*speak, "clone", "-q", flag, url, "nothing")


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
def test_the_end_of_a_shallow_repository(
    root: Path, origin: Git, server: Server, tmp_path: Path, version: int
) -> None:
    """A client that asks for more history is not told that it has all: the server has no more.

    A client that does not ask for more keeps its own end.
    """
    here, cut = Git(tmp_path), Git(root / "cut.git")
    here.run("clone", "-q", "--bare", "--depth=2", f"file://{origin.path}", str(cut.path))
    url, (got, short) = server.url + "cut.git", (Git(tmp_path / name) for name in ("got", "short"))
    here.run(*speaking(version), "clone", "-q", url, str(got.path))
    here.run(*speaking(version), "clone", "-q", "--no-tags", "--depth=1", url, str(short.path))
    got.run(*speaking(version), "fetch", "-q", "--depth=100")
    assert count(got) == 2
    assert got.complaints() == b""
    cut.run("tag", "-a", "-m", "new", "new", "main")
    short.run(*speaking(version), "fetch", "-q", "origin", "tag", "new")
    assert count(short, "new") == 1
    # Clones of such a repository can be cut by time, too; with git's server they fail.
    old = "--shallow-since=@500000000"
    short.run(*speaking(version), "fetch", "-q", old, "origin", "main")
    here.run(*speaking(version), "clone", "-q", "--no-tags", old, url, str(tmp_path / "since"))
    for clone in (short, Git(tmp_path / "since")):
        assert count(clone, "origin/main") == 2
        assert clone.complaints() == b""


@pytest.mark.parametrize("version", [0, 2], indirect=True)
def test_partial(url: str, origin: Git, work: Git, tmp_path: Path, version: int) -> None:
    origin.run("config", "uploadpack.allowAnySHA1InWant", "true")
    origin.run("config", "uploadpack.allowFilter", "true")
    speak = speaking(version)
    path = tmp_path / "partial"
    work.run(*speak, "clone", "-q", "--bare", "--filter=blob:none", url, str(path))
    partial = Git(path)
    missing = partial.run("rev-list", "--objects", "--missing=print", "main").splitlines()
    assert sum(name.startswith(b"?") for name in missing) == 3
    partial.run("config", "protocol.version", str(version))
    assert partial.run("show", "main:file2") == b"2\n"
    origin.run("config", "uploadpack.allowFilter", "false")
    said = work.start(
        [*speak, "clone", "-q", "--bare", "--filter=blob:none", url, str(tmp_path / "whole")],
        b"",
        None,
    )
    assert b"filtering not recognized by server" in said.stderr


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
@pytest.mark.parametrize("version", [0, 2], indirect=True)
def test_a_delta_of_what_a_partial_clone_lacks(
    url: str, origin: Git, work: Git, tmp_path: Path, version: int
) -> None:
    """It is not sent to a client with a filter; one without fetches what the delta builds on."""
    for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        origin.run("config", key, "true")
    origin.run("config", "transfer.unpackLimit", "1")
    speak = speaking(version)
    large = work.path / "large"
    large.write_text("".join(f"{number * 7919 % 10007}\n" for number in range(5000)))
    work.run("add", ".")
    work.run("commit", "-q", "-m", "large")
    work.run("push", "-q", url, "main")
    for name in ("with", "without"):
        path = str(tmp_path / name)
        work.run(*speak, "clone", "-q", "--bare", "--filter=blob:none", url, path)
    large.write_text(large.read_text() + "more\n")
    work.run("commit", "-q", "-a", "-m", "larger")
    work.run("push", "-q", url, "main")  # the server keeps the delta that it gets
    old = b"?" + work.run("rev-parse", "main^:large").strip()
    for name, flag in (("with", "--filter=blob:none"), ("without", "--no-filter")):
        partial = Git(tmp_path / name)
        partial.run(*speak, "fetch", "-q", flag, "origin", "main:new")
        missing = partial.run("rev-list", "--objects", "--missing=print", "new").splitlines()
        assert (old in missing) == (name == "with")
        assert partial.run(*speak, "cat-file", "blob", "new:large") == large.read_bytes()


@pytest.mark.parametrize("object_format", ["sha256"])
@pytest.mark.parametrize("version", [0, 2], indirect=True)
def test_sha256(url: str, rich: Git, work: Git, tmp_path: Path, version: int) -> None:
    assert work.run(*speaking(version), "ls-remote", url) == work.run("ls-remote", str(rich.path))
    work.run(*speaking(version), "clone", "-q", "--mirror", url, str(tmp_path / "got"))
    got = Git(tmp_path / "got", "sha256")
    assert refs_of(got) == refs_of(rich)
    rich.run("symbolic-ref", "--delete", "refs/heads/dangling")


def test_empty(root: Path, server: Server, ref_format: str, tmp_path: Path, version: int) -> None:
    """The server names the unborn branch, and clones start with it."""
    empty = Git.init(root / "empty.git", bare=True, ref_format=ref_format)
    empty.run("symbolic-ref", "HEAD", "refs/heads/to-be")
    empty.run(*speaking(version), "clone", "-q", server.url + "empty.git", str(tmp_path / "got"))
    if version == 2:
        got = Git(tmp_path / "got")
        assert got.run("symbolic-ref", "HEAD") == b"refs/heads/to-be\n"


def test_a_broken_ref_is_not_shown(url: str, origin: Git, work: Git, version: int) -> None:
    with dr.Repo(str(origin.path)) as repo:
        repo.refs[b"refs/heads/broken"] = ObjectID(b"1" * 40)
    assert b"broken" not in work.run(*speaking(version), "ls-remote", url)
    work.run(*speaking(version), "clone", "-q", "--mirror", url, "mirror")
    origin.run("update-ref", "-d", "refs/heads/broken")


# No rule that ends within a component: on reftables, git 2.47 takes it for a prefix.
RULES = [
    ["refs/heads/topic"],
    ["refs/heads/topic/", "!refs/heads/topic/a"],
    ["!refs/heads/topic/a", "refs/heads/topic"],
    ["refs/heads", "!refs/heads/main", "refs/tags/v1"],
    ["refs/notes/x", "refs/tags"],
    ["^refs/notes", "HEAD"],
    ["refs", "!refs/tags/v2", "!refs/heads/main"],
    ["refs/", "HEAD"],
]


@pytest.mark.parametrize("version", [0, 2], indirect=True)
def test_hidden_refs(url: str, rich: Git, work: Git, version: int) -> None:
    for number, rules in enumerate(RULES):
        for rule in rules:
            section = ("transfer", "uploadpack")[number % 2]
            rich.run("config", "--add", f"{section}.hideRefs", rule)
        ours, theirs = (
            work.run(*speaking(version), "ls-remote", "--symref", place)
            for place in (url, str(rich.path))
        )
        assert ours == theirs, rules
        for section in ("transfer", "uploadpack"):
            rich.start(["config", "--unset-all", f"{section}.hideRefs"], b"", None)
    rich.run("symbolic-ref", "--delete", "refs/heads/dangling")


def test_the_last_rule_counts() -> None:
    hidden = HiddenRefs([b"refs/a/", b"!refs/a/b", b"^refs/a/b/c"])
    names = (b"refs/a", b"refs/a/x", b"refs/a/b", b"refs/a/b/c", b"refs/a/b/c/d", b"refs/ab")
    assert [name in hidden for name in names] == [True, True, False, True, True, False]
    assert hidden.prefixes is None
    assert HiddenRefs([b"refs/a/", b"refs/b"]).prefixes is not None


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        (None, ()),
        ("allowTipSHA1InWant", ("hidden",)),
        ("allowReachableSHA1InWant", ("hidden", "reachable")),
        ("allowAnySHA1InWant", ("hidden", "reachable", "unreachable")),
    ],
)
def test_wants_by_id(
    url: str,
    origin: Git,
    work: Git,
    tmp_path: Path,
    kind: str,
    setting: str | None,
    allowed: tuple[str, ...],
) -> None:
    """Protocol version 0 allows what git allows: over HTTP, everything that refs reach."""
    origin.run("config", "uploadpack.hideRefs", "refs/secret")
    wanted = {
        "reachable": origin.run("rev-parse", "main~1").strip().decode(),
        "hidden": origin.run("commit-tree", "-m", "h", "main^{tree}").strip().decode(),
        "unreachable": origin.run("commit-tree", "-m", "u", "main^{tree}").strip().decode(),
    }
    origin.run("update-ref", "refs/secret/x", wanted["hidden"])
    if setting is not None:
        origin.run("config", f"uploadpack.{setting}", "true")
    for what, oid in wanted.items():
        here = Git.init(tmp_path / f"{what}.git", bare=True)
        body = wire.line(f"want {oid} ofs-delta side-band-64k\n".encode())
        said = wire.ask(url, "git-upload-pack", body + b"0000" + wire.line(b"done\n"))
        if what in allowed or (what == "reachable" and kind == "http"):
            assert b"PACK" in said, what
            assert b"ERR" not in said
        else:
            assert f"ERR upload-pack: not our ref {oid}".encode() in said, what
            assert b"PACK" not in said
        if what in allowed:
            here.run(*speaking(0), "fetch", "-q", url, f"{oid}:refs/heads/x")
    said = wire.ask(url, "git-upload-pack", wire.line(b"want " + b"1" * 40 + b" ofs-delta\n"))
    assert b"ERR upload-pack: not our ref" in said or not said


def test_in_version_2_any_object_may_be_wanted(url: str, origin: Git, tmp_path: Path) -> None:
    here = Git.init(tmp_path / "here.git", bare=True)
    oid = origin.run("commit-tree", "-m", "u", "main^{tree}").strip().decode()
    here.run("fetch", "-q", url, f"{oid}:refs/heads/x")
    assert here.run("rev-parse", "x").strip().decode() == oid
    with pytest.raises(GitError, match="not our ref"):
        here.run("fetch", "-q", url, f"{'1' * 40}:refs/heads/y")


@pytest.fixture
def stock(origin: Git, kind: str) -> Iterator[str]:
    """Serve with dulwich's own servers and our handlers."""
    repo = dr.Repo(str(origin.path))
    repos: dict[str, BackendRepo] = {"/repo": repo}
    backend = DictBackend(repos)
    server: socketserver.TCPServer
    if kind == "tcp":
        server = TCPGitServer(backend, "127.0.0.1", 0, handlers=HANDLERS)
        port, scheme = server.server_address[1], "git"
    else:
        app = make_wsgi_chain(backend, handlers=HANDLERS)
        server = make_server("127.0.0.1", 0, app, handler_class=WSGIRequestHandlerLogger)
        port, scheme = server.server_address[1], "http"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"{scheme}://127.0.0.1:{port}/repo"
    server.shutdown()
    thread.join()
    server.server_close()
    repo.close()


def test_the_handlers_drop_into_dulwichs_servers(
    stock: str, origin: Git, work: Git, tmp_path: Path, version: int
) -> None:
    speak = speaking(version)
    work.run(*speak, "clone", "-q", stock, str(tmp_path / "got"))
    got = Git(tmp_path / "got")
    got.run("commit", "-q", "--allow-empty", "-m", "more")
    got.run(*speak, "push", "-q", stock, "HEAD:main", "HEAD:refs/heads/new")
    assert refs_of(origin)[b"refs/heads/new"] == got.run("rev-parse", "HEAD").strip()
    done = got.start(
        [*speak, "push", "-q", "--atomic", stock, "v1:refs/tags/x", "HEAD:refs/heads/new/x"],
        b"",
        None,
    )
    assert done.returncode == 1
    assert b"refname conflict" in done.stderr
    assert b"refs/tags/x" not in refs_of(origin)
