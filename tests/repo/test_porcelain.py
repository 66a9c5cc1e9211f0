"""dulwich's porcelain and work trees on our `Repo`: all that they do ends up in the stack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from dulwich import porcelain
from support.compare import assert_same_reflogs, assert_same_refs
from support.git import Git, requires_git
from support.versions import writes_sha256

import dulwich_reftable as dr

AUTHOR = b"P Orcelain <porcelain@example.com>"
MAIN, TOPIC = b"refs/heads/main", b"refs/heads/topic"


@pytest.fixture(
    params=[
        "sha1",
        pytest.param("sha256", marks=writes_sha256),
    ]
)
def repo(
    request: pytest.FixtureRequest, tmp_path: Path, open_repo: Callable[[Path], dr.Repo]
) -> dr.Repo:
    """An empty repository that we made."""
    path = tmp_path / "repo"
    dr.Repo.init(str(path), mkdir=True, default_branch=b"main", object_format=request.param).close()
    return open_repo(path)


def commit(repo: dr.Repo, name: str) -> bytes:
    """Commit a new file of this name, as a user of porcelain would."""
    path = Path(repo.path) / name
    path.write_text(f"{name}\n")
    porcelain.add(repo, paths=[str(path)])
    made = porcelain.commit(repo, message=f"add {name}".encode(), author=AUTHOR, committer=AUTHOR)
    return bytes(made)


def git_of(repo: dr.Repo) -> Git:
    """The real git on the same repository."""
    return Git(Path(repo.path), repo.object_format.name)


def log_of(repo: dr.Repo, name: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """What a reflog says: old id, new id, message."""
    return [(e.old_sha, e.new_sha, e.message) for e in repo.read_reflog(name)]


def check_with_git(repo: dr.Repo) -> None:
    """Let git compare: refs, reflogs, soundness."""
    git = git_of(repo)
    assert_same_refs(repo.refs, git)
    assert_same_reflogs(repo.refs, git)
    assert git.complaints() == b""


def no_ref_files(repo: dr.Repo) -> bool:
    """Tell whether all refs are in the stack: nothing but the stubs for old tools is a file."""
    control = Path(repo.commondir())
    files = {str(path.relative_to(control)) for path in (control / "refs").rglob("*")}
    return (
        (control / "HEAD").read_bytes() == b"ref: refs/heads/.invalid\n"
        and files == {"refs/heads"}
        and not (control / "logs").exists()
        and not (control / "packed-refs").exists()
    )


@requires_git
def test_commits(repo: dr.Repo) -> None:
    ids = [commit(repo, name) for name in ("one", "two", "three")]
    assert repo.head() == repo.refs[MAIN] == ids[-1]
    zero = b"0" * len(ids[0])
    entries = log_of(repo, MAIN)
    assert [entry[:2] for entry in entries] == list(zip([zero, *ids], ids, strict=False))
    assert all(b"add " in message for _, _, message in entries)
    assert log_of(repo, b"HEAD") == entries
    assert {entry.committer for entry in repo.read_reflog(MAIN)} == {AUTHOR}
    assert no_ref_files(repo)
    check_with_git(repo)
    git = git_of(repo)
    assert git.run("log", "--format=%H").split() == ids[::-1]
    assert git.run("status", "--porcelain") == b""


@requires_git
def test_work_tree_commit(repo: dr.Repo) -> None:
    tree = repo.get_worktree()
    (Path(repo.path) / "file").write_bytes(b"content\n")
    tree.stage(["file"])
    first = tree.commit(message=b"staged", author=AUTHOR, committer=AUTHOR)
    assert repo.head() == first
    assert [entry[1] for entry in log_of(repo, b"HEAD")] == [first]
    assert no_ref_files(repo)
    check_with_git(repo)


@requires_git
def test_branches(repo: dr.Repo) -> None:
    first = commit(repo, "one")
    porcelain.branch_create(repo, "topic")
    porcelain.branch_create(repo, "short-lived")
    assert sorted(porcelain.branch_list(repo)) == [b"main", b"short-lived", b"topic"]
    porcelain.switch(repo, "topic")
    assert repo.refs.read_ref(b"HEAD") == b"ref: " + TOPIC
    second = commit(repo, "two")
    assert (repo.refs[MAIN], repo.refs[TOPIC]) == (first, second)
    porcelain.branch_delete(repo, "short-lived")
    assert porcelain.active_branch(repo) == b"topic"
    assert log_of(repo, b"HEAD")[-1][:2] == (first, second)
    assert not repo.refs.reflog_exists(b"refs/heads/short-lived")
    check_with_git(repo)


@requires_git
def test_reset_and_update_head(repo: dr.Repo) -> None:
    first, second = commit(repo, "one"), commit(repo, "two")
    porcelain.reset(repo, "hard", first)
    assert repo.head() == first
    assert not (Path(repo.path) / "two").exists()
    porcelain.update_head(repo, second, detached=True)
    assert repo.refs.read_ref(b"HEAD") == second
    assert repo.refs[MAIN] == first
    check_with_git(repo)


@requires_git
def test_tags(repo: dr.Repo) -> None:
    first = commit(repo, "one")
    porcelain.tag_create(repo, "light")
    porcelain.tag_create(repo, "v1")
    porcelain.tag_delete(repo, b"v1")
    assert porcelain.tag_list(repo) == [b"light"]
    assert repo.refs[b"refs/tags/light"] == first
    if repo.object_format.name == "sha1":  # elsewhere, dulwich 1.2 makes no tags that git reads
        porcelain.tag_create(repo, "v2", author=AUTHOR, message=b"two", annotated=True)
        assert repo.refs[b"refs/tags/v2"] != first
        assert repo.refs.get_peeled(b"refs/tags/v2") == first
        assert git_of(repo).for_each_ref()[b"refs/tags/v2"].peeled == first
    check_with_git(repo)


@requires_git
def test_symbolic_ref_and_pack_refs(repo: dr.Repo) -> None:
    first = commit(repo, "one")
    porcelain.branch_create(repo, "topic")
    porcelain.symbolic_ref(repo, TOPIC)
    porcelain.pack_refs(repo, all=True)
    assert repo.refs.follow(b"HEAD") == ([b"HEAD", TOPIC], first)
    assert len(git_of(repo).tables()) == 1
    assert no_ref_files(repo)
    check_with_git(repo)


@requires_git
def test_git_goes_on(repo: dr.Repo, open_repo: Callable[[Path], dr.Repo]) -> None:
    """git commits on top of ours, and we on top of git's."""
    commit(repo, "one")
    git = git_of(repo)
    git.run("commit", "--quiet", "--allow-empty", "-m", "by git")
    third = commit(repo, "three")
    assert len(git.run("rev-list", "HEAD").split()) == 3
    assert [message for _, _, message in log_of(repo, b"HEAD")][1] == b"commit: by git"
    check_with_git(repo)
    assert open_repo(Path(repo.path)).head() == third


@requires_git
@pytest.mark.parametrize("bare", [False, True])
def test_fetch_and_push(tmp_path: Path, open_repo: Callable[[Path], dr.Repo], bare: bool) -> None:
    """What dulwich's client writes into a repository of ours, the other side being files."""
    source = Git.init(tmp_path / "source", ref_format="files")
    source.run("commit", "--quiet", "--allow-empty", "-m", "one")
    source.run("tag", "-a", "-m", "tagged", "v1")
    source.run("branch", "topic")
    make = dr.Repo.init_bare if bare else dr.Repo.init
    make(str(tmp_path / "ours"), mkdir=True, default_branch=b"main").close()
    ours = open_repo(tmp_path / "ours")
    config = ours.get_config()
    config.set((b"remote", b"origin"), b"url", str(source.path).encode())
    config.set((b"remote", b"origin"), b"fetch", b"+refs/heads/*:refs/remotes/origin/*")
    config.write_to_path()

    porcelain.fetch(ours, "origin")
    fetched = source.for_each_ref()
    assert ours.refs.as_dict(b"refs/remotes/origin") == {
        name: fetched[b"refs/heads/" + name].value for name in (b"main", b"topic")
    }
    assert ours.refs[b"refs/tags/v1"] == fetched[b"refs/tags/v1"].value
    assert ours.refs.get_peeled(b"refs/tags/v1") == fetched[b"refs/tags/v1"].peeled
    assert log_of(ours, b"refs/remotes/origin/main")

    ours.refs[b"refs/heads/mine"] = fetched[MAIN].value
    porcelain.push(ours, str(source.path), b"refs/heads/mine:refs/heads/pushed")
    assert source.for_each_ref()[b"refs/heads/pushed"].value == fetched[MAIN].value
    ours.refs[b"HEAD"] = fetched[MAIN].value
    check_with_git(ours)
