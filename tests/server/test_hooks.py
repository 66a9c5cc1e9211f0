"""Hooks of a push: scripts as git runs them, and objects as dulwich does."""

from __future__ import annotations

from pathlib import Path

import pytest
from dulwich.errors import HookError
from dulwich.hooks import Hook
from dulwich.server import DictBackend, TCPGitServer
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.server import HANDLERS

from . import wire
from .pushing import push, refs_of, tables

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
    """What the hooks recorded, and forget it."""
    path = git.path / "record"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


ALL = ("pre-receive", "update", "reference-transaction", "post-receive", "post-update")


def test_what_hooks_are_told(url: str, origin: Git, work: Git, ref_format: str) -> None:
    """The same as by git's server, but that a push is one transaction."""
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
        # The objects have not come in, either.
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
    """The objects in quarantine, too."""
    look = '#!/bin/sh\nwhile read -r old new ref; do git cat-file commit "$new" || exit 1; done\n'
    script(origin, "pre-receive", text=look)
    work.run("commit", "-q", "--allow-empty", "-m", "look at me")
    code, _, said = push(work, url, "main")
    assert (code, "remote: look at me" in said) == (0, True)


def test_odd_hooks(url: str, origin: Git, work: Git, ref_format: str) -> None:
    """One that reads nothing, one that cannot be run, one elsewhere, one that fails too late."""
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
        server = TCPGitServer(DictBackend({"/r": repo}), "127.0.0.1", 0, handlers=HANDLERS)
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
