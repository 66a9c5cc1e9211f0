"""The operator's own rules: what they are asked, and what clients see of the answers."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support.git import Git, GitError, requires_git

from dulwich_reftable.server import (
    ALLOW,
    CHALLENGE,
    DENY,
    HANDLERS,
    Access,
    AccessRequest,
    Application,
    Decision,
    Folder,
    UploadPackHandler,
)
from dulwich_reftable.server.hidden_refs import HiddenRefs

from . import wire
from .pushing import push, refs_of
from .serving import running

pytestmark = requires_git

SERVERS = pytest.mark.parametrize("served", ["tcp-reftable", "http-reftable"], indirect=True)


class Rules:
    """Answers as told, and remembers what it was asked."""

    def __init__(self, *denied: str, read: Decision = ALLOW, write: Decision = ALLOW) -> None:
        self.denied = denied
        self.read = read
        self.write = write
        self.asked: list[AccessRequest] = []

    def __call__(self, request: AccessRequest) -> Decision:
        self.asked.append(request)
        update = request.update
        if update is None:
            return self.write if request.writes else self.read
        said = (update.action, f"{update.action} {update.name.decode()}")
        return Decision(False, reason="no\nway") if {*said} & {*self.denied} else ALLOW


def access(rules: Rules) -> Access:
    return Access(enable=["receive-pack"], authorize=rules)


@SERVERS
def test_what_is_asked(root: Path, origin: Git, work: Git, kind: str) -> None:
    (root / "link").symlink_to("origin.git")
    rules = Rules()
    with running(root, kind, access=access(rules)) as server:
        work.run("ls-remote", server.url + "link")
        assert push(work, server.url + "link", "main:refs/heads/x")[0] == 0
        with pytest.raises(GitError):
            work.run("ls-remote", server.url + "no/such")
    reading, *_, none = rules.asked
    assert (reading.user, reading.address) == (None, "127.0.0.1")
    assert (reading.path.strip("/"), reading.repository) == ("link", "origin.git")
    assert (reading.service, reading.writes, reading.update) == ("git-upload-pack", False, None)
    assert none.repository == "no/such"
    (update,) = [request.update for request in rules.asked if request.update is not None]
    oid = work.run("rev-parse", "main").strip()
    assert update == (b"refs/heads/x", b"0" * 40, oid, "create")


@SERVERS
@pytest.mark.parametrize("decision", [DENY, CHALLENGE])
def test_a_repository_that_is_denied_looks_like_none(
    root: Path, origin: Git, kind: str, decision: Decision
) -> None:
    """The answers are equal but for the name, also where a password may help."""
    rules = Rules(read=decision, write=decision)

    def answer(url: str, service: str) -> bytes:
        if kind == "tcp":
            return wire.ask_raw(url, service)
        try:
            urllib.request.urlopen(f"{url}/info/refs?service={service}")
        except urllib.error.HTTPError as error:
            with error:
                head = {k: v for k, v in error.headers.items() if k != "Date"}
                return f"{error.code} {head} {error.read()!r}".encode()
        raise AssertionError("was served")

    for create in (False, True):
        with running(root, kind, create=create, access=access(rules)) as server:
            for service in ("git-upload-pack", "git-receive-pack"):
                denied, none = (
                    answer(server.url + name, service) for name in ("origin.git", "nobody.git")
                )
                assert denied == none.replace(b"nobody", b"origin")
                if kind == "http":
                    expected = b"401" if decision is CHALLENGE else b"404"
                    assert denied.startswith(expected)
                    assert (b"Basic realm=" in denied) is (decision is CHALLENGE)
                else:
                    assert b"access denied or repository not exported" in denied
    assert [path.name for path in root.iterdir()] == ["origin.git"]


@SERVERS
def test_reading_without_writing(root: Path, origin: Git, work: Git, kind: str) -> None:
    before = refs_of(origin)
    with running(root, kind, access=access(Rules(write=DENY))) as server:
        url = server.url + "origin.git"
        assert work.run("ls-remote", url)
        code, _, said = push(work, url, "main:refs/heads/x")
        assert code != 0
        assert "no permission to push" in said or "403" in said
    assert refs_of(origin) == before


@pytest.mark.parametrize("served", ["tcp-reftable", "tcp-files"], indirect=True)
def test_refs_of_a_push_are_asked_one_by_one(root: Path, origin: Git, work: Git, kind: str) -> None:
    main = refs_of(origin)[b"refs/heads/main"]
    origin.run("update-ref", "refs/heads/gone", main.decode())
    origin.run("symbolic-ref", "refs/heads/alias", "refs/heads/main")
    work.run("commit", "-q", "--amend", "-m", "other")
    denied = ("create refs/heads/no", "update refs/heads/main", "delete", "force")
    refs = (
        "+main:refs/heads/alias", "main:refs/heads/no", "main:refs/heads/yes",
        "main~1:refs/tags/t", ":refs/heads/gone",
    )  # fmt: skip
    with running(root, kind, access=access(Rules(*denied))) as server:
        url = server.url + "origin.git"
        code, outcomes, _ = push(work, url, "--atomic", *refs)
        assert code != 0
        assert all(outcome.startswith("!") for outcome in outcomes.values())
        code, outcomes, _ = push(work, url, *refs)
        assert code != 0
        assert outcomes == {
            "refs/heads/alias": "!no way",
            "refs/heads/no": "!no way",
            "refs/heads/gone": "!no way",
            "refs/heads/yes": "*",
            "refs/tags/t": "*",
        }
        # Losing history is asked for on top, also of tags.
        work.run("commit", "-q", "--amend", "-m", "another")
        both = ("+main:refs/heads/yes", "+main:refs/tags/t")
        assert set(push(work, url, *both)[1].values()) == {"!no way"}
        assert push(work, url, "main~1:refs/heads/yes2")[0] == 0
        assert push(work, url, "main:refs/heads/yes2")[0] == 0
    assert refs_of(origin)[b"refs/heads/main"] == main
    assert b"refs/heads/gone" in refs_of(origin)


def test_hooks_do_not_see_refs_that_are_denied(tmp_path: Path, root: Path, work: Git) -> None:
    origin = Git.init(root / "origin.git", bare=True)
    hook = origin.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ncat >>{tmp_path}/seen\n")
    hook.chmod(0o755)
    with running(root, "tcp", access=access(Rules("create refs/heads/no"))) as server:
        url = server.url + "origin.git"
        push(work, url, "main:refs/heads/no")
        assert not (tmp_path / "seen").exists()
        push(work, url, "main:refs/heads/no", "main:refs/heads/yes")
    assert [line.split()[2] for line in (tmp_path / "seen").read_text().splitlines()] == [
        "refs/heads/yes"
    ]


@pytest.mark.parametrize("served", ["http-reftable", "tcp-files"], indirect=True)
def test_hidden_refs(root: Path, origin: Git, work: Git, kind: str, tmp_path: Path) -> None:
    """They are not listed, and the ids of their objects do not help, whatever settings say."""
    work.run("checkout", "-q", "-b", "secret")
    work.run("commit", "-q", "--allow-empty", "-m", "secret")
    work.run("push", "-q", str(origin.path), "secret")
    secret = work.run("rev-parse", "secret").decode().strip()
    for key in ("allowAnySHA1InWant", "allowFilter"):
        origin.run("config", f"uploadpack.{key}", "true")
    origin.run("config", "transfer.hideRefs", "!refs/heads/secret")
    hidden = Decision(True, hidden=HiddenRefs([b"refs/heads/secret"]))
    # git shows symrefs to hidden refs; those would tell what a user may not see.
    origin.run("symbolic-ref", "refs/heads/alias", "refs/heads/secret")
    origin.run("symbolic-ref", "HEAD", "refs/heads/secret")
    fresh = Git.init(tmp_path / "fresh")
    rules = Rules(read=hidden, write=hidden)
    with running(root, kind, access=access(rules)) as server:
        url = server.url + "origin.git"
        for version in (0, 2):
            protocol = ("-c", f"protocol.version={version}")
            listed = work.run(*protocol, "ls-remote", url)
            assert b"secret" not in listed
            assert secret.encode() not in listed
            with pytest.raises(GitError, match=r"not our ref|unadvertised"):
                fresh.run(*protocol, "fetch", "-q", url, secret)
            fresh.run(*protocol, "fetch", "-q", url, "main", "tag", "v1")
        want = wire.line(f"want {secret} ofs-delta\n".encode()) + b"0000" + wire.line(b"done\n")
        assert b"not our ref" in wire.ask(url, "git-upload-pack", want)
        assert push(work, url, "+main:refs/heads/secret")[1] == {
            "refs/heads/secret": "!deny updating a hidden ref"
        }
        rules.read = ALLOW
        fresh.run("fetch", "-q", url, secret)


@pytest.mark.parametrize("served", ["http-reftable"], indirect=True)
def test_small_commands_disclose_nothing(root: Path, origin: Git, kind: str) -> None:
    """Neither sizes nor bundles are told where refs are hidden, nor that a repository exists."""
    for key, value in (
        ("transfer.advertiseObjectInfo", "true"),
        ("uploadpack.advertiseBundleURIs", "true"),
        ("bundle.version", "1"),
        ("bundle.mode", "all"),
        ("bundle.all.uri", "https://example.com/all.bundle"),
    ):
        origin.run("config", key, value)
    oid = origin.run("rev-parse", "main").strip()
    info = (
        wire.line(b"command=object-info") + b"0001" + wire.line(b"size") + wire.line(b"oid " + oid)
    )
    bundles = wire.line(b"command=bundle-uri") + b"0001"
    requests = {info + b"0000": oid + b" ", bundles + b"0000": b"https://example.com"}
    rules = Rules()

    def ask(name: str, request: bytes) -> bytes:
        try:
            return wire.ask(server.url + name, "git-upload-pack", request, version=2)
        except urllib.error.HTTPError as error:
            with error:
                return b"%d %s" % (error.code, error.read())

    with running(root, kind, access=access(rules)) as server:
        for request, told in requests.items():
            rules.read = ALLOW
            assert told in ask("origin.git", request)
            rules.read = Decision(True, hidden=HiddenRefs([b"refs/heads/secret"]))
            answer = ask("origin.git", request)
            assert answer[4:].startswith(b"ERR invalid command")
            assert told not in answer
            rules.read = DENY
            answer = ask("origin.git", request)
            assert answer.startswith(b"404")
            assert answer == ask("nobody.git", request).replace(b"nobody", b"origin")


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
def test_only_a_decision_is_a_yes(root: Path, origin: Git, work: Git) -> None:
    def wrong(request: AccessRequest) -> Decision:
        return True  # type: ignore[return-value]

    with (
        running(root, "tcp", access=Access(authorize=wrong)) as server,
        pytest.raises(GitError, match="internal server error"),
    ):
        work.run("ls-remote", server.url + "origin.git")


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
def test_handlers_that_cannot_obey_serve_nothing(root: Path, origin: Git) -> None:
    class Foreign:
        def __init__(self, *args: object, **kwargs: object) -> None:
            """Take what dulwich's handlers take."""

    statuses = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/origin.git/info/refs",
        "QUERY_STRING": "service=git-upload-pack",
        "wsgi.input": None,
    }
    handlers = {**HANDLERS, b"git-upload-pack": Foreign}
    application = Application(Folder(root), handlers, access(Rules()))
    list(application(environ, lambda status, headers: statuses.append(status)))
    assert statuses == ["500 Internal Server Error"]
    assert hasattr(UploadPackHandler, "grant")
