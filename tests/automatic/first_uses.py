"""A program that knows nothing of dulwich-reftable: each way in which it may come to a repository.

    python first_uses.py FILES REFTABLE TEMPORARY

takes a repository in each format, both with a commit, a branch and an annotated tag, and a
directory. It prints what became of each use as JSON: an empty text, or the traceback. Python has to
be enabled, and dulwich not yet imported.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any

Use = Callable[[], object]
USES: dict[str, Use] = {}
"""The uses of a reftable repository, by names. Before each, nothing is installed."""

FILES, REFTABLE, TEMPORARY = sys.argv[1:4] if __name__ == "__main__" else ("", "", "")


def use(function: Use) -> Use:
    USES[function.__name__] = function
    return function


def copy() -> str:
    """Copy the reftable repository, which a use will change."""
    path = os.path.join(TEMPORARY, f"copy-{len(os.listdir(TEMPORARY))}")
    shutil.copytree(REFTABLE, path)
    return path


def new() -> str:
    return os.path.join(TEMPORARY, f"new-{len(os.listdir(TEMPORARY))}")


def is_loaded() -> bool:
    return "dulwich_reftable" in sys.modules


def forget() -> None:
    """Take the patches back, and wait for the next first use."""
    if not is_loaded():
        return
    from dulwich_reftable.patching import installation

    installation._release(installation._FOR_GOOD)
    sys.modules["dulwich_reftable_stand_ins"]._is_waiting = True  # type: ignore[attr-defined]


def is_installed() -> bool:
    from dulwich_reftable.patching.table import STOCK

    return STOCK.is_held


def kind_of(repo: Any) -> str:
    return type(repo.refs).__module__


OURS = "dulwich_reftable.refs.container"
LOGGED = {b"HEAD", b"refs/heads/main", b"refs/heads/topic"}


@use
def constructor() -> None:
    from dulwich.repo import Repo

    with Repo(REFTABLE) as repo:
        assert kind_of(repo) == OURS
        assert isinstance(repo, Repo)
        assert repo.refs[b"HEAD"] == repo.refs[b"refs/heads/topic"]
        assert [entry.message for entry in repo.read_reflog(b"HEAD")] == [b"commit: one"]


@use
def by_keyword() -> None:
    from dulwich.repo import Repo

    with Repo(root=REFTABLE, bare=False) as repo:
        assert kind_of(repo) == OURS


@use
def subclass() -> None:
    from dulwich.repo import Repo

    class Mine(Repo):
        def __init__(self, path: str) -> None:
            self.mine = path
            super().__init__(path)

    with Mine(REFTABLE) as repo:
        assert kind_of(repo) == OURS
        assert isinstance(repo, Mine)
        assert repo.mine == REFTABLE
    with Mine(FILES) as repo:
        assert type(repo) is Mine


@use
def discover() -> None:
    from dulwich.repo import Repo

    below = os.path.join(copy(), "below")
    os.mkdir(below)
    with Repo.discover(below) as repo:
        assert kind_of(repo) == OURS


@use
def branch_list() -> None:
    from dulwich import porcelain

    assert {*porcelain.branch_list(REFTABLE)} == {b"main", b"topic"}


@use
def reflog_of_all() -> None:
    from dulwich.porcelain import reflog

    assert {name for name, _ in reflog(REFTABLE, all=True)} == LOGGED


@use
def reflog_of_this_directory() -> None:
    from dulwich.porcelain import reflog

    os.chdir(REFTABLE)
    assert {name for name, _ in reflog(all=True)} == LOGGED


@use
def reflog_expire() -> None:
    from dulwich.porcelain import reflog_expire

    path = copy()
    expired = reflog_expire(path, all=True, expire_time=2**40, dry_run=True)
    assert expired == dict.fromkeys(LOGGED, 1)


@use
def reflog_delete() -> None:
    from dulwich.porcelain import reflog, reflog_delete

    path = copy()
    reflog_delete(path, "HEAD", 0)
    assert [*reflog(path, "HEAD")] == []


@use
def iter_reflogs() -> None:
    from dulwich.reflog import iter_reflogs

    names = {*iter_reflogs(os.path.join(REFTABLE, ".git", "logs"))}
    assert names == LOGGED


@use
def list_worktrees() -> None:
    from dulwich.repo import Repo
    from dulwich.worktree import list_worktrees

    [info] = list_worktrees(Repo(REFTABLE))
    assert info.branch == b"refs/heads/main"


@use
def atomic_push() -> None:
    import dulwich
    from dulwich.client import LocalGitClient
    from dulwich.repo import Repo

    path = copy()
    tip = Repo(FILES).refs[b"HEAD"]
    forget()

    def update(refs: dict[bytes, bytes]) -> dict[bytes, bytes]:
        return {**refs, b"refs/heads/new": tip}

    def pack(*args: Any, **kwargs: Any) -> Any:
        return Repo(FILES).generate_pack_data(*args, **kwargs)

    options: dict[str, Any] = {"atomic": True} if dulwich.__version__ >= (1, 2) else {}
    result = LocalGitClient().send_pack(path, update, pack, **options)
    assert not any((result.ref_status or {}).values()), result.ref_status
    assert Repo(path).refs[b"refs/heads/new"] == tip


@use
def command_line() -> None:
    from dulwich import cli

    os.chdir(copy())
    assert not cli.main(["reflog", "expire", "--expire=now", "--all"])
    from dulwich.porcelain import reflog

    assert [*reflog(all=True)] == []


@use
def clone() -> None:
    from dulwich import porcelain

    with porcelain.clone(REFTABLE, new(), errstream=io.BytesIO()) as repo:
        assert kind_of(repo) == "dulwich.refs"
        assert repo.refs[b"refs/tags/v1"]


@use
def init_as_the_environment_says() -> None:
    from dulwich.repo import Repo

    os.environ["GIT_DEFAULT_REF_FORMAT"] = "reftable"
    with Repo.init(new(), mkdir=True) as repo:
        assert kind_of(repo) == OURS
    forget()
    with Repo.init_bare(new(), mkdir=True) as repo:
        assert kind_of(repo) == OURS


@use
def init_as_git_is_told() -> None:
    from dulwich.repo import Repo

    os.environ.update(
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0="init.defaultRefFormat",
        GIT_CONFIG_VALUE_0="reftable",
    )
    with Repo.init(new(), mkdir=True) as repo:
        assert kind_of(repo) == OURS


@use
def init_as_the_user_wants() -> None:
    from dulwich.repo import Repo

    for setting in (b"[init]\n\tdefaultRefFormat = reftable\n", b"[feature]\n\texperimental\n"):
        forget()
        os.environ["GIT_CONFIG_GLOBAL"] = path = new()
        with open(path, "wb") as file:
            file.write(setting)
        with Repo.init(new(), mkdir=True) as repo:
            assert kind_of(repo) == OURS, setting


@use
def another_place_of_refs() -> None:
    from dulwich.repo import Repo

    os.environ["GIT_REFERENCE_BACKEND"] = "reftable"
    stand_ins: Any = sys.modules["dulwich_reftable_stand_ins"]
    stand_ins._has_backend = True  # as if it had been set before
    try:
        Repo(FILES)
    except ValueError as error:
        assert "GIT_REFERENCE_BACKEND" in str(error)  # noqa: PT017
    else:
        raise AssertionError("files were read")
    stand_ins._has_backend = False


@use
def our_own_class() -> None:
    """It needs nothing of this, and installs nothing."""
    from dulwich.repo import Repo

    import dulwich_reftable

    with dulwich_reftable.Repo(REFTABLE) as repo:
        assert kind_of(repo) == OURS
        assert not is_installed()
    with Repo(REFTABLE) as stock:
        assert kind_of(stock) == OURS


@use
def installed_before_and_after() -> None:
    from dulwich.porcelain import reflog
    from dulwich.repo import Repo

    import dulwich_reftable

    dulwich_reftable.install()
    assert {name for name, _ in reflog(REFTABLE, all=True)} == LOGGED  # imported by its name before
    dulwich_reftable.uninstall()
    assert not is_installed()
    with dulwich_reftable.installed():
        assert kind_of(Repo(REFTABLE)) == OURS
    assert not is_installed()
    with Repo(REFTABLE) as repo:  # the first use
        assert kind_of(repo) == OURS
    dulwich_reftable.uninstall()
    assert is_installed()
    dulwich_reftable.install()
    with dulwich_reftable.installed():
        dulwich_reftable.uninstall()
    assert kind_of(Repo(REFTABLE)) == OURS


@use
def mocked() -> None:
    """A test of somebody else has replaced the constructor by something that calls it."""
    from dulwich.repo import Repo

    theirs = Repo.__init__

    @wraps(theirs)
    def mock(self: Any, *args: Any, **kwargs: Any) -> None:
        theirs(self, *args, **kwargs)

    Repo.__init__ = mock  # type: ignore[method-assign]
    try:
        with Repo(REFTABLE) as repo:
            assert kind_of(repo) == OURS
        with Repo(REFTABLE) as repo:
            assert kind_of(repo) == OURS
        forget()
    finally:
        Repo.__init__ = theirs  # type: ignore[method-assign]


def on_files() -> None:
    """Work on a files repository, by which nothing may be loaded."""
    from dulwich import porcelain
    from dulwich.repo import Repo

    with Repo(FILES) as repo:
        assert kind_of(repo) == "dulwich.refs"
        assert repo.head()
    with porcelain.clone(FILES, new(), errstream=io.BytesIO()) as repo:
        porcelain.branch_create(repo, "other")
    assert [*porcelain.reflog(FILES, all=True)]
    assert not porcelain.reflog_expire(FILES, all=True, expire_time=0, dry_run=True)[b"HEAD"]
    with Repo.init(new(), mkdir=True) as repo:
        assert kind_of(repo) == "dulwich.refs"


def main() -> None:
    """Print what became of each."""
    outcomes: dict[str, str] = {}
    environ, place = dict(os.environ), os.getcwd()
    for function in (on_files, *USES.values()):
        try:
            forget()
            assert not (is_loaded() and is_installed())
            function()
            outcome = ""
        except Exception:
            outcome = traceback.format_exc()
        if is_loaded() == (function is on_files):
            outcome += f"the package is{'' if is_loaded() else ' not'} loaded"
        outcomes[function.__name__] = outcome
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(place)
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
