"""Repositories that git made, read by us: what git shows must be what we show."""

from __future__ import annotations

import builtins
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from support.compare import (
    assert_same_reflogs,
    assert_same_refs,
    file_states,
    is_listed,
    shown_reflogs,
)
from support.git import Git, requires_git
from support.pool import ObjectPool

import dulwich_reftable as dr

pytestmark = requires_git


def make_small(path: Path, pool: ObjectPool, **init: Any) -> Git:
    """Make a repository of 33 refs of all kinds in several tables, with deleted refs below."""
    git = Git.init(path, object_format=pool.object_format, compacting=False, **init)
    pool.lend(git.git_dir)
    tags = list(pool.tags)
    sets = [
        [b"create refs/heads/b%02d %s" % (at, pool.commits[at]) for at in range(12)],
        [b"create refs/tags/light%d %s" % (at, pool.commits[at]) for at in range(4)]
        + [b"create refs/tags/v%d %s" % (at, tags[-at]) for at in range(4)],
        [b"create refs/changes/%02d/%d/1 %s" % (at, at, tags[at]) for at in range(3, 9)]
        + [b"create refs/notes/commits %s" % pool.commits[0]],
        [b"delete refs/heads/b04", b"delete refs/tags/light1"],
        [b"update refs/heads/b03 %s" % pool.commits[30], b"create refs/stash %s" % pool.commits[3]],
        [b"update HEAD %s" % pool.commits[40], b"update ORIG_HEAD %s" % pool.commits[41]],
    ]
    for at, lines in enumerate(sets):
        moment = Git.date(1_500_000_000 + at, 3600 * at - 9000)
        git.update_ref_stdin(lines, b"set %d" % at, moment)
    git.set_symrefs({
        b"refs/heads/alias": b"refs/heads/chain",
        b"refs/heads/chain": b"refs/heads/b01",
        b"refs/remotes/origin/HEAD": b"refs/heads/b02",
    })  # fmt: skip
    git.run("symbolic-ref", "refs/heads/nowhere", "refs/heads/none")
    return git


@pytest.mark.parametrize("bare", [False, True])
def test_small(
    tmp_path: Path,
    open_repo: Callable[[Path], dr.Repo],
    pool_of: Callable[[str], ObjectPool],
    object_format: str,
    bare: bool,
) -> None:
    git = make_small(tmp_path / "repo", pool_of(object_format), bare=bare)
    assert len(git.tables()) >= 5
    repo = open_repo(git.path)
    assert isinstance(repo.refs, dr.ReftableRefsContainer)
    assert repo.bare is bare
    assert len(assert_same_refs(repo.refs, git, [b"refs/heads/nowhere"])) == 33
    logs = assert_same_reflogs(repo.refs, git)
    assert bool(logs) is not bare  # git logs in bare repositories only when told to
    for name, entries in logs.items():
        assert list(repo.read_reflog(name)) == entries


def test_one_table(
    tmp_path: Path, open_repo: Callable[[Path], dr.Repo], pool_of: Callable[[str], ObjectPool]
) -> None:
    git = make_small(tmp_path / "repo", pool_of("sha1"))
    git.run("pack-refs", "--all")
    assert len(git.tables()) == 1
    refs = open_repo(git.path).refs
    assert len(assert_same_refs(refs, git, [b"refs/heads/nowhere"])) == 33
    assert_same_reflogs(refs, git)


@pytest.mark.parametrize(
    "config",
    [
        {"reftable.blockSize": "256"},
        {"reftable.blockSize": "333", "reftable.restartInterval": "1"},
        {"reftable.blockSize": "65536", "reftable.restartInterval": "3"},
        {"reftable.blockSize": "16777215", "reftable.restartInterval": "65535"},
        {"reftable.indexObjects": "false", "reftable.blockSize": "512"},
    ],
    ids=lambda config: "-".join(config.values()),
)
def test_write_options(
    tmp_path: Path,
    open_repo: Callable[[Path], dr.Repo],
    pool_of: Callable[[str], ObjectPool],
    object_format: str,
    config: dict[str, str],
) -> None:
    pool = pool_of(object_format)
    git = make_small(tmp_path / "repo", pool, config=config)
    many = [b"create refs/heads/m%04d %s" % (at, pool.commits[at]) for at in range(500)]
    git.update_ref_stdin(many, b"many")
    refs = open_repo(git.path).refs
    raw = assert_same_refs(refs, git, [b"refs/heads/nowhere"])
    assert_same_reflogs(refs, git)
    for commit in pool.commits[:48:4]:
        assert sorted(refs.refs_for_object(commit)) == sorted(
            name
            for name, value in raw.items()
            if is_listed(name) and commit in (value, pool.tags.get(value))
        )


def test_detached_head(
    tmp_path: Path, open_repo: Callable[[Path], dr.Repo], pool_of: Callable[[str], ObjectPool]
) -> None:
    pool = pool_of("sha1")
    git = make_small(tmp_path / "repo", pool)
    git.run("update-ref", "--no-deref", "-m", "detach", "HEAD", pool.commits[7])
    repo = open_repo(git.path)
    assert_same_refs(repo.refs, git, [b"refs/heads/nowhere"])
    assert repo.refs.follow(b"HEAD") == ([b"HEAD"], pool.commits[7])
    assert repo.head() == pool.commits[7]
    assert assert_same_reflogs(repo.refs, git)[b"HEAD"][-1].message == b"detach"


@pytest.mark.parametrize("bare", [False, True])
def test_empty_repository(
    tmp_path: Path, open_repo: Callable[[Path], dr.Repo], object_format: str, bare: bool
) -> None:
    git = Git.init(tmp_path / "repo", bare=bare, object_format=object_format)
    refs = open_repo(git.path).refs
    assert refs.read_ref(b"HEAD") == b"ref: refs/heads/main"
    assert refs.follow(b"HEAD") == ([b"HEAD", b"refs/heads/main"], None)
    assert refs.allkeys() == {b"HEAD"}
    assert refs.as_dict() == {}
    assert shown_reflogs(refs) == {}


def test_names_with_all_bytes(
    tmp_path: Path, open_repo: Callable[[Path], dr.Repo], pool_of: Callable[[str], ObjectPool]
) -> None:
    """git takes any byte from 0x80 on, and names far longer than a file system would."""
    pool = pool_of("sha1")
    names = [b"refs/heads/%c%s" % (byte, bytes([byte]) * (byte % 5)) for byte in range(0x80, 0x100)]
    names += [b"refs/heads/" + b"/".join([b"long" * 30] * depth) + b"!" for depth in range(1, 8)]
    git = Git.init(tmp_path / "repo")
    pool.lend(git.git_dir)
    git.update_ref_stdin(b"create %s %s" % pair for pair in zip(names, pool.commits, strict=False))
    refs = open_repo(git.path).refs
    assert assert_same_refs(refs, git, [b"HEAD"]).keys() == {b"HEAD", *names}
    assert_same_reflogs(refs, git)


def test_open_container_sees_what_git_does(
    tmp_path: Path, open_repo: Callable[[Path], dr.Repo], pool_of: Callable[[str], ObjectPool]
) -> None:
    pool = pool_of("sha1")
    git = make_small(tmp_path / "repo", pool)
    refs = open_repo(git.path).refs
    assert refs[b"refs/heads/b00"] == pool.commits[0]
    git.run("update-ref", "refs/heads/b00", pool.commits[9])
    assert refs[b"refs/heads/b00"] == pool.commits[9]
    git.run("pack-refs", "--all")  # the tables that we have open are gone
    assert refs[b"refs/heads/b00"] == pool.commits[9]
    git.run("update-ref", "-d", "refs/heads/b00")
    assert b"refs/heads/b00" not in refs
    assert_same_refs(refs, git, [b"refs/heads/nowhere"])


def test_reading_writes_nothing(
    tmp_path: Path,
    open_repo: Callable[[Path], dr.Repo],
    pool_of: Callable[[str], ObjectPool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even a try: it must work on a read-only file system, where each try is an error."""
    pool = pool_of("sha1")
    git = make_small(tmp_path / "repo", pool)
    before = file_states(git.path)
    deny_writing(monkeypatch)
    refs = open_repo(git.path).refs
    for use in (refs, refs.snapshot()):
        assert len(use.allkeys()) == 32
        assert b"ORIG_HEAD" in use
        assert use.as_dict(b"refs/heads")
        assert use.get_packed_refs()
        assert use.get_symrefs()
        assert use.get_peeled(b"refs/tags/v1")
        assert use.follow(b"refs/heads/alias")[1]
    assert shown_reflogs(refs)
    assert sorted(refs.refs_for_object(pool.commits[1])) == [b"refs/heads/b01"]
    refs.verify()
    monkeypatch.undo()
    assert file_states(git.path) == before


def deny_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every attempt to write to a file system fail, as if it were read-only."""
    plain_open, builtin_open = os.open, builtins.open
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

    def refuse(*args: object, **_: object) -> NoReturn:
        raise AssertionError(f"an attempt to write: {args}")

    def os_open(path: str, flags: int, *args: Any, **options: Any) -> int:
        if flags & writing:
            refuse(path, flags)
        return plain_open(path, flags, *args, **options)

    def open_file(file: str, mode: str = "r", *args: Any, **options: Any) -> Any:
        if set(mode) & set("wax+"):
            refuse(file, mode)
        return builtin_open(file, mode, *args, **options)

    monkeypatch.setattr(os, "open", os_open)
    monkeypatch.setattr(builtins, "open", open_file)
    changing = ["mkdir", "rename", "replace", "unlink", "remove", "rmdir", "link", "utime", "chmod"]
    for name in changing:
        monkeypatch.setattr(os, name, refuse)


def test_prefixes_are_byte_prefixes(
    tmp_path: Path, open_repo: Callable[[Path], dr.Repo], pool_of: Callable[[str], ObjectPool]
) -> None:
    git = make_small(tmp_path / "repo", pool_of("sha1"))
    refs = open_repo(git.path).refs
    pairs = list(refs.iter_refs())
    everywhere = random.Random(5)
    prefixes = {name[: everywhere.randint(0, len(name))] for name, _ in pairs * 3}
    for prefix in [*sorted(prefixes), b"refs/heads/b99", b"zzz", b"\xff"]:
        expected = [pair for pair in pairs if pair[0].startswith(prefix)]
        assert list(refs.iter_refs(prefix)) == expected, prefix
    excluded = [b"refs/heads/b0", b"refs/tags/", b"refs/nothing/", b"refs/heads/b01"]
    assert list(refs.iter_refs(b"refs/", excluded)) == [
        pair
        for pair in pairs
        if pair[0].startswith(b"refs/") and not pair[0].startswith(tuple(excluded))
    ]
