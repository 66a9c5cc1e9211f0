"""The rule of reflog expiry by itself, the limits that it goes by, and how they are read."""

from __future__ import annotations

import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from dulwich.config import ConfigFile, StackedConfig
from dulwich.reflog import Entry
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.engine.errors import ConfigurationError
from dulwich_reftable.expiry.expirer import ReflogExpirer
from dulwich_reftable.expiry.rule import ExpirySettings, Limits, expired
from dulwich_reftable.expiry.times import ALWAYS, NEVER, expiry_time
from dulwich_reftable.expiry.wildmatch import compile_pattern
from dulwich_reftable.refs import reflog_changes

DAY = 86400
ZERO = b"0" * 40
A, B, C = (digit * 40 for digit in (b"a", b"b", b"c"))
MAIN = b"refs/heads/main"


def entry(old: bytes, new: bytes, timestamp: int) -> Entry:
    return Entry(old, new, b"L <l@example.com>", timestamp, 0, b"m")


# -- the rule


@pytest.mark.parametrize(
    ("limits", "goes"),
    [
        (Limits(0, 0), ""),
        (Limits(10, 0), ""),
        (Limits(11, 0), "rnob"),
        (Limits(ALWAYS, 0), "rnob"),
        (Limits(0, 10), ""),
        (Limits(0, 11), "nob"),
        (Limits(5, 11), "nob"),
        (Limits(11, 5), "rnob"),
    ],
)
def test_the_rule(limits: Limits, goes: str) -> None:
    """An entry may lead from or to what is not reachable (n: new id, o: old, b: both, r: none)."""
    entries = {"r": (A, A), "n": (A, B), "o": (B, A), "b": (B, B)}
    asked = [entry(*ids, 10) for ids in entries.values()]
    chosen = expired(asked, limits, lambda oid: oid != B)
    assert dict(zip(entries, chosen, strict=True)) == {key: key in goes for key in entries}


def test_what_is_stale_goes_however_new() -> None:
    asked = [entry(A, A, 10), entry(A, B, 10), entry(B, A, 10), entry(ZERO, A, 10)]
    chosen = expired(asked, Limits(0, 0), lambda oid: True, lambda oid: oid == B)
    assert chosen == [False, True, True, False]


def test_reachability_is_asked_for_between_the_limits_only() -> None:
    def is_reachable(oid: bytes) -> bool:
        raise AssertionError

    asked = [entry(A, B, 10), entry(A, B, 20)]
    assert expired(asked, Limits(15, 20), is_reachable) == [True, False]


@requires_git
def test_whose_tips_count(tmp_path: Path) -> None:
    """Entries of HEAD, in whichever worktree, are judged by all refs, others by their own ref."""
    git = Git.init(tmp_path / "main")
    git.run("commit", "-q", "--allow-empty", "-m", "first")
    git.run("worktree", "add", "-q", "--detach", "../tree")
    git.run("commit", "-q", "--allow-empty", "-m", "second")
    second = git.run("rev-parse", "HEAD").strip()
    git.run("branch", "-q", "other", "HEAD~1")
    heads = (b"HEAD", b"worktrees/tree/HEAD")
    with dr.Repo(str(git.path)) as repo:
        for name in (*heads, b"refs/heads/other", b"refs/remotes/o/HEAD"):
            repo.refs.delete_reflog(name)
            repo.refs.append_reflog(name, second, second, b"m", b"L <l@example.com>", 5, 0)
        repo.refs.set_symbolic_ref(b"refs/remotes/o/HEAD", MAIN)
        expirer = ReflogExpirer(repo, total=NEVER, unreachable=ALWAYS)
        assert [expirer.expire(name) for name in heads] == [0, 0]
        # git asks a symref for its tip, which has none of its own.
        assert [expirer.expire(b"refs/heads/other"), expirer.expire(b"refs/remotes/o/HEAD")] == [
            1,
            1,
        ]


# -- limits


def limits_of(text: str, name: bytes, *more: str) -> tuple[str, str]:
    """Read configurations, the most special one first; tell each limit as days before now."""
    files = [ConfigFile.from_file(BytesIO(part.encode())) for part in (text, *more)]
    now = int(time.time())

    def told(limit: int) -> str:
        return {NEVER: "never", ALWAYS: "now"}.get(limit, str(round((now - limit) / DAY)))

    total, unreachable = ExpirySettings.of(StackedConfig(files)).limits_of(name)
    return told(total), told(unreachable)


def test_defaults() -> None:
    """As documented; from 2.50 on, git itself has the two the wrong way round."""
    assert limits_of("", MAIN) == ("90", "30")
    assert limits_of("", b"HEAD") == ("90", "30")
    assert limits_of("", b"refs/stash") == ("never", "never")


def test_patterns() -> None:
    text = """
[gc "refs/heads/*"]
    reflogExpireUnreachable = 7 days
[gc]
    ReflogExpire = 100.days.ago
    reflogExpire = 50.days.ago
[gc "refs/*"]
    reflogExpire = now
    other = 1
[GC "refs/heads/*"]
    reflogExpire = 8 days
    reflogexpireunreachable = 9 days
[gc "unused"]
    other = 1
"""
    assert limits_of(text, MAIN) == ("8", "9")
    assert limits_of(text, b"refs/stash") == ("now", "never")
    assert limits_of(text, b"HEAD") == ("50", "30")
    assert limits_of(text, b"unused") == ("50", "30")
    # What is said for all repositories is read first; its patterns come first, too.
    general = '[gc]\nreflogExpire = 1 day\nreflogExpireUnreachable = 2 days\n[gc "*"]\n'
    assert limits_of(text, b"HEAD", general) == ("50", "2")
    assert limits_of(text, MAIN, general + "reflogExpire = 3 days") == ("3", "never")


def test_explicit_limits_beat_patterns() -> None:
    config = ConfigFile.from_file(BytesIO(b'[gc "refs/stash"]\nreflogExpire = 1 day\n'))
    assert ExpirySettings.of(config, total=5).limits_of(b"refs/stash") == (5, NEVER)
    assert ExpirySettings.of(config, unreachable=5).limits_of(b"refs/stash")[1] == 5
    assert ExpirySettings.of(config, 5, 6).limits_of(b"HEAD") == (5, 6)


def test_a_limit_that_is_no_time() -> None:
    for section in ("[gc]", '[gc "refs/x"]'):
        with pytest.raises(ConfigurationError, match="reflogExpire"):
            limits_of(f"{section}\nreflogExpire = soonish\n", MAIN)


# -- times


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("never", NEVER), ("false", NEVER), ("now", ALWAYS), ("all", ALWAYS), (" now ", ALWAYS),
        ("@5", 5), ("@5 +0200", 5), ("1234567890", 1234567890), ("@" + "9" * 23, ALWAYS),
        ("2001-09-09T01:46:40Z", 1_000_000_000), ("2001-09-09 03:46:40 +0200", 1_000_000_000),
        ("2001-09-09 01:16:40-00:30", 1_000_000_000), ("1950-01-01T00:00:00Z", NEVER),
        ("9999.years.ago", NEVER),
    ],
)  # fmt: skip
def test_times(text: str, limit: int) -> None:
    assert expiry_time(text) == limit


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2020-13-01", "2020-01-01 25:00:00", "1 fortnight", "days ago", "3", "x days ago"],
)
def test_what_is_no_time(text: str) -> None:
    if text == "3":  # dulwich takes any number for seconds
        assert expiry_time(text) == 3
        return
    with pytest.raises(ValueError):  # noqa: PT011  # some are dulwich's words
        expiry_time(text)


@requires_git
@pytest.mark.parametrize(
    "text",
    [
        "90 days", "90.days.ago", "1.day", "two weeks ago", "last week", "1 year 2 months ago",
        "3.months.ago", "13 months", "1 hour, 5 minutes ago", "30 seconds ago", "2001-09-09",
        "2001/09/09", "2001-09-09 01:46", "2001-09-09 01:46:40", "2001-09-09T01:46:40Z",
        "2001-09-09 01:46:40 -0730", "@1000000000 +0200", "1000000000", "yesterday", "never", "all",
    ],
)  # fmt: skip
def test_times_are_gits(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the same moment, since some forms count from now."""
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    git = Git(tmp_path)
    git.env["GIT_TEST_DATE_NOW"] = "1700000000"
    said = int(git.run("config", "--type=expiry-date", "--default", text, "--get", "a.b"))
    assert expiry_time(text) == said or (
        text == "yesterday" and abs(expiry_time(text) - said) < DAY
    )


# -- patterns


@requires_git
def test_patterns_are_gits(tmp_path: Path) -> None:
    """Asked of ``for-each-ref``, whose patterns have slashes apart, where there is no slash."""
    git = Git.init(tmp_path)
    git.run("commit", "-q", "--allow-empty", "-m", "c")
    names = [b"a", b"b-", b"A", b"0", b"_", b"]", b"ab", b"abc", b"a]", b"!", b"a-c", b"x!y"]
    git.update_ref_stdin(b"create refs/t/" + name + b" HEAD" for name in names)
    patterns = [
        b"*", b"?", b"??", b"a*", b"*c", b"*b*", b"[ab]", b"[!a]", b"[^a]", b"[a-c]", b"[]]",
        b"[]a]*", b"[!]]", b"[[:alpha:]]", b"[[:digit:][:punct:]]", b"[[:nonsense:]]", b"[a",
        b"[a-]", b"[--/]", b"b[-]", b"\\a", b"a\\", b"[\\]]", b"[a\\-c]", b"[[:upper:]a-b]",
        b"[[:]", b"[c-a]", b"***", b"a?c", b"[a-c]-", b"[!!]", b"[[:alpha:]-z]", b"[x-\\z]*",
    ]  # fmt: skip
    for pattern in patterns:
        theirs = git.run("for-each-ref", "--format=%(refname)", b"refs/t/" + pattern).split()
        compiled = compile_pattern(b"refs/t/" + pattern)
        ours = sorted(b"refs/t/" + name for name in names if compiled.fullmatch(b"refs/t/" + name))
        assert ours == theirs, pattern


def test_patterns_match_slashes() -> None:
    for pattern in (b"refs/*", b"*c", b"refs?a/b/c", b"refs[!x]a*", b"refs/**/c"):
        assert compile_pattern(pattern).fullmatch(b"refs/a/b/c")


# -- under the lock


def test_what_others_do_meanwhile_is_left_alone(repo: dr.Repo) -> None:
    """Entries are chosen without the lock; only those that are as they were shown go."""
    log: dict[str, Any] = {"committer": b"L <l@example.com>", "timezone": 0}
    for number, oid in enumerate((A, B, C)):
        repo.refs.set_if_equals(MAIN, None, oid, message=b"m%d" % number, timestamp=1, **log)

    def choose(entries: list[Entry]) -> list[bool]:
        assert [entry.message for entry in entries] == [b"m0", b"m1", b"m2"]
        repo.refs.set_if_equals(MAIN, None, A, message=b"new", timestamp=1, **log)
        repo.refs.drop_reflog_entry(MAIN, 3)  # m0
        repo.refs.drop_reflog_entry(MAIN, 2, rewrite=True)  # m1; m2 now begins at zero
        return [True] * 3

    assert reflog_changes.expire(repo.refs.store, MAIN, choose) == 0
    left = list(repo.refs.read_reflog(MAIN))
    assert [(entry.old_sha, entry.message) for entry in left] == [(ZERO, b"m2"), (C, b"new")]


def test_the_callers_function_runs_without_the_lock(repo: dr.Repo) -> None:
    repo.refs.set_if_equals(MAIN, None, A, message=b"m")
    asked = []

    def is_reachable(oid: bytes) -> bool:
        asked.append(oid)
        repo.refs[b"refs/heads/other"] = oid  # would wait for the lock, and fail
        return False

    assert repo.refs.expire_reflog(MAIN, None, 1 << 60, is_reachable) == 1
    assert asked == [A]


def test_nothing_is_written_where_nothing_goes(repo: dr.Repo) -> None:
    repo.refs.set_if_equals(MAIN, None, A, message=b"m")
    stack = repo.refs.store.shared
    before = [table.filename for table in stack.snapshot().tables]
    for options in ({}, {"rewrite": True}, {"update_ref": True}):
        assert reflog_changes.expire(repo.refs.store, MAIN, lambda entries: [False], **options) == 0
    assert [table.filename for table in stack.snapshot().tables] == before
