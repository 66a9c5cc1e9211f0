"""The command on repositories in an object store."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import Run, run

from bucket.test_repo import MAIN, add_commit
from dulwich_reftable.bucket import BucketRepo

__all__ = ["run"]

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def url() -> str:
    return f"memory://test-cli-{next(_numbers)}/a/b"


@pytest.fixture
def repo(url: str) -> Iterator[BucketRepo]:
    with BucketRepo.init(url, default_branch=b"main") as made:
        yield made


def test_init(run: Run, url: str) -> None:
    done = run("init", "--object-format", "sha256", url)
    assert done.lines == [f"made a repository with reftable refs in {url}"]
    with BucketRepo(url) as repo:
        assert repo.object_format.name == "sha256"
    done = run("init", url)
    assert done.code == 1
    assert b"there is a repository already" in done.err
    assert run("init", "--ref-format", "files", url + "x").code == 1


def test_refs_are_updated_and_shown(run: Run, repo: BucketRepo, url: str) -> None:
    oid = add_commit(repo).decode()
    assert run("update-ref", "-C", url, "-m", "why", "--create-reflog", "HEAD", oid).code == 0
    assert run("show-ref", "-C", url).lines == [f"{oid} refs/heads/main"]
    assert run("show-ref", "-C", url, "--points-at", oid[:8]).lines == [f"{oid} refs/heads/main"]
    assert run("reflog", "-C", url, "show", "main").lines == [f"{oid[:7]} main@{{0}}: why"]
    assert run("reflog", "-C", url, "list").lines == ["HEAD", "refs/heads/main"]
    assert run("reflog", "-C", url, "expire", "--expire=all", "--all").code == 0
    assert list(repo.read_reflog(MAIN)) == []
    wrong = run("update-ref", "-C", url, "refs/heads/main", oid, "1" * 40)
    assert wrong.code == 1
    assert b"refs/heads/main" in wrong.err
    assert run("update-ref", "-C", url, "-d", "refs/heads/main").code == 0
    assert run("show-ref", "-C", url).code == 1


def test_tables_are_looked_at_and_kept_in_order(run: Run, repo: BucketRepo, url: str) -> None:
    repo.refs[MAIN] = add_commit(repo)
    assert run("verify", url).code == 0
    [stack] = json.loads(run("stats", "--json", url).out)["stacks"]
    assert stack["location"] == url
    assert stack["namespaces"]
    assert b"refs/heads/main" in run("dump", url).out
    assert run("compact", url).code == 0
    assert run("clean", url).code == 0


def test_gc(run: Run, repo: BucketRepo, url: str, tmp_path: Path) -> None:
    repo.refs[MAIN] = add_commit(repo)
    add_commit(repo, b"lost")
    first = run("gc", "--full", "--grace", "0", url)
    assert first.lines[0].startswith("3 objects are kept")
    assert any(line.startswith("retired ") for line in first.lines)
    second = run("gc", "--full", "--grace", "0", url)
    assert any(line.startswith("removed ") for line in second.lines)
    with BucketRepo(url) as again:
        assert len({*again.object_store}) == 3
    assert run("gc", tmp_path).code == 1


def test_what_is_not_there_is_an_error(run: Run, url: str, tmp_path: Path) -> None:
    for command in (["verify", url], ["show-ref", "-C", url], ["gc", url]):
        done = run(*command)
        assert done.code == 1
        assert b"not a git repository" in done.err
    assert b"no URL of an object store" in run("verify", "ftp://host/x").err
    assert run("verify", "--store-option", "region=x", tmp_path).code == 1


@pytest.mark.parametrize(
    "option",
    ["secret_access_key=hush", "aws_session_token=hush", "account_key=hush", "hush", "Hush=1",
     "timeout=hush", "client_options=hush"],
)  # fmt: skip
def test_secrets_are_no_options_and_are_not_repeated(run: Run, url: str, option: str) -> None:
    done = run("verify", "--store-option", option, url)
    assert done.code == 2
    assert b"KEY=VALUE" in done.err
    if "=" in option:
        assert b"hush" not in done.err.splitlines()[-1]
