"""Reflogs: when an entry is written and what it says; reading, dropping, expiring, moving."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dulwich.reflog import Entry
from support.compare import shown_reflogs
from support.git import Git, LogEntry, requires_git
from support.model import Note, RefModel
from support.pool import ObjectPool

import dulwich_reftable as dr

ZERO = b"0" * 40
A, B, C, D = (digit * 40 for digit in (b"a", b"b", b"c", b"d"))
HEAD, MAIN, OTHER, NEW = b"HEAD", b"refs/heads/main", b"refs/heads/other", b"refs/heads/new"
WHO = b"L Og <log@example.com>"


def note(message: bytes, timestamp: int = 1_600_000_000, timezone: int = 7200) -> Note:
    """Return what most tests here say."""
    return Note(WHO, timestamp, timezone, message)


def about(message: bytes, timestamp: int = 1_600_000_000, timezone: int = 7200) -> dict[str, Any]:
    """Return the same as keywords."""
    return note(message, timestamp, timezone)._asdict()


def messages(refs: dr.ReftableRefsContainer, name: bytes) -> list[bytes]:
    """Return a reflog's messages, oldest first."""
    return [entry.message for entry in refs.read_reflog(name)]


@pytest.fixture
def refs(refs: dr.ReftableRefsContainer) -> dr.ReftableRefsContainer:
    """A branch whose reflog has four entries, and which is not HEAD's."""
    old = ZERO
    for at, new in enumerate((A, B, C, D)):
        assert refs.set_if_equals(OTHER, old, new, **about(b"m%d" % at, 1000 * (at + 1)))
        old = new
    return refs


# -- when


def test_no_message_no_entry(repo: dr.Repo) -> None:
    repo.refs[MAIN] = A
    repo.refs.set_if_equals(MAIN, A, B, committer=WHO, timestamp=1, timezone=0)
    repo.refs.set_symbolic_ref(HEAD, MAIN)
    del repo.refs[MAIN]
    assert shown_reflogs(repo.refs) == {}


def test_any_ref_is_logged(repo: dr.Repo) -> None:
    """dulwich's convention: the message decides, not the kind of ref or repository."""
    for name in (b"refs/tags/t", b"refs/changes/01/1/1", b"refs/notes/commits", b"refs/stash"):
        repo.refs.set_if_equals(name, ZERO, A, **about(b"new"))
        assert list(repo.refs.read_reflog(name)) == [note(b"new").entry(ZERO, A)]


def test_the_old_id_is_what_was_there(repo: dr.Repo) -> None:
    repo.refs[MAIN] = A
    repo.refs.set_if_equals(MAIN, None, B, **about(b"blind"))
    assert list(repo.refs.read_reflog(MAIN)) == [note(b"blind").entry(A, B)]


def test_head_follows_its_branch(repo: dr.Repo) -> None:
    model = RefModel(ZERO, {HEAD: b"ref: " + MAIN})
    refs = repo.refs
    refs.add_if_new(HEAD, A, **about(b"through HEAD"))
    model.put(HEAD, A, note(b"through HEAD"))
    refs.set_if_equals(MAIN, A, B, **about(b"at the branch"))
    model.put(MAIN, B, note(b"at the branch"))
    refs.set_if_equals(OTHER, None, C, **about(b"elsewhere"))
    model.put(OTHER, C, note(b"elsewhere"))
    refs.set_symbolic_ref(HEAD, OTHER, **about(b"checkout"))
    model.set_symref(HEAD, OTHER, note(b"checkout"))
    refs.set_if_equals(MAIN, B, C, **about(b"no longer HEAD's"))
    model.put(MAIN, C, note(b"no longer HEAD's"))
    refs.remove_if_equals(OTHER, C, **about(b"gone"))
    model.delete(OTHER, note(b"gone"))
    assert shown_reflogs(refs) == model.logs
    assert messages(refs, HEAD) == [b"through HEAD", b"at the branch", b"checkout", b"gone"]


def test_every_symref_on_the_way_is_logged(repo: dr.Repo) -> None:
    """So does git, though dulwich's files backend logs the last one only."""
    first, second = b"refs/heads/first", b"refs/heads/second"
    repo.refs.set_symbolic_ref(first, second)
    repo.refs.set_symbolic_ref(second, OTHER)
    repo.refs.set_if_equals(first, None, A, **about(b"far"))
    entries = [note(b"far").entry(ZERO, A)]
    assert shown_reflogs(repo.refs) == {first: entries, second: entries, OTHER: entries}


def test_a_symref_to_nowhere_is_not_logged(repo: dr.Repo) -> None:
    repo.refs.set_symbolic_ref(OTHER, NEW, **about(b"dangling"))
    assert shown_reflogs(repo.refs) == {}


def test_a_refused_update_is_not_logged(refs: dr.ReftableRefsContainer) -> None:
    before = shown_reflogs(refs)
    assert refs.set_if_equals(OTHER, A, B, **about(b"no")) is False
    assert refs.add_if_new(OTHER, B, **about(b"no")) is False
    assert refs.remove_if_equals(OTHER, B, **about(b"no")) is False
    assert refs.set_if_equals(OTHER, D, D, **about(b"the same")) is True
    assert shown_reflogs(refs) == before


def test_deleting_a_ref_deletes_its_reflog(refs: dr.ReftableRefsContainer) -> None:
    assert refs.remove_if_equals(OTHER, D, **about(b"gone"))
    assert not refs.reflog_exists(OTHER)
    assert shown_reflogs(refs) == {}
    refs.set_if_equals(OTHER, ZERO, A, **about(b"again"))
    assert messages(refs, OTHER) == [b"again"]  # what was buried stays there


@pytest.mark.parametrize("setting", [b"false", b"no", b"0"])
def test_no_new_reflogs_where_the_user_wants_none(
    tmp_path: Path, open_repo: Callable[[Path], dr.Repo], setting: bytes
) -> None:
    """core.logAllRefUpdates stops new reflogs; those that exist go on."""
    dr.Repo.init(str(tmp_path)).close()
    repo = open_repo(tmp_path)
    config = repo.get_config()
    config.set((b"core",), b"logAllRefUpdates", setting)
    config.write_to_path()
    refs = open_repo(tmp_path).refs
    refs.set_if_equals(MAIN, ZERO, A, **about(b"not logged"))
    assert shown_reflogs(refs) == {}
    refs.create_reflog(MAIN)
    refs.set_if_equals(MAIN, A, B, **about(b"logged"))
    assert messages(refs, MAIN) == [b"logged"]


# -- what


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", b""),
        (b" \n\t ", b""),
        (b"one  two", b"one two"),
        (b"\n first\n\nsecond\r\n\tthird \n", b"first second third"),
        ("größer ☃".encode(), "größer ☃".encode()),
        (b"\xff\x01\x7f", b"\xff\x01\x7f"),
    ],
)
def test_a_message_is_one_line(repo: dr.Repo, message: bytes, expected: bytes) -> None:
    repo.refs.set_if_equals(MAIN, None, A, **about(message))
    assert messages(repo.refs, MAIN) == [expected]


def test_a_message_ends_at_a_nul(repo: dr.Repo) -> None:
    """A NUL would end it for git, which copies messages as C strings."""
    repo.refs.set_if_equals(MAIN, None, A, **about(b"before\0after\nit"))
    assert messages(repo.refs, MAIN) == [b"before"]


@pytest.mark.parametrize(
    ("given", "stored"),
    [(-1, 0), (-(1 << 80), 0), (0, 0), (1 << 62, 1 << 62), (1 << 80, (1 << 63) - 1), (7.9, 7)],
)
def test_times_that_the_format_does_not_have(repo: dr.Repo, given: float, stored: int) -> None:
    """The update is done all the same: that is no reason to refuse it."""
    for timezone in (0, None):
        log: dict[str, Any] = {
            "committer": WHO,
            "timestamp": given,
            "timezone": timezone,
            "message": b"m",
        }
        repo.refs.set_if_equals(MAIN, None, B if timezone is None else A, **log)
    assert [entry.timestamp for entry in repo.refs.read_reflog(MAIN)] == [stored] * 2


@pytest.mark.directory
@requires_git
@pytest.mark.parametrize("timestamp", [-100, 0])
def test_commits_before_the_epoch(repo: dr.Repo, timestamp: int) -> None:
    """git has no such commits, but reads the reflog."""
    commit = repo.get_worktree().commit(
        message=b"old", committer=WHO, author=WHO, commit_timestamp=timestamp,
        commit_timezone=0, author_timestamp=0, author_timezone=0,
    )  # fmt: skip
    assert repo.refs[MAIN] == commit
    for name in (b"HEAD", MAIN):
        (entry,) = Git(Path(repo.path)).reflogs()[name]
        assert (entry.new, entry.timestamp) == (commit, 0)


@pytest.mark.parametrize(
    ("seconds", "stored"),
    [(3659, 3600), (-59, 0), (-3659, -3600), (1172, 1140), (10**9, 327 * 3600 + 59 * 60)],
)
def test_odd_time_zones(repo: dr.Repo, seconds: int, stored: int) -> None:
    """git cuts the seconds of a local time before 1937 or so off, too."""
    repo.refs.set_if_equals(MAIN, None, A, **about(b"m", 5, seconds))
    assert next(iter(repo.refs.read_reflog(MAIN))).timezone == stored


@pytest.mark.parametrize("timezone", [0, 60, 19800, -1800, -12600, 45900, -43200, 50400])
def test_time_zones(repo: dr.Repo, timezone: int) -> None:
    repo.refs.set_if_equals(MAIN, None, A, **about(b"m", 2**31 + 5, timezone))
    entry = next(iter(repo.refs.read_reflog(MAIN)))
    assert (entry.timestamp, entry.timezone) == (2**31 + 5, timezone)


def test_defaults(repo: dr.Repo) -> None:
    """The committer is the one that dulwich finds, the time is now."""
    before = int(time.time())
    repo.refs.set_if_equals(MAIN, None, A, message=b"m")
    entry = next(iter(repo.refs.read_reflog(MAIN)))
    assert isinstance(entry, Entry)
    assert entry.committer == b"U Ser <user@example.com>"
    assert before <= entry.timestamp <= time.time()


def test_committer_of_the_environment(repo: dr.Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_COMMITTER_NAME", "E Nv")
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "env@example.com")
    repo.refs.set_if_equals(MAIN, None, A, message=b"m")
    assert next(iter(repo.refs.read_reflog(MAIN))).committer == b"E Nv <env@example.com>"


@requires_git
@pytest.mark.parametrize("block_size", [None, "512", "65536"])
@pytest.mark.parametrize(
    "message",
    [
        b"\v vertical \f feed\v",
        b"word " * 3000,
        b"x" * 2100,
        b"y" * 255 + b"  z" * 1000,
        b"tab\tand\r\nreturn",
        b"\xff\xfe not UTF-8 \x1b",
    ],
    ids=lambda message: message[:5].decode("latin-1").encode("unicode_escape").decode(),
)
def test_messages_as_git_writes_them(
    tmp_path: Path,
    open_repo: Callable[[Path], dr.Repo],
    pool_of: Callable[[str], ObjectPool],
    message: bytes,
    block_size: str | None,
) -> None:
    """One line, blanks collapsed, and cut at half a block."""
    pool = pool_of("sha1")
    config = {"reftable.blockSize": block_size} if block_size else {}
    git = Git.init(tmp_path / "repo", config=config)
    pool.lend(git.git_dir)
    git.run("update-ref", "-m", message, "refs/heads/git", pool.commits[0])
    refs = open_repo(git.path).refs
    refs.set_if_equals(b"refs/heads/we", None, pool.commits[0], **about(message))
    theirs = git.reflogs()
    assert theirs[b"refs/heads/git"][0].message == theirs[b"refs/heads/we"][0].message
    assert messages(refs, b"refs/heads/git") == messages(refs, b"refs/heads/we")


# -- reading


def test_both_orders(refs: dr.ReftableRefsContainer, repo: dr.Repo) -> None:
    oldest_first = list(refs.read_reflog(OTHER))
    assert oldest_first == [
        LogEntry(old, new, WHO, 1000 * (at + 1), 7200, b"m%d" % at)
        for at, (old, new) in enumerate([(ZERO, A), (A, B), (B, C), (C, D)])
    ]
    assert list(refs.read_reflog(OTHER, newest_first=True)) == oldest_first[::-1]
    assert list(repo.read_reflog(OTHER)) == oldest_first
    assert list(refs.snapshot().read_reflog(OTHER)) == oldest_first


def test_absent_reflog(refs: dr.ReftableRefsContainer) -> None:
    for name in (MAIN, b"refs/heads/othe", OTHER + b"2", HEAD):
        assert list(refs.read_reflog(name)) == []
        assert not refs.reflog_exists(name)
    assert list(refs.reflogs()) == [OTHER]


# -- creating, deleting, dropping, expiring


def test_create_and_delete(refs: dr.ReftableRefsContainer) -> None:
    refs.create_reflog(OTHER)
    assert len(messages(refs, OTHER)) == 4  # one that exists stays as it is
    refs.create_reflog(NEW)
    assert refs.reflog_exists(NEW)
    assert shown_reflogs(refs)[NEW] == []
    refs.delete_reflog(OTHER)
    refs.delete_reflog(NEW)
    assert shown_reflogs(refs) == {}
    assert refs[OTHER] == D


@pytest.mark.parametrize("rewrite", [False, True])
@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_drop(refs: dr.ReftableRefsContainer, index: int, rewrite: bool) -> None:
    model = RefModel(ZERO, logs=shown_reflogs(refs))
    model.drop_entry(OTHER, index, rewrite)
    refs.drop_reflog_entry(OTHER, index, rewrite=rewrite)
    assert shown_reflogs(refs) == model.logs
    for _ in range(3):
        refs.drop_reflog_entry(OTHER, 0)
    assert shown_reflogs(refs) == {OTHER: []}  # empty, but it exists


@pytest.mark.parametrize("index", [-1, 4, 99])
def test_drop_what_is_not_there(refs: dr.ReftableRefsContainer, index: int) -> None:
    with pytest.raises(ValueError, match=str(index)):
        refs.drop_reflog_entry(OTHER, index)
    assert len(messages(refs, OTHER)) == 4


@pytest.mark.parametrize(
    ("limits", "unreachable", "left"),
    [
        ({}, {B}, [b"m0", b"m1", b"m2", b"m3"]),
        ({"expire_time": 1000}, set(), [b"m0", b"m1", b"m2", b"m3"]),
        ({"expire_time": 1001}, set(), [b"m1", b"m2", b"m3"]),
        ({"expire_time": 9999}, set(), []),
        ({"expire_time": 9999}, {B, D}, [b"m1", b"m3"]),
        ({"expire_unreachable_time": 3000}, {B, C}, [b"m0", b"m2", b"m3"]),
        ({"expire_time": 2000, "expire_unreachable_time": 9999}, {C}, [b"m1", b"m3"]),
    ],
)
def test_expire(
    refs: dr.ReftableRefsContainer,
    limits: dict[str, int],
    unreachable: set[bytes],
    left: list[bytes],
) -> None:
    before = list(refs.read_reflog(OTHER))
    count = refs.expire_reflog(
        OTHER, **limits, reachable_checker=lambda object_id: object_id not in unreachable
    )
    assert count == 4 - len(left)
    assert list(refs.read_reflog(OTHER)) == [e for e in before if e.message in left]
    assert refs.reflog_exists(OTHER)
    assert refs[OTHER] == D


def test_expire_without_a_checker(refs: dr.ReftableRefsContainer) -> None:
    assert refs.expire_reflog(OTHER, expire_unreachable_time=9999) == 0  # all count as reachable
    assert refs.expire_reflog(OTHER) == 0
    assert refs.expire_reflog(MAIN, expire_time=9999) == 0
    assert refs.expire_reflog(OTHER, expire_time=3000) == 2


# -- renaming and copying


def test_rename(refs: dr.ReftableRefsContainer) -> None:
    before = list(refs.read_reflog(OTHER))
    refs.rename(OTHER, NEW)
    assert dict(refs.iter_refs(b"refs/")) == {NEW: D}
    assert shown_reflogs(refs) == {NEW: before}


def test_copy(refs: dr.ReftableRefsContainer) -> None:
    before = list(refs.read_reflog(OTHER))
    refs.copy(OTHER, NEW)
    assert dict(refs.iter_refs(b"refs/")) == {NEW: D, OTHER: D}
    assert shown_reflogs(refs) == {NEW: before, OTHER: before}


def test_rename_into_its_own_directory(refs: dr.ReftableRefsContainer) -> None:
    refs.rename(OTHER, OTHER + b"/sub")
    refs.rename(OTHER + b"/sub", OTHER)
    assert dict(refs.iter_refs(b"refs/")) == {OTHER: D}
    assert len(messages(refs, OTHER)) == 4


@pytest.mark.parametrize("method", ["rename", "copy"])
@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (b"refs/heads/none", NEW, dr.TransactionError),
        (OTHER, b"refs/heads/taken", dr.TransactionError),
        (b"refs/heads/alias", NEW, dr.TransactionError),
        (OTHER, b"refs/heads/taken/sub", dr.RefConflictError),
        (OTHER, b"refs/heads/bad..name", dr.ReftableError),
    ],
)
def test_refused(
    refs: dr.ReftableRefsContainer, method: str, old: bytes, new: bytes, kind: type[Exception]
) -> None:
    refs[b"refs/heads/taken"] = A
    refs.set_symbolic_ref(b"refs/heads/alias", OTHER)
    before = dict(refs.iter_refs()), shown_reflogs(refs)
    with pytest.raises(kind):
        getattr(refs, method)(old, new, message=b"move")
    assert (dict(refs.iter_refs()), shown_reflogs(refs)) == before


@pytest.mark.parametrize("method", ["rename", "copy"])
@pytest.mark.parametrize("head", [OTHER, MAIN, None])
def test_renaming_the_branch_of_head(
    refs: dr.ReftableRefsContainer, method: str, head: bytes | None
) -> None:
    """HEAD's reflog tells that its branch has gone; nobody else's does."""
    if head is None:
        refs[HEAD] = A
    else:
        refs.set_symbolic_ref(HEAD, head)
    getattr(refs, method)(OTHER, NEW, **about(b"moved"))
    gone = note(b"moved").entry(D, ZERO)
    expected = [gone] if (method, head) == ("rename", OTHER) else []
    assert list(refs.read_reflog(HEAD)) == expected


@requires_git
@pytest.mark.parametrize(
    ("method", "option", "done"), [("rename", "-m", b"renamed"), ("copy", "-c", b"copied")]
)
def test_renames_and_copies_as_git(
    tmp_path: Path,
    open_repo: Callable[[Path], dr.Repo],
    pool_of: Callable[[str], ObjectPool],
    object_format: str,
    method: str,
    option: str,
    done: bytes,
) -> None:
    """The same move by git and by us, with the message that git gives it."""
    pool = pool_of(object_format)
    seen = []
    for name in ("git", "we"):
        git = Git.init(tmp_path / name, object_format=object_format)
        pool.lend(git.git_dir)
        git.run("update-ref", "-m", "born", "HEAD", pool.commits[0])
        for commit in pool.commits[:3]:
            git.run("update-ref", "-m", "before", OTHER, commit)
        if name == "git":
            git.run("branch", option, "other", "new")
        else:
            message = b"Branch: %s %s to %s" % (done, OTHER, NEW)
            who = b"C O Mitter <committer@example.com>"
            move = getattr(open_repo(git.path).refs, method)
            move(OTHER, NEW, message=message, committer=who, timestamp=1_700_000_000, timezone=0)
        seen.append((git.raw_refs(), git.reflogs()))
        assert (
            git.complaints().replace(b"notice: HEAD points to an unborn branch (main)\n", b"")
            == b""
        )
    assert seen[0] == seen[1]
