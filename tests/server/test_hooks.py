"""Hooks of a push: scripts as git runs them, and objects as dulwich does."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from dulwich.errors import HookError
from dulwich.hooks import Hook
from dulwich.server import BackendRepo, DictBackend, TCPGitServer
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.server import HANDLERS, HTTPGitServer, Server

from . import wire
from .pushing import push, refs_of, tables
from .serving import running

pytestmark = requires_git

RECORD = """#!/bin/sh
{
    echo "{name} $*"
    test -z "{reads}" || while read -r old new ref; do echo "$old $new $ref"; done
} >>"$GIT_DIR/record"
echo "said by {name}"
exit {code}
"""


def script(git: Git, name: str, *, code: int = 0, text: str | None = None) -> None:
    """Install a hook that records how it was called."""
    reads = "" if name in ("update", "post-update") else "yes"
    path = git.path / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    body = text or RECORD.replace("{name}", name).replace("{reads}", reads)
    path.write_text(body.replace("{code}", str(code)))
    path.chmod(0o755)


def record(git: Git) -> list[str]:
    """Return what the hooks recorded, and forget it."""
    path = git.path / "record"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


ALL = ("pre-receive", "update", "reference-transaction", "post-receive", "post-update")


def test_what_hooks_are_told(url: str, origin: Git, work: Git, ref_format: str) -> None:
    """The same as on git's server, except that a push is one transaction."""
    for name in ALL:
        script(origin, name)
    old = refs_of(origin)[b"refs/heads/main"].decode()
    work.run("commit", "-q", "--allow-empty", "-m", "more")
    new = work.run("rev-parse", "main").strip().decode()
    zero = "0" * 40
    code, outcomes, said = push(work, url, "main", "main:refs/heads/new", "main:refs/heads/new/x")
    assert code == 1
    # Git's client orders the commands.
    all_lines = [
        f"{old} {new} refs/heads/main",
        f"{zero} {new} refs/heads/new",
        f"{zero} {new} refs/heads/new/x",
    ]
    done = [line for line in all_lines if outcomes[line.split()[2]] in (" ", "*")]
    assert len(done) == 2
    assert record(origin) == [
        "pre-receive ",
        *all_lines,
        *(f"update {ref} {before} {after}" for before, after, ref in map(str.split, all_lines)),
        "reference-transaction prepared",
        *done,
        "reference-transaction committed",
        *done,
        "post-receive ",
        *done,
        "post-update " + " ".join(line.split()[2] for line in done),
    ]
    for name in ALL:
        assert f"remote: said by {name}" in said


@pytest.mark.parametrize("name", ["pre-receive", "reference-transaction"])
def test_a_hook_that_declines_all(
    url: str, origin: Git, work: Git, ref_format: str, name: str
) -> None:
    before, shown = refs_of(origin), tables(origin)
    script(origin, name, code=1)
    work.run("commit", "-q", "--allow-empty", "-m", "more")
    code, outcomes, said = push(work, url, "main", "main:refs/heads/new", ":v1")
    assert code == 1
    assert set(outcomes.values()) == {f"!{name} hook declined"}
    assert f"remote: said by {name}" in said
    assert refs_of(origin) == before
    assert tables(origin) == shown
    recorded = record(origin)
    if name == "reference-transaction":
        assert [line for line in recorded if line.startswith(name)] == [
            "reference-transaction prepared",
            "reference-transaction aborted",
        ]
    else:
        # The objects were not moved in, either.
        tip = work.run("rev-parse", "main").strip()
        assert origin.start(["cat-file", "-e", tip], b"", None).returncode != 0
    script(origin, name, text="#!/bin/sh\nexit 0\n")
    assert push(work, url, "main", "main:refs/heads/new", ":v1")[0] == 0


def test_update_declines_one(url: str, origin: Git, work: Git) -> None:
    script(origin, "update", text='#!/bin/sh\ntest "$1" != refs/heads/no\n')
    names = ["main:refs/heads/yes", "main:refs/heads/no"]
    assert push(work, "--atomic", url, *names)[1] == {
        "refs/heads/yes": "!atomic push failure",
        "refs/heads/no": "!hook declined",
    }
    assert b"refs/heads/yes" not in refs_of(origin)
    assert push(work, url, *names)[1] == {
        "refs/heads/yes": "*",
        "refs/heads/no": "!hook declined",
    }
    assert b"refs/heads/yes" in refs_of(origin)


def test_hooks_see_what_is_pushed(url: str, origin: Git, work: Git) -> None:
    """Hooks also see the objects in quarantine."""
    look = '#!/bin/sh\nwhile read -r old new ref; do git cat-file commit "$new" || exit 1; done\n'
    script(origin, "pre-receive", text=look)
    work.run("commit", "-q", "--allow-empty", "-m", "look at me")
    code, _, said = push(work, url, "main")
    assert (code, "remote: look at me" in said) == (0, True)


def test_odd_hooks(url: str, origin: Git, work: Git, ref_format: str) -> None:
    """One reads nothing, one cannot be run, one is elsewhere, one fails too late."""
    script(origin, "pre-receive", text="#!/bin/sh\nexit 0\n")
    many = 1200 if ref_format == "reftable" else 20  # more than a pipe holds; files take their time
    names = [f"main:refs/heads/b{number:04}" for number in range(many)]
    assert push(work, url, *names)[0] == 0
    script(origin, "pre-receive", text="#!/nowhere/at-all\n")
    assert push(work, url, "main:refs/heads/x")[1] == {"refs/heads/x": "!pre-receive hook declined"}
    (origin.path / "hooks" / "pre-receive").chmod(0o644)
    assert push(work, url, "main:refs/heads/x")[0] == 0
    (origin.path / "mine").mkdir()
    (origin.path / "hooks" / "pre-receive").chmod(0o755)
    (origin.path / "hooks" / "pre-receive").rename(origin.path / "mine" / "pre-receive")
    assert push(work, url, "main:refs/heads/y")[0] == 0
    origin.run("config", "core.hooksPath", "mine")
    assert push(work, url, "main:refs/heads/z")[0] == 1
    origin.run("config", "--unset", "core.hooksPath")
    script(origin, "post-receive", code=1)
    code, outcomes, said = push(work, url, "main:refs/heads/late")
    assert (code, outcomes) == (0, {"refs/heads/late": "*"})
    assert "said by post-receive" in said


class Recording(Hook):
    """A hook that is an object, as a program would put it there."""

    def __init__(self, answer: object = None) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.answer = answer

    def execute(self, *args: object) -> object:
        self.calls.append(args)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_objects_for_hooks(tmp_path: Path, work: Git) -> None:
    import threading

    origin = Git.init(tmp_path / "origin.git", bare=True)
    pre, update, post = Recording((b"pre\n", b"")), Recording((b"", b"up\n")), Recording(b"post\n")
    with dr.Repo(str(origin.path)) as repo:
        repo.hooks.update({"pre-receive": pre, "update": update, "post-receive": post})
        repos: dict[str, BackendRepo] = {"/r": repo}
        server = TCPGitServer(DictBackend(repos), "127.0.0.1", 0, handlers=HANDLERS)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            url = f"git://127.0.0.1:{server.server_address[1]}/r"
            code, _, said = push(work, url, "main")
            assert code == 0
            assert [f"remote: {word}" in said for word in ("pre", "up", "post")] == [True] * 3
            pre.answer = HookError("not today")
            code, outcomes, said = push(work, url, "main:refs/heads/x")
            assert outcomes == {"refs/heads/x": "!pre-receive hook declined"}
            assert "not today" in said
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
    new = work.run("rev-parse", "main").strip()
    assert update.calls == [(b"refs/heads/main", wire.ZERO, new)]
    assert post.calls == [([(wire.ZERO, new, b"refs/heads/main")],)]


WAITING = """#!/bin/sh
echo "first words"
left=1000
while test ! -e "$GIT_DIR/go" && test $((left -= 1)) -gt 0; do sleep 0.02; done
test $left -gt 0 || echo "gave up"
echo "last words"
touch "$GIT_DIR/{name}-ended"
"""


def begin_push(url: str, name: bytes, new: bytes, pack: bytes) -> socket.socket:
    """Push by hand over TCP, with side bands; gives the connection after the request."""
    connection = wire.connect(url)
    path = urlsplit(url).path.encode()
    connection.sendall(wire.line(b"git-receive-pack %s\0host=x\0" % path))
    while (shown := packet(connection)) != b"0000":
        assert shown, "the connection ended"
    command = b"%s %s %s\0 report-status side-band-64k" % (wire.ZERO, new, name)
    connection.sendall(wire.line(command) + b"0000" + pack)
    return connection


def packet(connection: socket.socket) -> bytes:
    """Read a packet with its length; nothing at the end."""
    digits = connection.recv(4, socket.MSG_WAITALL)
    size = int(digits or b"0", 16)
    return digits + (connection.recv(size - 4, socket.MSG_WAITALL) if size > 4 else b"")


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
@pytest.mark.parametrize("name", ["pre-receive", "post-update"])
def test_what_hooks_say_comes_at_once(url: str, origin: Git, name: str) -> None:
    """While they say nothing, an empty packet comes now and then (receive.keepAlive)."""
    origin.run("config", "receive.keepAlive", "1")
    script(origin, name, text=WAITING.replace("{name}", name))
    main, empty = origin.run("rev-parse", "main").strip(), origin.run("pack-objects", "--stdout")
    with begin_push(url, b"refs/heads/x", main, empty) as connection:
        said = []
        while b"0005\x01" not in said:
            said.append(packet(connection))
            assert said[-1], "the connection ended"
        assert b"first words" in b"".join(said)
        assert b"last words" not in b"".join(said)
        (origin.path / "go").touch()
        while said[-1] not in (b"0000", b""):
            said.append(packet(connection))
    everything = b"".join(said)
    assert b"last words" in everything
    assert b"gave up" not in everything
    assert b"ok refs/heads/x" in everything


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
@pytest.mark.parametrize("name", ["pre-receive", "update", "post-receive"])
def test_a_client_that_goes_while_a_hook_runs(
    url: str, origin: Git, server: Server, name: str
) -> None:
    """The hook runs to its end; a push that was not applied yet is not applied."""
    script(origin, name, text=WAITING.replace("{name}", name))
    main, empty = origin.run("rev-parse", "main").strip(), origin.run("pack-objects", "--stdout")
    connection = begin_push(url, b"refs/heads/x", main, empty)
    while b"first words" not in (said := packet(connection)):
        assert said, "the connection ended"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()  # and the server is told at once
    (origin.path / "go").touch()
    with server._changed:
        assert server._changed.wait_for(lambda: not server._connections, 30)
    assert (origin.path / f"{name}-ended").exists()
    assert (b"refs/heads/x" in refs_of(origin)) == (name == "post-receive")


ENVIRONMENT = """#!/bin/sh
env | grep -E '^(REMOTE_|GIT_COMMITTER_)' | sort >"$GIT_DIR/environment"
"""


def test_what_hooks_know_of_the_client(
    root: Path, origin: Git, work: Git, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("REMOTE_USER", "REMOTE_ADDR", "REMOTE_PORT"):
        monkeypatch.setenv(variable, "not the client's")
    for variable in ("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.delenv(variable, raising=False)
    script(origin, "post-receive", text=ENVIRONMENT)
    with running(root, kind) as server:
        if isinstance(server, HTTPGitServer):
            application: Any = server.get_app()
            server.set_app(
                lambda environ, start: application({**environ, "REMOTE_USER": "alice"}, start)
            )
        assert push(work, server.url + "origin.git", "main:refs/heads/x")[0] == 0
    known = dict(
        line.split("=", 1) for line in (origin.path / "environment").read_text().splitlines()
    )
    assert known.pop("REMOTE_PORT").isdigit()
    who = {
        "GIT_COMMITTER_NAME": "alice",
        "GIT_COMMITTER_EMAIL": "alice@http.127.0.0.1",
        "REMOTE_USER": "alice",
    }
    assert known == {"REMOTE_ADDR": "127.0.0.1", **(who if kind == "http" else {})}


RULES = [
    ["refs/for"],
    ["refs/for/"],
    ["refs/heads/main", "refs/for/x"],
    ["a:refs/for"],
    ["d:refs", "m:refs/heads/m"],
    ["m:refs/heads"],
    ["ad:refs/heads"],
    ["!adm:refs/heads", "x:refs/tags"],
    ["!am:refs/heads"],
    ["am!:refs/tags", ":refs"],
]


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
@pytest.mark.parametrize("rules", RULES)
def test_updates_for_proc_receive_are_refused(
    url: str, origin: Git, work: Git, rules: list[str]
) -> None:
    """git would hand these to the hook; there is none, so git refuses them, too."""
    for rule in rules:
        origin.run("config", "--add", "receive.procReceiveRefs", rule)
    work.run("commit", "-q", "--allow-empty", "-m", "more")
    pushed = ["main", "main:refs/heads/m", "main:refs/for/x", "main:refs/forx/y", ":refs/tags/v1"]
    before = refs_of(origin)
    told = []
    for where in (url, str(origin.path)):
        outcomes = push(work, where, *pushed)[1]
        told.append({name: outcome[0] == "!" for name, outcome in outcomes.items()})
        for name in refs_of(origin).keys() - before.keys():
            origin.run("update-ref", "-d", name)
        for name, value in before.items():
            origin.run("update-ref", name, value)
    assert told[0] == told[1]
    assert True in told[0].values()
    assert False in told[0].values()


CHECKOUT = """#!/bin/sh
git --git-dir="$GIT_DIR" --work-tree="$GIT_WORK_TREE" read-tree -u -m HEAD "$1" || exit 1
echo "$GIT_WORK_TREE $1" >>"$GIT_WORK_TREE/../record"
"""


@pytest.mark.parametrize("served", ["tcp-reftable", "tcp-files"], indirect=True)
def test_a_working_tree_follows_by_its_hook(
    root: Path, work: Git, server: Server, ref_format: str, tmp_path: Path
) -> None:
    """The main one and a linked one, as with git's server (updateInstead)."""
    home = Git.init(root / "home", ref_format=ref_format)
    work.run("push", "-q", str(home.path), "main~1:refs/heads/side", "main~1:refs/heads/third")
    home.run("reset", "-q", "--hard", "side")
    home.run("worktree", "add", "-q", str(root / "linked"), "third")
    home.run("config", "receive.denyCurrentBranch", "updateInstead")
    hook = home.path / ".git" / "hooks" / "push-to-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(CHECKOUT)
    hook.chmod(0o755)
    told: list[tuple[Any, ...]] = []
    trees = (home.path, root / "linked")
    for where in (server.url + "home", str(home.path)):
        outcomes = push(work, where, "main", "main:third")[1]
        status = [home.run("-C", str(path), "status", "-s") for path in trees]
        files = [sorted(path.glob("file*")) for path in trees]
        told.append((outcomes, status, files, (root / "record").read_text()))
        (root / "record").unlink()
        # A local change is in the way: the hook declines, and nothing is lost.
        (work.path / "file2").write_text("other\n")
        work.run("commit", "-q", "-a", "-m", "more")
        (home.path / "file2").write_text("mine\n")
        declined = push(work, where, "main")[1]
        told.append((declined, (home.path / "file2").read_text()))
        work.run("reset", "-q", "--hard", "HEAD~1")
        for path in trees:
            home.run("-C", str(path), "reset", "-q", "--hard", "side")
    assert told[0][1] == [b"", b""]
    assert len(told[0][2][0]) == 3
    assert told[1] == ({"refs/heads/main": "!push-to-checkout hook declined"}, "mine\n")
    assert told[:2] == told[2:]
