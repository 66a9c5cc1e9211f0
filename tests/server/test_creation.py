"""The first push to a repository makes it, and nothing else does."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from dulwich.errors import HookError, NotGitRepository
from dulwich.hooks import Hook
from support.git import Git, requires_git

from dulwich_reftable.server import HANDLERS, Folder, ReceivePackHandler, Server
from dulwich_reftable.server.creation import STAGING, UnbornRepo, UnfitNameError, parts_of
from dulwich_reftable.server.errors import RefusedError

from . import wire
from .pushing import push, refs_of
from .serving import running

pytestmark = requires_git


@pytest.fixture(params=["tcp", "http"])
def kind(request: pytest.FixtureRequest) -> str:
    """The server."""
    return str(request.param)


@pytest.fixture
def server(root: Path, kind: str) -> Iterator[Server]:
    """A server that makes repositories."""
    with running(root, kind, create=True) as server:
        yield server


def test_names() -> None:
    assert parts_of("/a/b-1/c_2.x+y.git") == ["a", "b-1", "c_2.x+y.git"]
    assert parts_of("x") == parts_of("/x") == parts_of("x.git") == ["x.git"]


UNFIT = [
    *("", "/", ".", "..", "/..", "a/..", "a/../b", "./a", "a//b", "a/", "//a", ".git", "/.git/x"),
    *("a/.git", "HEAD", "head", "/HEAD.git", "objects", "refs/heads", "a/hooks", "config", "info"),
    *("a.git/b", "A.GIT/b", "a.GIT", "a.git.git", "a.lock", "a.", "-a", "a/-b", ".a", ".new-1"),
    *("a\nb", "a\x1b[2J", "a\0b", "a b", "a\\b", "a*", "a?", "a[b]", "~a", "a:b", "a@{1}", "$a"),
    *("ä", "a\u202eb", "\udcff", "con", "NUL.txt", "com1.git", "%2e%2e", "a" * 101, "a/" * 200),
    *("git-receive-pack", "packed-refs", "FETCH_HEAD", "'a'", '"a"', "a;b", "a|b", "a`b`", "<a>"),
]


@pytest.mark.parametrize("name", UNFIT)
def test_unfit_names(root: Path, name: str) -> None:
    with pytest.raises(UnfitNameError) as caught:
        parts_of(name)
    assert str(caught.value).isprintable()
    with pytest.raises(NotGitRepository):
        Folder(root, create=True).find_for_push(name)
    assert list(root.iterdir()) == []


def test_what_is_in_the_way(root: Path) -> None:
    (root / "file").write_text("")
    (root / "directory").mkdir()
    Git.init(root / "bare.git", bare=True)
    Git.init(root / "home")
    (root / "link").symlink_to("/tmp")
    (root / f"{STAGING}1.git").mkdir()
    Git.init(root / f"{STAGING}1.git", bare=True)
    folder = Folder(root, create=True)
    before = sorted(root.rglob("*"))
    for name in ("file", "directory", "bare.git/x", "home/x", "link/x"):
        with pytest.raises(NotGitRepository):
            folder.find_for_push(name)
    for name in (f"{STAGING}1.git", f"{STAGING}1"):
        with pytest.raises(NotGitRepository):
            folder.find(name)
    for name in ("directory/x", "bare2"):
        repo = folder.find_for_push(name)
        assert isinstance(repo, UnbornRepo)
        repo.close()
    assert sorted(root.rglob("*")) == before


def test_the_first_push_makes_it(server: Server, root: Path, work: Git) -> None:
    url = server.url + "team/new"
    assert push(work, url, "main", "v1")[:2] == (0, {"refs/heads/main": "*", "refs/tags/v1": "*"})
    made = Git(root / "team" / "new.git")
    assert refs_of(made).keys() == {b"refs/heads/main", b"refs/tags/v1"}
    assert made.complaints() == b""
    assert made.run("rev-parse", "--show-ref-format") == b"reftable\n"
    # Both names are its names, and nothing else is there.
    work.run("commit", "-q", "--allow-empty", "-m", "more")
    for name in (url, url + ".git"):
        assert push(work, name, "main")[0] == 0
        assert b"refs/heads/main" in work.run("ls-remote", name)
    assert [path.name for path in root.rglob("*.git")] == ["new.git"]
    assert [path.name for path in root.iterdir()] == ["team"]


class Declining(Hook):
    """A hook of a program, not of the repository."""

    def execute(self, *args: object) -> tuple[bytes, bytes]:
        raise HookError("no")


class Decliner(ReceivePackHandler):
    """Serves pushes, and declines them all."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.repo.hooks["update"] = Declining()


def test_a_push_that_is_refused_makes_nothing(root: Path, work: Git, kind: str) -> None:
    handlers = {**HANDLERS, b"git-receive-pack": Decliner}
    with running(root, kind, create=True, handlers=handlers) as server:
        assert push(work, server.url + "x", "main")[1] == {"refs/heads/main": "!hook declined"}
    with running(root, kind, create=True) as server:
        url = server.url + "x"
        main = work.run("rev-parse", "main").strip()
        pack = work.run("pack-objects", "--revs", "--stdout", stdin=b"main\n")
        said = wire.push(url, b"%s %s refs/../x" % (wire.ZERO, main), pack=pack)
        assert b"ng refs/../x funny refname" in said
        said = wire.push(url, b"%s %s refs/heads/x" % (wire.ZERO, main), pack=pack[:-30])
        assert b"ok refs/heads/x" not in said
        said = wire.push(url, b"%s %s refs/heads/x" % (main, wire.ZERO))
        assert b"ok refs/heads/x" not in said
        wire.ask(url, "git-receive-pack", b"0000")
        assert list(root.iterdir()) == []
        # If some refs are refused, the others still make the repository.
        said = wire.push(
            url,
            b"%s %s refs/../x" % (wire.ZERO, main),
            b"%s %s refs/heads/x" % (wire.ZERO, main),
            pack=pack,
        )
        assert b"ok refs/heads/x" in said
    assert refs_of(Git(root / "x.git")) == {b"refs/heads/x": main}


METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get"]
TYPES = ["", "text/plain", "application/x-git-receive-pack-request", "multipart/form-data"]


@pytest.mark.parametrize("kind", ["http"], indirect=True)
def test_no_other_request_makes_anything(server: Server, root: Path) -> None:
    """Whatever the method, the content type and the path are."""
    answers = set()
    for method in METHODS:
        for content_type in TYPES:
            for path in (
                "new.git/info/refs?service=git-receive-pack",
                "new.git/info/refs?service=git-upload-pack",
                "new.git/info/refs",
                "new.git/git-receive-pack",
                "new.git/git-upload-pack",
                "new.git",
                "",
            ):
                body = b"" if method in ("GET", "HEAD") else b"0000"
                request = urllib.request.Request(server.url + path, body, method=method)
                request.add_header("Content-Type", content_type)
                try:
                    with urllib.request.urlopen(request) as answer:
                        answers.add((method, answer.status))
                        answer.read()
                except urllib.error.HTTPError as error:
                    answers.add((method, error.code))
                    error.close()
                assert list(root.iterdir()) == [], (method, content_type, path)
    # An empty repository is advertised, and a push of nothing is answered.
    assert {(method, code) for method, code in answers if code < 400} == {
        *(("GET", 200), ("HEAD", 200), ("POST", 200)),
    }
    assert {code for _, code in answers} == {200, 403, 404, 405, 415}


@pytest.mark.parametrize("kind", ["tcp"], indirect=True)
def test_an_unfit_name_is_told(server: Server, root: Path, work: Git) -> None:
    for name, why in (("HEAD", "no fit name"), ("x" * 300, "too long"), ("x" * 9000, "")):
        code, _, said = push(work, server.url + name, "main")
        assert code != 0
        assert "remote error" in said
        assert why in said
    assert list(root.iterdir()) == []


def test_stale_staging_directories_are_removed(root: Path) -> None:
    for name, age in (("old", 100_000), ("young", 10)):
        path = root / f"{STAGING}{name}"
        path.mkdir()
        (path / "file").write_text("")
        then = path.stat().st_mtime - age
        os.utime(path, (then, then))
    Folder(root, create=True)
    assert [path.name for path in root.iterdir()] == [f"{STAGING}young"]


def test_somebody_else_makes_it_first(root: Path, work: Git) -> None:
    """Another process does: the push is refused, and nothing that the other made is lost."""
    repo = Folder(root, create=True).find_for_push("x")
    assert isinstance(repo, UnbornRepo)
    with closing(repo), repo.creation(1) as creation:
        other = Git.init(root / "x.git", bare=True)
        work.run("push", "-q", str(other.path), "main")
        with pytest.raises(OSError, match=r"not empty|exists"):
            creation.publish()
    assert other.complaints() == b""
    assert [path.name for path in root.iterdir()] == ["x.git"]


def test_pushes_make_it_one_after_another(root: Path) -> None:
    """A push that waits in vain is refused; the next one finds what the first one has made."""
    folder = Folder(root, create=True)
    first, late, next_one = (folder.find_for_push("x") for _ in range(3))
    assert isinstance(first, UnbornRepo)
    assert isinstance(late, UnbornRepo)
    assert isinstance(next_one, UnbornRepo)
    with closing(first), closing(late), closing(next_one):
        with first.creation(1) as creation:
            with pytest.raises(RefusedError, match="another push"), late.creation(0.01):
                pass
            creation.publish()
        with next_one.creation(1) as creation:
            assert creation.repo.path == str(root / "x.git")
    assert [path.name for path in root.iterdir()] == ["x.git"]
