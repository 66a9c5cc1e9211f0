"""Users with passwords over HTTP."""

from __future__ import annotations

import base64
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from support.git import Git, GitError, requires_git

from dulwich_reftable.engine.errors import ConfigurationError
from dulwich_reftable.server import Access, PasswordFile, RulesFile, TooManyAttemptsError
from dulwich_reftable.server.transport.httpd import HTTPGitServer

from .pushing import push, refs_of
from .serving import running

bcrypt: Any = pytest.importorskip("bcrypt")

RULES = """
[[rules]]
repositories = ["open"]
users = ["@all"]
allow = ["read"]

[[rules]]
repositories = ["**"]
users = ["alice"]
allow = ["read", "write", "create"]
"""


def entry(user: str, password: bytes) -> str:
    hashed = bcrypt.hashpw(password, bcrypt.gensalt(4, b"2b")).decode()
    return f"{user}:{hashed.replace('$2b$', '$2y$')}\n"  # as htpasswd -B writes it


@pytest.fixture
def path(tmp_path: Path) -> Path:
    lines = [
        "# users\n",
        "\n",
        entry("alice", b"secret"),
        entry("zo\u00eb", "p\u00e4ss:w".encode()),
    ]
    lines += ["old:$apr1$x$yyyyyyyyyyyyyyyyyyyyyy\n", "plain:secret\n"]
    (tmp_path / "users").write_text("".join(lines), encoding="utf-8")
    return tmp_path / "users"


def test_passwords(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    check = PasswordFile(path)
    assert check("alice", "secret", None)
    assert check("alice", "secret", None)
    assert check("zo\u00eb", "p\u00e4ss:w", None)
    for user, password in (
        ("alice", "Secret"), ("alice", ""), ("alice", "secret\0"), ("alice", "x" * 5000),
        ("Alice", "secret"), ("nobody", "secret"), ("old", "x"), ("plain", "secret"),
    ):  # fmt: skip
        assert not check(user, password, f"{user}{password}"), (user, password)
    said = " ".join(caplog.messages)
    assert "'old' has no bcrypt hash" in said
    assert "secret" not in said


def test_a_changed_password_counts_at_once(path: Path) -> None:
    check = PasswordFile(path)
    assert check("alice", "secret", None)
    path.with_name("new").write_text(entry("alice", b"other"))
    os.replace(path.with_name("new"), path)
    assert not check("alice", "secret", None)
    assert check("alice", "other", None)
    path.write_text("rubbish")
    assert not check("alice", "other", None)


@pytest.mark.parametrize("text", ["alice", ":x", "a\x07b:x", "a:x\na:x"])
def test_mistakes_in_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "users").write_text(text)
    with pytest.raises(ValueError, match="line "):
        PasswordFile(tmp_path / "users")


def test_bcrypt_is_needed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    with pytest.raises(ConfigurationError, match=r"dulwich-reftable\[auth\]"):
        PasswordFile(path)


class Counting:
    """Counts the hashes that are computed, by what they are compared with."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []

    def checkpw(self, password: bytes, hashed: bytes) -> bool:
        self.entries.append(hashed)
        return bool(bcrypt.checkpw(password, hashed))


def test_an_unknown_user_costs_one_hash_like_a_known_one(path: Path) -> None:
    check = PasswordFile(path)
    check._bcrypt = counting = Counting()
    for user in ("alice", "nobody", "plain"):
        assert not check(user, "wrong", user)
        assert not check(user, "nul\0", user)
    assert [one[4:6] for one in counting.entries] == [b"04"] * 6


def test_guessing_is_limited_by_address(path: Path) -> None:
    check = PasswordFile(path)
    check.max_failures = 3
    check._bcrypt = counting = Counting()
    assert check("alice", "secret", "::1")
    for number in range(3):
        assert not check("alice", str(number), f"2001:db8::{number}")
    with pytest.raises(TooManyAttemptsError):
        check("zo\u00eb", "p\u00e4ss:w", "2001:db8::77")
    assert len(counting.entries) == 4
    # What was right before is right still, and other addresses are not concerned.
    assert check("alice", "secret", "2001:db8::77")
    assert check("zo\u00eb", "p\u00e4ss:w", "2001:db8:1::")
    check.period = 0.0
    assert not check("alice", "x", "2001:db8::77")


def test_what_is_remembered_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dulwich_reftable.server.passwords._MOST_KEPT", 2)
    check = PasswordFile(path)
    for number in range(5):
        assert check("alice", "secret", str(number))
        assert not check("alice", "wrong", str(number))
    assert len(check._verified) <= 2


# Over HTTP


def with_user(url: str, user: str) -> str:
    return url.replace("://", f"://{user}@")


@requires_git
@pytest.mark.parametrize("served", ["http-reftable"], indirect=True)
def test_git_sends_the_password(
    root: Path, origin: Git, work: Git, tmp_path: Path, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    (tmp_path / "rules").write_text(RULES)
    helper = tmp_path / "helper"
    helper.write_text("#!/bin/sh\ntest $1 = get && printf 'username=alice\\npassword=secret\\n'\n")
    helper.chmod(0o755)
    ask = ("-c", f"credential.helper={helper}")
    access = Access(authorize=RulesFile(tmp_path / "rules"), check_password=PasswordFile(path))
    with running(root, "http", access=access) as server:
        url = server.url + "origin.git"
        for wrong in (url, with_user(url, "alice:wrong"), with_user(url, "nobody:secret")):
            with pytest.raises(GitError):
                work.run("ls-remote", wrong)
        assert b"refs/heads/main" in work.run(*ask, "ls-remote", url)
        assert push(work, *ask, url, "main:refs/heads/x")[0] == 0
        # A user without permission sees no repository.
        with pytest.raises(GitError, match="not found"):
            work.run("ls-remote", with_user(url, "zo%C3%AB:p%C3%A4ss%3Aw"))
        origin.path.rename(root / "open.git")
        try:
            assert work.run("ls-remote", server.url + "open.git")
        finally:
            (root / "open.git").rename(origin.path)
    assert b"refs/heads/x" in refs_of(origin)
    said = " ".join(caplog.messages)
    for secret in ("secret", base64.b64encode(b"alice:secret").decode()):
        assert secret not in said


@requires_git
@pytest.mark.parametrize("served", ["http-reftable"], indirect=True)
def test_passwords_without_rules_are_for_pushing(
    root: Path, origin: Git, work: Git, path: Path
) -> None:
    access = Access(check_password=PasswordFile(path))
    assert "push: users with a password" in access.describe("http")
    with running(root, "http", access=access) as server:
        url = server.url + "origin.git"
        assert work.run("ls-remote", url)
        assert push(work, url, "main:refs/heads/x")[0] != 0
        assert push(work, with_user(url, "alice:secret"), "main:refs/heads/x")[0] == 0


@pytest.mark.parametrize(
    "said",
    [
        "Basic", "Basic ", "Basic !!!", "Bearer abc", "Basic YWxpY2U=", "Basic OnNlY3JldA==",
        "Basic " + base64.b64encode(b"al\nice:secret").decode(),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Basic " + "A" * 20000,
    ],
)  # fmt: skip
def test_what_is_no_password_is_refused(root: Path, path: Path, said: str) -> None:
    with running(root, "http", access=Access(check_password=PasswordFile(path))) as server:
        url = f"{server.url}x.git/info/refs?service=git-upload-pack"
        request = urllib.request.Request(url, headers={"Authorization": said})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
    assert caught.value.code == 401
    assert caught.value.headers["WWW-Authenticate"].startswith("Basic realm=")
    caught.value.close()


@pytest.mark.parametrize("trusts", [False, True])
def test_the_address_behind_a_proxy(root: Path, path: Path, trusts: bool) -> None:
    check = PasswordFile(path)
    seen = []

    def remember(user: str, password: str, address: str | None) -> bool:
        seen.append(address)
        if len(seen) > 1:
            raise TooManyAttemptsError("later")
        return check(user, "wrong", address)

    with running(root, "http", access=Access(check_password=remember)) as server:
        assert isinstance(server, HTTPGitServer)
        server.proxies = int(trusts)
        codes = []
        for forwarded in ("6.6.6.6, 192.0.2.7", "rubbish\t"):
            headers = {
                "Authorization": "Basic " + base64.b64encode(b"alice:x").decode(),
                "X-Forwarded-For": forwarded,
                "Remote-User": "alice",
            }
            url = f"{server.url}x.git/info/refs?service=git-upload-pack"
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(urllib.request.Request(url, headers=headers))
            codes.append(caught.value.code)
            caught.value.close()
    assert codes == [401, 429]
    assert seen == ["192.0.2.7" if trusts else "127.0.0.1", "127.0.0.1"]
