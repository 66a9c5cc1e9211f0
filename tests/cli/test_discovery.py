"""Which repository a command is about: the one that git would take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest
from support.git import Git, GitError, requires_git

from dulwich_reftable.compat import is_older

from .conftest import Run

pytestmark = requires_git


class Scene(NamedTuple):
    """Some repositories, each with a branch of its own."""

    top: Path
    oid: str


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    top = tmp_path_factory.mktemp("scene")
    outer = Git.init(top)
    oid = outer.run("commit-tree", "-m", "x", outer.run("mktree").strip()).strip().decode()
    outer.run("update-ref", "refs/heads/outer", oid)
    for name in ("one", "two"):
        git = Git.init(top / name)
        git.run("commit-tree", "-m", "x", git.run("mktree").strip())
        git.run("update-ref", f"refs/heads/{name}", oid)
    bare = Git.init(top / "bare.git", bare=True)
    bare.run("commit-tree", "-m", "x", bare.run("mktree").strip())
    bare.run("update-ref", "refs/heads/bare", oid)
    Git(top / "one").run("worktree", "add", "-q", "--detach", str(top / "linked"), oid)
    Git(top / "linked").run("update-ref", "refs/worktree/linked", oid)
    (top / "plain" / "deep").mkdir(parents=True)
    (top / "one" / "deep").mkdir()
    (top / "link").symlink_to(top / "plain")
    (top / "gitfile").write_text("gitdir: two/.git\n")
    (top / "broken").write_text("no gitfile\n")
    return Scene(top, oid)


CASES: list[tuple[str, dict[str, str]]] = [
    # where git runs, what its environment says; TOP is the directory of the scene
    ("one", {}),
    ("one/deep", {}),
    ("one/.git", {}),
    ("one/.git/refs", {}),
    ("linked", {}),
    ("bare.git", {}),
    ("plain/deep", {}),
    ("one", {"GIT_DIR": "TOP/two/.git"}),
    ("one", {"GIT_DIR": "../two/.git"}),
    ("one", {"GIT_DIR": "../bare.git"}),
    ("one", {"GIT_DIR": "TOP/one/.git/worktrees/linked"}),
    ("plain", {"GIT_DIR": "TOP/one/.git/worktrees/linked", "GIT_COMMON_DIR": "TOP/two/.git"}),
    ("one", {"GIT_DIR": "../gitfile"}),
    ("one", {"GIT_DIR": "../two"}),
    ("one", {"GIT_DIR": "../broken"}),
    ("one", {"GIT_DIR": "nowhere"}),
    ("one", {"GIT_DIR": ""}),
    ("one", {"GIT_DIR": "../two/.git", "GIT_WORK_TREE": "TOP/plain"}),
    ("bare.git", {"GIT_WORK_TREE": "TOP/plain"}),
    ("one", {"GIT_COMMON_DIR": "TOP/two/.git"}),
    ("one", {"GIT_COMMON_DIR": "../two/.git"}),
    ("one", {"GIT_COMMON_DIR": "TOP/plain"}),
    ("one", {"GIT_COMMON_DIR": ".git"}),
    ("linked", {"GIT_COMMON_DIR": "TOP/one/.git"}),
    ("plain/deep", {"GIT_CEILING_DIRECTORIES": "TOP"}),
    ("plain/deep", {"GIT_CEILING_DIRECTORIES": "TOP/plain"}),
    ("plain/deep", {"GIT_CEILING_DIRECTORIES": "/nowhere:TOP/plain/"}),
    ("plain/deep", {"GIT_CEILING_DIRECTORIES": ".."}),
    ("plain", {"GIT_CEILING_DIRECTORIES": "TOP/plain"}),
    ("one/deep", {"GIT_CEILING_DIRECTORIES": "TOP"}),
    ("link/deep", {"GIT_CEILING_DIRECTORIES": "TOP/link"}),
    ("one", {"GIT_OBJECT_DIRECTORY": "TOP/two/.git/objects"}),
    ("one", {"GIT_OBJECT_DIRECTORY": "TOP/nowhere"}),
    ("one", {"GIT_ALTERNATE_OBJECT_DIRECTORIES": "TOP/two/.git/objects"}),
    ("plain", {"GIT_DISCOVERY_ACROSS_FILESYSTEM": "yes"}),
    ("plain", {"GIT_DISCOVERY_ACROSS_FILESYSTEM": "perhaps", "GIT_DIR": "../one/.git"}),
]  # fmt: skip


_REPLACING = {"GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"}


def enter(scene: Scene, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set the variables of a case; give them as git is to be told."""
    if _REPLACING & environ.keys() and is_older((1, 2, 13)):
        pytest.skip("needs dulwich 1.2.13: no part of a repository could be elsewhere")
    given = {name: value.replace("TOP", str(scene.top)) for name, value in environ.items()}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return given


@pytest.mark.parametrize(
    ("where", "environ", "by_option"),
    [(*case, bool(at % 2)) for at, case in enumerate(CASES + CASES[1:6] + CASES[7:10])],
)
def test_the_repository_is_gits(
    scene: Scene,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    environ: dict[str, str],
    by_option: bool,
) -> None:
    env = enter(scene, environ, monkeypatch)
    try:
        theirs = Git(scene.top / where).run("show-ref", env=env)
    except GitError:
        theirs = None
    if by_option:
        monkeypatch.chdir(scene.top)
        done = run("show-ref", "-C", where)
    else:
        monkeypatch.chdir(scene.top / where)
        done = run("show-ref")
    if "GIT_COMMON_DIR" in environ and done.code:
        assert b"GIT_COMMON_DIR" in done.err  # refs and configuration from different places
        return
    assert (done.out or None) == theirs
    assert done.code == (theirs is None)


@pytest.mark.parametrize(("where", "environ"), [*CASES[:6], *CASES[7:12], *CASES[17:19]])
def test_reflogs_begin_where_gits_do(
    scene: Scene, run: Run, monkeypatch: pytest.MonkeyPatch, where: str, environ: dict[str, str]
) -> None:
    """Whether a repository has a working tree decides on new reflogs."""
    env = enter(scene, environ, monkeypatch)
    git = Git(scene.top / where)
    try:
        git.run("update-ref", "refs/heads/theirs", scene.oid, env=env)
    except GitError:
        return
    monkeypatch.chdir(scene.top / where)
    done = run("update-ref", "refs/heads/ours", scene.oid)
    if "GIT_COMMON_DIR" in environ and done.code:
        git.run("update-ref", "-d", "refs/heads/theirs", env=env)
        return
    assert done.code == 0
    logged = git.run("reflog", "list", env=env).split()
    assert (b"refs/heads/ours" in logged) == (b"refs/heads/theirs" in logged)
    for name in ("ours", "theirs"):
        assert run("update-ref", "-d", f"refs/heads/{name}").code == 0


def test_a_repository_that_is_named_is_meant(
    scene: Scene, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An argument counts more than the environment, which is what git calls programs with."""
    monkeypatch.setenv("GIT_DIR", str(scene.top / "two" / ".git"))
    one, two = (os.fsencode(scene.top / name) for name in ("one", "two"))
    monkeypatch.chdir(scene.top)
    for command in ("stats", "dump"):
        assert one in run(command, "one").out
        assert two not in run(command, "one").out
        assert two in run(command).out


def test_migrating_the_repository_that_git_takes(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        Git.init(tmp_path / name, ref_format="files")
    (tmp_path / "two" / "deep").mkdir()
    formats = ("rev-parse", "--show-ref-format")
    monkeypatch.chdir(tmp_path / "two" / "deep")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "one" / ".git"))
    assert run("migrate", "--to", "reftable").code == 0
    assert Git(tmp_path / "one").run(*formats, env={"GIT_DIR": ".git"}) == b"reftable\n"
    monkeypatch.delenv("GIT_DIR")
    assert Git(tmp_path / "two").run(*formats) == b"files\n"
    assert run("migrate", "--to", "reftable").code == 0
    assert Git(tmp_path / "two").run(*formats) == b"reftable\n"


def test_no_update_in_quarantine(scene: Scene, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook before the objects of a push are accepted cannot update refs."""
    monkeypatch.setenv("GIT_QUARANTINE_PATH", str(scene.top))
    git = Git(scene.top / "one")
    env = {"GIT_QUARANTINE_PATH": str(scene.top)}
    with pytest.raises(GitError):
        git.run("update-ref", "refs/heads/x", scene.oid, env=env)
    done = run("update-ref", "-C", git.path, "refs/heads/x", scene.oid)
    assert done.code == 1
    assert b"before the objects of a push" in done.err
