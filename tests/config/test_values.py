"""Values of configuration keys, beside git's reading of them."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import dulwich
import pytest
from dulwich.config import ConfigFile, StackedConfig
from support.git import GIT_VERSION, Git, GitError, requires_git
from support.pool import ObjectPool
from support.versions import needs_dulwich

import dulwich_reftable as dr
from dulwich_reftable.config.settings import _syncs_refs
from dulwich_reftable.config.types import integer, is_true, pathname
from dulwich_reftable.config.values import _READ_BY_DULWICH, GitConfigFile, get_boolean

NUMBERS = [
    "0", "1", "2", "-1", "-0", "+5", " 5", "5 ", "5 k", "0x1000", "0X1F", "0x", "0xg", "010", "08",
    "1k", "1K", "10kb", "k", "0x10k", "-1k", "- 1", "1.5", "1_000", "0" * 30 + "7", "2g",
    "2147483648", "-2147483649", "9223372036854775807", "9223372036854775808", "99999999999g",
    "\u0661", "",
]  # fmt: skip
"""Numbers, also such as only some types or none take."""

WORDS = ["true", "TRUE", "yes", "on", "false", "No", "off", "y", "none", "always", "Always"]
"""Booleans, and what comes near."""

LIMITS = ["255", "256", "65535", "65536", "0xffffff", "16m", "-2", "2147483648", "1k", "", "01000"]
"""The limits of git's keys. (Of a block that no record goes into git dies, without a word.)"""

MODES = [
    "", "yes", "false", "umask", "group", "Group", "all", "world", "everybody", "0", "1", "02",
    "0640", "640", "0750", "0777", "0600", "0020", "8", "0x1f", "junk",
]  # fmt: skip
MIXED = ["2", "0x3", "3k", "0", "-1", "yes", "", "input"]


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory, pool_of: Callable[[str], ObjectPool]) -> Git:
    """A repository with a branch, in which git updates refs."""
    git = Git.init(tmp_path_factory.mktemp("config") / "repo")
    pool_of("sha1").lend(git.git_dir)
    git.update_ref_stdin([b"create refs/heads/main " + pool_of("sha1").commits[0]])
    return git


def setting(key: str, value: str) -> dict[str, str]:
    """Give the variables of the environment that set a key."""
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": value}


def outcome(read: Callable[[], Any]) -> Any:
    """Give what a reading comes to: the result, or that it was refused."""
    try:
        return read()
    except (GitError, ValueError):
        return "refused"


# -- types


@requires_git
@pytest.mark.parametrize(
    ("kind", "read", "show"),
    [
        ("bool", is_true, lambda value: str(value).lower()),
        ("int", lambda text: integer(text, (1 << 63) - 1), str),
    ],
)
def test_a_type(
    git: Git, kind: str, read: Callable[[bytes], Any], show: Callable[[Any], str]
) -> None:
    """It means to us what it means to git, or neither of us takes it."""
    for value in NUMBERS + WORDS:
        theirs = outcome(
            lambda value=value: (
                git.run("config", "--get", f"--type={kind}", "a.b", env=setting("a.b", value))
                .decode()
                .strip()
            )
        )
        assert outcome(lambda value=value: show(read(os.fsencode(value)))) == theirs, value


@requires_git
@pytest.mark.parametrize("value", ["x", "/x/y", "~/x", "~", "~root/x", "~nobody-is-called-so/x"])
def test_a_path(git: Git, value: str) -> None:
    env = {**setting("a.b", value), "HOME": os.environ["HOME"]}
    theirs = outcome(lambda: git.run("config", "--get", "--type=path", "a.b", env=env).decode())
    assert outcome(lambda: f"{pathname(value.encode())}\n") == theirs


def test_an_optional_path(tmp_path: Path) -> None:
    there, missing = str(tmp_path), str(tmp_path / "missing")
    assert pathname(f":(optional){there}".encode()) == there
    assert pathname(f":(optional){missing}".encode()) is None
    with pytest.raises(ValueError, match="where git is installed"):
        pathname(b"%(prefix)/share")


# -- keys of refs


def block_size_of(git: Git) -> int:
    """Give the block size of the newest table."""
    return int.from_bytes(git.tables()[-1].read_bytes()[5:8], "big")


REFTABLE_KEYS = ["blockSize", "restartInterval", "indexObjects", "geometricFactor"]
if GIT_VERSION >= (2, 48):
    REFTABLE_KEYS.append("lockTimeout")


@requires_git
@pytest.mark.parametrize(
    ("key", "values"),
    [
        *((f"reftable.{name}", [*LIMITS, "yes"]) for name in REFTABLE_KEYS),
        ("core.logAllRefUpdates", [*WORDS, "2", "", "0x", "-1"]),
    ],
)
def test_a_key_of_refs(
    git: Git,
    open_repo: Callable[[Path], dr.Repo],
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    values: list[str],
) -> None:
    """git and we write with the same values, and both refuse the others."""
    main = git.run("rev-parse", "refs/heads/main").strip()
    for at, value in enumerate(values):
        env = setting(key, value)
        for name, content in env.items():
            monkeypatch.setenv(name, content)
        ref = f"refs/{key.lower()}/{at}"

        def write_theirs(ref: str = ref, env: dict[str, str] = env) -> int:
            git.run("update-ref", f"{ref}/git", main, env=env)
            return block_size_of(git)

        try:
            open_repo(git.path).refs[f"{ref}/ours".encode()] = main
            ours: Any = block_size_of(git)
        except dr.ConfigurationError as error:
            said = str(error).lower()
            assert f"{key.lower()} = '{value.lower()}' in the environment" in said
            ours = "refused"
        assert outcome(write_theirs) == ours, value


@requires_git
def test_the_mode_of_shared_files(
    git: Git, open_repo: Callable[[Path], dr.Repo], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables get the mode that git gives them: nobody can execute them."""
    main = git.run("rev-parse", "refs/heads/main").strip()
    for at, value in enumerate(MODES):
        env = setting("core.sharedRepository", value)
        for name, content in env.items():
            monkeypatch.setenv(name, content)

        def write_theirs(at: int = at, env: dict[str, str] = env) -> list[int]:
            git.run("update-ref", f"refs/mode/git-{at}", main, env=env)
            return modes(git)

        def write_ours(at: int = at) -> list[int]:
            open_repo(git.path).refs[f"refs/mode/ours-{at}".encode()] = main
            return modes(git)

        assert outcome(write_ours) == outcome(write_theirs), value


def modes(git: Git) -> list[int]:
    """Give the modes of the newest table and of the list."""
    table = git.tables()[-1]
    return [path.stat().st_mode & 0o7777 for path in (table, table.parent / "tables.list")]


@requires_git
@pytest.mark.parametrize(
    "value",
    ["reference", "committed", "added", "all", "objects", "none", "none,reference",
     "reference,none", "all,-reference", "-reference", "-reference,all", "index, reference",
     "index reference", "refer", "loose-object,pack", "nonsense", "-", "-,all", ""],
)  # fmt: skip
def test_what_is_synced(git: Git, tmp_path: Path, value: str) -> None:
    """``core.fsync`` is read as git reads it; git's trace counts what it syncs."""
    trace = tmp_path / "trace"
    main = git.run("rev-parse", "refs/heads/main").strip()
    env = {
        **setting("core.fsync", value),
        "GIT_TRACE2_EVENT": str(trace),
        "GIT_TEST_FSYNC": "true",
    }
    git.run("update-ref", "--create-reflog", f"refs/sync/{abs(hash(value))}", main, env=env)
    synced = re.search(r'"fsync","name":"hardware-flush","count":([1-9])', trace.read_text())
    assert _syncs_refs(value.encode()) == bool(synced)


# -- what dulwich reads


def test_all_numbers_that_dulwich_reads_are_known() -> None:
    """Whatever dulwich calls ``int`` on is in our table."""
    found = set()
    for path in Path(dulwich.__file__).parent.glob("*.py"):
        text = path.read_text()
        for section, name in re.findall(
            r'\bint\(\s*(?:\w+_)?config\.get\(\(?b?"(\w+)",?\)?, b?"(\w+)"\)', text
        ):
            found.add((section.lower().encode(), name.lower().encode()))
    assert found
    assert found - {(b"bundle", b"version")} <= _READ_BY_DULWICH.keys()


@pytest.fixture(scope="module")
def numbers(git: Git) -> dict[str, int]:
    """What git's type "int" makes of values, as far as they are such."""
    found = {}
    for value in MIXED:
        with suppress(GitError):
            found[value] = int(git.run("config", "--type=int", "a.b", env=setting("a.b", value)))
    return found


def expected_of(key: tuple[bytes, bytes], value: str, numbers: dict[str, int]) -> bytes | None:
    """Tell what dulwich is to be shown for a value; None if git does not take it."""
    name = key[1].decode()
    if name in ("autocrlf", "safecrlf", "sparsecheckoutcone"):
        words = {"yes": b"true", "": b"false"}
        words.update((text, b"true" if number else b"false") for text, number in numbers.items())
        return words.get(value, value.encode())
    if value not in numbers:
        return None
    number = numbers[value]
    if "compression" in name and not -1 <= number <= 9:
        return None
    sizes = ("bigfilethreshold", "packedgitlimit", "deltabasecachelimit", "windowmemory")
    return None if number < 0 and name in sizes else b"%d" % number


ELSEWHERE = {(b"core", b"sharedrepository"), (b"core", b"repositoryformatversion")}


@requires_git
@pytest.mark.parametrize("ref_format", ["reftable", "files"])
def test_keys_that_dulwich_reads(
    tmp_path: Path, ref_format: str, numbers: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With any value that git takes, a repository is opened, and its objects are read."""
    git = Git.init(tmp_path / "repo", ref_format=ref_format)
    blob = git.run("hash-object", "-w", "--stdin", stdin=b"x" * 4000).strip()
    packs = [git.run("hash-object", "-w", "--stdin", stdin=b"%d" % at * 4000) for at in range(3)]
    for oid in packs:
        git.run("pack-objects", "-q", ".git/objects/pack/pack", stdin=oid)
        os.remove(git.git_dir / "objects" / oid[:2].decode() / oid[2:].decode().strip())
    path = git.git_dir / "config"
    before = path.read_text()
    for section, name in sorted(_READ_BY_DULWICH.keys() - ELSEWHERE):
        for value in MIXED:
            text = f"{before}[{section.decode()}]\n\t{name.decode()} = {value}\n"
            path.write_text(text)
            expected = expected_of((section, name), value, numbers)
            case = name, value
            try:
                with dr.Repo(str(path.parent.parent)) as repo:
                    shown = repo.get_config().get((section,), name)
                    assert repo.get_config_stack().get((section,), name) == shown == expected, case
                    for oid in (*packs, blob, *packs):
                        assert repo.object_store[oid.strip()].raw_length() >= 4000
            except dr.ConfigurationError as error:
                assert expected is None, case
                said = f"{section.decode()}.{name.decode()} = {value!r} in '{path}'"
                assert said in str(error)  # noqa: PT017


def test_what_is_written_is_what_was_there(repo: dr.Repo) -> None:
    config = repo.get_config()
    assert config.path is not None
    with open(config.path, "a") as file:
        file.write("[core]\n\tbigFileThreshold = 10m\n\tcommitGraph = yes\n")
    config = repo.get_config()
    assert config.get((b"core",), b"bigFileThreshold") == b"10485760"
    config.set((b"user",), b"name", b"N")
    config.write_to_path()
    written = ConfigFile.from_path(str(config.path))
    assert written.get((b"core",), b"bigFileThreshold") == b"10m"
    assert written.get((b"core",), b"commitGraph") == b"yes"


@pytest.mark.parametrize("value", ["yes", "on", "1", "2k", "", "no", "off", "0"])
def test_booleans_of_dulwich(tmp_path: Path, value: str) -> None:
    """Every boolean that dulwich asks a repository's configuration for may be any of git's."""
    with dr.Repo.init(str(tmp_path / "repo"), mkdir=True) as repo:
        config = repo.get_config()
        config.set((b"core",), b"commitGraph", value)
        config.set((b"filter", b"x"), b"required", value)
        config.write_to_path()
        expected = value in ("yes", "on", "1", "2k")
        for shown in (repo.get_config(), repo.get_config_stack()):
            assert shown.get_boolean((b"core",), b"commitGraph") is expected
            assert shown.get_boolean("core", "CommitGraph", False) is expected
            assert shown.get_boolean((b"filter", b"x"), b"required") is expected
            assert shown.get_boolean((b"core",), b"missing") is None
            assert shown.get_boolean(b"core", b"missing", True) is True
        config.set((b"core",), b"commitGraph", "perhaps")
        with pytest.raises(dr.ConfigurationError, match=r"core\.commitgraph = 'perhaps' in "):
            config.get_boolean((b"core",), b"commitGraph")
        assert config.path is not None
        with pytest.raises(dr.ConfigurationError, match=re.escape(config.path)):
            get_boolean(StackedConfig([config]), b"core", b"commitGraph", False)


def test_other_configurations_stay_dulwichs() -> None:
    """Ours is a reading of dulwich's: the same values, in one object or the other."""
    theirs = ConfigFile()
    ours = GitConfigFile.of(theirs)
    ours.set((b"core",), b"bigFileThreshold", b"1k")
    assert GitConfigFile.of(ours) is ours
    assert theirs.get((b"core",), b"bigFileThreshold") == b"1k"
    assert ours.get((b"core",), b"bigFileThreshold") == b"1024"
    assert ours.get("core", "bigfilethreshold") == b"1024"
    assert list(ours.items((b"core",))) == [(b"bigFileThreshold", b"1k")]


# -- objects that nobody may delete


@requires_git
@pytest.mark.parametrize(
    "extension", ["preciousObjects = yes", "partialClone = origin", "preciousObjects = no"]
)
@pytest.mark.parametrize("ref_format", ["reftable", "files"])
def test_objects_that_are_kept(tmp_path: Path, extension: str, ref_format: str) -> None:
    git = Git.init(tmp_path / "repo", ref_format=ref_format)
    loose = git.run("hash-object", "-w", "--stdin", stdin=b"loose").strip()
    packed = git.run("hash-object", "-w", "--stdin", stdin=b"packed").strip()
    git.run("pack-objects", ".git/objects/pack/pack", stdin=packed + b"\n")
    with (git.git_dir / "config").open("a") as file:
        file.write(f"[extensions]\n\t{extension}\n")
    with dr.Repo(str(git.path)) as repo, warnings.catch_warnings():
        warnings.simplefilter("error")
        repo.object_store.delete_loose_object(packed)  # a copy is left
        if extension.endswith("no"):
            repo.object_store.repack()
            repo.object_store.pack_loose_objects()
            return
        with pytest.raises(dr.ReftableError, match="no objects are deleted"):
            repo.object_store.repack()
        with pytest.raises(dr.ReftableError, match="no objects are deleted"):
            repo.object_store.delete_loose_object(loose)
        repo.object_store.pack_loose_objects()
    for oid in (loose, packed):
        git.run("cat-file", "-e", oid)


@requires_git
@needs_dulwich("1.2.13", "it gave files other modes than git")
@pytest.mark.parametrize("shared", ["0750", "0600", "group", "0664", "everybody"])
def test_files_of_a_new_shared_repository(tmp_path: Path, shared: str) -> None:
    """All have the modes that git gives them, the configuration included."""
    for name in ("theirs", "ours"):
        (tmp_path / name).mkdir()
    shown = {"group": "1", "everybody": "2"}.get(shared, shared)
    template = f"--template={tmp_path / 'ours'}"
    Git(tmp_path).run("init", "-q", f"--shared={shown}", "--bare", template, "theirs")
    with dr.Repo.init_bare(str(tmp_path / "ours"), shared_repository=shared) as repo:
        repo.refs[b"refs/heads/x"] = b"a" * 40
    wanted = (tmp_path / "theirs" / "config").stat().st_mode
    for path in (tmp_path / "ours").rglob("*"):
        if path.is_file():
            assert path.stat().st_mode == wanted, path
