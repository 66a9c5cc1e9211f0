"""Faults in what reflogs lose by expiry, in what they name, and in what hooks are asked."""

from __future__ import annotations

from ..mutation import Mutation

_EXPIRY = ("expiry/test_expiry.py", "cli/test_reflog_expire.py")

MUTATIONS = (
    Mutation(
        "stashes-expire",
        "expiry/rule.py",
        "Limits(NEVER, NEVER) if name == _STASH else self.default",
        "self.default",
        "stashes of more than 90 days ago are lost",
        _EXPIRY,
    ),
    Mutation(
        "old-ids-are-not-judged",
        "expiry/rule.py",
        "not (is_reachable(entry.old_sha) and is_reachable(entry.new_sha))",
        "not is_reachable(entry.new_sha)",
        "what was reset away stays in the reflog, and its objects in the repository",
        _EXPIRY,
    ),
    Mutation(
        "last-pattern-counts",
        "expiry/rule.py",
        "for pattern, limits in self.patterns:",
        "for pattern, limits in reversed(self.patterns):",
        "entries go that the configuration keeps",
        _EXPIRY,
    ),
    Mutation(
        "heads-of-worktrees-by-their-own-tips",
        "expiry/expirer.py",
        'if place_of(name).name == b"HEAD":',
        'if name == b"HEAD":',
        "the reflog of another worktree's HEAD loses what other branches reach",
        _EXPIRY,
    ),
    Mutation(
        "changed-entries-expire",
        "refs/reflog_changes.py",
        "for key, text in found if chosen.get(key) == text]",
        "for key, text in found if key in chosen]",
        "an entry goes that somebody has rewritten since it was chosen",
        ("expiry/test_expiry.py", "refs/test_reflog.py"),
    ),
    Mutation(
        "committer-of-the-entry-before",
        "engine/format/log_scan.py",
        "if coded and data.startswith(coded, middle):",
        "if coded:",
        "all entries of a block have the committer of the first one",
        ("engine/format/test_log_scan.py",),
    ),
    Mutation(
        "blobs-may-be-missing",
        "expiry/ancestry.py",
        "elif not S_ISGITLINK(entry.mode or 0) and entry.sha not in self._store:",
        "elif False:",
        "--stale-fix keeps entries that make git fail",
        ("cli/test_reflog_expire.py",),
    ),
    Mutation(
        "entries-of-head-for-those-of-the-branch",
        "cli/repository.py",
        "refs.follow(HEADREF)[0][-1]",
        "HEADREF",
        "update-ref takes another commit for @{1} than git does",
        ("cli/test_update_ref.py",),
    ),
    Mutation(
        "hook-hears-the-name-that-was-given",
        "cli/update_hooks.py",
        "self._resolved = self._lines(follow=True)",
        "self._resolved = self._lines()",
        "a hook that guards a branch does not see an update through HEAD",
        ("cli/test_update_hooks.py",),
    ),
    Mutation(
        "times-before-1970",
        "refs/signature.py",
        "seconds = min(max(int(timestamp), 0), _LATEST)",
        "seconds = min(int(timestamp), _LATEST)",
        "a commit of before 1970 is refused once its object is written",
        ("refs/test_reflog.py",),
    ),
)
