"""Over SSH: ``dulwich-reftable shell`` as a forced command, with a stand-in for ssh and sshd."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.git import Git, GitError, requires_git

from dulwich_reftable.server.errors import RefusedError
from dulwich_reftable.server.transport.shell import parse_command

from .pushing import refs_of

pytestmark = requires_git


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("git-upload-pack '/x.git'", ("git-upload-pack", "/x.git")),
        ("git upload-pack 'x'", ("git-upload-pack", "x")),
        ("git-receive-pack 'a b'\\''c'\\!'d'", ("git-receive-pack", "a b'c!d")),
        ("git-receive-pack ''\\''x'", ("git-receive-pack", "'x")),
        ("git-receive-pack plain/x.git", ("git-receive-pack", "plain/x.git")),
        ("git-upload-pack '$(id)`id`;id'", ("git-upload-pack", "$(id)`id`;id")),
    ],
)
def test_commands_of_git(command: str, expected: tuple[str, str]) -> None:
    assert parse_command(command) == expected
    # A shell reads the same.
    assert shlex.split(command.replace("\\!", "'!'"))[-1] == expected[1]


@pytest.mark.parametrize(
    "command",
    [
        "", "sh", "git-upload-pack", "git-upload-pack ", "git-upload-pack ''",
        "git-upload-archive 'x'", "git-upload-pack 'x'; id", "git-upload-pack 'x' 'y'",
        "git-upload-pack x y", "git  upload-pack 'x'", "git-upload-pack $(id)",
        "git-upload-pack `id`", "git-upload-pack x|id", "git-upload-pack x\nid",
        "git-upload-pack 'x'\n", "git-upload-pack 'x", "git-upload-pack x'y'",
        'git-upload-pack "x"', "git-upload-pack '--help'", "git-upload-pack -x",
        "git-upload-pack --strict 'x'", "git-upload-pack 'x'\\;'y'", "git-upload-pack 'x\x00y'",
        "/bin/git-upload-pack 'x'", "GIT_DIR=x git-upload-pack 'x'", "git-shell -c x",
        "git-upload-pack '" + "x" * 9000 + "'", "git-receive-pack\t'x'", "git-receive-packs 'x'",
        " git-receive-pack 'x'",
    ],
)  # fmt: skip
def test_all_other_commands_are_refused(command: str) -> None:
    with pytest.raises(RefusedError, match="unrecognized command"):
        parse_command(command)


@pytest.fixture
def ssh(tmp_path: Path, root: Path) -> Path:
    """A stand-in for ssh, which does what sshd does; ``options`` are the options of the command."""
    script = tmp_path / "ssh"
    script.write_text(
        "#!/bin/sh\n"
        'while case "$1" in -*) true;; *) false;; esac; do\n'
        '  case "$1" in -o) shift;; esac; shift\n'
        "done\n"
        'SSH_ORIGINAL_COMMAND="$2"; SSH_CONNECTION="192.0.2.1 1 192.0.2.2 22"\n'
        "export SSH_ORIGINAL_COMMAND SSH_CONNECTION\n"
        f"exec {sys.executable} -W error -m dulwich_reftable shell --root {root} "
        f"$(cat {tmp_path}/options 2>/dev/null)\n"
    )
    script.chmod(0o755)
    return script


def over(ssh: Path, protocol: int = 2) -> dict[str, str]:
    return {
        "GIT_SSH_COMMAND": str(ssh),
        "GIT_SSH_VARIANT": "ssh",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "protocol.version",
        "GIT_CONFIG_VALUE_0": str(protocol),
    }


URL = "ssh://host/origin.git"


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
def test_git_fetches_and_pushes(
    origin: Git, work: Git, ssh: Path, tmp_path: Path, root: Path
) -> None:
    hook = origin.path / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f'#!/bin/sh\necho "$REMOTE_USER $REMOTE_ADDR" >{tmp_path}/who\n')
    hook.chmod(0o755)
    (tmp_path / "options").write_text("--user alice")
    for protocol in (0, 2):
        env = {**over(ssh, protocol), "GIT_TRACE_PACKET": str(tmp_path / f"trace{protocol}")}
        work.run("clone", "-q", "--bare", URL, str(tmp_path / f"clone{protocol}"), env=env)
        spoken = "< version 2" in (tmp_path / f"trace{protocol}").read_text()
        assert spoken is (protocol == 2)
    work.run("push", "-q", URL, "main:refs/heads/x", env=over(ssh))
    assert b"refs/heads/x" in refs_of(origin)
    assert (tmp_path / "who").read_text() == "alice 192.0.2.1\n"
    for url, message in (
        ("ssh://host/../etc", "does not appear to be a git repository"),
        ("ssh://host/none", "does not appear to be a git repository"),
    ):
        with pytest.raises(GitError, match=message):
            work.run("ls-remote", url, env=over(ssh))
    (tmp_path / "options").write_text("--read-only")
    with pytest.raises(GitError, match="pushing is off here"):
        work.run("push", URL, "main:refs/heads/y", env=over(ssh))


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
def test_rules(origin: Git, work: Git, ssh: Path, tmp_path: Path) -> None:
    (tmp_path / "rules").write_text(
        "[[rules]]\nrepositories = ['origin']\nusers = ['alice']\nallow = ['read', 'create']\n"
        "refs = ['refs/heads/alice/*']\n"
    )
    options = tmp_path / "options"
    options.write_text(f"--rules {tmp_path}/rules --user bob")
    with pytest.raises(GitError, match="does not appear to be a git repository"):
        work.run("ls-remote", URL, env=over(ssh))
    options.write_text(f"--rules {tmp_path}/rules --user alice")
    work.run("push", URL, "main:refs/heads/alice/x", env=over(ssh))
    with pytest.raises(GitError, match="access denied"):
        work.run("push", URL, "main:refs/heads/x", env=over(ssh))
    assert b"refs/heads/x" not in refs_of(origin)
    (tmp_path / "rules").write_text("rules = [")
    with pytest.raises(GitError, match="rules"):
        work.run("ls-remote", URL, env=over(ssh))


def test_no_login(root: Path) -> None:
    for command in (None, "sh -c id", "git-upload-archive 'x'"):
        env = {name: value for name, value in os.environ.items() if not name.startswith("SSH_")}
        if command is not None:
            env["SSH_ORIGINAL_COMMAND"] = command
        done = subprocess.run(
            [sys.executable, "-m", "dulwich_reftable", "shell", "--root", str(root)],
            env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 128
        assert done.stdout == b""
        assert done.stderr.startswith(b"fatal: ")
        assert done.stderr.count(b"\n") == 1
