"""Settings of the servers, beside git's reading of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.git import Git, GitError, requires_git
from support.pool import ObjectPool

import dulwich_reftable as dr
from dulwich_reftable.server.access import is_enabled
from dulwich_reftable.server.receive_pack.settings import ReceiveSettings
from dulwich_reftable.server.upload_pack.settings import UploadSettings

from .serving import running

BOOLEANS = ["yes", "off", "2", "", "perhaps", "1.5"]
NUMBERS = ["0", "-1", "0x10", "1k", "2g", "99999999999999999999", "many", ""]
WORDS = ["always", "ALWAYS", *BOOLEANS]
DENIALS = ["warn", "Ignore", "refuse", "updateInstead", "perhaps", *BOOLEANS]

RECEIVE = {
    "receive.denyDeletes": BOOLEANS,
    "receive.denyNonFastForwards": BOOLEANS,
    "receive.denyCurrentBranch": DENIALS,
    "receive.denyDeleteCurrent": DENIALS,
    "receive.maxInputSize": NUMBERS,
    "receive.unpackLimit": NUMBERS,
    "transfer.unpackLimit": NUMBERS,
    "core.bare": BOOLEANS,
}
UPLOAD = {
    "uploadpack.allowTipSHA1InWant": BOOLEANS,
    "uploadpack.allowReachableSHA1InWant": BOOLEANS,
    "uploadpack.allowAnySHA1InWant": BOOLEANS,
    "uploadpack.allowFilter": BOOLEANS,
    "uploadpackfilter.allow": BOOLEANS,
    "uploadpackfilter.blob:none.allow": BOOLEANS,
    "uploadpackfilter.tree.maxDepth": NUMBERS,
}


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    return Git.init(tmp_path_factory.mktemp("settings") / "repo.git", bare=True)


@requires_git
@pytest.mark.parametrize(
    ("program", "key", "values"),
    [
        *(("receive-pack", key, values) for key, values in RECEIVE.items()),
        *(("upload-pack", key, values) for key, values in UPLOAD.items()),
    ],
)
def test_a_value_that_git_dies_of(
    git: Git,
    open_repo: Callable[[Path], dr.Repo],
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    key: str,
    values: list[str],
) -> None:
    """git serves nobody then, and neither do we; we understand all other values."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", key)
    for value in values:
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", value)
        env = {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": key,
            "GIT_CONFIG_VALUE_0": value,
        }
        try:
            git.run(program, "--http-backend-info-refs", ".", env=env)
            is_served = True
        except GitError:
            is_served = False
        config = open_repo(git.path).get_config_stack()
        said = ""
        try:
            if program == "receive-pack":
                ReceiveSettings.of(config, bare=True)
            else:
                UploadSettings.of(config)
        except dr.ConfigurationError as error:
            said = str(error).lower()
        assert bool(said) != is_served, value
        assert said.startswith(f"{key.lower()} = '{value.lower()}' in the env") or not said


def settings(repo: dr.Repo, monkeypatch: pytest.MonkeyPatch, **values: str) -> ReceiveSettings:
    """Read the settings of pushes with some of ``receive.*`` set."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(values)))
    for at, (name, value) in enumerate(values.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{at}", f"receive.{name}")
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{at}", value)
    return ReceiveSettings.of(repo.get_config_stack(), bare=False)


@pytest.mark.parametrize(
    ("value", "action"),
    [("true", "refuse"), ("1", "refuse"), ("off", "ignore"), ("", "ignore"), ("Warn", "warn")],
)
def test_denials(repo: dr.Repo, monkeypatch: pytest.MonkeyPatch, value: str, action: str) -> None:
    found = settings(repo, monkeypatch, denyCurrentBranch=value, denyDeleteCurrent=value)
    assert found.deny_current_branch == found.deny_delete_current == action


def test_limits(repo: dr.Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(repo, monkeypatch, maxInputSize="1k").limits.input_size == 1024
    assert settings(repo, monkeypatch, maxInputSize="0").limits.input_size is None
    assert settings(repo, monkeypatch, maxInputSize="-1").limits.input_size is None
    assert settings(repo, monkeypatch, unpackLimit="0x10").unpack_limit == 16
    assert settings(repo, monkeypatch, unpackLimit="-1").unpack_limit == 100


@pytest.mark.parametrize(("value", "enabled"), [("on", True), ("0", False), ("", False)])
def test_services(repo: dr.Repo, value: str, enabled: bool) -> None:
    config = repo.get_config()
    config.set((b"http",), b"receivepack", value)
    assert is_enabled(config, "http", "receive-pack", not enabled) is enabled
    assert is_enabled(config, "http", "upload-pack", True) is True
    config.set((b"http",), b"receivepack", "perhaps")
    with pytest.raises(dr.ConfigurationError, match=r"http\.receivepack"):
        is_enabled(config, "http", "receive-pack", True)


@requires_git
@pytest.mark.parametrize("ref_format", ["reftable", "files"])
def test_a_repository_with_settings_that_dulwich_cannot_read(
    tmp_path: Path, pool_of: Callable[[str], ObjectPool], ref_format: str
) -> None:
    """The repository is served nevertheless."""
    git = Git.init(tmp_path / "x.git", bare=True, ref_format=ref_format)
    pool = pool_of("sha1")
    pool.lend(git.git_dir)
    git.update_ref_stdin([b"create refs/heads/main " + pool.commits[2]])
    for key, value in {
        "core.bigFileThreshold": "1k",
        "core.packedGitLimit": "1m",
        "core.deltaBaseCacheLimit": "96m",
        "core.commitGraph": "yes",
        "pack.windowMemory": "0x1000000",
        "pack.deltaCacheSize": "1g",
        "extensions.partialClone": "origin",
        "extensions.preciousObjects": "on",
    }.items():
        git.run("config", key, value)
    with running(tmp_path, "tcp") as server:
        Git(tmp_path).run("clone", "-q", server.url + "x.git", "cloned")
    assert Git(tmp_path / "cloned").run("rev-parse", "HEAD").strip() == pool.commits[2]
