"""Files as others leave them: what git bears with is carried over, what is broken is reported."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import ANY

import pytest
from support.compare import file_states
from support.git import Git, LogEntry, requires_git

import dulwich_reftable as dr
from dulwich_reftable.engine.stack.files import Descriptor
from dulwich_reftable.migration import MigrationError
from dulwich_reftable.naming.names import PER_WORKTREE

from .scenes import Pools, Repository

pytestmark = requires_git

WHO = b"A U Thor <author@example.com>"


@pytest.fixture
def repository(tmp_path: Path, pool_of: Pools) -> Repository:
    git = Git.init(tmp_path / "made", ref_format="files", config={"core.fsync": "none"})
    pool_of("sha1").lend(git.git_dir)
    git.run("update-ref", "-m", "first", "HEAD", pool_of("sha1").commits[0])
    return Repository(git, [])


@pytest.fixture
def commits(pool_of: Pools) -> list[bytes]:
    return pool_of("sha1").commits


def put(repository: Repository, name: str, contents: bytes) -> Path:
    path = repository.git.git_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(contents)
    return path


BROKEN = {
    "empty": ("refs/heads/broken", b""),
    "garbage": ("refs/heads/broken", b"neither this nor that\n"),
    "short": ("refs/heads/broken", b"0123456789abcdef\n"),
    "long": ("refs/heads/broken", b"1" * 41),
    "zero": ("refs/heads/broken", b"0" * 40 + b"\n"),
    "no target": ("refs/heads/broken", b"ref: \n"),
    "bad name": ("refs/heads/bro..ken", b"1" * 40 + b"\n"),
    "root ref": ("BROKEN_HEAD", b"hello\n"),
    "packed name": ("packed-refs", b"1" * 40 + b" refs/heads/bro..ken\n"),
    "packed root ref": ("packed-refs", b"1" * 40 + b" ORIG_HEAD\n"),
    "packed zero": ("packed-refs", b"0" * 40 + b" refs/heads/broken\n"),
    "packed no id": ("packed-refs", b"x" * 40 + b" refs/heads/broken\n"),
    "reflog name": ("logs/broken", b""),
}


@pytest.mark.parametrize("dry_run", [False, True], ids=["", "dry"])
@pytest.mark.parametrize("kind", BROKEN)
def test_broken_is_reported(kind: str, dry_run: bool, repository: Repository) -> None:
    """All of it at once; and nothing is changed."""
    name, contents = BROKEN[kind]
    put(repository, "refs/heads/also", b"broken")
    path = put(repository, name, contents)
    before = file_states(repository.git.git_dir)
    with pytest.raises(MigrationError, match="nothing was changed") as refused:
        repository.migrate("reftable", dry_run=dry_run)
    also, broken = sorted(refused.value.broken, key=lambda line: "refs/heads/also" not in line)
    assert "refs/heads/also'" in also
    assert f"'{path}'" in broken
    assert broken in str(refused.value)
    top = str(repository.git.git_dir)
    after = file_states(repository.git.git_dir)
    assert {**before, top: ANY} == {**after, top: ANY}


def test_very_many_broken_refs_are_not_all_told(repository: Repository) -> None:
    for i in range(100):
        put(repository, f"refs/heads/b{i}", b"broken")
    with pytest.raises(MigrationError, match="and 80 more") as refused:
        repository.migrate("reftable")
    assert len(refused.value.broken) == 100


@pytest.mark.parametrize(
    "contents",
    [
        b"# pack-refs with: sorted \n" + b"1" * 40 + b" refs/x/b\n" + b"1" * 40 + b" refs/x/a\n",
        b"1" * 40 + b" refs/x/a\n" + b"2" * 40 + b" refs/x/a\n",
        b"something else\n",
    ],
    ids=["false promise", "twice", "garbage"],
)
def test_packed_refs_make_no_sense(contents: bytes, repository: Repository) -> None:
    put(repository, "packed-refs", contents)
    with pytest.raises(MigrationError, match="packed-refs"):
        repository.migrate("reftable")
    assert repository.remains("files") == []


def test_conflict(repository: Repository, commits: list[bytes]) -> None:
    """A loose ref where packed ones need a directory; git shows both."""
    text = b"".join(b"%s refs/heads/%s\n" % (commits[0], name) for name in (b"a-b", b"a/b", b"a/c"))
    put(repository, "packed-refs", b"# pack-refs with: sorted \n" + text)
    put(repository, "refs/heads/a", commits[0] + b"\n")
    with pytest.raises(MigrationError) as refused:
        repository.migrate("reftable")
    assert refused.value.broken == (
        "ref 'refs/heads/a/b': 'refs/heads/a' is in its way",
        "ref 'refs/heads/a/c': 'refs/heads/a' is in its way",
    )


def test_what_git_bears_with(repository: Repository, commits: list[bytes]) -> None:
    git = repository.git
    put(repository, "refs/heads/upper", commits[1].upper() + b"\n")
    put(repository, "refs/heads/talkative", commits[2] + b"\tand more\n")
    put(repository, "refs/heads/bare", commits[3])
    put(repository, "refs/heads/tight", b"ref:refs/heads/bare\n\n")
    put(repository, "refs/heads/.hidden", b"no ref")
    put(repository, "refs/.hidden/directory", b"no ref")
    os.symlink("refs/heads/bare", git.git_dir / "refs" / "heads" / "linked")
    text = b"".join(b"%s refs/heads/%s\n" % (commits[4], name) for name in (b"bare", b"packed"))
    put(repository, "packed-refs", b"# pack-refs with: peeled fully-peeled sorted \n" + text)
    before = git.for_each_ref()
    assert before[b"refs/heads/bare"].value == commits[3]
    for to in ("reftable", "files"):
        repository.migrate(to)
        after = git.for_each_ref()
        # git finds it only when asked by name, as long as it is such a link.
        assert after.pop(b"refs/heads/linked").symref == b"refs/heads/bare"
        assert after == before
        assert repository.remains(to) == []
    assert not (git.git_dir / "refs" / "heads" / ".hidden").exists()


@pytest.mark.parametrize("traits", [None, b"", b" sorted", b" peeled sorted"])
def test_packed_tags_that_nobody_peeled(
    repository: Repository, pool_of: Pools, traits: bytes | None
) -> None:
    """What a header does not promise is looked up; ``peeled`` is a promise for refs/tags only."""
    tag, peeled = next(iter(pool_of("sha1").tags.items()))
    text = b"" if traits is None else b"# pack-refs with:" + traits + b" \n"
    text += b"%s refs/odd/tag\n" % tag
    if traits != b" peeled sorted":
        text += b"%s refs/tags/tag\n" % tag
    put(repository, "packed-refs", text)
    repository.migrate("reftable")
    with dr.Repo(repository.git.path) as repo:
        for name in {b"refs/odd/tag", b"refs/tags/tag"} & repo.refs.allkeys():
            assert repo.refs.get_peeled(name) == peeled
            assert name in repo.refs.refs_for_object(peeled)


def test_refs_to_missing_objects(repository: Repository) -> None:
    git = repository.git
    missing = b"1234" * 10
    put(repository, "refs/heads/missing", missing + b"\n")
    put(repository, "refs/tags/missing", missing + b"\n")
    for to in ("reftable", "files"):
        assert repository.migrate(to).refs == 4
        with dr.Repo(git.path) as repo:
            assert repo.refs.read_ref(b"refs/heads/missing") == missing
            assert repo.refs.read_ref(b"refs/tags/missing") == missing


def test_head_as_a_symbolic_link(repository: Repository) -> None:
    """That is how it was until 2005, and still is with core.preferSymlinkRefs."""
    head = repository.git.git_dir / "HEAD"
    head.unlink()
    os.symlink("refs/heads/main", head)
    before = repository.seen()
    for to in ("reftable", "files"):
        repository.migrate(to)
        assert repository.seen() == before
    assert not head.is_symlink()


@pytest.mark.parametrize("name", ["refs", "logs", "packed-refs", "config"])
def test_shared_by_symbolic_links(name: str, repository: Repository) -> None:
    """As ``git-new-workdir`` makes them: these files are another repository's."""
    path = repository.git.git_dir / name
    repository.git.run("pack-refs", "--all")
    path.rename(path.with_name("elsewhere"))
    os.symlink("elsewhere", path)
    with pytest.raises(MigrationError, match="is a symbolic link"):
        repository.migrate("reftable")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("name", ["packed-refs", "refs/heads/pipe", "logs/refs/heads/pipe"])
def test_a_pipe_keeps_nobody_waiting(name: str, repository: Repository) -> None:
    path = repository.git.git_dir / name
    os.mkfifo(path)
    if name.startswith("logs"):
        assert repository.migrate("reftable").reflogs == 2  # git overlooks it, too
        return
    with pytest.raises(MigrationError) as refused:
        repository.migrate("reftable")
    assert f"'{path}'" in str(refused.value)


def test_reflogs_that_git_bears_with(repository: Repository, commits: list[bytes]) -> None:
    a, b, c = commits[:3]
    lines = [
        b"%s %s %s 1600000000 +0530\tplain\n" % (a, b, WHO),
        b"%s %s %s 1600000001 -0030\n" % (b, c, WHO),
        b"this is none\n",
        b"%s %s <nameless@example.com> 1600000002 -1130\t\n" % (c, a),
        "%s %s Zoë <<odd@@example.com> 1600000003 +0000\ttöo\n".encode() % (a, b),
        b"%s %s %s 1600000004 +0000\t%s\n" % (b, c, WHO, b"x" * 5000),
        b"%s %s %s 16" % (c, a, WHO),
    ]
    path = put(repository, "logs/refs/heads/main", b"".join(lines))
    done = repository.migrate("reftable")
    assert done.notes == (f"'{path}': 2 of 7 lines are not reflog entries",)
    with dr.Repo(repository.git.path) as repo:
        found = [LogEntry(*entry) for entry in repo.read_reflog(b"refs/heads/main")]
    nameless, odd = b" <nameless@example.com>", "Zoë <<odd@@example.com>".encode()
    assert found == [
        LogEntry(a, b, WHO, 1600000000, 19800, b"plain"),
        LogEntry(b, c, WHO, 1600000001, -1800, b""),
        LogEntry(c, a, nameless, 1600000002, -41400, b""),
        LogEntry(a, b, odd, 1600000003, 0, "töo".encode()),
        LogEntry(b, c, WHO, 1600000004, 0, b"x" * 2048),
    ]
    assert [entry.message for entry in repository.git.reflogs()[b"refs/heads/main"]] == [
        entry.message for entry in found
    ]


def test_what_does_not_belong_to_a_worktree_is_noted(
    repository: Repository, commits: list[bytes]
) -> None:
    """git reads shared refs from the repository's own control directory only."""
    git = repository.git
    git.run("worktree", "add", "--no-checkout", "--detach", git.path.with_name("linked"))
    linked = Git(git.path.with_name("linked"))
    repository.linked.append(linked)
    stray = Path("worktrees", "linked", "refs", "heads", "stray")
    ref = put(repository, str(stray), commits[0] + b"\n")
    log = put(repository, str(Path("worktrees", "linked", "logs", *stray.parts[2:])), b"")
    before = repository.seen()
    assert before[1].reflogs.pop(b"refs/heads/stray") == []
    done = repository.migrate("reftable")
    assert done.notes == (
        f"'{log}': a reflog of this name does not belong in this directory",
        f"'{ref}': a ref of this name does not belong in this directory",
    )
    assert repository.seen() == before
    assert repository.remains("reftable") == []


# In the other direction


@pytest.fixture
def reftable(repository: Repository) -> Repository:
    repository.migrate("reftable")
    return repository


def test_names_that_files_cannot_have(reftable: Repository, commits: list[bytes]) -> None:
    """A table holds them; their reflogs and symrefs would be files."""
    long = b"refs/heads/" + b"n" * 300
    with dr.Repo(reftable.git.path) as repo:
        with repo.refs.transaction(message=b"long", committer=WHO) as transaction:
            transaction.create(long, commits[0])
        repo.refs.set_symbolic_ref(b"refs/heads/sym" + b"m" * 300, long)
    before = file_states(reftable.git.git_dir)
    with pytest.raises(MigrationError) as refused:
        reftable.migrate("files")
    kinds = [line.split(" '")[0] for line in refused.value.broken]
    assert kinds == ["ref", "reflog"]
    assert all("name too long" in line for line in refused.value.broken)
    top = str(reftable.git.git_dir)
    touched = {top: ANY, f"{top}/reftable": ANY}  # by the lock in it
    assert {**before, **touched} == {**file_states(reftable.git.git_dir), **touched}


@pytest.mark.plain_filesystem("is told so before", on=("windows", "caseless"))
def test_names_that_a_file_system_does_not_tell_apart(
    reftable: Repository, commits: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dulwich_reftable.migration import to_files

    def create(file: Descriptor, path: str) -> None:
        """Create a file as on a file system that ignores case."""
        made = Path(path)
        present = {name.lower() for name in os.listdir(made.parent)}
        if made.name.lower() in present:
            raise FileExistsError(17, "File exists", path)
        real(file, path)

    with dr.Repo(reftable.git.path) as repo:
        for name in (b"refs/heads/Case", b"refs/heads/case"):
            repo.refs.set_if_equals(name, None, commits[0], message=b"made", committer=WHO)
    real = to_files.create
    monkeypatch.setattr(to_files, "create", create)
    with pytest.raises(MigrationError) as refused:
        reftable.migrate("files")
    assert refused.value.broken == (
        "reflog 'refs/heads/case': its file cannot be created: File exists",
    )
    assert reftable.remains("reftable") == []


def test_conflicts_in_a_table(reftable: Repository, commits: list[bytes]) -> None:
    """The format allows them, and foreign writers may not look."""
    from dulwich_reftable.engine.format.records import RefRecord
    from dulwich_reftable.engine.stack.directory import DirectoryStorage
    from dulwich_reftable.engine.stack.stack import Stack

    stack = Stack(DirectoryStorage(str(reftable.git.git_dir / "reftable")))
    value = bytes.fromhex(commits[0].decode())
    with stack.addition() as addition:
        index = addition.next_update_index
        names = (b"refs/heads/a", b"refs/heads/a-b", b"refs/heads/a/b", b"refs/heads/x..y")
        addition.write([RefRecord(name, index, value) for name in names], [])
        addition.commit()
    with pytest.raises(MigrationError) as refused:
        reftable.migrate("files")
    assert refused.value.broken == (
        "ref 'refs/heads/a/b': 'refs/heads/a' is in its way",
        "ref 'refs/heads/x..y': is not a legal ref name",
    )
    assert reftable.remains("reftable") == []


@pytest.mark.parametrize("name", [b"refs/tags/v", b"refs/changes/v"])
def test_tags_that_a_foreign_writer_did_not_peel(
    reftable: Repository, pool_of: Pools, name: bytes
) -> None:
    from dulwich_reftable.engine.format.records import RefRecord
    from dulwich_reftable.engine.stack.directory import DirectoryStorage
    from dulwich_reftable.engine.stack.stack import Stack

    tag, target = next(iter(pool_of("sha1").tags.items()))
    stack = Stack(DirectoryStorage(str(reftable.git.git_dir / "reftable")))
    with stack.addition() as addition:
        index = addition.next_update_index
        addition.write([RefRecord(name, index, bytes.fromhex(tag.decode()))], [])
        addition.commit()
    reftable.migrate("files")
    packed = (reftable.git.git_dir / "packed-refs").read_bytes()
    assert b"%s %s\n^%s\n" % (tag, name, target) in packed


def test_refs_of_one_worktree_are_not_packed(reftable: Repository, commits: list[bytes]) -> None:
    names = [prefix + b"own" for prefix in PER_WORKTREE]
    git = reftable.git
    for name in names:
        git.run("update-ref", name, commits[0])
    git.run("worktree", "add", "--no-checkout", "--detach", git.path.with_name("linked"))
    reftable.migrate("files")
    assert set(names) <= set(git.raw_refs())
    assert not set(names) & set(Git(git.path.with_name("linked")).raw_refs())


def test_repository_without_a_stack(tmp_path: Path) -> None:
    """What git takes for an empty repository; nobody has said where HEAD points to."""
    git = Git.init(tmp_path / "made", config={"core.fsync": "none"})
    for path in (git.git_dir / "reftable").iterdir():
        path.unlink()
    (git.git_dir / "reftable").rmdir()
    assert dr.migrate(git.path, "files").refs == 0
    assert git.for_each_ref() == {}
    assert git.run("rev-parse", "--show-ref-format").strip() == b"files"
