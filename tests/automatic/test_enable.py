"""``enable``, ``disable`` and ``status``, and the files that they write."""

from __future__ import annotations

import compileall
import errno
import os
import site
import sys
from itertools import product
from pathlib import Path

import pytest

from dulwich_reftable import __version__
from dulwich_reftable.automatic import site_files
from dulwich_reftable.automatic.site_files import SiteError, SiteFiles
from dulwich_reftable.cli import enable, main
from dulwich_reftable.engine.errors import StorageError

from .conftest import Environment

ALL_NAMES = {f"dulwich_reftable_auto.{suffix}" for suffix in ("py", "pth", "start")}
ALL_NAMES.add("dulwich_reftable_stand_ins.py")
UNUSED = f"dulwich_reftable_auto.{'pth' if sys.version_info >= (3, 18) else 'start'}"
NAMES = ALL_NAMES - {UNUSED}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SiteFiles:
    """An empty directory with a neighbour, where compiled files lie beside their sources."""
    monkeypatch.setattr(sys, "pycache_prefix", None)
    (tmp_path / "neighbour.pth").touch()
    return SiteFiles(str(tmp_path), "1.2")


def listed(place: SiteFiles) -> set[str]:
    return {*os.listdir(place.directory)} - {"neighbour.pth"}


def test_twice_is_once(place: SiteFiles) -> None:
    assert place.versions() == {}
    assert place.write()
    assert listed(place) == {*NAMES, "__pycache__"}
    assert place.versions() == dict.fromkeys(NAMES, "1.2")
    assert not place.write()
    compileall.compile_dir(place.directory, quiet=1)
    assert place.remove()
    assert listed(place) == set()
    assert not place.remove()
    assert (place.directory / "neighbour.pth").exists()


def test_all_users_can_read_them(place: SiteFiles) -> None:
    before = os.umask(0o077)
    try:
        place.write()
    finally:
        os.umask(before)
    if os.name != "nt":
        assert {(place.directory / name).stat().st_mode & 0o777 for name in NAMES} == {0o644}


def test_other_versions_are_replaced_and_removed(
    place: SiteFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the first, which wrote what Python 3.15 takes long to read."""
    older = SiteFiles(str(place.directory), "1.1")
    with monkeypatch.context() as patched:
        patched.setattr(site_files, "_UNUSED", "")
        assert older.write()
    assert place.versions() == dict.fromkeys(ALL_NAMES, "1.1")
    assert place.write()
    assert place.versions() == dict.fromkeys(NAMES, "1.2")
    (place.directory / "dulwich_reftable_auto.py").unlink()
    assert place.write()
    assert listed(place) == {*NAMES, "__pycache__"}
    assert older.remove()
    assert listed(place) == set()


@pytest.mark.parametrize(
    ("name", "is_foreign"), [*product(sorted(NAMES), (True, False)), (UNUSED, True)]
)
def test_other_files_stay(place: SiteFiles, name: str, is_foreign: bool) -> None:
    path = place.directory / name
    if not is_foreign:
        place.write()
    data = b"import this\n" if is_foreign else path.read_bytes() + b"\n# mine\n"
    path.write_bytes(data)
    before = listed(place)
    for work in (place.write, place.remove, place.versions):
        with pytest.raises(SiteError, match=name.replace(".", r"\.")):
            work()
    assert path.read_bytes() == data
    assert listed(place) == before


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = SiteFiles(str(tmp_path / "file" / "below"), "1.2")
    assert place.versions() == {}
    assert not place.remove()
    with pytest.raises(StorageError, match="cannot write") as caught:
        place.write()
    assert str(place.directory) in str(caught.value.filename)


def test_a_failed_write_leaves_no_file(place: SiteFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        place.write()
    assert listed(place) == set()


def test_files_that_belong_to_a_package(place: SiteFiles) -> None:
    assert place.package_version is None
    metadata = place.directory / "dulwich_reftable_auto-7.8.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: dulwich-reftable-auto\nVersion: 7.8\n")
    assert place.package_version == "7.8"


COMMANDS = """
import os, sys
from dulwich_reftable.cli import main
for command in sys.argv[1:]:
    print("==", command, main(command.split()), flush=True)
"""


def test_the_commands(tmp_path: Path, packages: list[str]) -> None:
    """One process runs all of them: most of the time is that of imports."""
    environment = Environment(tmp_path / "environment", *packages, users=True)
    user = SiteFiles(environment.print_of("-m", "site", "--user-site")[0], __version__)
    own = SiteFiles(str(environment.site), __version__)
    commands = ["status", "enable", "enable", "status", "disable", "disable"]
    commands += ["enable --user", "status --user", "disable --user"]
    lines = environment.print_of("-c", COMMANDS, *commands)
    text = "\n".join(lines)
    assert f"{own.directory}: not enabled\n{user.directory}: not enabled" in text
    assert [line for line in lines if line.startswith("== ")] == [
        "== status 1",
        "== enable 0",
        "== enable 0",
        "== status 0",
        "== disable 0",
        "== disable 0",
        "== enable --user 0",
        "== status --user 0",
        "== disable --user 0",
    ]
    assert f"\nenabled in {own.directory}\n" in text
    assert f"\nis enabled in {own.directory}\n" in text
    assert f"\n{own.directory}: enabled, by version {__version__}\n" in text
    assert "\n  dulwich.repo:Repo.__init__\n" in text
    assert f"\ndisabled in {own.directory}\n" in text
    assert f"\nis not enabled in {own.directory}\n" in text
    assert f"\nenabled in {user.directory}\n" in text
    assert f"\n{user.directory}: enabled, by version {__version__}\n" in text
    assert own.versions() == user.versions() == {}


def test_a_python_that_does_not_run_the_files(
    place: SiteFiles, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one whose site-packages are not where sysconfig says."""
    monkeypatch.setattr(enable, "chosen", lambda parsed: place)
    assert main(["enable"]) == 1
    assert "does not run the .pth files in" in capsys.readouterr().err
    assert listed(place) == set()


def test_a_hint_where_others_may_write(
    place: SiteFiles, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(enable, "chosen", lambda parsed: place)
    for users in (True, False):
        monkeypatch.setattr(site, "ENABLE_USER_SITE", users)
        assert main(["enable"]) == 1
        printed = capsys.readouterr().err
        assert "cannot write: Permission denied" in printed
        assert ("try --user" in printed) == users


def test_the_commands_that_fail(
    place: SiteFiles, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SiteFiles, "of_environment", lambda version: place)
    monkeypatch.setattr(site, "ENABLE_USER_SITE", False)
    path = place.directory / "dulwich_reftable_auto.pth"
    path.write_text("# mine\n")
    for command in ("enable", "disable", "enable --user", "status"):
        assert main(command.split()) == 1
    printed = capsys.readouterr()
    assert printed.err.count(f"{path}' was not written by this command") == 2
    assert "does not look at the site-packages of its user" in printed.err
    assert f"{place.directory}: '{path}' was not written" in printed.out
    assert listed(place) == {path.name}
