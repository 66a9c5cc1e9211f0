"""The parts that can be told without a repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dulwich_reftable.engine.format.records import LogRecord, LogUpdate
from dulwich_reftable.migration.layout import GitDir, fingerprint
from dulwich_reftable.migration.reflog_files import ReflogFiles, format_entry
from dulwich_reftable.migration.report import Tally
from dulwich_reftable.naming.conflicts import ConflictFinder

names = st.lists(st.text("ab-/", min_size=1, max_size=6).map(str.encode), max_size=30)


@given(names)
def test_conflicts(found: list[bytes]) -> None:
    """Those that come later are in the way; what was in the way itself is not counted."""
    finder = ConflictFinder()
    kept: set[bytes] = set()
    for name in sorted(set(found)):
        ways = [other for other in kept if name.startswith(other + b"/")]
        other = next(iter(finder.find(name)), None)
        assert (other is None) == (not ways)
        if other is None:
            kept.add(name)
        else:
            assert other in ways


ids = st.binary(min_size=20, max_size=20)
words = st.binary(max_size=20).map(lambda text: text.translate(None, b"<>\n\0\r"))
updates = st.builds(
    LogUpdate,
    ids,
    ids,
    words.map(lambda text: text.strip(b" ")),
    words,
    st.integers(0, 10**15),
    st.integers(-9999, 9999),
    words.map(lambda text: b" ".join(text.split()) + b"\n"),
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(updates, max_size=5))
def test_entries_become_lines_and_entries_again(tmp_path: Path, log: list[LogUpdate]) -> None:
    lines = [format_entry(update) for update in log]
    path = tmp_path / "logs" / "HEAD"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(line for line in lines if line is not None))
    tally = Tally()
    files = ReflogFiles(GitDir(str(tmp_path), ""), 20, 4096, 1, tally)
    assert (tally.notes, files.entries) == ([], len(log))
    records = list(files.records())
    assert records[::-1] == (
        [LogRecord(b"HEAD", at, update) for at, update in enumerate(log, 1)]
        or [LogRecord(b"HEAD", 1, LogUpdate(bytes(20), bytes(20), b"", b"", 0, 0, b""))]
    )


@pytest.mark.parametrize("name", ["HEAD", "refs/heads/main", "packed-refs", "logs/HEAD"])
def test_a_file_in_the_place_of_another_is_noticed(tmp_path: Path, name: str) -> None:
    """Also if size and time are the same, as a clock of whole seconds would have it."""
    for some in ("HEAD", "refs/heads/main", "packed-refs", "logs/HEAD"):
        (tmp_path / some).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / some).write_text("a" * 40)
    path = tmp_path / name
    before = fingerprint(str(tmp_path))
    assert fingerprint(str(tmp_path)) == before
    other = tmp_path / "other"
    other.write_text("b" * 40)
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    after = fingerprint(str(tmp_path))
    assert (after.heads == before.heads) == (name != "HEAD")
    assert (after.others == before.others) == (name == "HEAD")


def test_committers_that_are_no_line() -> None:
    update = LogUpdate(bytes(20), bytes(20), b"A", b"a@b", 1, 0, b"m\n")
    assert format_entry(update) == b"0" * 40 + b" " + b"0" * 40 + b" A <a@b> 1 +0000\tm\n"
    for odd in (b"A\nB", b"A<B", b"A>B"):
        assert format_entry(update._replace(name=odd)) is None
        assert format_entry(update._replace(email=odd)) is None
