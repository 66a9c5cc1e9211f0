"""The other commands, beside git's where it has such; and what all of them have in common."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from support.git import TIMESTAMP, Git, requires_git
from support.pool import ObjectPool

import dulwich_reftable as dr
from dulwich_reftable.cli import COMMANDS

from .conftest import Run

pytestmark = requires_git

ELSEWHERE = {"disable", "enable", "status", "serve", "shell"}  # tests/automatic, tests/server
OURS = sorted({*COMMANDS} - {"copy", "dulwich", "gc", "migrate", "init", *ELSEWHERE})


@pytest.fixture
def git(tmp_path: Path, pool_of: Callable[[str], ObjectPool]) -> Git:
    """A repository with some history, in several tables."""
    pool = pool_of("sha1")
    git = Git.init(tmp_path / "repo", compacting=False)
    pool.lend(git.git_dir)
    for at in range(4):
        when = git.date(TIMESTAMP + at * 100, 0)
        git.update_ref_stdin([b"update HEAD " + pool.commits[at]], b"step %d" % at, when)
    tags = [b"create refs/tags/t%d %s" % pair for pair in enumerate([*pool.tags][:3])]
    git.update_ref_stdin(
        [b"create refs/heads/topic " + pool.commits[1], b"create refs/other/x " + pool.commits[2],
         b"create refs/tags/light " + pool.commits[1], *tags],
    )  # fmt: skip
    git.set_symrefs({b"refs/remotes/o/HEAD": b"refs/heads/topic", b"refs/heads/no": b"refs/x/y"})
    git.update_ref_stdin([b"delete refs/other/x"])
    return git


# -- show-ref


@pytest.mark.parametrize("options", [[], ["-d"], ["--head"], ["--head", "-d"]])
def test_show_ref(git: Git, run: Run, options: list[str]) -> None:
    assert run("show-ref", "-C", git.path, *options).out == git.run("show-ref", *options)


@pytest.mark.parametrize("prefix", ["refs/tags/", "refs/heads/t", "refs/heads/topic", "refs/no"])
def test_show_ref_by_prefix(git: Git, run: Run, prefix: str) -> None:
    done = run("show-ref", "-C", git.path, prefix)
    lines = git.run("show-ref").splitlines(keepends=True)
    assert done.out == b"".join(line for line in lines if line[41:].startswith(prefix.encode()))
    assert done.code == (not done.out)
    assert done.err == b""


@pytest.mark.parametrize("name", ["HEAD", "refs/heads/topic", "t1", "t1^{}", "light"])
def test_show_ref_by_object(git: Git, run: Run, name: str) -> None:
    oid = git.run("rev-parse", name).strip().decode()
    listed = git.run(
        "for-each-ref", f"--points-at={oid}", "--format=%(objectname) %(refname) %(symref)"
    )
    lines = [line[:-1] for line in listed.splitlines() if line.endswith(b" ")]
    for asked in {name, oid} - {"t1^{}"}:  # which dulwich does not know
        done = run("show-ref", "-C", git.path, "--points-at", asked)
        assert done.out.splitlines() == lines
        assert done.code == 0
    done = run("show-ref", "-C", git.path, "--points-at", oid, "refs/nothing/")
    assert (done.code, done.out) == (1, b"")


def test_show_ref_of_no_object(git: Git, run: Run) -> None:
    done = run("show-ref", "-C", git.path, "--points-at", "nonsense")
    assert (done.code, done.out) == (1, b"")
    assert b"'nonsense' is not an object" in done.err
    done = run("show-ref", "-C", git.path, "--points-at", "1" * 40)
    assert (done.code, done.out, done.err) == (1, b"", b"")


# -- reflog


@pytest.mark.parametrize("ref", ["HEAD", "main", "refs/heads/main", "heads/main"])
def test_reflog_show(git: Git, run: Run, ref: str) -> None:
    expected = git.run("reflog", "show", ref)
    assert run("reflog", "-C", git.path, "show", ref).out == expected
    assert expected.count(b"\n") == 4
    if ref == "HEAD":
        for arguments in ([], ["show"]):
            assert run("reflog", "-C", git.path, *arguments).out == expected
    expected = git.run("reflog", "show", "-n2", "--no-abbrev-commit", ref)
    assert run("reflog", "-C", git.path, "show", "-n2", "--abbrev=40", ref).out == expected


def test_reflog_list_and_exists(git: Git, run: Run) -> None:
    assert run("reflog", "-C", git.path, "list").out == git.run("reflog", "list")
    for ref in ("HEAD", "refs/heads/main", "refs/heads/none", "refs/tags/t1"):
        theirs = git.start(["reflog", "exists", ref], b"", None)
        done = run("reflog", "-C", git.path, "exists", ref)
        assert (done.code, done.out, done.err) == (theirs.returncode, b"", b"")


def test_reflog_of_nothing(git: Git, run: Run) -> None:
    done = run("reflog", "-C", git.path, "show", "nonsense")
    assert (done.code, done.out) == (1, b"")
    assert b"there is no ref or reflog 'nonsense'" in done.err


@pytest.fixture
def twin(git: Git, tmp_path: Path) -> Git:
    """The same once more, to be changed by git."""
    subprocess.run(["cp", "-a", git.path, tmp_path / "twin"], check=True)
    return Git(tmp_path / "twin")


@pytest.mark.parametrize(
    "arguments",
    [
        ["main@{0}"],
        ["main@{3}"],
        ["refs/heads/main@{1}", "HEAD@{2}"],
        ["--rewrite", "main@{1}"],
        ["main@{0}", "main@{0}", "main@{0}", "main@{0}"],
    ],
)
def test_reflog_delete(git: Git, twin: Git, run: Run, arguments: list[str]) -> None:
    if arguments.count("main@{0}") == 4:  # git takes all numbers to be those from before
        for _ in range(4):
            twin.run("reflog", "delete", "main@{0}")
    else:
        twin.run("reflog", "delete", *arguments)
    assert run("reflog", "-C", git.path, "delete", *arguments).code == 0
    assert git.reflogs() == twin.reflogs()


@pytest.mark.parametrize("entry", ["main@{4}", "main", "main@{x}", "none@{0}", "main@{-1}"])
def test_reflog_delete_of_nothing(git: Git, run: Run, entry: str) -> None:
    before = git.reflogs()
    done = run("reflog", "-C", git.path, "delete", entry)
    assert done.code == 1
    assert done.err.count(b"\n") == 1
    assert git.reflogs() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["--expire=all", "--all"],
        ["--expire=now", "--expire-unreachable=now", "refs/heads/main"],
        ["--expire=never", "HEAD", "refs/heads/main"],
        ["--expire=never", "--expire-unreachable=never", "--all"],
        [f"--expire=@{TIMESTAMP + 150}", "--expire-unreachable=never", "refs/heads/main"],
        [f"--expire=@{TIMESTAMP + 150}", "--expire-unreachable=never", "--all"],
        ["--expire=2000-01-01", "--expire-unreachable=never", "--all"],
        ["--expire=5.years.ago", "--expire-unreachable=never", "HEAD"],
        ["--all"],
        ["-n", "--expire=all", "--all"],
        ["HEAD", "refs/heads/topic"],
    ],
)
def test_reflog_expire(git: Git, twin: Git, run: Run, arguments: list[str]) -> None:
    twin.run("reflog", "expire", *arguments)
    before = git.reflogs()
    done = run("reflog", "-C", git.path, "expire", *arguments)
    assert (done.code, done.err) == (0, b"")
    assert git.reflogs() == twin.reflogs()
    gone = sum(map(len, before.values())) - sum(map(len, git.reflogs().values()))
    told = sum(int(line.split()[1]) for line in done.lines)
    assert told == gone or arguments[0] == "-n"


def test_reflog_expire_by_the_settings(git: Git, twin: Git, run: Run) -> None:
    for one in (git, twin):
        one.run("config", "gc.reflogExpire", "never")
        one.run("config", "gc.reflogExpireUnreachable", "never")
    twin.run("reflog", "expire", "--all")
    assert run("reflog", "-C", git.path, "expire", "--all").out == b""
    assert git.reflogs() == twin.reflogs()
    assert run("reflog", "-C", git.path, "expire").code == 1


# -- upkeep


def test_compact(git: Git, run: Run) -> None:
    before = git.for_each_ref(), git.reflogs()
    assert len(git.tables()) > 4
    done = run("compact", git.path)
    assert done.code == 0
    assert len(git.tables()) == 1
    assert done.lines[0].endswith(f"are now 1 of {git.tables()[0].stat().st_size}")
    assert (git.for_each_ref(), git.reflogs()) == before
    assert run("compact", git.path).out == b""


def test_compact_auto(git: Git, run: Run) -> None:
    before = git.for_each_ref()
    assert run("compact", "--auto", git.path).code == 0
    sizes = [path.stat().st_size - 92 for path in git.tables()]
    assert all(older >= 2 * newer for older, newer in pairwise(sizes))
    assert git.for_each_ref() == before
    assert run("compact", "--auto", git.path).out == b""


def test_compact_under_a_lock(git: Git, run: Run) -> None:
    lock = git.git_dir / "reftable" / "tables.list.lock"
    lock.touch()
    done = run("compact", git.path)
    assert done.code == 1
    assert str(lock).encode() in done.err
    assert run("compact", "--auto", git.path).code == 0  # gives way
    assert run("clean", git.path).code == 1


def test_clean(git: Git, run: Run) -> None:
    directory = git.git_dir / "reftable"
    before = {*directory.iterdir()}
    assert run("clean", git.path).out == b""
    left = [
        directory / "0x000000000001-0x000000000001-00c0ffee.ref",
        directory / "0x000000000001-0x000000000001.temp.0badcafe",
    ]
    for path in left:
        path.write_bytes(git.tables()[0].read_bytes())
    kept = directory / "notes.txt"
    kept.touch()
    done = run("clean", git.path)
    assert (done.code, done.lines) == (0, [str(path) for path in sorted(left)])
    assert {*directory.iterdir()} == {*before, kept}


def test_upkeep_of_worktrees(git: Git, tmp_path: Path, run: Run) -> None:
    git.run("worktree", "add", "--no-checkout", "-q", "-b", "tree", "../tree")
    tree = Git(tmp_path / "tree")
    tree.env["GIT_TEST_REFTABLE_AUTOCOMPACTION"] = "false"
    for number in range(3):
        tree.run("update-ref", f"refs/worktree/w{number}", "HEAD")
    left = tree.git_dir / "reftable" / "0x000000000001-0x000000000001-00c0ffee.ref"
    left.write_bytes(tree.tables()[0].read_bytes())
    assert run("clean", tree.path).lines == [str(left)]
    assert len(run("compact", tree.path).lines) == 2
    assert (len(git.tables()), len(tree.tables())) == (1, 1)
    assert run("verify", git.path).out.count(b"\n") == 1  # the symref that leads nowhere


# -- stats


def test_stats(git: Git, run: Run) -> None:
    done = run("stats", "--json", git.path)
    (stack,) = json.loads(done.out)["stacks"]
    tables = git.tables()
    assert [table["name"] for table in stack["tables"]] == [path.name for path in tables]
    assert [table["size"] for table in stack["tables"]] == [p.stat().st_size for p in tables]
    assert sum(table["ref_tombstones"] for table in stack["tables"]) == 1
    for table in stack["tables"]:
        sections = table["ref_bytes"] + table["obj_bytes"] + table["log_bytes"]
        assert table["size"] - 68 == sections
    names = [name.decode() for name in git.raw_refs([b"refs/heads/no"])]
    counts: dict[str, int] = {}
    for name in sorted(names):
        space = "/".join(name.split("/")[:2]) + "/" if "/" in name else name
        counts[space] = counts.get(space, 0) + 1
    assert stack["namespaces"] == counts
    assert stack["symrefs"] == 3
    text = run("stats", git.path).out.decode()
    for space, count in counts.items():
        assert f"{space} " in text
        assert any(line.split() == [space, str(count)] for line in text.splitlines())
    assert f"compaction would leave {stack['compacted_size']} bytes" in text
    before = [path.name for path in git.tables()]
    assert before == [path.name for path in tables]  # nothing was written
    git.run("pack-refs", "--all")
    (packed,) = git.tables()
    assert packed.stat().st_size == stack["compacted_size"]


def test_stats_where_compaction_gains_nothing(tmp_path: Path, run: Run) -> None:
    """A writer that makes no obj blocks has smaller tables than we would make."""
    git = Git.init(tmp_path / "repo", config={"reftable.indexObjects": "false"})
    git.run("commit", "-q", "--allow-empty", "-m", "c")
    git.update_ref_stdin(b"create refs/x/%03d HEAD" % number for number in range(999))
    git.run("pack-refs")
    git.run("config", "reftable.indexObjects", "true")
    text = run("stats", git.path).lines[-1]
    leaves = int(text.split()[3])
    assert leaves > git.tables()[0].stat().st_size
    assert text == f"compaction would leave {leaves} bytes and gain nothing"


def test_stats_of_nothing(tmp_path: Path, run: Run) -> None:
    dr.Repo.init_bare(tmp_path / "repo", mkdir=True).close()
    done = run("stats", tmp_path / "repo")
    assert done.code == 0
    assert b"bytes a log entry: -" in done.out


# -- verify


def test_verify(git: Git, run: Run) -> None:
    done = run("verify", git.path)
    said = "warning: refs/heads/no: points to 'refs/x/y', which does not exist"
    assert (done.code, done.lines, done.err) == (0, [said], b"")
    assert run("verify", "--strict", git.path).code == 1
    git.run("symbolic-ref", "--delete", "refs/heads/no")
    done = run("verify", "--strict", git.path)
    assert (done.code, done.out) == (0, b"")
    (git.git_dir / "reftable" / "tables.list.lock").touch()
    done = run("verify", "--strict", git.path)
    assert done.code == 0
    assert done.lines[0].startswith("info: ")
    assert run("verify", "-q", git.path).out == b""
    git.tables()[2].unlink()
    done = run("verify", git.path)
    assert done.code == 1
    assert done.lines[0].startswith("error: ")
    assert done.err == b""


# -- all of them


@pytest.mark.parametrize("command", OURS)
def test_help(run: Run, command: str) -> None:
    done = run(command, "--help")
    assert done.code == 0
    assert f"dulwich-reftable {command}".encode() in done.out
    for line in done.lines:
        assert len(line) <= 100
    done = run(command, "--nonsense")
    assert done.code == 2
    assert b"usage:" in done.err


def test_help_of_all(run: Run) -> None:
    text = run("--help").out.decode()
    for command in OURS:
        assert f"    {command}" in text
    assert run().code == 2
    assert run("nonsense").code == 2


@pytest.mark.parametrize("command", OURS)
def test_no_repository(
    tmp_path: Path, run: Run, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(command, *arguments_of(command))
    assert (done.code, done.out) == (1, b"")
    assert b"not a git repository" in done.err.lower()
    assert done.err.count(b"\n") == 1


@pytest.mark.parametrize("command", OURS)
def test_a_files_repository(
    tmp_path: Path, run: Run, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Git.init(tmp_path / "repo", ref_format="files")
    monkeypatch.chdir(tmp_path / "repo")
    done = run(command, *arguments_of(command))
    assert (done.code, done.out) == (1, b"")
    assert b"not in the reftable format" in done.err


@pytest.mark.parametrize("command", OURS)
@pytest.mark.parametrize("place", ["sub", "bare", "tree"])
def test_places(
    git: Git, tmp_path: Path, run: Run, command: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a directory below, in a bare repository, and in a linked worktree."""
    path = git.path / "sub" / "deep"
    if place == "sub":
        path.mkdir(parents=True)
    elif place == "bare":
        path = git.git_dir
        git.run("config", "core.bare", "true")
    else:
        git.run("worktree", "add", "-q", "--no-checkout", "-b", "tree", "../tree")
        path = tmp_path / "tree"
    monkeypatch.chdir(path)
    done = run(command, *arguments_of(command))
    assert (done.code, done.err) == (0, b"")


def arguments_of(command: str) -> list[str]:
    """What a command cannot do without."""
    return ["refs/heads/new", "HEAD"] if command == "update-ref" else []


@pytest.mark.parametrize("command", OURS)
def test_a_damaged_repository(
    git: Git, run: Run, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = git.tables()[0]
    table.chmod(0o644)
    table.write_bytes(table.read_bytes()[:-10])
    monkeypatch.chdir(git.path)
    done = run(command, *arguments_of(command))
    assert done.code == 1
    assert table.name.encode() in done.out + done.err


def test_as_a_process(git: Git) -> None:
    """A pipe that is closed early is no error to be told of."""
    command = [sys.executable, "-m", "dulwich_reftable"]
    done = subprocess.run([*command, "show-ref"], cwd=git.path, capture_output=True, check=True)
    assert done.stdout == git.run("show-ref")
    failed = subprocess.run([*command, "verify", "/"], capture_output=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith(b"dulwich-reftable: ")
    with subprocess.Popen(
        [*command, "dump", "--json"], cwd=git.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("extensions.refStorage", "unknown", b"refStorage = unknown"),
        ("core.repositoryformatversion", "7", b"7"),
        ("reftable.blockSize", "-1", b"reftable.blockSize"),
    ],
)
def test_odd_settings(git: Git, run: Run, key: str, value: str, said: bytes) -> None:
    git.run("config", key, value)
    done = run("verify", git.path)
    assert (done.code, done.out) == (1, b"")
    assert said in done.err
    assert done.err.count(b"\n") == 1


def test_an_odd_identity(git: Git, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_COMMITTER_NAME", "Eve <eve@example.com>\n")
    done = run("update-ref", "-C", git.path, "refs/heads/new", "HEAD")
    assert done.code == 1
    assert done.err.count(b"\n") == 1
