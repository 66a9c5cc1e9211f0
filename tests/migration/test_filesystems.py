"""Migrating where names or open files are not what they are here (`support.filesystems`)."""

from __future__ import annotations

import gc
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from support.filesystems import needs_proc, playing

import dulwich_reftable as dr
from dulwich_reftable.migration.spellings import Spellings, folds

from .scenes import Pools, Repository, make

pytestmark = [
    needs_proc,
    pytest.mark.plain_filesystem("plays its own"),
]

ONE, TWO = b"1" * 40, b"2" * 40
TOPIC = b"refs/heads/topic"
CAFE = "refs/heads/caf\N{LATIN SMALL LETTER E WITH ACUTE}"
ABOUT: dict[str, Any] = {"message": b"m", "committer": b"C O <c@example.com>"}


def contents(path: str) -> dict[str, bytes]:
    return {str(f): f.read_bytes() for f in Path(path).rglob("*") if f.is_file()}


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (b"refs/heads/Topic", TOPIC, "refs/heads/Topic"),
        (b"refs/heads/Topic/one", TOPIC + b"/two", "refs/heads/Topic"),
        (b"refs/heads/TOPIC", TOPIC + b"/one", "refs/heads/TOPIC"),
        (unicodedata.normalize("NFD", CAFE).encode(), CAFE.encode(), "refs/heads/cafe"),
    ],
)
def test_one_name_to_the_file_system(
    repo: dr.Repo, monkeypatch: pytest.MonkeyPatch, first: bytes, second: bytes, same: str
) -> None:
    """Nothing is changed, and the message names both; elsewhere both are migrated."""
    with repo.refs.transaction(**ABOUT) as tx:
        tx.create(first, ONE)
        tx.create(second, TWO)
    before = contents(repo.path)
    with playing("caseless", monkeypatch):
        with pytest.raises(dr.MigrationError, match="is the same name") as raised:
            dr.migrate(repo, "files")
        assert same in unicodedata.normalize("NFD", str(raised.value))
        assert second.decode() in str(raised.value)
        assert contents(repo.path) == before
        assert repo.refs[first] == ONE
        assert repo.refs[second] == TWO
    dr.migrate(repo, "files")
    assert repo.refs[first] == ONE
    assert repo.refs[second] == TWO


@pytest.mark.parametrize("kind", ["caseless", "windows"])
def test_names_that_differ_by_more_than_case(
    repo: dr.Repo, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    names = {b"refs/heads/Topic/One": ONE, b"refs/heads/Topic/two": TWO, CAFE.encode(): ONE}
    with repo.refs.transaction(**ABOUT) as tx:
        for name, value in names.items():
            tx.create(name, value)
    gc.collect()
    with playing(kind, monkeypatch):
        for to in ("files", "reftable"):
            dr.migrate(repo, to)
            assert repo.refs.as_dict().items() >= names.items()
            assert [len(list(repo.read_reflog(name))) for name in names] == [1, 1, 1]
        repo.refs.close()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"refs/heads/a./b", "does not keep its name"),
        (b"refs/heads/nul", "does not keep its name"),
        (b'refs/heads/a"b', "cannot be created"),
        (b"refs/heads/a|b/c", "cannot be created"),
    ],
)
def test_names_of_windows(
    repo: dr.Repo, monkeypatch: pytest.MonkeyPatch, name: bytes, reason: str
) -> None:
    """Names that Windows refuses, or changes without saying so; a reflog has a file, too."""
    repo.refs.set_if_equals(name, None, ONE, **ABOUT)
    before = contents(repo.path)
    gc.collect()
    with playing("windows", monkeypatch):
        with pytest.raises(dr.MigrationError, match=reason):
            dr.migrate(repo, "files")
        assert repo.refs[name] == ONE
        repo.refs.close()
    assert contents(repo.path) == before


def test_nothing_of_ours_is_open(
    tmp_path: Path, pool_of: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows: what is moved or removed was closed before."""
    made: Repository = make("worktrees", tmp_path / "made", pool_of, "files")
    before = made.seen()
    gc.collect()
    with playing("windows", monkeypatch), dr.Repo(str(made.git.path)) as repo:
        for to in ("reftable", "files"):
            repo.refs.as_dict()
            done = dr.migrate(repo, to)
            repo.refs.as_dict()
            assert not any("open" in note for note in done.notes)
            assert made.remains(to) == []
    assert made.seen() == before


def test_others_have_files_open(repo: dr.Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows: the migration is over all the same, says what stays, and the next one goes on."""
    repo.refs.set_if_equals(TOPIC, None, ONE, **ABOUT)
    table = next(Path(repo.path, ".git", "reftable").glob("*.ref"))
    gc.collect()
    with playing("windows", monkeypatch):
        with table.open("rb"):
            done = dr.migrate(repo, "files")
            assert any(str(table.parent) in note and "open" in note for note in done.notes)
            assert repo.refs[TOPIC] == ONE
            repo.refs[TOPIC] = TWO
            with pytest.raises(dr.StorageError):
                dr.migrate(repo, "reftable")
            assert repo.refs[TOPIC] == TWO
        dr.migrate(repo, "reftable")
        assert repo.refs[TOPIC] == TWO
        repo.refs.close()
    assert not [name for name in os.listdir(repo.controldir()) if "ref_migration" in name]


def test_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folds(str(tmp_path)) == {}
    with playing("caseless", monkeypatch):
        assert folds(str(tmp_path)) == {"folds_case": True, "folds_forms": True}
    assert os.listdir(tmp_path) == []


def test_spellings() -> None:
    spellings = Spellings(folds_case=True, folds_forms=False)
    assert spellings.find(b"refs/heads/a/b") is None
    assert spellings.find(b"refs/heads/a/b") is None
    assert spellings.find(b"refs/heads/A/c") == b"refs/heads/a"
    assert spellings.find(b"refs/heads/a/c") is None
    assert spellings.find(b"Refs/heads/x") == b"refs"
    assert spellings.find(b"refs/heads/\xff") is None
