"""Decisions about a push are made from the refs themselves, while others write."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.engine.table.merged import Merged
from dulwich_reftable.server.receive_pack.reftable_push import ReftablePush
from dulwich_reftable.server.upload_pack import version_2

from . import wire
from .pushing import push, refs_of

pytestmark = requires_git


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
@pytest.mark.parametrize("mine", ["refs/heads/lost", "refs/heads/lost/below"])
def test_a_lost_race_costs_one_ref(
    url: str, origin: Git, work: Git, monkeypatch: pytest.MonkeyPatch, mine: str
) -> None:
    """Somebody updates a ref before the lock is taken: all other refs are updated."""
    main = work.run("rev-parse", "main").strip()
    transact = ReftablePush._transact
    has_lost = False

    def lose_first(self: ReftablePush, *args: Any) -> None:
        nonlocal has_lost
        if not has_lost:
            has_lost = True
            with dr.Repo(str(origin.path)) as repo:
                repo.refs[b"refs/heads/lost"] = main
        transact(self, *args)

    monkeypatch.setattr(ReftablePush, "_transact", lose_first)
    code, outcomes, said = push(
        work, url, "main~1:refs/heads/a", f"main~1:{mine}", "main~1:refs/heads/z"
    )
    assert has_lost
    assert code == 1
    assert (outcomes["refs/heads/a"], outcomes["refs/heads/z"]) == ("*", "*")
    if mine == "refs/heads/lost":
        assert outcomes[mine] == "!reference already exists"
    else:
        assert outcomes[mine] == "!refname conflict"
        assert f"'refs/heads/lost' exists; cannot create '{mine}'" in said
    assert refs_of(origin)[b"refs/heads/lost"] == main


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
def test_a_push_reads_its_refs_once(
    url: str, origin: Git, work: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads them under the lock, also if some commands are refused."""
    origin.run("update-ref", "refs/heads/old", "main~1")
    looks = []
    values_of = Merged.values_of

    def noted(self: Merged, names: Collection[bytes]) -> dict[bytes, bytes]:
        looks.append(sorted(names))
        return values_of(self, names)

    monkeypatch.setattr(Merged, "values_of", noted)
    code, outcomes, _ = push(
        work, url, "main~1:refs/heads/old/a", "main~1:refs/heads/new", "main~1:refs/heads/new/b"
    )
    assert code == 1
    assert {*outcomes.values()} == {"*", "!refname conflict"}
    assert looks == [[b"refs/heads/new", b"refs/heads/new/b", b"refs/heads/old/a"]]


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
def test_whether_a_push_is_a_fast_forward_is_no_matter_of_time(
    url: str, origin: Git, work: Git
) -> None:
    """A clock went back: as in git, the old commit is still an ancestor."""
    origin.run("config", "receive.denyNonFastForwards", "true")
    for _ in range(2):
        work.run("commit", "-q", "--allow-empty", "-m", "early", env=git_date(10**8))
    assert push(work, url, "main")[1] == {"refs/heads/main": " "}
    work.run("commit", "-q", "--amend", "--allow-empty", "-m", "late", env=git_date(2 * 10**9))
    assert push(work, "--force", url, "main")[1] == {"refs/heads/main": "!non-fast-forward"}


def git_date(timestamp: int) -> dict[str, str]:
    return Git.date(timestamp, 0)


@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
def test_too_many_prefixes_are_none(
    url: str, origin: Git, work: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in git, all refs are listed then."""
    assert version_2._MAX_PREFIXES == 65536  # git: TOO_MANY_PREFIXES
    monkeypatch.setattr(version_2, "_MAX_PREFIXES", 200)

    def listed(*prefixes: bytes) -> bytes:
        lines = b"".join(wire.line(b"ref-prefix " + prefix) for prefix in prefixes)
        request = wire.line(b"command=ls-refs") + b"0001" + lines + b"0000"
        return wire.ask(url, "git-upload-pack", request, version=2)

    others = [b"refs/none/%d" % number for number in range(204)]
    assert b" refs/heads/main\n" not in listed(*others[:100])
    assert b" refs/heads/main\n" in listed(*others[:100], b"refs/heads/")
    assert b" refs/heads/main\n" in listed(*others)
    assert b" refs/heads/main\n" in listed(*others, b"refs/heads/")
