"""Over SSH with the real ssh: the example, and OpenSSH's sshd with our command; where they are."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.git import Git, GitError, requires_git
from support.waiting import wait_for

from .pushing import refs_of

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "ssh_server.py"
SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin")

pytestmark = [
    requires_git,
    pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="there is no ssh"),
    pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True),
]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True, timeout=60)
    return tmp_path


@contextmanager
def started(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def use(origin: Git, work: Git, keys: Path, url: str) -> None:
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes")
    words = " ".join(f"-o {option}" for option in options)
    env = {"GIT_SSH_COMMAND": f"ssh -F none -i {keys}/user {words}"}
    assert b"refs/heads/main" in work.run("ls-remote", f"{url}/origin.git", env=env)
    work.run("push", "-q", f"{url}/origin.git", "main:refs/heads/x", env=env)
    assert b"refs/heads/x" in refs_of(origin)
    with pytest.raises(GitError, match="does not appear to be a git repository"):
        work.run("ls-remote", f"{url}/../none.git", env=env)
    work.run("clone", "-q", "--bare", f"{url}/origin.git", str(keys / "clone"), env=env)


def test_the_example(root: Path, origin: Git, work: Git, keys: Path) -> None:
    pytest.importorskip("asyncssh", reason="the example needs asyncssh")
    args = (str(root), str(keys / "host"), str(keys / "user.pub"), "0")
    with started(sys.executable, str(EXAMPLE), *args) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().split()[-1].rstrip("/")
        use(origin, work, keys, url.replace("://", "://alice@"))


@pytest.mark.skipif(SSHD is None, reason="there is no sshd")
def test_sshd(root: Path, origin: Git, work: Git, keys: Path) -> None:
    assert SSHD is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = f"{sys.executable} -m dulwich_reftable shell --root {root} --user alice"
    key = (keys / "user.pub").read_text()
    (keys / "authorized_keys").write_text(f'command="{command}",restrict {key}')
    (keys / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys}/host\nPidFile none\n"
        f"AuthorizedKeysFile {keys}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "AcceptEnv GIT_PROTOCOL\nPasswordAuthentication no\nPermitRootLogin yes\n"
    )
    with started(SSHD, "-D", "-f", str(keys / "config")) as process:

        def is_up() -> bool:
            assert process.poll() is None, "sshd has ended"
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_for(is_up)
        user = os.environ.get("USER") or "root"
        use(origin, work, keys, f"ssh://{user}@127.0.0.1:{port}")
