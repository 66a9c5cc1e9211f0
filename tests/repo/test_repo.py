"""Opening and making repositories: the format of refs that is chosen, and the stubs on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dulwich.refs import DiskRefsContainer
from dulwich.repo import Repo as StockRepo
from dulwich.repo import UnsupportedExtension
from support.compare import file_states
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.compat import is_older

A = b"a" * 40
HEAD, MAIN = b"HEAD", b"refs/heads/main"


def write_config(control: Path, version: int, extensions: str) -> None:
    """Replace a repository's configuration."""
    text = f"[core]\n\trepositoryformatversion = {version}\n\tbare = true\n"
    (control / "config").write_text(f"{text}[extensions]\n\t{extensions}\n" if extensions else text)


@pytest.fixture
def control(tmp_path: Path) -> Path:
    """A bare reftable repository with one branch, made by us."""
    path = tmp_path / "repo.git"
    with dr.Repo.init_bare(str(path), mkdir=True) as repo:
        repo.refs[MAIN] = A
    return path


# -- choosing


@pytest.mark.parametrize(("setting", "count"), [("", 1), ("[reftable]\n\tblockSize = 512\n", 2)])
def test_opening_makes_one_container(
    control: Path,
    open_repo: Callable[[Path], dr.Repo],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    count: int,
) -> None:
    """A server opens a repository for each request; another is made only for other settings.

    Before 0.23.1, dulwich needs none until the settings can be read.
    """
    with (control / "config").open("a") as file:
        file.write(setting)
    made = []
    init = dr.ReftableRefsContainer.__init__

    def noted(self: dr.ReftableRefsContainer, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        init(self, *args, **kwargs)

    monkeypatch.setattr(dr.ReftableRefsContainer, "__init__", noted)
    refs = open_repo(control).refs
    assert len(made) == (1 if is_older((0, 23, 1)) else count)
    assert refs is made[-1]
    assert refs[MAIN] == A
    assert made[-1].store.settings.write.block_size == (512 if setting else 4096)


@pytest.mark.parametrize(
    "extension",
    [
        "refStorage = reftable",
        "refstorage = reftable",
        "REFSTORAGE = reftable",
        "reftable = 1",
        "reftable = true",
        "reftable",
    ],
)
def test_keys_that_select_us(
    control: Path, open_repo: Callable[[Path], dr.Repo], extension: str
) -> None:
    write_config(control, 1, extension)
    refs = open_repo(control).refs
    assert isinstance(refs, dr.ReftableRefsContainer)
    assert refs[MAIN] == A


@pytest.mark.parametrize("extension", ["", "refStorage = files", "reftable = false"])
def test_files_repositories_keep_dulwichs_container(
    control: Path, open_repo: Callable[[Path], dr.Repo], extension: str
) -> None:
    write_config(control, 1, extension)
    assert isinstance(open_repo(control).refs, DiskRefsContainer)


@pytest.mark.parametrize("extension", ["refStorage = sqlite", "refStorage = reftable2", "nope = 1"])
def test_unknown_extensions(
    control: Path, open_repo: Callable[[Path], dr.Repo], extension: str
) -> None:
    """Refused with the error that dulwich has for it."""
    write_config(control, 1, extension)
    with pytest.raises(UnsupportedExtension) as caught:
        open_repo(control)
    assert extension.split(" = ")[extension.startswith("ref")] in str(caught.value)


def test_no_directory_yet_is_an_empty_repository(
    control: Path, open_repo: Callable[[Path], dr.Repo]
) -> None:
    for path in (control / "reftable").iterdir():
        path.unlink()
    (control / "reftable").rmdir()
    before = file_states(control)
    refs = open_repo(control).refs
    assert refs.allkeys() == set()
    assert list(refs.reflogs()) == []
    assert refs.read_ref(HEAD) is None
    assert file_states(control) == before
    refs[MAIN] = A
    assert open_repo(control).refs[MAIN] == A


def test_an_empty_line_in_the_list(control: Path, open_repo: Callable[[Path], dr.Repo]) -> None:
    tables = control / "reftable" / "tables.list"
    tables.write_text("\n" + tables.read_text().replace("\n", "\n\n"))
    refs = open_repo(control).refs
    assert refs[MAIN] == A
    refs[b"refs/heads/other"] = A
    assert refs.subkeys(b"refs/heads") == {b"main", b"other"}


@pytest.mark.parametrize("name", ["../elsewhere.ref", "/etc/passwd", "sub/table.ref", "..", "a\0b"])
def test_names_of_other_files_in_the_list(
    control: Path, open_repo: Callable[[Path], dr.Repo], name: str
) -> None:
    """A list cannot make us read what is not a table of this stack."""
    tables = control / "reftable" / "tables.list"
    tables.write_text(tables.read_text() + name + "\n")
    with pytest.raises(dr.ReftableError):
        open_repo(control).refs.read_ref(MAIN)


@pytest.mark.parametrize("victim", ["tables.list", "*.ref"])
def test_a_pipe_does_not_hang_us(
    control: Path, open_repo: Callable[[Path], dr.Repo], victim: str
) -> None:
    """Only plain files are opened; git would wait forever."""
    directory = control / "reftable"
    path = next(directory.glob(victim))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(dr.ReftableError):
        open_repo(control).refs.read_ref(MAIN)


# -- making


@requires_git
@pytest.mark.parametrize("bare", [False, True])
def test_git_opens_what_we_make(
    tmp_path: Path, open_repo: Callable[[Path], dr.Repo], object_format: str, bare: bool
) -> None:
    make = dr.Repo.init_bare if bare else dr.Repo.init
    path = tmp_path / "repo"
    with make(str(path), mkdir=True, default_branch=b"trunk", object_format=object_format) as repo:
        assert isinstance(repo, dr.Repo)
        assert isinstance(repo.refs, dr.ReftableRefsContainer)
        assert repo.refs.read_ref(HEAD) == b"ref: refs/heads/trunk"
    git = Git(path, object_format)
    assert git.run("rev-parse", "--show-ref-format").strip() == b"reftable"
    assert git.run("rev-parse", "--show-object-format").strip() == object_format.encode()
    assert git.run("rev-parse", "--is-bare-repository").strip() == str(bare).lower().encode()
    assert git.run("symbolic-ref", "HEAD").strip() == b"refs/heads/trunk"
    commit = git.run("commit-tree", "-m", "x", git.run("mktree").strip()).strip()
    git.run("update-ref", "HEAD", commit)
    assert open_repo(path).refs[b"refs/heads/trunk"] == commit
    assert git.complaints() == b""


@requires_git
def test_stubs_are_gits(tmp_path: Path) -> None:
    """What old tools find instead of refs is what they find in git's repositories."""
    git = Git.init(tmp_path / "git")
    dr.Repo.init(str(tmp_path / "we"), mkdir=True).close()
    ours = tmp_path / "we" / ".git"
    for stub in ("HEAD", "refs/heads"):
        assert (ours / stub).read_bytes() == (git.git_dir / stub).read_bytes()
    assert not (ours / "refs" / "tags").exists()
    assert not (ours / "logs").exists()


def test_the_other_key(tmp_path: Path, open_repo: Callable[[Path], dr.Repo]) -> None:
    """The key of the format's original design, which git does not write."""
    dr.Repo.init(str(tmp_path), extension="reftable").close()
    repo = open_repo(tmp_path)
    assert isinstance(repo.refs, dr.ReftableRefsContainer)
    extensions = {key.lower() for key, _ in repo.get_config().items((b"extensions",))}
    assert b"reftable" in extensions
    assert b"refstorage" not in extensions


@pytest.mark.parametrize("bare", [False, True])
def test_files_on_request(tmp_path: Path, open_repo: Callable[[Path], dr.Repo], bare: bool) -> None:
    make = dr.Repo.init_bare if bare else dr.Repo.init
    make(str(tmp_path), ref_format="files", default_branch=b"main").close()
    assert isinstance(open_repo(tmp_path).refs, DiskRefsContainer)
    with StockRepo(str(tmp_path)) as stock:
        assert stock.refs.read_ref(HEAD) == b"ref: " + MAIN
    assert not list(tmp_path.rglob("reftable"))


@pytest.mark.parametrize("make", [dr.Repo.init, dr.Repo.init_bare])
@pytest.mark.parametrize(
    ("option", "value"),
    [("ref_format", "sqlite"), ("extension", "nope"), ("object_format", "md5"), ("format", 0)],
)
def test_what_cannot_be_made(
    tmp_path: Path, make: Callable[..., dr.Repo], option: str, value: Any
) -> None:
    """It is refused before anything is made."""
    with pytest.raises(ValueError, match=str(value)):
        make(str(tmp_path / "repo"), mkdir=True, **{option: value})
    assert list(tmp_path.iterdir()) == []


def test_the_environment_names_other_refs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_REFERENCE_BACKEND", "files")
    with pytest.raises(dr.ConfigurationError, match="GIT_REFERENCE_BACKEND"):
        dr.Repo.init(str(tmp_path / "repo"), mkdir=True)
    assert list(tmp_path.iterdir()) == []


def test_opened_from_within(tmp_path: Path) -> None:
    """dulwich's other ways to a repository work for ours."""
    with dr.Repo.init(str(tmp_path), default_branch=b"main") as made:
        made.refs[MAIN] = A
    (tmp_path / "deep" / "er").mkdir(parents=True)
    with dr.Repo.discover(str(tmp_path / "deep" / "er")) as found:
        assert found.refs[MAIN] == found.head() == A
        assert found.get_refs() == {HEAD: A, MAIN: A}
        assert found.refs.read_ref(HEAD) == b"ref: " + MAIN
