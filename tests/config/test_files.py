"""Which files and variables a configuration comes from, beside git."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dulwich.config import ConfigFile
from dulwich.refs import DiskRefsContainer
from dulwich.repo import Repo as StockRepo
from dulwich.repo import UnsupportedExtension, UnsupportedVersion
from support.git import GIT_VERSION, Git, GitError, requires_git

import dulwich_reftable as dr
from dulwich_reftable.config.files import config_in_force, environment_config
from dulwich_reftable.config.ref_format import default_ref_format

A = b"a" * 40
MAIN = b"refs/heads/main"
KEY = "test.key"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory in which settings are looked for; and a file of the system's."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(home / "system"))
    return home


def ask(git: Git, *args: str) -> str | None:
    """Ask git for the key, in the environment of this process; None if it is not set."""
    done = subprocess.run(
        ["git", *args, "config", "--get", KEY], cwd=git.path, capture_output=True, check=False
    )
    if done.returncode > 1:
        raise GitError(done.stderr)
    return done.stdout.decode().removesuffix("\n") if done.returncode == 0 else None


def ours(open_repo: Callable[[Path], dr.Repo], path: Path) -> str | None:
    """Ask the repository for the key."""
    section, name = KEY.encode().split(b".")
    try:
        return open_repo(path).get_config_stack().get((section,), name).decode()
    except KeyError:
        return None


# -- places


@requires_git
def test_the_order_of_places(
    home: Path,
    tmp_path: Path,
    open_repo: Callable[[Path], dr.Repo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What counts most is removed, time and again."""
    git = Git.init(tmp_path / "repo")
    git.run("config", "extensions.worktreeConfig", "1")
    git.run("worktree", "add", "-q", "--orphan", str(tmp_path / "linked"))
    linked = Git(tmp_path / "linked")
    (home / "xdg" / "git").mkdir(parents=True)
    files = [
        linked.git_dir / "config.worktree",
        git.git_dir / "config",
        home / ".gitconfig",
        home / "xdg" / "git" / "config",
        home / "system",
    ]
    for path in files:
        with path.open("a") as file:
            file.write(f"[test]\n\tkey = first of {path}\n\tkey = {path}\n")
    (git.git_dir / "config.worktree").write_text("[test]\n\tkey = of the main worktree\n")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", KEY)
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "counted")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'{KEY}'='parameter'")
    assert ours(open_repo, linked.path) == ask(linked) == "parameter"
    monkeypatch.delenv("GIT_CONFIG_PARAMETERS")
    assert ours(open_repo, linked.path) == ask(linked) == "counted"
    monkeypatch.delenv("GIT_CONFIG_COUNT")
    for path in files:
        assert ours(open_repo, linked.path) == ask(linked) == str(path)
        if path == home / "system":
            monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "no")
            assert ours(open_repo, linked.path) == ask(linked) == str(path)
            monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "yes")
            assert ours(open_repo, linked.path) is ask(linked) is None
            monkeypatch.delenv("GIT_CONFIG_NOSYSTEM")
        text = path.read_text()
        path.write_text(text[: text.index("[test]")])
    assert ours(open_repo, linked.path) is ask(linked) is None


@requires_git
def test_git_passes_its_parameters_on(
    tmp_path: Path, open_repo: Callable[[Path], dr.Repo], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``git -c`` leaves in the environment of an alias is read as by git."""
    git = Git.init(tmp_path / "repo")
    values = ["x", "it's", "a!b", "", " a  b ", "a=b", "'", "\\", "é\n", None]
    for value in values:
        given = KEY if value is None else f"{KEY}={value}"
        alias = "!printenv GIT_CONFIG_PARAMETERS"
        passed = git.run("-c", given, "-c", f"alias.x={alias}", "x").decode()
        monkeypatch.setenv("GIT_CONFIG_PARAMETERS", passed.removesuffix("\n"))
        assert ours(open_repo, git.path) == ("true" if value is None else value)
        assert ask(git) == ("" if value is None else value)
    for old_style in (f"'{KEY}=old'", f"'{KEY}'", f"'{KEY}=a' '{KEY}=b c'  ", f"'{KEY}=a'\t"):
        monkeypatch.setenv("GIT_CONFIG_PARAMETERS", old_style)
        assert (ours(open_repo, git.path) or "") == (ask(git) or "true")


@requires_git
@pytest.mark.parametrize(
    "environment",
    [
        {"GIT_CONFIG_COUNT": "x"},
        {"GIT_CONFIG_COUNT": "1"},
        {"GIT_CONFIG_COUNT": "99999999999999999999"},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": KEY},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "key", "GIT_CONFIG_VALUE_0": ""},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.1", "GIT_CONFIG_VALUE_0": ""},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a b.c", "GIT_CONFIG_VALUE_0": ""},
        {"GIT_CONFIG_PARAMETERS": "a.b=c"},
        {"GIT_CONFIG_PARAMETERS": "'a.b'c"},
        {"GIT_CONFIG_PARAMETERS": "'a.b'='c'd"},
        {"GIT_CONFIG_PARAMETERS": "'a.b'=c"},
        {"GIT_CONFIG_PARAMETERS": "'a.b"},
        {"GIT_CONFIG_PARAMETERS": " 'a.b'"},
        {"GIT_CONFIG_NOSYSTEM": "perhaps"},
    ],
)
def test_a_broken_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    """git dies of it, and so we refuse it."""
    git = Git.init(tmp_path / "repo")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(GitError):
        ask(git)
    with pytest.raises(dr.ConfigurationError, match=r"GIT_CONFIG|environment"):
        config_in_force()
    with pytest.raises(dr.ConfigurationError):
        dr.Repo(str(git.path))


def test_subsections_in_the_environment() -> None:
    environment = {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "Url.https://a.b/c.InsteadOf",
        "GIT_CONFIG_VALUE_0": "x",
        "GIT_CONFIG_KEY_1": "core.bigFileThreshold",
        "GIT_CONFIG_VALUE_1": "1k",
    }
    config = environment_config(environment)
    assert config.get((b"url", b"https://a.b/c"), b"insteadOf") == b"x"
    assert config.get((b"core",), b"bigfilethreshold") == b"1024"
    assert list(environment_config({}).sections()) == []


def test_a_file_of_somebody_else(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that has inherited a ``HOME`` that it may not read works as under git."""
    (home / ".gitconfig").write_text("[test]\n\tkey = x\n")
    read = ConfigFile.from_path

    def from_path(path: str, **kwargs: object) -> ConfigFile:
        if path == str(home / ".gitconfig"):
            raise PermissionError(13, "Permission denied", path)
        return read(path, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(ConfigFile, "from_path", from_path)
    (home / "system").write_text("[test]\n\tkey = system\n")
    assert config_in_force().get((b"test",), b"key") == b"system"


def test_a_file_that_is_no_configuration(
    home: Path, tmp_path: Path, open_repo: Callable[[Path], dr.Repo]
) -> None:
    """The error names the file."""
    dr.Repo.init(str(tmp_path / "repo"), mkdir=True).close()
    (home / ".gitconfig").write_text("[test\n")
    with pytest.raises(dr.ConfigurationError, match=r"home/\.gitconfig' is not a configuration"):
        open_repo(tmp_path / "repo")
    (home / ".gitconfig").unlink()
    config = tmp_path / "repo" / ".git" / "config"
    config.write_text(config.read_text() + "nothing [ here\n")
    with pytest.raises(dr.ConfigurationError, match="config' is not a configuration"):
        open_repo(tmp_path / "repo")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("make", ["mkfifo", "mkdir"])
@pytest.mark.parametrize("installed", [False, True])
def test_a_configuration_that_is_no_file(tmp_path: Path, installed: bool, make: str) -> None:
    """Nobody waits for a pipe."""
    path = tmp_path / "repo.git"
    dr.Repo.init_bare(str(path), mkdir=True).close()
    (path / "config").unlink()
    getattr(os, make)(path / "config")
    setup, opening = ("dr.install()", "StockRepo") if installed else ("", "dr.Repo")
    program = f"""
import dulwich_reftable as dr
from dulwich.repo import Repo as StockRepo
{setup}
for opening in ({opening}, dr.ReftableRefsContainer):
    try:
        opening({str(path)!r})
    except dr.ConfigurationError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == [f"'{path}/config' is not a plain file"] * 2


# -- extensions


def write_config(path: Path, version: str, extensions: str, rest: str = "") -> None:
    core = f"repositoryformatversion = {version}" if version else ""
    path.write_text(f"{rest}[core]\n\tbare = true\n\t{core}\n[extensions]\n\t{extensions}\n")


@requires_git
@pytest.mark.parametrize("version", ["0", "0x1", "2", ""])
@pytest.mark.parametrize(
    "extensions",
    [
        "refStorage = reftable", "refStorage = files", "refStorage = Reftable",
        "refStorage = files\n\trefStorage = reftable",
        "noop", "noop-v1", "preciousObjects = yes", "partialClone = origin", "nonsense = 1",
        "objectFormat = sha1", "objectFormat = SHA1", "objectFormat = sha512",
        "worktreeConfig = yes", "worktreeConfig = 1\n\tWorktreeConfig = no", "",
    ],
)  # fmt: skip
def test_extensions(tmp_path: Path, version: str, extensions: str) -> None:
    """A repository is opened as git opens it, or refused; never taken for another one."""
    path = tmp_path / "repo.git"
    git = Git.init(path, bare=True, ref_format="files")
    write_config(path / "config", version, extensions)
    try:
        theirs: str | None = git.run("rev-parse", "--show-ref-format").decode().strip()
    except GitError:
        theirs = None
    try:
        with dr.Repo(str(path)) as repo:
            found: str | None = repo.ref_format
            assert repo.object_format.name == "sha1"
    except (UnsupportedExtension, UnsupportedVersion, dr.ConfigurationError):
        found = None
    if theirs == "files" and "reftable" in extensions.lower():
        # Without a version git ignores what the file says of refs, and would show none. We refuse.
        assert version == ""
        assert found is None
    else:
        assert found == theirs, (version, extensions)


@requires_git
@pytest.mark.parametrize("place", ["included", "user"])
@pytest.mark.parametrize("extension", ["refStorage = reftable", "objectFormat = sha256", "no = 1"])
@pytest.mark.parametrize("ref_format", ["reftable", "files"])
def test_extensions_in_other_files(
    home: Path,
    tmp_path: Path,
    open_repo: Callable[[Path], dr.Repo],
    place: str,
    extension: str,
    ref_format: str,
) -> None:
    """They say nothing of a repository."""
    git = Git.init(tmp_path / "repo", ref_format=ref_format)
    if place == "user":
        (home / ".gitconfig").write_text(f"[extensions]\n\t{extension}\n")
    else:
        (git.git_dir / "more").write_text(f"[extensions]\n\t{extension}\n\t{extension}\n")
        git.run("config", "include.path", "more")
    git.env.pop("GIT_CONFIG_GLOBAL")
    assert git.run("rev-parse", "--show-ref-format").strip().decode() == ref_format
    repo = open_repo(git.path)
    assert repo.ref_format == ref_format
    assert repo.object_format.name == "sha1"
    repo.refs[MAIN] = A
    assert git.run("rev-parse", "--verify", MAIN).strip() == A
    refs = dr.ReftableRefsContainer(repo.controldir())
    assert refs.store.hex_size == 40
    if ref_format == "files":
        return  # what dulwich does by itself
    with dr.installed(), StockRepo(str(git.path)) as stock:
        assert stock.refs[MAIN] == A


# -- other refs than those of the configuration


BACKENDS = ["files", "reftable", "reftable://", "reftable:///nowhere", "files://.", "sqlite", ""]


@pytest.mark.parametrize("backend", [*BACKENDS, "reftable://."])
@pytest.mark.parametrize("ref_format", ["reftable", "files"])
def test_a_backend_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ref_format: str, backend: str
) -> None:
    """Refs that are elsewhere than the configuration says are refused, not passed over."""
    path = str(tmp_path / "repo.git")
    with dr.Repo.init_bare(path, mkdir=True, ref_format=ref_format) as repo:
        repo.refs[MAIN] = A
    before = sorted(os.walk(path))
    monkeypatch.setenv("GIT_REFERENCE_BACKEND", backend)
    is_same = backend.partition("://")[0] == ref_format and "nowhere" not in backend
    with dr.installed():
        for open_one in (dr.Repo, StockRepo):
            if is_same:
                with open_one(path) as repo:
                    assert repo.refs[MAIN] == A
            else:
                with pytest.raises(dr.ConfigurationError, match="GIT_REFERENCE_BACKEND"):
                    open_one(path)
    made = tmp_path / "made.git"
    if is_same:
        dr.Repo.init_bare(str(made), mkdir=True, ref_format=ref_format).close()
    else:
        made.mkdir()
        with pytest.raises(dr.ConfigurationError, match="GIT_REFERENCE_BACKEND"):
            dr.Repo.init_bare(str(made), ref_format=ref_format)
        assert list(made.iterdir()) == []
    assert sorted(os.walk(path)) == before


@pytest.mark.skipif(GIT_VERSION < (2, 54), reason="this git does not know GIT_REFERENCE_BACKEND")
@pytest.mark.parametrize("backend", BACKENDS)
def test_git_shows_other_refs_where_we_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """Where we show refs, they are those that git shows."""
    git = Git.init(tmp_path / "repo")
    with dr.Repo(str(git.path)) as repo:
        repo.refs[MAIN] = A
    git.env["GIT_REFERENCE_BACKEND"] = backend
    monkeypatch.setenv("GIT_REFERENCE_BACKEND", backend)
    try:
        with dr.Repo(str(git.path)) as repo:
            assert repo.refs[MAIN] == A
    except dr.ConfigurationError:
        with pytest.raises(GitError):
            git.run("rev-parse", "--verify", MAIN)
    else:
        assert git.run("rev-parse", "--verify", MAIN).strip() == A


# -- the format of new repositories

BIRTHS = [
    {},
    {"init.defaultRefFormat": "reftable"},
    {"init.defaultRefFormat": "files", "feature.experimental": "true"},
    {"feature.experimental": "yes"},
    {"feature.experimental": "no"},
    {"init.defaultRefFormat": "nonsense", "feature.experimental": "1"},
]


@pytest.mark.filterwarnings("ignore:init.defaultRefFormat")
@pytest.mark.parametrize("environment", [None, "files", "reftable"])
@pytest.mark.parametrize("settings", BIRTHS)
def test_the_format_of_a_new_repository(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    environment: str | None,
) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    for at, (key, value) in enumerate(settings.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{at}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{at}", value)
    if environment is not None:
        monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", environment)
    expected = environment or settings.get("init.defaultRefFormat")
    if expected not in ("files", "reftable"):
        is_experimental = settings.get("feature.experimental") in ("yes", "1")
        expected = "reftable" if is_experimental else "files"
    assert default_ref_format(config_in_force()) == expected
    with dr.installed(), StockRepo.init(str(tmp_path / "ours"), mkdir=True) as repo:
        assert isinstance(repo.refs, DiskRefsContainer) == (expected == "files")
    if ((2, 51) if "feature.experimental" in settings else (2, 46)) <= GIT_VERSION:
        subprocess.run(["git", "init", "-q", str(tmp_path / "theirs")], check=True)
        assert Git(tmp_path / "theirs").run("rev-parse", "--show-ref-format").split() == [
            expected.encode()
        ]


def test_an_experiment_that_is_no_boolean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "feature.experimental")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "perhaps")
    with pytest.raises(dr.ConfigurationError, match="experimental = 'perhaps' in the environment"):
        default_ref_format(config_in_force())
