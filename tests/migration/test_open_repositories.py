"""Repositories that are open while their refs move to another format.

Nothing that is read may come from a place that nobody writes to, and nothing may be written where
nobody reads: whoever has such a repository open is told to open it again.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dulwich import porcelain
from dulwich.refs import RefsContainer
from dulwich.server import BackendRepo, DictBackend, TCPGitServer
from support.git import GIT_VERSION, Git, GitError, requires_git
from support.pool import ObjectPool

import dulwich_reftable as dr
from dulwich_reftable.config.format_watch import FormatWatch
from dulwich_reftable.engine.stack import directory as directories
from dulwich_reftable.server import HANDLERS

from .scenes import Pools

pytestmark = requires_git

HEAD, MAIN, LATE, BAD = b"HEAD", b"refs/heads/main", b"refs/heads/late", b"refs/bisect/bad"
OTHER = {"files": "reftable", "reftable": "files"}
ABOUT: Any = {"message": b"about", "committer": b"A <a@b>", "timestamp": 1, "timezone": 0}


@pytest.fixture
def pool(pool_of: Pools) -> ObjectPool:
    return pool_of("sha1")


def init(path: Path, pool: ObjectPool, ref_format: str) -> Git:
    """Let git make a repository with a commit on main and an annotated tag, without reflogs."""
    config = {"core.logAllRefUpdates": "false", "core.fsync": "none"}
    git = Git.init(path, ref_format=ref_format, config=config)
    pool.lend(git.git_dir)
    git.update_ref_stdin(
        [b"create %s %s" % (MAIN, pool.commits[0]), b"create refs/tags/v1 " + next(iter(pool.tags))]
    )
    return git


@pytest.fixture(params=["reftable", "files"])
def ref_format(request: pytest.FixtureRequest) -> str:
    """The format that the repository is opened in."""
    return str(request.param)


@pytest.fixture
def git(tmp_path: Path, pool: ObjectPool, ref_format: str) -> Git:
    return init(tmp_path / "made", pool, ref_format)


@pytest.fixture
def repo(git: Git) -> Iterator[dr.Repo]:
    """The repository, opened before anything happens to it."""
    with dr.Repo(str(git.path)) as opened:
        yield opened


def migrate_by_git(git: Git, to: str) -> None:
    if GIT_VERSION < (2, 46):
        pytest.skip("needs git >= 2.46, with refs migrate")
    git.run("refs", "migrate", f"--ref-format={to}")


def migrate_by_us(git: Git, to: str) -> None:
    dr.migrate(git.path, to)


Migrate = Callable[[Git, str], None]


@pytest.fixture(params=[migrate_by_git, migrate_by_us])
def migrate(request: pytest.FixtureRequest) -> Migrate:
    """Who migrates."""
    return request.param  # type: ignore[no-any-return]


def tree(git_dir: Path) -> dict[str, bytes | None]:
    """All files and directories outside of ``objects``."""
    found: dict[str, bytes | None] = {}
    for path in git_dir.rglob("*"):
        name = str(path.relative_to(git_dir))
        if not name.startswith("objects"):
            found[name] = path.read_bytes() if path.is_file() else None
    return found


READS: dict[str, Callable[[RefsContainer], object]] = {
    "read_ref": lambda refs: refs.read_ref(MAIN),
    "read_ref of nothing": lambda refs: refs.read_ref(LATE),
    "read_loose_ref": lambda refs: refs.read_loose_ref(MAIN),
    "follow": lambda refs: refs.follow(HEAD),
    "getitem": lambda refs: refs[HEAD],
    "in": lambda refs: MAIN in refs,
    "allkeys": lambda refs: refs.allkeys(),
    "keys": lambda refs: refs.keys(),
    "subkeys": lambda refs: refs.subkeys(b"refs/heads/"),
    "as_dict": lambda refs: refs.as_dict(),
    "as_dict below": lambda refs: refs.as_dict(b"refs/tags"),
    "get_symrefs": lambda refs: refs.get_symrefs(),
    "get_packed_refs": lambda refs: refs.get_packed_refs(),
    "get_peeled": lambda refs: refs.get_peeled(b"refs/tags/v1"),
}
OUR_READS: dict[str, Callable[[Any], object]] = {
    "iter_refs": lambda refs: list(refs.iter_refs()),
    "refs_for_object": lambda refs: refs.refs_for_object(b"1" * 40),
    "snapshot": lambda refs: refs.snapshot(),
    "read_reflog": lambda refs: list(refs.read_reflog(MAIN)),
    "reflogs": lambda refs: list(refs.reflogs()),
    "reflog_exists": lambda refs: refs.reflog_exists(MAIN),
}
WRITES: dict[str, Callable[[Any, bytes], object]] = {
    "set": lambda refs, oid: refs.set_if_equals(MAIN, None, oid, **ABOUT),
    "set without message": lambda refs, oid: refs.set_if_equals(LATE, None, oid),
    "setitem": lambda refs, oid: refs.__setitem__(LATE, oid),
    "add": lambda refs, oid: refs.add_if_new(LATE, oid),
    "remove": lambda refs, oid: refs.remove_if_equals(MAIN, None),
    "symref": lambda refs, oid: refs.set_symbolic_ref(HEAD, LATE),
    "import": lambda refs, oid: refs.import_refs(b"refs/remotes/o", {b"main": oid}),
    "packed": lambda refs, oid: refs.add_packed_refs({LATE: oid}),
    "pack_refs": lambda refs, oid: refs.pack_refs(all=True),
}
OUR_WRITES: dict[str, Callable[[Any, bytes], object]] = {
    "rename": lambda refs, oid: refs.rename(MAIN, LATE),
    "append_reflog": lambda refs, oid: refs.append_reflog(MAIN, None, oid, **ABOUT),
    "create_reflog": lambda refs, oid: refs.create_reflog(MAIN),
    "delete_reflog": lambda refs, oid: refs.delete_reflog(MAIN),
    "compact": lambda refs, oid: refs.compact(),
    "auto_compact": lambda refs, oid: refs.auto_compact(),
    "clean": lambda refs, oid: refs.clean(),
}


def transact(refs: Any, oid: bytes) -> None:
    with refs.transaction() as transaction:
        transaction.update(LATE, oid)


def batch(refs: Any, oid: bytes) -> None:
    with refs.batch_update():
        refs[LATE] = oid


OUR_WRITES["transaction"] = transact
OUR_WRITES["batch"] = batch


def all_uses(refs: RefsContainer, oid: bytes) -> dict[str, Callable[[], object]]:
    """Give all that can be done with refs, each to be called."""
    reads, writes = dict(READS), dict(WRITES)
    if isinstance(refs, dr.ReftableRefsContainer):
        reads |= OUR_READS
        writes |= OUR_WRITES
    uses: dict[str, Callable[[], object]] = {}
    for name, read in reads.items():
        uses[name] = lambda read=read: read(refs)
    for name, write in writes.items():
        uses[name] = lambda write=write: write(refs, oid)
    return uses


def assert_all_refused(refs: RefsContainer, git: Git, oid: bytes) -> None:
    """Check that nothing can be read or written, and that trying changes nothing."""
    before = tree(git.git_dir)
    for name, use in all_uses(refs, oid).items():
        with pytest.raises(dr.RefsMovedError, match="open the repository again"):
            pytest.fail(f"{name} answers {use()!r}")
    assert tree(git.git_dir) == before


def test_refs_are_elsewhere(
    git: Git, repo: dr.Repo, migrate: Migrate, ref_format: str, pool: ObjectPool
) -> None:
    before = repo.refs.as_dict()
    assert before
    migrate(git, OTHER[ref_format])
    seen = git.for_each_ref()
    assert_all_refused(repo.refs, git, pool.commits[1])
    assert git.for_each_ref() == seen
    repo.reopen_refs()
    assert repo.ref_format == OTHER[ref_format]
    assert repo.refs.as_dict() == before
    with dr.Repo(str(git.path)) as again:
        assert again.ref_format == OTHER[ref_format]
        again.refs[LATE] = pool.commits[1]
    assert git.for_each_ref()[LATE].value == pool.commits[1]


def test_first_use_comes_after_the_migration(
    git: Git, repo: dr.Repo, ref_format: str, pool: ObjectPool
) -> None:
    """What nobody has looked at yet is not known to be there, but the configuration tells."""
    migrate_by_us(git, OTHER[ref_format])
    assert_all_refused(repo.refs, git, pool.commits[1])


def test_there_and_back(
    git: Git, repo: dr.Repo, migrate: Migrate, ref_format: str, pool: ObjectPool
) -> None:
    """The new stack is another directory of the same name, and the files are other files."""
    assert repo.refs[MAIN] == pool.commits[0]
    migrate(git, OTHER[ref_format])
    git.run("update-ref", MAIN, pool.commits[1])
    migrate(git, ref_format)
    assert repo.refs[MAIN] == pool.commits[1]
    repo.refs[LATE] = pool.commits[2]
    assert {name: ref.value for name, ref in git.for_each_ref().items()}[LATE] == pool.commits[2]


def test_commits_and_tags_are_refused(git: Git, repo: dr.Repo, ref_format: str) -> None:
    migrate_by_us(git, OTHER[ref_format])
    seen, before = git.for_each_ref(), tree(git.git_dir)
    who = b"A <a@example.com>"
    for write in (
        lambda: repo.get_worktree().commit(message=b"lost", committer=who, author=who),
        lambda: porcelain.tag_create(repo, b"lost"),
        lambda: porcelain.branch_create(repo, b"lost"),
        lambda: repo._put_named_file("ORIG_HEAD", b"1" * 40),
        lambda: repo._del_named_file("ORIG_HEAD"),
        lambda: repo.get_named_file("ORIG_HEAD"),
        lambda: list(repo.read_reflog(MAIN)),
    ):
        with pytest.raises(dr.RefsMovedError):
            write()
    assert git.for_each_ref() == seen
    assert tree(git.git_dir) == before


@pytest.fixture
def linked(tmp_path: Path, git: Git) -> Git:
    """A linked worktree."""
    git.run("worktree", "add", "--no-checkout", "-q", "--detach", str(tmp_path / "linked"), MAIN)
    linked = Git(tmp_path / "linked")
    linked.run("update-ref", BAD, MAIN)
    return linked


def test_linked_worktrees(git: Git, linked: Git, ref_format: str, pool: ObjectPool) -> None:
    with dr.Repo(str(linked.path)) as one, dr.Repo(str(linked.path)) as two:
        assert one.refs.read_ref(BAD) == pool.commits[0]
        migrate_by_us(git, OTHER[ref_format])
        for repo in (one, two):
            assert_all_refused(repo.refs, git, pool.commits[1])
            before = tree(git.git_dir)
            with pytest.raises(dr.RefsMovedError):
                repo.refs.read_ref(BAD)
            with pytest.raises(dr.RefsMovedError):
                repo.refs[BAD] = pool.commits[1]
            assert tree(git.git_dir) == before
    assert linked.for_each_ref()[HEAD].value == pool.commits[0]


@pytest.mark.parametrize("ref_format", ["reftable"], indirect=True)
def test_other_worktrees(git: Git, linked: Git, repo: dr.Repo, pool: ObjectPool) -> None:
    """One that is removed has no refs; that is no stack that has gone."""
    name = b"worktrees/linked/HEAD"
    pinned = repo.refs.snapshot()
    assert repo.refs.read_ref(name) == pool.commits[0]
    git.run("worktree", "remove", "--force", str(linked.path))
    assert repo.refs.read_ref(name) is None
    git.run("worktree", "add", "--no-checkout", "-q", "--detach", str(linked.path), MAIN)
    assert repo.refs.read_ref(name) == pool.commits[0]
    migrate_by_us(git, "files")
    with pytest.raises(dr.RefsMovedError):
        pinned.read_ref(name)  # which it did not pin


@pytest.mark.parametrize("ref_format", ["reftable"], indirect=True)
def test_snapshot_goes_on(git: Git, repo: dr.Repo, pool: ObjectPool) -> None:
    pinned = repo.refs.snapshot()
    migrate_by_us(git, "files")
    assert pinned[HEAD] == pool.commits[0]
    assert MAIN in pinned.as_dict()


@pytest.mark.parametrize("ref_format", ["reftable"], indirect=True)
def test_server_answers_with_an_error(git: Git, repo: dr.Repo, pool: ObjectPool) -> None:
    """One that keeps a repository open must not tell of an empty one, nor take a push."""
    repos: dict[str, BackendRepo] = {"/r": repo}
    server = TCPGitServer(DictBackend(repos), "127.0.0.1", 0, handlers=HANDLERS)
    server.handle_error = lambda *args: None  # type: ignore[method-assign]  # it prints
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"git://127.0.0.1:{server.server_address[1]}/r"
        assert MAIN in git.run("ls-remote", url)
        migrate_by_us(git, "files")
        before = tree(git.git_dir)
        with pytest.raises(GitError):
            git.run("ls-remote", url)
        with pytest.raises(GitError):
            git.run("push", url, f"{pool.commits[1].decode()}:refs/heads/late")
        assert tree(git.git_dir) == before
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# A stack that is not there


def empty_stack(path: Path) -> Git:
    """A repository on reftables without any table yet."""
    git = Git.init(path)
    shutil.rmtree(git.git_dir / "reftable")
    return git


def test_empty_repository_becomes_one_of_files(tmp_path: Path, pool: ObjectPool) -> None:
    git = empty_stack(tmp_path / "made")
    with dr.Repo(str(git.path)) as repo:
        assert repo.refs.as_dict() == {}
        repo.refs.clean()
        assert not (git.git_dir / "reftable").exists()
        git.run("config", "--unset", "extensions.refStorage")
        assert_all_refused(repo.refs, git, pool.commits[0])


def test_empty_repository_is_written_to(tmp_path: Path, pool: ObjectPool) -> None:
    git = empty_stack(tmp_path / "made")
    pool.lend(git.git_dir)
    with dr.Repo(str(git.path)) as repo, dr.Repo(str(git.path)) as other:
        assert repo.refs.as_dict() == other.refs.as_dict() == {}
        repo.refs[MAIN] = pool.commits[0]
        assert other.refs.as_dict() == {MAIN: pool.commits[0]}
    assert git.for_each_ref()[MAIN].value == pool.commits[0]


@pytest.mark.parametrize("what", ["reftable", "reftable/tables.list"])
def test_stack_is_removed(tmp_path: Path, pool: ObjectPool, what: str) -> None:
    """The configuration still says reftable, but that these refs are none is not true."""
    git = init(tmp_path / "made", pool, "reftable")
    with dr.Repo(str(git.path)) as repo:
        assert repo.refs.as_dict()
        repo.refs.close()  # which makes it forget no more than the tables
        os.rename(git.git_dir / what, tmp_path / "removed")
        assert_all_refused(repo.refs, git, pool.commits[1])
        os.rename(tmp_path / "removed", git.git_dir / what)
        assert repo.refs[MAIN] == pool.commits[0]
        repo.refs[LATE] = pool.commits[1]
    assert git.for_each_ref()[LATE].value == pool.commits[1]


def test_remains_of_a_stack(tmp_path: Path, pool: ObjectPool) -> None:
    """A migration that was killed may leave a stack; no writer takes it for the one that counts."""
    git = init(tmp_path / "made", pool, "reftable")
    with dr.Repo(str(git.path)) as repo:
        assert repo.refs.as_dict()
        git.run("config", "--unset", "extensions.refStorage")
        before = tree(git.git_dir)
        for write in (*WRITES.values(), transact, batch):
            if write is not WRITES["pack_refs"]:  # with one table, there is nothing to write
                with pytest.raises(dr.RefsMovedError):
                    write(repo.refs, pool.commits[1])
        assert tree(git.git_dir) == before


def test_format_changes_while_a_directory_is_made(
    tmp_path: Path, pool: ObjectPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was made meanwhile is taken back."""
    git = empty_stack(tmp_path / "made")
    with dr.Repo(str(git.path)) as repo:
        real = directories.LockFile

        def lock(*args: Any) -> Any:
            locked = real(*args)
            git.run("config", "--unset", "extensions.refStorage")
            return locked

        monkeypatch.setattr(directories, "LockFile", lock)
        with pytest.raises(dr.RefsMovedError):
            repo.refs[MAIN] = pool.commits[0]
        assert not (git.git_dir / "reftable").exists()


# The watch itself


CONFIGS = {
    "files": "[core]\n\trepositoryformatversion = 0\n",
    "reftable": "[core]\n\trepositoryformatversion = 1\n[extensions]\n\trefstorage = reftable\n",
}


def put(directory: Path, text: str) -> None:
    (directory / "config.new").write_text(text)
    os.replace(directory / "config.new", directory / "config")


def test_watch(tmp_path: Path, ref_format: str) -> None:
    put(tmp_path, CONFIGS[ref_format])
    watch = FormatWatch(str(tmp_path), ref_format)
    for _ in range(2):
        watch.check()
        put(tmp_path, CONFIGS[ref_format] + "[a]\n\tb = c\n")
        watch.check()
        put(tmp_path, CONFIGS[OTHER[ref_format]])
        for _ in range(2):
            with pytest.raises(dr.RefsMovedError, match=f"refs are in the {OTHER[ref_format]}"):
                watch.check()
        put(tmp_path, CONFIGS[ref_format])


def test_watch_reads_only_what_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, CONFIGS["reftable"])
    watch = FormatWatch(str(tmp_path), "reftable")
    watch.check()
    monkeypatch.setattr("dulwich_reftable.config.format_watch.own_config", lambda path: 1 / 0)
    watch.check()
    put(tmp_path, CONFIGS["reftable"])
    with pytest.raises(ZeroDivisionError):
        watch.check()


@pytest.mark.parametrize(
    "text", ["[core\n", "[extensions]\n\trefStorage = other\n", "[extensions]\n\treftable = 1\n"]
)
def test_watch_cannot_tell(tmp_path: Path, text: str) -> None:
    put(tmp_path, CONFIGS["reftable"])
    watch = FormatWatch(str(tmp_path), "reftable")
    put(tmp_path, text)
    with pytest.raises(dr.ConfigurationError, match="config"):
        watch.check()


def test_watch_without_configuration(tmp_path: Path) -> None:
    """Refs may stand alone; but a configuration that goes takes the extension with it."""
    watch = FormatWatch(str(tmp_path), "reftable")
    watch.check()
    put(tmp_path, CONFIGS["reftable"])
    known = FormatWatch(str(tmp_path), "reftable")
    for one in (watch, known):
        one.check()
    os.remove(tmp_path / "config")
    watch.check()
    with pytest.raises(dr.RefsMovedError, match="configuration is gone"):
        known.check()
    FormatWatch(str(tmp_path), "files").check()
