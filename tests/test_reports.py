"""What people report of reftables, of dulwich and of servers built on it, tried beside git.

Each test names the public report whose symptom it looks for. What a report has in common with
others of its kind is tested where that kind belongs; here the words of the report are followed.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dulwich import porcelain
from dulwich.repo import UnsupportedExtension
from server.serving import running
from support.git import Git, GitError, requires_git

import dulwich_reftable as dr

pytestmark = requires_git

WHO = b"A U Thor <author@example.com>"
OpenRepo = Callable[[Path], dr.Repo]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git.init(tmp_path / "repo")


def quiet() -> dict[str, Any]:
    return {"outstream": io.BytesIO(), "errstream": io.BytesIO()}


def commit(path: Path, text: str) -> bytes:
    (path / "file").write_text(text)
    porcelain.add(str(path), [str(path / "file")])
    return bytes(porcelain.commit(str(path), message=text.encode(), author=WHO, committer=WHO))


VERSION_1 = "[core]\n\trepositoryformatversion = 1\n\tbare = false\n"
REFTABLE = "[extensions]\n\trefStorage = reftable\n"


@pytest.mark.parametrize(
    "config",
    [
        VERSION_1 + "[extensions] # a comment\n\trefStorage = reftable ; another\n",
        VERSION_1 + "[EXTENSIONS] REFSTORAGE = reftable\n",
        VERSION_1 + '[extensions]\n\trefStorage = ref"table"\n',
        VERSION_1 + "[extensions]\n\trefStorage = ref\\\ntable\n",
        (VERSION_1 + REFTABLE).replace("\n", "\r\n"),
        "\N{ZERO WIDTH NO-BREAK SPACE}" + VERSION_1 + REFTABLE,
        VERSION_1 + "[extensions]\n\trefStorage = files\n\trefStorage = reftable\n",
        VERSION_1.replace("= 1", "= 0x1") + REFTABLE,
        VERSION_1.replace("= 1", "= 01") + REFTABLE,
        VERSION_1 + REFTABLE + "\tnoop = true\n\tnoop-v1 = true\n",
        VERSION_1 + REFTABLE + "\tunheardOf = true\n",
        VERSION_1 + "[extensions]\n\trefStorage = REFTABLE\n",
        VERSION_1 + "[extensions]\n\trefStorage\n",
        VERSION_1.replace("= 1", "= 0") + REFTABLE,
    ],
    ids=range(14),
)
def test_how_a_configuration_may_say_it(git: Git, config: str) -> None:
    """can1357/oh-my-pi#2018: ``[extensions] # note`` hides that refs are in reftables."""
    git.run("commit", "-q", "--allow-empty", "-m", "x")
    tip = git.run("rev-parse", "HEAD").strip()
    (git.path / ".git" / "config").write_text(config, newline="")
    try:
        expected: bytes | None = git.run("rev-parse", "HEAD").strip()
    except GitError:
        expected = None
    try:
        with dr.Repo(str(git.path)) as repo:
            found: bytes | None = repo.refs[b"HEAD"]
    except (UnsupportedExtension, dr.ReftableError):
        found = None
    assert found == expected
    assert found in (tip, None)


def test_a_branch_called_head(git: Git, open_repo: OpenRepo) -> None:
    """gitbutlerapp/gitbutler#13645: ``head`` is not ``HEAD``, whatever a file system thinks."""
    git.run("commit", "-q", "--allow-empty", "-m", "one")
    git.run("update-ref", "refs/remotes/origin/head", "HEAD")
    git.run("commit", "-q", "--allow-empty", "-m", "two")
    git.run("update-ref", "refs/remotes/origin/HEAD", "HEAD")
    git.run("branch", "head", "HEAD~1")
    refs = open_repo(git.path).refs
    for name, listed in git.for_each_ref().items():
        assert refs[name] == listed.value
    assert refs[b"refs/heads/head"] != refs[b"HEAD"]


def test_describing_by_annotated_tags(git: Git, open_repo: OpenRepo) -> None:
    """treeverse/dvc#7008: an annotated tag is found by the commit that it points to."""
    git.run("commit", "-q", "--allow-empty", "-m", "one")
    git.run("tag", "-a", "-m", "a tag", "v1")
    repo = open_repo(git.path)
    assert porcelain.describe(repo) == git.run("describe").strip().decode()
    git.run("commit", "-q", "--allow-empty", "-m", "two")
    assert porcelain.describe(repo, abbrev=7) == git.run("describe", "--abbrev=7").strip().decode()


def test_head_of_a_repository_without_commits(git: Git, open_repo: OpenRepo) -> None:
    """python-poetry/poetry#6873, src-d/gitbase#225: an unborn HEAD is there and leads nowhere."""
    refs = open_repo(git.path).refs
    assert b"HEAD" in refs
    assert refs.follow(b"HEAD") == ([b"HEAD", b"refs/heads/main"], None)
    with pytest.raises(KeyError):
        refs[b"HEAD"]
    assert refs.as_dict() == {}


def test_dropping_a_stash(git: Git) -> None:
    """eclipse-egit/egit#78: "Dropping stash not supported on this ref backend"."""
    (git.path / "file").write_text("0")
    git.run("add", "file")
    git.run("commit", "-q", "-m", "x")
    for text in ("1", "2", "3"):
        (git.path / "file").write_text(text)
        git.run("stash", "push", "-q", "-m", text)
    with dr.installed():
        porcelain.stash_drop(str(git.path), 1)
    listed = git.run("stash", "list", "--format=%gs").split(b"\n")
    assert [line[-1:] for line in listed if line] == [b"3", b"1"]


def test_a_deleted_ref_stays_deleted(git: Git, open_repo: OpenRepo) -> None:
    """eclipse-jgit/jgit#152: packing refs brings a deleted one back."""
    git.run("commit", "-q", "--allow-empty", "-m", "x")
    repo = open_repo(git.path)
    for number in range(5):
        name = b"refs/heads/gone%d" % number
        repo.refs[name] = repo.refs[b"HEAD"]
        git.run("pack-refs", "--all")
        assert repo.refs.remove_if_equals(name, None)
        git.run("pack-refs", "--all")
        repo.refs.pack_refs(all=True)
        assert repo.refs.read_ref(name) is None
    assert git.for_each_ref().keys() == {b"HEAD", b"refs/heads/main"}


@pytest.mark.parametrize("kind", ["tcp", "http"])
@pytest.mark.parametrize("ref_format", ["reftable", "files"])
def test_dulwich_pushes_to_a_repository_without_commits(
    tmp_path: Path, kind: str, ref_format: str
) -> None:
    """jelmer/dulwich#788, #977: the push is refused; #781: the second request is not answered."""
    origin = Git.init(tmp_path / "root" / "origin.git", bare=True, ref_format=ref_format)
    clone = tmp_path / "clone"
    with running(tmp_path / "root", kind) as server:
        url = f"{server.url}origin"
        porcelain.clone(url, str(clone), errstream=io.BytesIO()).close()
        first = commit(clone, "one")
        porcelain.push(str(clone), url, "HEAD:refs/heads/main", **quiet())
        assert origin.run("rev-parse", "main").strip() == first
        second = commit(clone, "two")
        porcelain.push(str(clone), url, "HEAD:refs/heads/main", **quiet())
        assert origin.run("rev-parse", "main").strip() == second
    assert origin.complaints() == b""


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_dulwich_pulls_again_and_again(tmp_path: Path, kind: str) -> None:
    """jelmer/dulwich#88, jonashaag/klaus#76: cloning works, the first pull does not."""
    origin = Git.init(tmp_path / "root" / "origin.git", bare=True)
    work = Git.init(tmp_path / "work")
    clone = tmp_path / "clone"
    with running(tmp_path / "root", kind) as server:
        url = f"{server.url}origin.git"
        for number in range(3):
            work.run("commit", "-q", "--allow-empty", "-m", f"c{number}")
            work.run("push", "-q", str(origin.path), "main")
            if number == 0:
                porcelain.clone(url, str(clone), errstream=io.BytesIO()).close()
            else:
                porcelain.pull(str(clone), url, "refs/heads/main", **quiet())
            assert Git(clone).run("rev-parse", "HEAD") == work.run("rev-parse", "HEAD")


def test_a_branch_that_is_fetched_in_place_of_a_directory(tmp_path: Path) -> None:
    """netresearch/git-workflow-skill#314 and others: ``b/one`` is gone, and ``b`` is there."""
    origin = Git.init(tmp_path / "origin")
    origin.run("commit", "-q", "--allow-empty", "-m", "x")
    origin.run("branch", "b/one")
    with dr.installed():
        dr.Repo.init(str(tmp_path / "clone"), mkdir=True).close()
        clone = Git(tmp_path / "clone")
        porcelain.remote_add(str(clone.path), "origin", str(origin.path))
        porcelain.fetch(str(clone.path), "origin", **quiet())
        origin.run("branch", "-D", "b/one")
        origin.run("branch", "b")
        with pytest.raises(dr.RefConflictError):  # git, too, wants to be told to prune
            porcelain.fetch(str(clone.path), "origin", **quiet())
        porcelain.fetch(str(clone.path), "origin", prune=True, **quiet())
    assert b"refs/remotes/origin/b" in clone.for_each_ref()
    assert b"refs/remotes/origin/b/one" not in clone.for_each_ref()
