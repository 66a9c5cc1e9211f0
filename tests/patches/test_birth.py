"""With us installed, new repositories get the ref format that git would give them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from dulwich import porcelain
from dulwich.config import ConfigFile, StackedConfig
from dulwich.repo import Repo
from support.git import Git, requires_git
from support.versions import SHA256, writes_sha256

import dulwich_reftable as dr

from .sides import assert_no_strays

CASES = [
    # GIT_DEFAULT_REF_FORMAT, init.defaultRefFormat, format
    (None, None, "files"),
    (None, "files", "files"),
    (None, "reftable", "reftable"),
    ("reftable", None, "reftable"),
    ("reftable", "files", "reftable"),
    ("files", "reftable", "files"),
]


@pytest.fixture
def user_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration file, for git and dulwich."""
    path = tmp_path / "config"
    path.write_text("[user]\n\tname = U\n\temail = u@example.com\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(path))
    monkeypatch.delenv("GIT_DEFAULT_REF_FORMAT", raising=False)
    return path


def choose(
    config: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, setting: str | None
) -> None:
    """Choose a format by the environment and the configuration, as a user does."""
    if variable is not None:
        monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", variable)
    if setting is not None:
        with config.open("a") as file:
            file.write(f"[init]\n\tdefaultRefFormat = {setting}\n")


def format_of(path: Path) -> str:
    """The format that git says a repository has."""
    return Git(path).run("rev-parse", "--show-ref-format").decode().strip()


@requires_git
@pytest.mark.parametrize(("variable", "setting", "expected"), CASES)
@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.usefixtures("installed")
def test_as_git_does(
    user_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    setting: str | None,
    expected: str,
    bare: bool,
) -> None:
    choose(user_config, monkeypatch, variable, setting)
    subprocess.run(
        ["git", "init", "-q", *["--bare"] * bare, str(tmp_path / "git")],
        check=True,
        env=dict(os.environ),
    )
    porcelain.init(str(mkdir(tmp_path / "porcelain")), bare=bare).close()
    make = Repo.init_bare if bare else Repo.init
    made = make(str(tmp_path / "repo"), mkdir=True, object_format="sha256")
    assert (made.refs.read_ref(b"HEAD") or b"").startswith(b"ref: refs/heads/")
    made.close()
    for name in ("git", "porcelain", "repo"):
        assert format_of(tmp_path / name) == expected
        control = tmp_path / name / ("" if bare else ".git")
        if expected == "reftable":
            assert_no_strays(control)
        with Repo(str(tmp_path / name)) as repo:
            assert isinstance(repo, dr.Repo) == (expected == "reftable")
            assert repo.bare == bare


def mkdir(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.usefixtures("installed", "user_config")
@pytest.mark.parametrize("value", ["", "REFTABLE", "sqlite"])
def test_an_unknown_format_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """git gives up."""
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", value)
    with pytest.raises(dr.ConfigurationError, match="GIT_DEFAULT_REF_FORMAT"):
        Repo.init_bare(str(tmp_path / "repo"), mkdir=True)


@pytest.mark.usefixtures("installed")
def test_an_unknown_format_in_the_configuration(
    user_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git warns and goes on."""
    choose(user_config, monkeypatch, None, "sqlite")
    with pytest.warns(UserWarning, match="sqlite"), Repo.init(str(mkdir(tmp_path / "r"))) as repo:
        assert type(repo) is Repo


@pytest.mark.usefixtures("installed", "user_config")
def test_a_configuration_that_is_given(tmp_path: Path) -> None:
    given = ConfigFile()
    given.set((b"init",), b"defaultRefFormat", b"reftable")
    with Repo.init(str(mkdir(tmp_path / "r")), config=StackedConfig([given])) as repo:
        assert isinstance(repo.refs, dr.ReftableRefsContainer)


@pytest.mark.usefixtures("installed", "user_config")
def test_version_0_has_no_extensions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", "reftable")
    with Repo.init(str(tmp_path / "zero"), mkdir=True, format=0) as repo:
        assert type(repo) is Repo
    with Repo.init(str(tmp_path / "one"), mkdir=True, format=1) as repo:
        assert isinstance(repo, dr.Repo)
    with pytest.raises(ValueError, match="99"):
        Repo.init(str(tmp_path / "none"), mkdir=True, format=99)


@pytest.mark.usefixtures("user_config")
def test_what_is_asked_for_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", "reftable")
    with dr.installed():
        path = str(tmp_path / "files")
        with dr.Repo.init(path, mkdir=True, ref_format="files") as repo:
            assert repo.ref_format == "files"
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", "files")
    with dr.installed(), dr.Repo.init(str(tmp_path / "tables"), mkdir=True) as repo:
        assert repo.ref_format == "reftable"


@pytest.mark.usefixtures("user_config")
def test_without_install_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", "reftable")
    with Repo.init(str(tmp_path / "repo"), mkdir=True) as repo:
        assert type(repo) is Repo
    assert (tmp_path / "repo" / ".git" / "refs" / "heads").is_dir()


@requires_git
@pytest.mark.usefixtures("installed", "user_config")
@pytest.mark.parametrize("source_format", ["files", "reftable"])
@pytest.mark.parametrize("target_format", ["files", "reftable"])
@pytest.mark.parametrize(
    ("bare", "object_format"),
    [
        (False, "sha1"),
        (True, "sha1"),
        pytest.param(False, "sha256", marks=writes_sha256),
        pytest.param(True, "sha256", marks=SHA256.marks),
    ],
)
def test_clone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source_format: str,
    target_format: str,
    bare: bool,
    object_format: str,
) -> None:
    source = Git.init(tmp_path / "src", ref_format=source_format, object_format=object_format)
    source.run("commit", "-q", "--allow-empty", "-m", "one")
    source.run("tag", "-a", "-m", "tag", "v1")
    source.run("branch", "topic")
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", target_format)
    cloned = [porcelain.clone(str(source.path), str(tmp_path / "porcelain"), bare=bare)]
    with Repo(str(source.path)) as opened:
        cloned.append(opened.clone(str(tmp_path / "repo"), bare=bare))
    for repo in cloned:
        assert isinstance(repo, dr.Repo) == (target_format == "reftable")
        repo.close()
        git = Git(Path(repo.path), object_format)
        assert format_of(git.path) == target_format
        assert git.complaints() == b""
        listed = git.for_each_ref()
        assert listed[b"refs/tags/v1"] == source.for_each_ref()[b"refs/tags/v1"]
        assert listed[b"HEAD"].symref == b"refs/heads/main"
        if target_format == "reftable":
            assert_no_strays(git.git_dir)
