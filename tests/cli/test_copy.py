"""The command ``copy``."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("obstore", reason="obstore is not installed")

from copying.test_copy import make, place

from cli.conftest import Run
from dulwich_reftable.cli.stores import is_store_url


def test_copy_up_and_down(tmp_path: Path, run: Run) -> None:
    make(tmp_path / "source").close()
    target = place()
    done = run("copy", tmp_path / "source", target)
    assert done.code == 0
    assert done.lines[0] == "4 refs, 2 reflogs, 12 reflog entries"
    assert b"remote.origin.url" in done.err
    assert b"hunter2" not in done.err + done.out
    assert run("copy", target, tmp_path / "down").code == 0
    again = run("copy", target, tmp_path / "down")
    assert again.code == 1
    assert b"a copy already" in again.err
    assert run("copy", "--update", target, tmp_path / "down").code == 0


def test_secrets_are_not_shown(tmp_path: Path, run: Run) -> None:
    make(tmp_path / "source").close()
    done = run("copy", tmp_path / "source", "s3://key:hunter2@bucket/path")
    assert done.code == 1
    assert b"hunter2" not in done.err


def test_options_of_the_store(tmp_path: Path, run: Run) -> None:
    make(tmp_path / "source").close()
    done = run("copy", "--store-option", "region=eu-west-1", tmp_path / "source", place())
    assert done.code == 1
    assert b"takes no options, such as 'region'" in done.err
    assert run("copy", tmp_path / "source", "ftp://bucket/path").code == 1
    assert run("copy", "--store-option", "secret_access_key=x", "a", "b").code == 2


def test_a_drive_is_no_url() -> None:
    assert is_store_url("s3://bucket/path")
    for path in ("C:\\a.git", "C:/a.git", "C://a.git", "./a", "a:b/c", "//server/share/a.git"):
        assert not is_store_url(path)
