"""Verification of repositories: silent on sound ones, whoever made them; finds planted faults."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from engine.tables import ref, write
from support.git import GIT_VERSION, Git, requires_git
from support.pool import ObjectPool

import dulwich_reftable as dr
from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.engine.table.writer import WriteOptions
from dulwich_reftable.verification import Finding

A, B = b"a" * 40, b"b" * 40


def kinds(found: list[Finding]) -> set[tuple[str, str]]:
    """How bad, and which check."""
    return {(finding.severity, finding.check) for finding in found}


# -- sound repositories


def check_sound(path: Path) -> None:
    with dr.Repo(str(path)) as repo:
        assert repo.refs.verify() == []


@requires_git
@pytest.mark.parametrize("compacting", [True, False])
def test_a_repository_of_git(
    tmp_path: Path,
    object_format: str,
    pool_of: Callable[[str], ObjectPool],
    compacting: bool,
) -> None:
    """With tags, symrefs, reflogs, deletions, worktrees and a detached HEAD, in several tables."""
    pool = pool_of(object_format)
    git = Git.init(
        tmp_path / "repo",
        object_format=object_format,
        config={"reftable.blockSize": "512"},
        compacting=compacting,
    )
    check_sound(git.path)  # HEAD is unborn
    pool.lend(git.git_dir)
    lines = [b"create refs/heads/%03d %s" % pair for pair in enumerate(pool.commits)]
    lines += [b"create refs/tags/%03d %s" % pair for pair in enumerate(pool.tags)]
    git.update_ref_stdin([*lines, b"create refs/heads/main " + pool.commits[0]], b"many")
    git.set_symrefs({b"refs/remotes/origin/HEAD": b"refs/heads/main"})
    git.update_ref_stdin([b"delete refs/heads/007", b"update HEAD " + pool.commits[9]], b"more")
    git.run("worktree", "add", "--no-checkout", "-q", "-b", "tree", "../tree", "main")
    git.run("worktree", "add", "--no-checkout", "-q", "--detach", "../bare", "main")
    Git(tmp_path / "tree", object_format).run("update-ref", "refs/worktree/mine", pool.commits[1])
    assert len(git.tables()) > (1 if compacting else 4)
    for path in (git.path, tmp_path / "tree", tmp_path / "bare"):
        check_sound(path)
    if GIT_VERSION >= (2, 48):
        git.run("refs", "verify", "--strict")


def test_a_repository_of_ours(tmp_path: Path, repo: dr.Repo) -> None:
    check_sound(Path(repo.path))
    with repo.refs.transaction(message=b"many") as transaction:
        for number in range(500):
            transaction.create(b"refs/heads/%03d" % number, A)
    repo.refs.set_symbolic_ref(b"refs/heads/alias", b"refs/heads/001")
    for number in range(20):
        repo.refs.set_if_equals(b"refs/heads/%03d" % number, A, B, message=b"one")
    del repo.refs[b"refs/heads/030"]
    repo.refs.expire_reflog(b"refs/heads/001", expire_time=1 << 40)
    check_sound(Path(repo.path))
    repo.refs.compact()
    check_sound(Path(repo.path))


def test_nothing_is_written(repo: dr.Repo) -> None:
    repo.refs[b"refs/heads/main"] = A
    directory = Path(repo.path, ".git", "reftable")
    before = {path: path.stat().st_mtime_ns for path in [directory, *directory.iterdir()]}
    assert repo.refs.verify() == []
    assert before == {path: path.stat().st_mtime_ns for path in [directory, *directory.iterdir()]}


# -- faults in a repository


@pytest.fixture
def stack(repo: dr.Repo) -> Path:
    """The directory of a stack of two tables."""
    with repo.refs.transaction(message=b"m") as transaction:
        for number in range(200):
            transaction.create(b"refs/heads/n%03d" % number, A)
    repo.refs[b"refs/heads/main"] = A
    directory = Path(repo.path, ".git", "reftable")
    assert len(names_of(directory)) > 1
    for path in directory.iterdir():
        path.chmod(0o644)
    return directory


def names_of(stack: Path) -> list[str]:
    """The tables in the list."""
    return (stack / "tables.list").read_text().split()


def list_tables(stack: Path, *names: str) -> None:
    """Write the list."""
    (stack / "tables.list").write_text("".join(name + "\n" for name in names))


def add_table(stack: Path, data: bytes, low: int = 50, high: int = 50) -> str:
    """Add a table to a stack."""
    name = f"0x{low:012x}-0x{high:012x}-0000c0de.ref"
    (stack / name).write_bytes(data)
    list_tables(stack, *names_of(stack), name)
    return name


def add_refs(stack: Path, *records: RefRecord) -> None:
    """Add a table with these refs."""
    raised = [record._replace(update_index=50) for record in records]
    add_table(stack, write(raised, bounds=(50, 50)))


def symref(name: bytes, target: bytes) -> RefRecord:
    return RefRecord(name, 50, None, None, target)


Plant = Callable[[Path], object]


def damage_oldest(stack: Path) -> None:
    path = stack / names_of(stack)[0]
    data = bytearray(path.read_bytes())
    data[26] ^= 0xFF  # the length of its first block
    path.write_bytes(data)


FAULTS: dict[str, tuple[Plant, str, str]] = {
    "a table is missing": (
        lambda stack: (stack / names_of(stack)[0]).unlink(),
        "error",
        "is listed, but missing",
    ),
    "a table twice": (
        lambda stack: list_tables(stack, *names_of(stack), names_of(stack)[0]),
        "error",
        "cannot be a table",
    ),
    "a table elsewhere": (
        lambda stack: list_tables(stack, *names_of(stack), "../x.ref"),
        "error",
        "'../x.ref' cannot be a table",
    ),
    "tables exchanged": (
        lambda stack: list_tables(stack, *reversed(names_of(stack))),
        "error",
        "but the tables before it end at",
    ),
    "a table cut": (
        lambda stack: os.truncate(stack / names_of(stack)[0], 5000),
        "error",
        "footer does not repeat the header",
    ),
    "a table of nothing": (
        lambda stack: os.truncate(stack / names_of(stack)[0], 0),
        "error",
        "too few for a table",
    ),
    "a byte in a table": (damage_oldest, "error", "offset"),
    "a table that is none": (
        lambda stack: ((stack / names_of(stack)[0]).unlink(), (stack / names_of(stack)[0]).mkdir()),
        "error",
        "not a plain file",
    ),
    "another hash": (
        lambda stack: add_table(
            stack,
            write([RefRecord(b"refs/x/y", 50, bytes(range(32)))], [], WriteOptions(hash_size=32),
                  (50, 50)),
        ),
        "error",
        "has object ids of 32 bytes, the repository of 20",
    ),
    "a name that contradicts": (
        lambda stack: add_table(stack, write([ref(b"refs/x/y", 1, 60)], bounds=(60, 60))),
        "error",
        "contradicts its update indexes, 60 to 60",
    ),
    "an odd name": (
        lambda stack: (
            (stack / "odd.ref").write_bytes(write([ref(b"refs/x/y", 1, 60)], bounds=(60, 60))),
            list_tables(stack, *names_of(stack), "odd.ref"),
        ),
        "warning",
        "do not take a file of this name for a table",
    ),
    "refs in each other's way": (
        lambda stack: add_refs(stack, ref(b"refs/heads/n001/sub", 1)),
        "error",
        "refs/heads/n001: is in the way of 'refs/heads/n001/sub'",
    ),
    "refs in each other's way, others between": (
        lambda stack: add_refs(
            stack, ref(b"refs/heads/n001-x", 1), ref(b"refs/heads/n001/a/b/c", 1)
        ),
        "error",
        "refs/heads/n001: is in the way of 'refs/heads/n001/a/b/c'",
    ),
    "a bad name": (
        lambda stack: add_refs(stack, ref(b"refs/heads/..", 1)),
        "error",
        "'refs/heads/..' is no legal ref name",
    ),
    "an odd ref": (
        lambda stack: add_refs(stack, ref(b"heads/x", 1)),
        "warning",
        "heads/x: is neither below refs/ nor a root ref",
    ),
    "a dangling symref": (
        lambda stack: add_refs(stack, symref(b"refs/heads/s", b"refs/heads/none")),
        "warning",
        "refs/heads/s: points to 'refs/heads/none', which does not exist",
    ),
    "a symref to itself": (
        lambda stack: add_refs(stack, symref(b"refs/heads/s", b"refs/heads/s")),
        "error",
        "refs/heads/s: leads through more than 5 symrefs, or in a circle",
    ),
    "a circle": (
        lambda stack: add_refs(
            stack,
            symref(b"refs/heads/s", b"refs/heads/t"),
            symref(b"refs/heads/t", b"refs/heads/s"),
        ),
        "error",
        "refs/heads/t: leads through",
    ),
    "a symref to a bad name": (
        lambda stack: add_refs(stack, symref(b"refs/heads/s", b"refs/heads/a b")),
        "error",
        "points to 'refs/heads/a b', which is no legal ref name",
    ),
    "a symref to no ref": (
        lambda stack: add_refs(stack, symref(b"refs/heads/s", b"heads/x")),
        "info",
        "points to 'heads/x', which is no ref",
    ),
    "HEAD elsewhere": (
        lambda stack: add_refs(stack, symref(b"HEAD", b"refs/tags/x")),
        "error",
        "HEAD: points to 'refs/tags/x', which is no branch",
    ),
    "no HEAD": (
        lambda stack: add_refs(stack, RefRecord(b"HEAD", 50)),
        "warning",
        "HEAD: there is no such ref",
    ),
    "the zero id": (
        lambda stack: add_refs(stack, RefRecord(b"refs/heads/z", 50, bytes(20))),
        "error",
        "'refs/heads/z' points to the zero id",
    ),
    "a stray table": (
        lambda stack: shutil.copy(
            stack / names_of(stack)[0], stack / "0x000000000001-0x000000000001-00c0ffee.ref"
        ),
        "info",
        "00c0ffee.ref: was left by a dead writer",
    ),
    "a table that was dropped": (
        lambda stack: list_tables(stack, *names_of(stack)[:-1]),
        "warning",
        "is not listed, but contains updates beyond",
    ),
    "a lock": (
        lambda stack: (stack / "tables.list.lock").touch(),
        "info",
        "tables.list.lock: a lock: somebody is writing, or was killed",
    ),
    "a lock, and who holds it": (
        lambda stack: [
            (stack / name).touch() for name in ("tables.list.lock", "tables.list~pid.lock")
        ],
        "info",
        "tables.list~pid.lock: names the process that holds the lock beside it",
    ),
    "who held a lock": (
        lambda stack: (stack / "tables.list~pid.lock").touch(),
        "info",
        "tables.list~pid.lock: was left by a dead writer",
    ),
    "who compacts": (
        lambda stack: [
            (stack / f"{names_of(stack)[0]}{end}.lock").touch() for end in ("", "~pid")
        ],
        "info",
        "~pid.lock: a lock: somebody is writing, or was killed",
    ),
    "a removed file on NFS": (
        lambda stack: (stack / ".nfs000000000c0ffee00000001").touch(),
        "info",
        "ee00000001: was removed, but somebody has it open",
    ),
    "a removed file on FUSE": (
        lambda stack: (stack / ".fuse_hidden0000000c00000001").touch(),
        "info",
        "00000001: was removed, but somebody has it open",
    ),
    "a stray file": (
        lambda stack: (stack / "core").touch(),
        "warning",
        "core: does not belong here",
    ),
    "packed refs": (
        lambda stack: (stack.parent / "packed-refs").touch(),
        "warning",
        "packed-refs: nobody reads it",
    ),
    "a loose ref": (
        lambda stack: (
            (stack.parent / "refs" / "tags").mkdir(),
            (stack.parent / "refs" / "tags" / "v1").write_text(A.decode()),
        ),
        "warning",
        "v1: nobody reads it",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("plant", "severity", "said"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault(
    repo: dr.Repo, stack: Path, plant: Plant, severity: str, said: str
) -> None:
    assert repo.refs.verify() == []
    plant(stack)
    found = repo.refs.verify()
    assert any(finding.severity == severity and said in str(finding) for finding in found), list(
        map(str, found)
    )
    # Nothing else is blamed: where there is damage, it is said that more could not be checked.
    others = {f.severity for f in found if said not in str(f)}
    assert severity == "error" or others <= {"info"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_holds_nobody_up(repo: dr.Repo, stack: Path) -> None:
    (stack / "tables.list").unlink()
    os.mkfifo(stack / "tables.list")
    assert any("not a plain file" in str(finding) for finding in repo.refs.verify())


def test_one_damaged_table_hides_no_other(repo: dr.Repo, stack: Path) -> None:
    add_refs(stack, ref(b"refs/heads/a..b", 1))
    (stack / names_of(stack)[1]).unlink()
    damage_oldest(stack)
    text = "\n".join(map(str, repo.refs.verify()))
    for name in names_of(stack):
        assert name in text
    assert "is damaged, so that its refs were not compared with each other" in text


def test_many_findings_of_a_kind_are_counted(repo: dr.Repo, stack: Path) -> None:
    add_refs(stack, *(RefRecord(b"refs/z/%04d" % i, 50, bytes(20)) for i in range(1000)))
    found = repo.refs.verify()
    assert len(found) == 101
    assert "900 more findings like this" in str(found[-1])


@requires_git
def test_faults_in_worktrees(tmp_path: Path, pool_of: Callable[[str], ObjectPool]) -> None:
    """All stacks are looked at, whichever worktree is asked; symrefs lead from one to the other."""
    git = Git.init(tmp_path / "repo")
    pool_of("sha1").lend(git.git_dir)
    git.run("update-ref", "refs/heads/main", pool_of("sha1").commits[0])
    git.run("worktree", "add", "--no-checkout", "-q", "-b", "tree", "../tree", "main")
    check_sound(git.path)
    stack = git.git_dir / "worktrees" / "tree" / "reftable"
    for path in stack.iterdir():
        path.chmod(0o644)
    add_refs(
        stack,
        symref(b"refs/bisect/good", b"refs/heads/none"),
        symref(b"refs/bisect/main", b"main-worktree/HEAD"),
        symref(b"refs/bisect/ok", b"refs/heads/main"),
        ref(b"refs/heads/lost", 1),
    )
    for path in (git.path, tmp_path / "tree"):
        with dr.Repo(str(path)) as repo:
            assert sorted(map(str, repo.refs.verify())) == [
                "warning: worktrees/tree/refs/bisect/good: points to 'refs/heads/none', "
                "which does not exist",
                "warning: worktrees/tree/refs/heads/lost: belongs to the shared stack, "
                "nobody looks for it here",
            ]
    os.truncate(stack / names_of(stack)[0], 50)
    with dr.Repo(str(git.path)) as repo:
        assert ("error", "table") in kinds(repo.refs.verify())


@requires_git
@pytest.mark.skipif(GIT_VERSION < (2, 52), reason="git looks into tables only later")
@pytest.mark.parametrize(
    "plant", [FAULTS[name][0] for name in ("the zero id", "HEAD elsewhere", "an odd name")]
)
def test_what_git_finds(repo: dr.Repo, stack: Path, plant: Plant) -> None:
    plant(stack)
    assert Git(Path(repo.path)).start(["refs", "verify", "--strict"], b"", None).returncode
    assert repo.refs.verify()
