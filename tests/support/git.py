"""A driver for the real git, and the reader of everything that git knows about refs and reflogs.

The point of most tests is to compare with git, so this file is the one place that says how git is
asked. It starts few processes: a listing of 60,000 refs or of all reflogs is one of them.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

MINIMUM = (2, 45)  # the first git that has reftable at all
NAME = "C O Mitter"
EMAIL = "committer@example.com"
TIMESTAMP = 1_700_000_000
ZERO = {"sha1": b"0" * 40, "sha256": b"0" * 64}


class LogEntry(NamedTuple):
    """One reflog entry; the fields are those of dulwich.reflog.Entry, the time zone in seconds."""

    old: bytes
    new: bytes
    committer: bytes
    timestamp: int
    timezone: int | None
    message: bytes


class ListedRef(NamedTuple):
    """One line of ``git for-each-ref``; for a symref, ``symref`` is where the chain ends."""

    value: bytes
    peeled: bytes | None
    symref: bytes | None


def hermetic_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return `base` without anything by which the user's git settings could reach a test."""
    clean = {key: value for key, value in base.items() if not key.startswith(("GIT_", "XDG_"))}
    clean.update(
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL=os.devnull,
        GIT_TERMINAL_PROMPT="0",
        LC_ALL="C",
        TZ="UTC",
        EMAIL=EMAIL,
    )
    return clean


def _find_version() -> tuple[int, ...]:
    try:
        out = subprocess.run(["git", "version"], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ()
    found = re.search(rb"(\d+)\.(\d+)(?:\.(\d+))?", out)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


GIT_VERSION = _find_version()
GIT_REQUIRED = os.environ.get("DULWICH_REFTABLE_REQUIRE_GIT") == "1"
GIT_MISSING = (
    ""
    if GIT_VERSION >= MINIMUM
    else f"needs git >= {'.'.join(map(str, MINIMUM))} with reftable, found "
    + (".".join(map(str, GIT_VERSION)) or "none")
)


requires_git = pytest.mark.skipif(bool(GIT_MISSING) and not GIT_REQUIRED, reason=GIT_MISSING)
"""Skip a test for want of git; where git must be there, let the test run into the error."""


def format_timezone(seconds: int) -> str:
    """Write a time zone as git does: ``+0530`` for 19800."""
    sign = "-" if seconds < 0 else "+"
    minutes = abs(seconds) // 60
    return f"{sign}{minutes // 60:02d}{minutes % 60:02d}"


def parse_timezone(text: bytes) -> int:
    """Read a time zone as git writes it, to seconds."""
    sign = -1 if text[:1] == b"-" else 1
    return sign * (int(text[1:3]) * 3600 + int(text[3:5]) * 60)


class GitError(Exception):
    """A git command that failed; what it said is the text."""


_REFLOG_LINE = re.compile(
    rb"^reflog_ent (\S+) \(ret -?\d+\): ([0-9a-f]+) -> ([0-9a-f]+), (.*) (\d+) \"(.*)\"$", re.M
)
_REFLOG_NAME = re.compile(rb"^for_each_reflog: (\S+): -?\d+$", re.M)
_WALKED = re.compile(rb"^(\S+)@\{(\d+) ([-+]\d{4})\} ([0-9a-f]+)$", re.M)
_RAW_SYMREF = re.compile(rb"^read_raw_ref: (\S+): 0+ \(=> (\S+)\) type 1: 0$", re.M)


class Git:
    """One repository (or one of its work trees), seen and changed by the real git."""

    def __init__(self, path: Path, object_format: str = "sha1") -> None:
        self.path = path
        self.object_format = object_format
        self.zero = ZERO[object_format]
        self.env = hermetic_environment(os.environ)
        self.env.update(self.identity(NAME, EMAIL), **self.date(TIMESTAMP, 0))

    @classmethod
    def init(
        cls,
        path: Path,
        *,
        bare: bool = False,
        object_format: str = "sha1",
        ref_format: str = "reftable",
        config: Mapping[str, str] | None = None,
        compacting: bool = True,
    ) -> Git:
        """Make a repository whose first branch is ``main``, with `config` set in it.

        Without `compacting`, each transaction of git stays a table of its own.
        """
        if GIT_MISSING:
            (pytest.fail if GIT_REQUIRED else pytest.skip)(GIT_MISSING)
        path.mkdir(parents=True, exist_ok=True)
        git = cls(path, object_format)
        kind = ["--bare"] if bare else []
        formats = [f"--object-format={object_format}", f"--ref-format={ref_format}"]
        git.run("init", "--quiet", "--initial-branch=main", *formats, *kind)
        for key, value in (config or {}).items():
            git.run("config", key, value)
        if not compacting:
            git.env["GIT_TEST_REFTABLE_AUTOCOMPACTION"] = "false"
        return git

    @staticmethod
    def identity(name: str, email: str) -> dict[str, str]:
        """Return the variables that make git work under this name."""
        return {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", name), ("EMAIL", email))
        }

    @staticmethod
    def date(timestamp: int, timezone: int) -> dict[str, str]:
        """Return the variables that make git work at this time."""
        text = f"@{timestamp} {format_timezone(timezone)}"
        return {"GIT_AUTHOR_DATE": text, "GIT_COMMITTER_DATE": text}

    # -- running it

    def start(
        self, args: Sequence[str | bytes | Path], stdin: bytes, env: Mapping[str, str] | None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run git and return all of the outcome, a failure too."""
        return subprocess.run(
            ["git", *args],
            cwd=self.path,
            input=stdin,
            env={**self.env, **(env or {})},
            capture_output=True,
            check=False,
            timeout=120,
        )

    def run(
        self, *args: str | bytes | Path, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> bytes:
        """Run git, which must succeed, and return what it printed."""
        done = self.start(args, stdin, env)
        if done.returncode:
            said = done.stderr.decode(errors="replace")
            raise GitError(f"git {args}: exit {done.returncode}: {said}")
        return done.stdout

    def update_ref_stdin(
        self, lines: Iterable[bytes], message: bytes = b"", env: Mapping[str, str] | None = None
    ) -> None:
        """Run one transaction of ``git update-ref --stdin``; all or nothing."""
        note = [b"-m", message] if message else []
        text = b"".join(line + b"\n" for line in lines)
        self.run("update-ref", *note, "--stdin", stdin=text, env=env)

    def set_symrefs(self, targets: Mapping[bytes, bytes]) -> None:
        """Create symrefs, in one transaction where this git can."""
        if GIT_VERSION >= (2, 46):
            self.update_ref_stdin(b"symref-create %s %s" % pair for pair in targets.items())
        else:
            for name, target in targets.items():
                self.run("symbolic-ref", name, target)

    # -- what git shows

    def for_each_ref(self) -> dict[bytes, ListedRef]:
        """All refs that git lists, root refs included, in git's order."""
        fields = b"%(refname)%00%(objectname)%00%(*objectname)%00%(symref)"
        out = self.run("for-each-ref", "--include-root-refs", b"--format=" + fields)
        listed = {}
        for line in out.splitlines():
            name, value, peeled, symref = line.split(b"\0")
            listed[name] = ListedRef(value, peeled or None, symref or None)
        return listed

    def symref_targets(self, names: Iterable[bytes]) -> dict[bytes, bytes]:
        """Tell which of `names` are symrefs and what each holds itself, dangling ones too.

        ``git symbolic-ref --no-recurse`` would say it for one name a process; the trace of git's
        ref store says it for all of them at once.
        """
        wanted = set(names)
        found: dict[bytes, bytes] = {}
        trace = self._trace("cat-file", "--batch-check", stdin=b"\n".join(sorted(wanted)))
        for name, target in _RAW_SYMREF.findall(trace):
            # Farther down a chain git traces the target under both names: only the first counts.
            if name in wanted and name not in found and name != target:
                found[name] = target
        return found

    def raw_refs(self, also: Iterable[bytes] = ()) -> dict[bytes, bytes]:
        """Every listed ref as it is stored: an id, or ``ref: <target>``.

        git lists no dangling symrefs; those are asked for by name in `also`.
        """
        listed = self.for_each_ref()
        raw = {name: ref.value for name, ref in listed.items()}
        symrefs = [name for name, ref in listed.items() if ref.symref]
        for name, target in self.symref_targets([*symrefs, *also]).items():
            raw[name] = b"ref: " + target
        return raw

    def reflog_names(self) -> list[bytes]:
        """The names that ``git reflog list`` prints."""
        return self.run("reflog", "list").splitlines()

    def reflogs(self) -> dict[bytes, list[LogEntry]]:
        """Every reflog that git has here, oldest entry first.

        No git command prints an entry's old id, so the entries come from the trace of git's ref
        store. The trace in turn lacks the time zone, which ``git log -g`` knows for all
        entries that lead to a commit; elsewhere it is None. Where both speak, they must agree.
        """
        trace = self._trace("rev-list", "--single-worktree", "--reflog", "--no-walk")
        logs: dict[bytes, list[LogEntry]] = {name: [] for name in _REFLOG_NAME.findall(trace)}
        for name, old, new, committer, timestamp, message in _REFLOG_LINE.findall(trace):
            logs[name].append(LogEntry(old, new, committer, int(timestamp), None, message))
        assert sorted(logs) == sorted(self.reflog_names()), "git's trace misses reflogs"
        for name, walked in self._walk_reflogs(logs).items():
            entries = iter(enumerate(logs[name]))
            for new, timestamp, timezone in walked:
                at, entry = next(pair for pair in entries if pair[1].new == new)
                assert entry.timestamp == timestamp
                logs[name][at] = entry._replace(timezone=timezone)
        return logs

    def _walk_reflogs(
        self, logs: Mapping[bytes, list[LogEntry]]
    ) -> dict[bytes, list[tuple[bytes, int, int]]]:
        """Read (new id, timestamp, time zone) of the entries that lead to commits, oldest first."""
        # git walks no dangling ref, and for a symref without entries it walks another ref's.
        resolved = sorted(name for name in self.for_each_ref() if logs.get(name))
        walked: dict[bytes, list[tuple[bytes, int, int]]] = {}
        for start in range(0, len(resolved), 200):  # all at once would take git quadratic time
            names = b"\n".join(resolved[start : start + 200])
            walk = ["log", "-g", "--stdin", "--date=raw", "--format=%gD %H"]
            for name, timestamp, timezone, new in _WALKED.findall(self.run(*walk, stdin=names)):
                entry = (new, int(timestamp), parse_timezone(timezone))
                walked.setdefault(name, []).append(entry)
        return {name: entries[::-1] for name, entries in walked.items()}

    def _trace(self, *args: str, stdin: bytes = b"") -> bytes:
        """Run git and return the trace of its ref store, one call a line."""
        traced = {"GIT_TRACE_REFS": "1", "GIT_TRACE_BARE": "1"}
        return self.start(args, stdin, traced).stderr

    def complaints(self) -> bytes:
        """Return all that git's checkers say about the repository; nothing, where it is sound."""
        checks = [["fsck", "--strict", "--no-dangling", "--no-progress"]]
        if GIT_VERSION >= (2, 47):
            checks.append(["refs", "verify", "--strict"])
        said = b""
        for check in checks:
            done = self.start(check, b"", None)
            said += done.stdout + done.stderr
            if done.returncode:
                said += b"exit %d" % done.returncode
        return said

    # -- on disk

    @property
    def git_dir(self) -> Path:
        """The directory that holds the repository, or this work tree's part of it."""
        return Path(os.fsdecode(self.run("rev-parse", "--absolute-git-dir").strip()))

    def tables(self) -> list[Path]:
        """The files that make up the stack, oldest first."""
        reftable = self.git_dir / "reftable"
        return [reftable / name for name in (reftable / "tables.list").read_text().split()]
