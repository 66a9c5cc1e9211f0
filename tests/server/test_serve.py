"""``dulwich-reftable serve``, the example, and the folder that they serve."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dulwich.errors import NotGitRepository
from support.git import Git, GitError, requires_git
from support.waiting import GUARD, wait_for

from dulwich_reftable.server import Folder

from . import wire
from .pushing import push, refs_of
from .serving import WAITING_HOOK, Start, running

pytestmark = requires_git

PROJECT = Path(__file__).resolve().parents[2]


def log_of(tmp_path: Path) -> list[str]:
    """The log lines without date and time."""
    return [line.split(" ", 2)[2] for line in (tmp_path / "log").read_text().splitlines()]


SERVE = ("-m", "dulwich_reftable", "serve", "--port", "0")


@pytest.mark.parametrize("served", ["http-reftable"], indirect=True)
def test_users_and_rules(start: Start, root: Path, origin: Git, work: Git, tmp_path: Path) -> None:
    bcrypt = pytest.importorskip("bcrypt")
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"alice:{hashed}\n")
    (tmp_path / "rules").write_text(
        "[[rules]]\nrepositories = ['origin']\nusers = ['alice']\nallow = ['read', 'create']\n"
    )
    files = ("--htpasswd", str(tmp_path / "users"), "--rules", str(tmp_path / "rules"))
    _, url = start(*SERVE, "--http", "--trust-proxy", *files, str(root))
    with pytest.raises(GitError):
        work.run("ls-remote", url + "origin.git")
    url = url.replace("://", "://alice:secret@")
    assert push(work, url + "origin.git", "main:refs/heads/x")[0] == 0
    log = (tmp_path / "log").read_text()
    assert "secret" not in log
    assert " 127.0.0.1 'alice' POST '/origin.git/git-receive-pack' 200 done" in log
    mistaken = [sys.executable, "-m", "dulwich_reftable", "serve", *files, str(root)]
    done = subprocess.run(mistaken, capture_output=True, check=False, timeout=GUARD)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"need --http" in done.stderr


@pytest.mark.parametrize("served", ["tcp-reftable", "http-reftable"], indirect=True)
def test_the_command(start: Start, root: Path, work: Git, tmp_path: Path, kind: str) -> None:
    flags = ["--http"] if kind == "http" else []
    process, url = start(*SERVE, *flags, "--create", str(root))
    assert url.startswith({"tcp": "git://127.0.0.1:", "http": "http://127.0.0.1:"}[kind])
    assert push(work, url + "team/new.git", "main", "v1")[0] == 0
    made = Git(root / "team" / "new.git")
    assert made.run("rev-parse", "--show-ref-format") == b"reftable\n"
    assert refs_of(made).keys() == {b"refs/heads/main", b"refs/tags/v1"}
    assert made.complaints() == b""
    # ``.git`` may be left out; reading makes no repository.
    assert work.run("ls-remote", url + "team/new")
    with pytest.raises(GitError):
        work.run("ls-remote", url + "other.git")
    assert [path.name for path in root.iterdir()] == ["team"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=GUARD) == 0
    lines = log_of(tmp_path)
    assert any(" git-receive-pack" in line or "git-receive-pack'" in line for line in lines)
    assert all(line.startswith("127.0.0.1 ") for line in lines[:-1])
    assert lines[-1] == "ended"


def test_read_only(start: Start, root: Path, origin: Git, work: Git, kind: str) -> None:
    flags = ["--http"] if kind == "http" else []
    process, url = start(*SERVE, *flags, "--read-only", "--quiet", str(root))
    before = refs_of(origin)
    assert work.run("ls-remote", url + "origin.git")
    assert push(work, url + "origin.git", "main:refs/heads/x")[0] != 0
    assert refs_of(origin) == before
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=GUARD) == 0


@pytest.mark.parametrize("served", ["tcp-reftable", "http-reftable"], indirect=True)
def test_export_ok(start: Start, root: Path, origin: Git, work: Git, kind: str) -> None:
    flags = ["--http"] if kind == "http" else []
    _, url = start(*SERVE, *flags, "--export-ok", "--enable=receive-pack", str(root))
    url += "origin.git"
    assert work.start(["ls-remote", url], b"", None).returncode != 0
    assert push(work, url, "main:refs/heads/x")[0] != 0
    assert b"refs/heads/x" not in refs_of(origin)
    (origin.path / "git-daemon-export-ok").touch()
    assert work.run("ls-remote", url)
    assert push(work, url, "main:refs/heads/x")[0] == 0


def test_what_is_wrong_is_said(root: Path) -> None:
    def serve(*args: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, *SERVE[:3], *args], capture_output=True, check=False, timeout=GUARD
        )
        return done.returncode, done.stderr.decode()

    code, said = serve(str(root / "nowhere"))
    assert (code, "nowhere" in said, "Traceback" in said) == (1, True, False)
    code, said = serve("--export-ok", "--create", str(root))
    assert (code, "--export-ok" in said, "Traceback" in said) == (2, True, False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = serve("--port", str(taken.getsockname()[1]), str(root))
    assert (code, "in use" in said, "Traceback" in said) == (1, True, False)


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
def test_ending_lets_a_push_finish(start: Start, root: Path, origin: Git, tmp_path: Path) -> None:
    """The push waits in its hook when the server is told to end."""
    hook = origin.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(WAITING_HOOK)
    hook.chmod(0o755)
    main = refs_of(origin)[b"refs/heads/main"]
    empty = origin.run("pack-objects", "--stdout")
    process, url = start(*SERVE, "--enable=receive-pack", str(root))
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(
            wire.push, url + "origin.git", b"%s %s refs/heads/late" % (wire.ZERO, main), pack=empty
        )
        wait_for(lambda: (origin.path / "begun").exists())
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: not can_connect(url))
        (origin.path / "go").touch()
        assert b"ok refs/heads/late\n" in said.result()
    assert process.wait(timeout=GUARD) == 0
    assert b"refs/heads/late" in refs_of(origin)


def can_connect(url: str) -> bool:
    try:
        wire.connect(url).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
def test_two_make_the_same_repository(root: Path, work: Git, kind: str) -> None:
    with running(root, kind, create=True) as server, ThreadPoolExecutor(4) as pool:
        names = [f"main:refs/heads/b{number}" for number in range(4)]
        codes = list(pool.map(lambda name: push(work, server.url + "x.git", name)[0], names))
        assert codes == [0] * 4
        for name in ("..", "x.git/objects/y", ".hidden", "x.git/new"):
            assert push(work, server.url + name, "main")[0] != 0
    assert [path.name for path in root.iterdir()] == ["x.git"]
    assert len(refs_of(Git(root / "x.git"))) == 4


def test_the_folder(root: Path, origin: Git) -> None:
    folder = Folder(root, create=True)
    for path in ("origin.git", "/origin.git", "origin", "./origin.git/", b"/origin.git"):
        with folder.find(path) as repo:
            assert os.path.samefile(repo.path, origin.path)
    for path in ("", "/", "..", "../root/origin.git", "origin.git/..", "new.git", "a\0b", "/etc"):
        with pytest.raises(NotGitRepository):
            folder.find(path)
    home = Git.init(root / "home")
    with folder.find("home/.git") as repo:
        assert not repo.bare
        assert os.path.samefile(repo.path, home.path)
    with folder.session() as session:
        assert session.open_repository("origin.git") is session.open_repository("origin.git")


@pytest.mark.parametrize("served", ["http-reftable"], indirect=True)
def test_the_example(start: Start, root: Path, work: Git, served: object) -> None:
    process, url = start(str(PROJECT / "examples" / "git_server.py"), str(root), "0")
    assert push(work, url + "new.git", "main", "v1")[0] == 0
    _, outcomes, said = push(work, "--force", url + "new.git", "main~1:main", "main:refs/tags/v1")
    assert outcomes == {"refs/heads/main": "+", "refs/tags/v1": "!hook declined"}
    assert "refs/tags/v1 is published, and stays as it is" in said
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=GUARD) == 0


def test_importing_the_package_does_not_import_the_server() -> None:
    code = "import sys, dulwich_reftable; sys.exit('dulwich_reftable.server' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_repository_may_forbid_it(root: Path, origin: Git, work: Git, kind: str) -> None:
    section = {"tcp": "daemon", "http": "http"}[kind]
    with running(root, kind) as server:
        url = server.url + "origin.git"
        origin.run("config", f"{section}.receivePack", "false")
        assert push(work, url, "main:refs/heads/x")[0] != 0
        assert work.run("ls-remote", url)
        origin.run("config", f"{section}.uploadPack", "false")
        with pytest.raises(GitError):
            work.run("ls-remote", url)
    assert b"refs/heads/x" not in refs_of(origin)
