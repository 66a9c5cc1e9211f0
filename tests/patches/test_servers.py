"""dulwich's servers on a reftable repository, used by the real git over loopback."""

from __future__ import annotations

import socketserver
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from dulwich import porcelain
from dulwich.repo import Repo
from dulwich.server import BackendRepo, DictBackend, TCPGitServer
from dulwich.web import make_wsgi_chain
from support.git import Git, GitError, requires_git
from support.versions import writes_sha256

import dulwich_reftable as dr

from .sides import assert_no_strays

pytestmark = requires_git


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(repo: Repo, kind: str) -> Iterator[str]:
    """Serve a repository and yield its address."""
    repos: dict[str, BackendRepo] = {"/repo": repo}
    backend = DictBackend(repos)
    server: socketserver.TCPServer
    if kind == "tcp":
        server = TCPGitServer(backend, "127.0.0.1", 0)
        port = server.server_address[1]
        scheme = "git"
    else:
        app = make_wsgi_chain(backend, dumb=kind == "dumb")
        server = make_server("127.0.0.1", 0, app, handler_class=QuietHandler)
        port = server.server_address[1]
        scheme = "http"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{scheme}://127.0.0.1:{port}/repo"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(params=["sha1"])
def origin(request: pytest.FixtureRequest, tmp_path: Path) -> Git:
    """A bare reftable repository with branches, tags and a symref."""
    work = Git.init(tmp_path / "seed", object_format=request.param)
    for number in range(5):
        work.run(
            "commit", "-q", "--allow-empty", "-m", f"c{number}", env=work.date(10**9 + number, 0)
        )
    work.run("branch", "topic", "HEAD~2")
    work.run("tag", "light", "HEAD~1")
    work.run("tag", "-a", "-m", "tag", "v1", "HEAD~2")
    work.run("tag", "-a", "-m", "tag of a tag", "v2", "v1")
    work.run("symbolic-ref", "refs/heads/alias", "refs/heads/topic")
    git = Git(tmp_path / "origin", request.param)
    work.run("clone", "-q", "--mirror", "--ref-format=reftable", ".", str(git.path))
    git.run("symbolic-ref", "refs/heads/alias", "refs/heads/topic")
    git.run("config", "http.receivepack", "true")
    return git


@pytest.fixture(params=["tcp", "wsgi"])
def kind(request: pytest.FixtureRequest) -> str:
    """The server: over TCP or HTTP."""
    return str(request.param)


@pytest.fixture(params=["installed", "explicit"])
def url(request: pytest.FixtureRequest, origin: Git, kind: str) -> Iterator[str]:
    """Serve it: with stock Repo and us installed, or with our Repo."""
    with ExitStack() as stack:
        if request.param == "installed":
            stack.enter_context(dr.installed())
            repo = stack.enter_context(Repo(str(origin.path)))
        else:
            repo = stack.enter_context(dr.Repo(str(origin.path)))
        yield stack.enter_context(serving(repo, kind))
    assert_no_strays(origin.path)
    assert origin.complaints() == b""


def remote_refs(git: Git, *args: str) -> dict[bytes, bytes]:
    """What ``git ls-remote`` shows."""
    out = git.run("ls-remote", *args)
    return {name: value for value, name in (line.split(b"\t") for line in out.splitlines())}


def client(tmp_path: Path) -> Git:
    """A directory to call git in."""
    (tmp_path / "client").mkdir(exist_ok=True)
    return Git(tmp_path / "client")


@pytest.mark.parametrize("protocol", [0, 2])
def test_ls_remote_clone_and_fetch(url: str, origin: Git, tmp_path: Path, protocol: int) -> None:
    version = ["-c", f"protocol.version={protocol}"]
    here = client(tmp_path)
    ours = here.run(*version, "ls-remote", "--symref", url)
    theirs = here.run(*version, "ls-remote", "--symref", str(origin.path))
    # Of symrefs, protocol v0 tells HEAD alone; dulwich tells all.
    assert set(theirs.splitlines()) <= set(ours.splitlines())
    assert [li for li in ours.splitlines() if li[:4] != b"ref:"] == [
        li for li in theirs.splitlines() if li[:4] != b"ref:"
    ]
    here.run(*version, "clone", "-q", "--mirror", url, "full")
    full = Git(tmp_path / "client" / "full")
    expected = origin.for_each_ref()
    assert {n: r.value for n, r in full.for_each_ref().items()} == {
        n: r.value for n, r in expected.items()
    }
    assert full.complaints() == b""
    origin.run("update-ref", "refs/heads/late", "topic")
    origin.run("update-ref", "-d", "refs/tags/light")
    full.run(*version, "fetch", "-q", "--prune")
    assert b"refs/heads/late" in full.for_each_ref()
    assert b"refs/tags/light" not in full.for_each_ref()


@pytest.mark.parametrize("protocol", [0, 2])
def test_shallow(url: str, tmp_path: Path, protocol: int) -> None:
    version = ["-c", f"protocol.version={protocol}"]
    here = client(tmp_path)
    # Without tags: dulwich's server, on files as well, hangs up on the second request that git
    # makes of a shallow repository to follow them.
    here.run(
        *version, "clone", "-q", "--depth", "2", "--branch", "main", "--no-tags", url, "shallow"
    )
    shallow = Git(tmp_path / "client" / "shallow")
    assert shallow.run("log", "--format=%s").split() == [b"c4", b"c3"]
    shallow.run(*version, "fetch", "-q", "--depth", "4")
    assert len(shallow.run("log", "--format=%s").split()) == 4
    shallow.run(*version, "fetch", "-q", "--unshallow")
    assert len(shallow.run("log", "--format=%s").split()) == 5


def test_push(url: str, origin: Git, tmp_path: Path) -> None:
    client(tmp_path).run("clone", "-q", url, "work")
    work = Git(tmp_path / "client" / "work")
    work.run("commit", "-q", "--allow-empty", "-m", "pushed")
    work.run("tag", "-a", "-m", "pushed tag", "v3")
    work.run("push", "-q", "origin", "main", "main:refs/heads/new", "v3")
    listed = origin.for_each_ref()
    head = work.run("rev-parse", "HEAD").strip()
    assert listed[b"refs/heads/main"].value == listed[b"refs/heads/new"].value == head
    assert listed[b"refs/tags/v3"] == work.for_each_ref()[b"refs/tags/v3"]
    work.run("commit", "-q", "--amend", "--allow-empty", "-m", "forced")
    with pytest.raises(GitError):
        work.run("push", "-q", "origin", "main")
    work.run("push", "-q", "--force", "origin", "main")
    work.run("push", "-q", "origin", ":new", ":refs/tags/v3", ":refs/tags/v2")
    listed = origin.for_each_ref()
    assert listed[b"refs/heads/main"].value == work.run("rev-parse", "HEAD").strip()
    assert not {b"refs/heads/new", b"refs/tags/v3", b"refs/tags/v2"} & listed.keys()
    assert remote_refs(work, "origin") == remote_refs(work, str(origin.path))


def test_a_push_that_is_in_the_way(url: str, origin: Git, tmp_path: Path) -> None:
    """The client gets an error message, and the server goes on."""
    client(tmp_path).run("clone", "-q", url, "work")
    work = Git(tmp_path / "client" / "work")
    with pytest.raises(GitError, match="failed to write"):
        work.run("push", "-q", "origin", "main:refs/heads/topic/below")
    assert b"refs/heads/topic/below" not in origin.for_each_ref()
    work.run("push", "-q", "origin", "main:refs/heads/beside")


@pytest.mark.parametrize("url", ["installed"], indirect=True)
def test_dulwich_against_dulwich(url: str, origin: Git, tmp_path: Path) -> None:
    with porcelain.clone(url, str(tmp_path / "got"), errstream=porcelain.NoneStream()) as got:
        assert got.head() == origin.run("rev-parse", "HEAD").strip()
        assert got.refs[b"refs/tags/v2"] == origin.for_each_ref()[b"refs/tags/v2"].value


@pytest.mark.parametrize("origin", ["sha256"], indirect=True)
@pytest.mark.parametrize("url", ["installed"], indirect=True)
@pytest.mark.parametrize("bare", [pytest.param(False, marks=writes_sha256), True])
def test_cloning_turns_the_new_repository_into_sha256(
    url: str, origin: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare: bool
) -> None:
    """It was made as a SHA-1 one, with HEAD in its tables, before the server told the hash."""
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", "reftable")
    path = tmp_path / "got"
    porcelain.clone(url, str(path), bare=bare, errstream=porcelain.NoneStream()).close()
    git = Git(path, "sha256")
    assert (
        git.run("rev-parse", "--show-object-format", "--show-ref-format") == b"sha256\nreftable\n"
    )
    assert git.run("rev-parse", "HEAD") == origin.run("rev-parse", "HEAD")
    assert git.run("symbolic-ref", "HEAD") == b"refs/heads/main\n"
    assert git.complaints() == b""
    assert_no_strays(git.git_dir)


@pytest.mark.parametrize("kind", ["dumb"])
def test_dumb_http(url: str, origin: Git, tmp_path: Path) -> None:
    """The file ``HEAD`` that is served names the real branch."""
    with urllib.request.urlopen(f"{url}/HEAD") as answer:
        assert answer.read() == b"ref: refs/heads/main\n"
    here = client(tmp_path)
    here.run("-c", "protocol.version=0", "clone", "-q", url, "got")
    got = Git(tmp_path / "client" / "got")
    assert got.run("rev-parse", "HEAD") == origin.run("rev-parse", "HEAD")
    origin.run("update-ref", "--no-deref", "HEAD", "topic")
    with urllib.request.urlopen(f"{url}/HEAD") as answer:
        assert answer.read() == origin.run("rev-parse", "topic")
