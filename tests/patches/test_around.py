"""Where dulwich bypasses the refs container, it leaves what git expects, and understands git's."""

from __future__ import annotations

import io
import shutil
import time
from pathlib import Path
from typing import Any

import dulwich.cli
import dulwich.reflog
import pytest
from dulwich import bundle, gc, porcelain
from dulwich.bisect import BisectState
from dulwich.client import LocalGitClient
from dulwich.objects import Blob, Commit
from dulwich.repo import Repo
from dulwich.stash import Stash
from support.compare import assert_same_reflogs
from support.git import Git, GitError, requires_git
from support.versions import keeps_heads, needs_dulwich

import dulwich_reftable as dr

from .sides import WHO, Side, assert_no_strays

pytestmark = requires_git


# The stash


def stash_shown_by_git(side: Side) -> list[bytes]:
    return [line.split(b":")[0] for line in side.git.run("stash", "list").splitlines()]


def test_stash_by_git_for_dulwich(side: Side) -> None:
    for text in ("x", "y", "z"):
        (side.path / "a").write_text(text)
        side.git.run("stash", "push", "-q", "-m", text)
    listed = [new for _, (_, new) in porcelain.stash_list(side.repo)]
    assert listed == side.git.run("log", "-g", "--format=%H", "refs/stash").split()
    porcelain.stash_drop(side.repo, 1)
    assert stash_shown_by_git(side) == [b"stash@{0}", b"stash@{1}"]
    porcelain.stash_pop(side.repo)
    assert (side.path / "a").read_text() == "z"
    side.git.run("checkout", "-q", "-f", "--", "a")
    assert side.git.run("rev-parse", "refs/stash").strip() == listed[2]
    assert side.git.run("stash", "list").endswith(b": x\n")
    porcelain.stash_drop(side.repo, 0)
    assert list(porcelain.stash_list(side.repo)) == []
    assert b"refs/stash" not in side.git.for_each_ref()
    assert b"refs/stash" not in side.git.reflog_names()


def test_stash_by_dulwich_for_git(side: Side) -> None:
    for text in ("x", "y", "z"):
        (side.path / "a").write_text(text)
        porcelain.stash_push(side.repo)
    assert len(stash_shown_by_git(side)) == 3
    side.git.run("stash", "drop", "-q", "stash@{1}")
    assert len(list(porcelain.stash_list(side.repo))) == 2
    side.git.run("stash", "pop", "-q")
    assert (side.path / "a").read_text() == "z"
    side.git.run("checkout", "-q", "-f", "--", "a")
    side.git.run("stash", "pop", "-q")
    assert (side.path / "a").read_text() == "x"
    assert list(porcelain.stash_list(side.repo)) == []


def test_stash_without_entries(side: Side) -> None:
    with side.opened() as repo:
        stash = Stash.from_repo(repo)
        assert len(stash) == 0
        with pytest.raises(IndexError):
            stash.pop(0)
        for index in (0, 5, -1):
            with pytest.raises(ValueError, match="index"):
                stash.drop(index)
    side.git.run("checkout", "-q", "-f")


# Bisection


def test_bisection_taken_over_by_git(side: Side) -> None:
    commits = [side.commit("a", text) for text in "3456789"]
    good = porcelain.bisect_start(side.repo, "HEAD", commits[0])
    first_bad = commits[commits.index(good or b"") + 1]
    next_one = porcelain.bisect_good(side.repo)
    shown = side.git.for_each_ref()
    assert shown[b"refs/bisect/bad"].value == commits[-1]
    assert shown[b"BISECT_EXPECTED_REV"].value == next_one
    assert side.git.run("rev-parse", "HEAD").strip() == next_one
    for _ in commits:  # more than it takes
        if side.git.for_each_ref()[b"refs/bisect/bad"].value != first_bad:
            side.git.run("bisect", "bad")
    assert side.git.for_each_ref()[b"refs/bisect/bad"].value == first_bad
    with side.opened() as repo:
        assert BisectState(repo).is_active
        porcelain.bisect_reset(repo)
    assert not [name for name in side.git.for_each_ref() if b"bisect" in name.lower()]
    assert side.git.run("symbolic-ref", "HEAD") == b"refs/heads/main\n"
    with pytest.raises(GitError):
        side.git.run("bisect", "log")


def test_bisection_begun_by_git(side: Side) -> None:
    commits = [side.commit("a", text) for text in "3456789"]
    side.git.run("bisect", "start", "main", commits[0])
    assert any(porcelain.bisect_bad(side.repo) is None for _ in commits)
    assert side.git.for_each_ref()[b"refs/bisect/bad"].value == commits[1]
    side.git.run("bisect", "reset")
    with side.opened() as repo:
        assert not BisectState(repo).is_active


def test_a_bisection_that_was_killed(side: Side) -> None:
    """It leaves refs as files, which are none; the next bisection does not take them for refs."""
    commits = [side.commit("a", text) for text in "3456789"]
    control = side.git.path / ".git"
    (control / "refs" / "bisect").mkdir()
    for name in ("refs/bisect/good-old", "refs/bisect/skip-old", "BISECT_EXPECTED_REV"):
        (control / name).write_bytes(commits[3] + b"\n")
    before = side.git.for_each_ref()
    with side.opened() as repo:
        porcelain.bisect_start(repo, "HEAD", commits[0])
        told = side.git.for_each_ref().keys() - before.keys()
        assert told == {
            b"BISECT_EXPECTED_REV", b"refs/bisect/bad", b"refs/bisect/good-" + commits[0]
        }  # fmt: skip
        porcelain.bisect_reset(repo)
    assert not (control / "refs" / "bisect").exists()
    assert side.git.for_each_ref().keys() == before.keys()


def test_a_bisection_that_fails(side: Side) -> None:
    with side.opened() as repo:
        state = BisectState(repo)
        with pytest.raises(ValueError, match="No bisect"):
            state.mark_bad()
        state.start()
        with pytest.raises(ValueError, match="already"):
            state.start()
        with pytest.raises(KeyError):
            state.mark_good(b"1" * 40)
        state.reset()


# Cherry-picks


def diverge(side: Side) -> bytes:
    """Change the file ``a`` on main, and remove it on another branch; return the commit of that."""
    porcelain.checkout(side.repo, "main", new_branch="side")
    porcelain.remove(side.repo, [str(side.path / "a")])
    theirs = porcelain.commit(side.repo, message=b"theirs", author=WHO, committer=WHO)
    porcelain.checkout(side.repo, "main")
    side.commit("a", "ours")
    return bytes(theirs)


def conflict(side: Side) -> bytes:
    """Meet a conflict in the file ``a``; return the commit that could not be picked."""
    theirs = diverge(side)
    with pytest.raises(porcelain.Error, match="Conflicts"):
        porcelain.cherry_pick(side.repo, theirs)
    return theirs


def test_cherry_pick_with_a_conflict_is_seen_by_git(side: Side) -> None:
    theirs = conflict(side)
    assert side.git.run("rev-parse", "CHERRY_PICK_HEAD").strip() == theirs
    assert b"cherry-pick" in side.git.run("status")
    assert_no_strays(side.path / ".git")
    side.write("a", "solved")
    porcelain.cherry_pick(side.repo, None, continue_=True)
    assert b"CHERRY_PICK_HEAD" not in side.git.for_each_ref()
    assert (side.path / "a").read_text() == "solved"


@pytest.mark.parametrize("way", ["abort", pytest.param("reset", marks=keeps_heads), "git"])
def test_cherry_pick_given_up(side: Side, way: str) -> None:
    conflict(side)
    if way == "abort":
        porcelain.cherry_pick(side.repo, None, abort=True)
    elif way == "reset":
        porcelain.reset(side.repo, "hard")
    else:
        side.git.run("cherry-pick", "--quit")
    assert b"CHERRY_PICK_HEAD" not in side.git.for_each_ref()
    with pytest.raises(porcelain.Error, match="No cherry-pick"):
        porcelain.cherry_pick(side.repo, None, continue_=True)


def test_cherry_pick_begun_by_git(side: Side) -> None:
    theirs = conflict(side)
    side.git.run("cherry-pick", "--abort")
    with pytest.raises(GitError):
        side.git.run("cherry-pick", theirs)
    side.write("a", "solved")
    porcelain.cherry_pick(side.repo, None, continue_=True)
    assert b"CHERRY_PICK_HEAD" not in side.git.for_each_ref()
    # What else git keeps of it, dulwich does not know, in files either.
    side.git.run("reset", "-q", "--hard")


# Reflogs


def test_all_reflogs(side: Side) -> None:
    porcelain.branch_create(side.repo, "topic")
    side.git.run("reflog", "delete", "refs/heads/topic@{0}")  # it goes on existing, empty
    shown: dict[bytes, list[Any]] = {}
    for name, entry in porcelain.reflog(side.repo, all=True):
        shown.setdefault(name, []).append(entry)
    theirs = {name: log for name, log in side.git.reflogs().items() if log}
    assert {name: [tuple(e) for e in log] for name, log in shown.items()} == theirs
    with side.opened() as repo:
        assert isinstance(repo.refs, dr.ReftableRefsContainer)
        assert_same_reflogs(repo.refs, side.git)


def test_reflogs_by_their_directory(side: Side) -> None:
    side.git.run("worktree", "add", "-q", "-b", "new", str(side.root / "new"))
    with dr.installed():
        for git in (side.git, Git(side.root / "new")):
            names = list(dulwich.reflog.iter_reflogs(str(git.git_dir / "logs")))
            assert names == git.reflog_names()
        files = Git.init(side.root / "files", ref_format="files")
        files.run("commit", "-q", "--allow-empty", "-m", "c")
        names = list(dulwich.reflog.iter_reflogs(str(files.git_dir / "logs")))
        assert sorted(names) == [b"HEAD", b"refs/heads/main"]


@needs_dulwich("1.1", "there was no porcelain.rev_parse")
def test_entries_by_number_and_time(side: Side) -> None:
    side.commit("a", "three")
    side.git.run("checkout", "-q", "HEAD~1")
    for spec in ("HEAD@{0}", "@{1}", "HEAD@{2}", "refs/heads/main@{1}"):
        theirs = side.git.run("rev-parse", spec).strip()
        assert porcelain.rev_parse(side.repo, spec) == theirs, spec


@pytest.mark.parametrize("options", [["--expire=now"], ["--expire-unreachable=now"], []])
@pytest.mark.parametrize("by_command", [False, True])
def test_expiry_is_gits(
    side: Side,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    by_command: bool,
) -> None:
    """The command line does the same; "now" includes the current second, as in git."""
    for text in ("3", "4"):
        side.commit("a", text)
    (side.path / "a").write_text("to be stashed")
    porcelain.stash_push(side.repo)
    porcelain.reset(side.repo, "hard", side.git.run("rev-parse", "HEAD~2").strip())
    head = side.git.run("rev-parse", "HEAD").strip()
    with side.opened() as repo:
        assert isinstance(repo.refs, dr.ReftableRefsContainer)
        for name in (b"refs/heads/main", b"HEAD", b"refs/stash"):
            repo.refs.append_reflog(name, head, head, b"old", WHO, 1_000_000_000, 0)
            later = int(time.time()) + 100
            repo.refs.append_reflog(name, head, head, b"later", WHO, later, 0)
    side.git.run("config", "gc.reflogExpire", "90.days.ago")  # some gits have another default
    side.git.run("config", "gc.reflogExpireUnreachable", "30.days.ago")
    shutil.copytree(side.path, tmp_path / "twin", symlinks=True)
    twin = Git(tmp_path / "twin")
    twin.run("reflog", "expire", "--all", *options)
    before = side.git.reflogs()
    if by_command:
        monkeypatch.chdir(side.path)
        with dr.installed():
            assert not dulwich.cli.main(["reflog", "expire", "--all", *options])
        assert "Expired" in capsys.readouterr().out
    else:
        names = {
            "--expire=now": "expire_time",
            "--expire-unreachable=now": "expire_unreachable_time",
        }
        limits: dict[str, Any] = {names[option]: 1 << 60 for option in options}
        counted = porcelain.reflog_expire(side.repo, all=True, dry_run=True, **limits)
        assert side.git.reflogs() == before
        done = porcelain.reflog_expire(side.repo, all=True, **limits)
        gone = {name: len(log) - len(twin.reflogs()[name]) for name, log in before.items()}
        assert done == counted == gone
        assert any(gone.values())
    assert side.git.reflogs() == twin.reflogs()


def test_reflog_arguments(side: Side) -> None:
    with pytest.raises(ValueError, match="either ref or all"):
        porcelain.reflog_expire(side.repo)
    with pytest.raises(ValueError, match="No reflog"):
        porcelain.reflog_delete(side.repo, "refs/heads/none")
    assert porcelain.reflog_expire(side.repo, "refs/heads/none", expire_time=1) == {}
    assert porcelain.reflog_expire(side.repo, "refs/heads/main") == {b"refs/heads/main": 0}


@pytest.mark.parametrize(
    ("index", "rewrite"),
    # Rewriting from the oldest entry on, dulwich and git's files backend write the zero id as the
    # next one's old one, git's reftable backend leaves what was there.
    [(0, False), (1, False), (3, False), (0, True), (1, True), (2, True)],
)
def test_deleting_an_entry_is_gits(side: Side, tmp_path: Path, rewrite: bool, index: int) -> None:
    for text in ("3", "4"):
        side.commit("a", text)
    twin = tmp_path / "twin"
    side.git.run("clone", "-q", "--ref-format=reftable", "--mirror", ".", str(twin))
    for entry in side.git.reflogs()[b"refs/heads/main"]:
        with dr.Repo(str(twin)) as repo:
            about = entry.committer, entry.timestamp, entry.timezone
            repo.refs.append_reflog(b"refs/heads/twin", entry.old, entry.new, entry.message, *about)
            repo.refs[b"refs/heads/twin"] = entry.new
    flags = ["--rewrite"] * rewrite
    Git(twin).run("reflog", "delete", *flags, f"refs/heads/twin@{{{index}}}")
    porcelain.reflog_delete(side.repo, "refs/heads/main", index, rewrite=rewrite)
    theirs = Git(twin).reflogs()[b"refs/heads/twin"]
    assert side.git.reflogs()[b"refs/heads/main"] == theirs


def test_private_writer_of_reflogs(side: Side) -> None:
    """Containers that wrap ours may be handed dulwich's logger."""
    with side.opened() as repo:
        head = repo.head()
        repo._write_reflog(b"refs/heads/main", head, head, None, 5, 3600, b"by\nhand")
        last = list(repo.read_reflog(b"refs/heads/main"))[-1]
    assert (last.message, last.timestamp, last.timezone) == (b"by hand", 5, 3600)
    assert side.git.reflogs()[b"refs/heads/main"][-1] == tuple(last)


# Objects that are still needed


def test_reflogs_and_worktrees_keep_objects(side: Side) -> None:
    lost = side.commit("a", "lost")
    porcelain.reset(side.repo, "hard", side.git.run("rev-parse", "HEAD~1").strip())
    side.git.run("worktree", "add", "-q", "--detach", str(side.root / "tree"))
    tree = Git(side.root / "tree")
    tree.run("commit", "-q", "--allow-empty", "-m", "in the tree")
    in_tree = tree.run("rev-parse", "HEAD").strip()
    tree.run(
        "update-ref", "refs/bisect/bad", tree.run("commit-tree", "-m", "b", "HEAD^{tree}").strip()
    )
    in_bisect = tree.run("rev-parse", "refs/bisect/bad").strip()
    for text in ("x", "y"):
        (side.path / "a").write_text(text)
        porcelain.stash_push(side.repo)
    stashes = [new for _, (_, new) in porcelain.stash_list(side.repo)]
    with side.opened() as repo:
        junk = Blob.from_string(b"junk")
        repo.object_store.add_object(junk)
    porcelain.gc(side.repo, prune=True, grace_period=0)
    porcelain.prune(side.repo, grace_period=0)
    for needed in (lost, in_tree, in_bisect, *stashes):
        assert side.git.run("cat-file", "-t", needed) == b"commit\n"
    with pytest.raises(GitError):
        side.git.run("cat-file", "-t", junk.id)
    assert tree.complaints() == b""
    # What git would let go, goes.
    side.git.run("worktree", "remove", "--force", str(tree.path))
    side.git.run("reflog", "expire", "--expire=now", "--all")
    porcelain.gc(side.repo, prune=True, grace_period=0)
    with pytest.raises(GitError):
        side.git.run("cat-file", "-t", in_tree)


def test_broken_refs_are_reported(side: Side) -> None:
    said: list[str] = []
    with side.opened() as repo:
        repo.refs.set_symbolic_ref(b"refs/heads/dangling", b"refs/heads/none")
        gc.find_reachable_objects(repo.object_store, repo.refs, progress=said.append)
        assert [text for text in said if "Broken" in text] == [
            "Warning: Broken ref refs/heads/dangling"
        ]
        del repo.refs[b"refs/heads/dangling"]


def test_reachable_without_reflogs(side: Side) -> None:
    lost = side.commit("a", "lost")
    porcelain.reset(side.repo, "hard", side.git.run("rev-parse", "HEAD~1").strip())
    with side.opened() as repo:
        found = [
            gc.find_reachable_objects(repo.object_store, repo.refs, include_reflogs=logs)
            for logs in (False, True)
        ]
    assert [lost in reachable for reachable in found] == [False, True]


# Bundles and pushes


def test_bundles_have_the_tags(side: Side, tmp_path: Path) -> None:
    side.git.run("tag", "-a", "-m", "tag", "v1")
    with side.opened() as repo:
        # By its module: who has imported the function before has dulwich's own.
        made = bundle.create_bundle_from_repo(repo)
        with made, (tmp_path / "bundle").open("wb") as file:
            bundle.write_bundle(file, made)
    listed = side.git.run("bundle", "list-heads", str(tmp_path / "bundle")).split()
    tags = dict(zip(listed[1::2], listed[::2], strict=True))
    assert tags[b"refs/tags/v1"] == side.git.run("rev-parse", "v1").strip()


@pytest.mark.parametrize("target_format", ["files", "reftable"])
@pytest.mark.parametrize("atomic", [False, True])
def test_push_to_a_local_repository(
    side: Side, tmp_path: Path, target_format: str, atomic: bool
) -> None:
    target = Git.init(tmp_path / "target", bare=True, ref_format=target_format)
    with dr.installed():
        side.git.run("tag", "-a", "-m", "tag", "v1")

        def push(*refspecs: str, force: bool = False) -> Any:
            return porcelain.push(
                side.repo, str(target.path), list(refspecs), io.BytesIO(), io.BytesIO(),
                force=force, atomic=atomic,
            )  # fmt: skip

        push("refs/heads/main", "refs/tags/v1:refs/tags/v1")
        assert target.for_each_ref()[b"refs/tags/v1"] == side.git.for_each_ref()[b"refs/tags/v1"]
        side.commit("a", "three")
        side.git.run("tag", "-f", "-a", "-m", "moved", "v1")
        push("refs/heads/main", "refs/tags/v1:refs/tags/v1", "main:new", force=True)
        assert target.for_each_ref()[b"refs/tags/v1"] == side.git.for_each_ref()[b"refs/tags/v1"]
        assert target.run("rev-parse", "new") == side.git.run("rev-parse", "main")
        push(":new", ":v1")
        assert sorted(target.for_each_ref()) == [b"HEAD", b"refs/heads/main"]
    assert target.complaints() == b""


@pytest.mark.parametrize("source_format", ["files", "reftable"])
def test_fetch_and_pull(side: Side, tmp_path: Path, source_format: str) -> None:
    side.git.run("clone", "-q", f"--ref-format={source_format}", ".", str(tmp_path / "source"))
    source = Git(tmp_path / "source")
    side.git.run("remote", "add", "origin", str(source.path))
    with dr.installed():
        source.run("commit", "-q", "--allow-empty", "-m", "theirs")
        source.run("tag", "-a", "-m", "tag", "v1")
        source.run("branch", "topic")
        quiet: dict[str, Any] = {"outstream": io.StringIO(), "errstream": io.BytesIO()}
        porcelain.fetch(side.repo, "origin", include_tags=True, **quiet)
        listed, theirs = side.git.for_each_ref(), source.for_each_ref()
        assert listed[b"refs/remotes/origin/main"] == theirs[b"refs/heads/main"]
        assert listed[b"refs/remotes/origin/topic"] == theirs[b"refs/heads/topic"]
        assert listed[b"refs/tags/v1"] == theirs[b"refs/tags/v1"]
        source.run("branch", "-D", "-q", "topic")
        porcelain.fetch(side.repo, "origin", prune=True, **quiet)
        assert b"refs/remotes/origin/topic" not in side.git.for_each_ref()
        porcelain.pull(side.repo, "origin", "main", outstream=io.BytesIO(), errstream=io.BytesIO())
        assert side.git.run("rev-parse", "HEAD") == source.run("rev-parse", "HEAD")


def test_a_submodule(side: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its repository is a reftable one as well."""
    library = Git.init(tmp_path / "library")
    (library.path / "file").write_text("lib\n")
    library.run("add", "file")
    library.run("commit", "-q", "-m", "library")
    side.git.run(
        "-c", "protocol.file.allow=always",
        "submodule", "add", "-q", str(library.path), "sub",
    )  # fmt: skip
    side.git.run("commit", "-q", "-m", "with a submodule")
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", "reftable")
    head = library.run("rev-parse", "HEAD").strip()
    with dr.installed():
        path = tmp_path / "cloned"
        porcelain.clone(str(side.path), str(path), errstream=io.BytesIO()).close()
        Git(path).run("config", "protocol.file.allow", "always")
        porcelain.submodule_init(str(path))
        porcelain.submodule_update(str(path), errstream=io.BytesIO())
        assert list(porcelain.submodule_list(str(path))) == [("sub", head.decode())]
    sub = Git(path / "sub")
    assert sub.run("rev-parse", "HEAD", "--show-ref-format").split() == [head, b"reftable"]
    assert (path / "sub" / "file").read_text() == "lib\n"
    assert Git(path).run("submodule", "status")[1:41] == head
    assert_no_strays(sub.git_dir)


@needs_dulwich("1.2", "a push to a path could not be atomic")
def test_an_atomic_push_is_all_or_nothing(side: Side, tmp_path: Path) -> None:
    target = Git.init(tmp_path / "target", bare=True)
    side.git.run("push", "-q", str(target.path), "main")
    moved = side.commit("a", "three")
    with dr.installed(), side.opened() as repo:

        def race(old: dict[bytes, bytes]) -> dict[bytes, bytes]:
            target.run("update-ref", "refs/heads/main", old[b"refs/heads/main"])
            target.run("update-ref", "refs/heads/other", old[b"refs/heads/main"])
            return {b"refs/heads/main": moved, b"refs/heads/other": moved}

        pack_data: Any = repo.generate_pack_data
        result = LocalGitClient().send_pack(str(target.path), race, pack_data, atomic=True)
    assert result.ref_status is not None
    assert set(result.ref_status) == {b"refs/heads/main", b"refs/heads/other"}
    assert all(result.ref_status.values())
    assert target.run("rev-parse", "main") == side.git.run("rev-parse", "main~1")


# Files that are refs


def test_named_files(side: Side) -> None:
    with side.opened() as repo:
        assert read(repo, "HEAD") == b"ref: refs/heads/main\n"
        assert read(repo, b"/HEAD") == b"ref: refs/heads/main\n"
        assert read(repo, "ORIG_HEAD") is None
        assert read(repo, "description") is not None
        assert read(repo, "refs/heads/main") == repo.head() + b"\n"
        assert read(repo, "refs/heads/none") is None
        side.git.run("update-ref", "ORIG_HEAD", "main")
        assert read(repo, "ORIG_HEAD") == repo.head() + b"\n"
        repo._del_named_file("ORIG_HEAD")
        repo._del_named_file("ORIG_HEAD")
        assert read(repo, "ORIG_HEAD") is None
        repo._put_named_file("HEAD", repo.head() + b"\n")
        assert side.git.run("rev-parse", "--symbolic-full-name", "HEAD") == b"HEAD\n"
        repo._put_named_file("HEAD", b"ref: refs/heads/main\n")
        assert side.git.run("symbolic-ref", "HEAD") == b"refs/heads/main\n"
        repo._put_named_file("MERGE_HEAD", repo.head() + b"\n")
        assert (side.path / ".git" / "MERGE_HEAD").exists()
        repo._del_named_file("MERGE_HEAD")


def read(repo: Repo, name: str | bytes) -> bytes | None:
    file = repo.get_named_file(name)
    if file is None:
        return None
    with file:
        return file.read()


# includeIf


def test_conditional_includes_see_the_branch(side: Side, tmp_path: Path) -> None:
    included = tmp_path / "included"
    included.write_text("[user]\n\tname = On Topic\n")
    config = side.path / ".git" / "config"
    with config.open("a") as file:
        file.write(f'[includeIf "onbranch:topic"]\n\tpath = {included}\n')
    side.git.run("checkout", "-q", "-b", "topic")
    with side.opened() as repo:
        assert repo.get_config_stack().get((b"user",), b"name") == b"On Topic"
    side.git.run("checkout", "-q", "main")
    with side.opened() as repo:
        assert repo.get_config_stack().get((b"user",), b"name") != b"On Topic"


# Merges: MERGE_HEAD is a file in git, too


@keeps_heads
def test_a_merge_with_a_conflict_goes_on_with_git(side: Side) -> None:
    theirs = diverge(side)
    _, conflicts = porcelain.merge(side.repo, "side", author=WHO, committer=WHO)
    assert conflicts == [b"a"]
    assert side.git.run("rev-parse", "MERGE_HEAD").strip() == theirs
    side.git.run("rm", "-q", "a")
    side.git.run("commit", "-q", "-m", "merged")
    with side.opened() as repo:
        merged = repo[repo.head()]
        assert isinstance(merged, Commit)
        assert theirs in merged.parents
