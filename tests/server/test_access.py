"""Who may fetch and push what: git's defaults, its settings, and the owners of repositories."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.handlers import BaseHandler

import pytest
from dulwich.config import ConfigFile
from dulwich.errors import NotGitRepository
from support.git import Git, GitError, requires_git

from dulwich_reftable.engine.errors import ConfigurationError
from dulwich_reftable.server import Access, Application, Folder

from .pushing import push, refs_of
from .serving import running

pytestmark = requires_git

CASES = [
    # what the operator says; what the repository says; fetching and pushing
    ({}, {}, (True, False)),
    ({}, {"receivePack": "true"}, (True, True)),
    ({}, {"uploadPack": "false"}, (False, False)),
    ({"enable": ["receive-pack"]}, {}, (True, True)),
    ({"enable": ["receive-pack"]}, {"receivePack": "false"}, (True, False)),
    ({"disable": ["upload-pack"]}, {}, (False, False)),
    ({"disable": ["upload-pack"]}, {"uploadPack": "true"}, (True, False)),
    ({"forbid_override": ["receive-pack"]}, {"receivePack": "true"}, (True, False)),
    (
        {"enable": ["receive-pack"], "forbid_override": ["receive-pack"]},
        {"receivePack": "false"},
        (True, True),
    ),
]


@pytest.mark.parametrize(("operator", "repository", "expected"), CASES)
@pytest.mark.parametrize("server", ["daemon", "http"])
def test_what_is_on(
    operator: dict[str, Any],
    repository: dict[str, str],
    expected: tuple[bool, bool],
    server: str,
) -> None:
    config = ConfigFile()
    other = {"daemon": "http", "http": "daemon"}[server]
    for key, value in repository.items():
        config.set((server.encode(),), key.encode(), value.encode())
    config.set((other.encode(),), b"receivePack", b"true")
    access = Access(**operator)
    services = ("git-upload-pack", "git-receive-pack")
    assert tuple(access.allows(config, server, service) for service in services) == expected
    # Authenticated users may push where nobody has decided otherwise.
    if not repository and not operator:
        assert access.allows(config, server, "git-receive-pack", "alice")
        assert not access.allows(config, server, "git-receive-pack", "")
    config.set((server.encode(),), b"receivePack", b"rubbish")
    if "forbid_override" not in operator:
        with pytest.raises(ConfigurationError):
            access.allows(config, server, "git-receive-pack")
    forbidding = Access(disable=["receive-pack"])
    assert not forbidding.allows(ConfigFile(), server, "git-receive-pack", "alice")


@pytest.mark.parametrize("served", ["tcp-reftable", "http-reftable"], indirect=True)
def test_pushing_is_off_by_default(root: Path, origin: Git, work: Git, kind: str) -> None:
    """As in git's daemon and http-backend."""
    before = refs_of(origin)
    with running(root, kind, access=None) as server:
        url = server.url + "origin.git"
        assert work.run("ls-remote", url)
        code, _, said = push(work, url, "main:refs/heads/x")
        assert code != 0
        assert "service not enabled" in said or "403" in said
        assert refs_of(origin) == before
        origin.run("config", {"tcp": "daemon", "http": "http"}[kind] + ".receivePack", "true")
        assert push(work, url, "main:refs/heads/x")[0] == 0


@pytest.mark.parametrize("served", ["http-reftable"], indirect=True)
def test_the_server_s_environment_authenticates_nobody(
    root: Path, origin: Git, work: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BaseHandler.os_environ, "REMOTE_USER", "alice")
    with running(root, "http", access=None) as server:
        assert push(work, server.url + "origin.git", "main:refs/heads/x")[0] != 0


@pytest.mark.parametrize("served", ["http-reftable"], indirect=True)
@pytest.mark.parametrize(("user", "status"), [("alice", "200"), ("", "403"), (None, "403")])
def test_an_authenticated_user_may_push(
    root: Path, origin: Git, user: str | None, status: str
) -> None:
    statuses = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/origin.git/info/refs",
        "QUERY_STRING": "service=git-receive-pack",
        "wsgi.input": None,
    }
    if user is not None:
        environ["REMOTE_USER"] = user

    def start_response(status: str, headers: object) -> Callable[[bytes], None]:
        statuses.append(status)
        return lambda data: None

    list(Application(Folder(root))(environ, start_response))
    assert [said[:3] for said in statuses] == [status]


@pytest.fixture
def foreign(root: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A repository that belongs to another user, for git and for us."""
    git = Git.init(root / "theirs.git", bare=True)
    if os.geteuid() == 0:
        os.chown(git.path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.delenv("SUDO_UID", raising=False)
    return git


def say(path: Path, *values: str) -> None:
    """Write a configuration with ``safe.directory``."""
    lines = [f"\tdirectory = {value}\n" for value in values]
    path.write_text("[safe]\n" + "".join(lines))


SAFE = [
    ((), False),
    (("*",), True),
    (("{path}",), True),
    (("{path}/",), True),
    (("{path}/*",), False),
    (("{root}/*",), True),
    (("{root}/../*",), True),
    (("{root}",), False),
    (("{root}/*", ""), False),
    (("*", "", "{path}"), True),
    (("{path}x",), False),
    (("theirs.git",), False),
    ((".",), False),
]


@pytest.mark.parametrize(("values", "allowed"), SAFE)
def test_safe_directory(
    root: Path,
    foreign: Git,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: tuple[str, ...],
    allowed: bool,
) -> None:
    settings = tmp_path / "gitconfig"
    say(settings, *(value.format(path=foreign.path, root=root) for value in values))
    # The repository's own configuration cannot make it safe.
    with (foreign.path / "config").open("a") as config:
        config.write("[safe]\n\tdirectory = *\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    folder = Folder(root, create=True)
    if allowed:
        folder.find("theirs.git").close()
        folder.find_for_push("theirs").close()
    else:
        with pytest.raises(NotGitRepository):
            folder.find("theirs.git")
        with pytest.raises(NotGitRepository):
            folder.find_for_push("theirs")
    if os.geteuid() == 0 and "{root}/../*" not in values:
        # git's receive-pack, which git's servers run, agrees.
        command = ["git", "receive-pack", "--http-backend-info-refs", str(foreign.path)]
        done = subprocess.run(
            command,
            env={**foreign.env, "GIT_CONFIG_GLOBAL": str(settings)},
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode == 0) == allowed, done.stderr


def test_safe_directory_by_the_environment(
    root: Path, foreign: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.x")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "*")
    monkeypatch.setenv("GIT_CONFIG_KEY_1", "safe.directory")
    monkeypatch.setenv("GIT_CONFIG_VALUE_1", "")
    with pytest.raises(NotGitRepository):
        Folder(root).find("theirs.git")
    monkeypatch.setenv("GIT_CONFIG_VALUE_1", str(foreign.path))
    Folder(root).find("theirs.git").close()


@pytest.mark.parametrize("served", ["tcp-reftable", "http-reftable"], indirect=True)
def test_another_user_s_repository_is_not_served(
    root: Path, foreign: Git, work: Git, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    with running(root, kind) as server:
        with pytest.raises(GitError) as caught:
            work.run("ls-remote", server.url + "theirs.git")
        assert "12345" not in str(caught.value)
        assert push(work, server.url + "theirs.git", "main")[0] != 0
