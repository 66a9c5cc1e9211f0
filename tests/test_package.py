"""The package's own namespace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dulwich_reftable as dr


def test_all_names_are_there() -> None:
    assert sorted(dr.__all__) == dr.__all__
    for name in dr.__all__:
        assert getattr(dr, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'instal'"):
        dr.instal  # noqa: B018


def test_what_few_programs_need_is_not_imported_for_all() -> None:
    program = (
        "import sys, dulwich_reftable\n"
        "print(*[name for name in sys.modules if name.startswith('dulwich')])\n"
        "dulwich_reftable.install()\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "dulwich_reftable.refs.container" in loaded
    for name in ("cli", "migration", "server", "patches.stash"):
        assert f"dulwich_reftable.{name}" not in loaded
    assert "dulwich.porcelain" not in loaded


def test_the_version_is_in_one_place() -> None:
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert '\nversion = { attr = "dulwich_reftable.__version__" }\n' in project
    assert '\nversion = "' not in project
