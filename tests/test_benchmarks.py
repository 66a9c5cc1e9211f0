"""The benchmarks run, on very small sets; what they measure says nothing then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.datasets import objects_of, ref_names
from benchmarks.repositories import Repositories
from benchmarks.scale import FULL, scaled
from support.git import Git, requires_git
from support.versions import needs_server

ROOT = Path(__file__).resolve().parents[1]


def test_the_shape_of_the_sets() -> None:
    """Of the 866,456 refs of the full set, 1,200 are branches and 3,800 are tags."""
    count = FULL.refs // 10
    names = ref_names(count)
    assert len(names) == len(set(names)) == count
    for prefix, number in ((b"refs/heads/", 121), (b"refs/tags/", 381)):
        assert sum(name.startswith(prefix) for name in names) == number
    assert 700 < sum(name.startswith(b"refs/changes/42/") for name in names) < 1000


@requires_git
@pytest.mark.parametrize("ref_format", ["reftable", "files"])
def test_every_ref_has_an_object(tmp_path: Path, ref_format: str) -> None:
    repositories = Repositories(tmp_path, scaled(300))
    path = repositories.one if ref_format == "reftable" else repositories.files
    git = Git(path)
    assert git.complaints() == b""
    seen = git.for_each_ref()
    for name in ref_names(300):
        *target, oid = (item.oid.hex().encode() for item in objects_of(name))
        assert (seen[name].value, seen[name].peeled) == (oid, target[0] if target else None)


def test_some_cases(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    arguments = ["--refs", "300", "--repeat", "1", "--no-git", "--dir", "work"]
    cases = ("first-lookup", "tags-hot", "reflog-of-many", "create-1000-small", "expire")
    command = [sys.executable, "-m", "tests.benchmarks", *arguments, "--json", str(figures)]
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT)}
    done = subprocess.run(
        [*command, "--only", *cases],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {case["name"]: case for case in json.loads(figures.read_text())["cases"]}
    assert {*cases} <= {*found}
    for case in found.values():
        assert case["failures"] == {}
        assert case["seconds"]["ours"] > 0
    assert found["expire"]["peak_bytes"]["ours"] > 1 << 20
    for name in cases:
        assert f"| {found[name]['title']} " in done.stdout
    assert not list((tmp_path / "work").glob("work-*"))


@needs_server
def test_refs_in_a_bucket(capsys: pytest.CaptureFixture[str]) -> None:
    bucket = pytest.importorskip("benchmarks.bucket", reason="obstore is not installed")
    bucket.run(300, seconds=0.1, updates=500)
    printed = capsys.readouterr().out
    assert printed.count("updates/s") == 4
    assert "LOST" not in printed
    assert "failed" not in printed
