"""Modes of what is written are those that git gives; where nothing can be written, it is said."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.filesystems import moves_open_files
from support.git import Git, requires_git
from support.pool import ObjectPool

import dulwich_reftable as dr

from . import scenes
from .scenes import ABOUT, MAIN, Scene, refs_at
from .syscalls import Call, intercepted

pytestmark = [
    requires_git,
    pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX"),
]

SHARED = [None, "false", "umask", "group", "true", "all", "world", "everybody", "0640", "0660"]


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(directory: Path) -> dict[str, str]:
    """The modes of the stack's directory, its list and its tables."""
    kinds = {"directory": directory, "list": directory / "tables.list"}
    kinds |= {f"table{i}": path for i, path in enumerate(sorted(directory.glob("*.ref")))}
    return {kind: stat.filemode(path.stat().st_mode) for kind, path in kinds.items()}


@pytest.mark.parametrize("shared", SHARED)
def test_modes(tmp_path: Path, pool: ObjectPool, umask: int, shared: str | None) -> None:
    kind = [] if shared is None else [f"--shared={shared}"]
    git = Git(tmp_path / "git")
    (tmp_path / "git").mkdir()
    git.run("init", "--quiet", "--initial-branch=main", "--ref-format=reftable", *kind)
    pool.lend(tmp_path / "git" / ".git")
    git.update_ref_stdin([b"create %s %s" % (MAIN, pool.commits[0])])
    git.run("pack-refs")

    expected = modes(tmp_path / "git" / ".git" / "reftable")
    # The setting as git writes it, and as one may write it.
    written = git.start(["config", "core.sharedRepository"], b"", None).stdout.decode().strip()
    for setting in {written or None, shared}:
        path = tmp_path / f"ours-{setting}"
        make_without_stack(path, setting, tmp_path / "git")
        refs = refs_at(path)
        refs.set_symbolic_ref(b"HEAD", MAIN)
        refs[MAIN] = pool.commits[0]
        refs.compact()
        assert modes(path / ".git" / "reftable") == expected, setting


def make_without_stack(path: Path, setting: str | None, like: Path) -> None:
    """Make a repository without a stack, the control directory's mode being that of another."""
    dr.Repo.init(str(path), mkdir=True, default_branch=b"main").close()
    if setting is not None:
        scenes.set_config(path, sharedRepository=setting)
    shutil.rmtree(path / ".git" / "reftable")
    os.chmod(path / ".git", (like / ".git").stat().st_mode)


def test_locks_are_for_the_group_as_well(stacked: Scene) -> None:
    """Others of the group can tell how old a lock is, and remove it."""
    scenes.set_config(stacked.path, sharedRepository="group")
    refs = refs_at(stacked.path)
    with refs.store.shared.addition():
        mode = (stacked.git_dir / "reftable" / "tables.list.lock").stat().st_mode
    assert stat.S_IMODE(mode) & 0o060 == 0o060


# A read-only place. Root may write everywhere, so the operating system's answers are made up.


def refusing(number: int) -> Callable[[Call, Callable[[], Any]], Any]:
    """Make a hook that refuses everything that would change something."""

    def hook(call: Call, done: Callable[[], Any]) -> Any:
        writes = call.kind in ("mkdir", "chmod", "unlink", "rename", "replace", "write")
        if writes or (call.kind == "open" and call.args[1] & (os.O_CREAT | os.O_WRONLY)):
            raise OSError(number, os.strerror(number), call.args[0])
        return done()

    return hook


WRITES: dict[str, Callable[[dr.ReftableRefsContainer], object]] = {
    "set": lambda refs: refs.set_if_equals(MAIN, None, b"1" * 40, message=b"m", **ABOUT),
    "remove": lambda refs: refs.remove_if_equals(MAIN, None),
    "symref": lambda refs: refs.set_symbolic_ref(b"HEAD", b"refs/heads/x"),
    "reflog": lambda refs: refs.delete_reflog(MAIN),
    "compact": lambda refs: refs.compact(),
    "clean": lambda refs: refs.clean(),
}


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES], ids=errno.errorcode.get)
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_read_only(
    stacked: Scene, number: int, write: Callable[[dr.ReftableRefsContainer], object]
) -> None:
    before = refs_at(stacked.path).as_dict()
    with intercepted(stacked.git_dir, refusing(number)):
        refs = refs_at(stacked.path)
        assert refs.as_dict() == before
        assert refs[MAIN] == stacked.commits[1]
        assert list(refs.snapshot().read_reflog(MAIN))
        with pytest.raises(OSError, match="cannot lock") as refused:
            write(refs)
        assert refs.as_dict() == before
    assert isinstance(refused.value, dr.ReftableError)
    assert refused.value.errno == number
    assert os.strerror(number) in str(refused.value)
    assert str(stacked.git_dir / "reftable" / "tables.list.lock") in str(refused.value)
    assert refs_at(stacked.path).set_if_equals(MAIN, None, stacked.commits[2])


def test_read_only_without_a_stack(unborn: Scene) -> None:
    with intercepted(unborn.git_dir, refusing(errno.EROFS)):
        refs = refs_at(unborn.path)
        assert refs.as_dict() == {}
        with pytest.raises(dr.ReftableError, match="Read-only file system"):
            refs[MAIN] = b"1" * 40
    assert not (unborn.git_dir / "reftable").exists()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP], ids=errno.errorcode.get)
def test_directories_that_cannot_be_synced(stacked: Scene, number: int) -> None:
    """Some file systems do not know how; that is no failure of the update."""

    def hook(call: Call, done: Callable[[], Any]) -> Any:
        if call.kind == "fsync" and call.file == "reftable":
            raise OSError(number, os.strerror(number))
        return done()

    with intercepted(stacked.git_dir, hook):
        refs_at(stacked.path)[MAIN] = stacked.commits[5]
    assert refs_at(stacked.path)[MAIN] == stacked.commits[5]


@moves_open_files
def test_directory_that_is_gone(stacked: Scene) -> None:
    """A repository that was removed under us is not made anew, in part."""
    refs = refs_at(stacked.path)
    refs.read_ref(MAIN)
    stacked.git_dir.rename(stacked.git_dir.with_name("moved"))
    with pytest.raises(dr.RefsMovedError, match="configuration is gone"):
        refs[MAIN] = stacked.commits[2]
    assert not stacked.git_dir.exists()
