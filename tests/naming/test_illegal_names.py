"""Names that no ref may have, in a table that is damaged or hostile: nobody lists them."""

from __future__ import annotations

from binascii import a2b_hex
from collections.abc import Iterable
from pathlib import Path

import pytest
from dulwich.refs import Ref
from hypothesis import given
from hypothesis import strategies as st
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, RefRecord, log_key
from dulwich_reftable.naming.names import is_legal, may_be_illegal

A, B = b"a" * 40, b"b" * 40
MAIN, SYM, BAD_SYM = b"refs/heads/main", b"refs/heads/sym", b"refs/heads/bad.lock"

ILLEGAL = [
    b"refs/heads/" + name
    for name in (
        b"../../x",
        b"a\0b",
        b"x.lock",
        b"x.lock/y",
        b"a//b",
        b"a/",
        b"a.",
        b".a",
        b"a/.b",
        b"a..b",
        b"a@{b",
        b"new\nline",
        *(b"a%cb" % byte for byte in b" ~^:?*[\\\x7f\x01"),
    )
]
LEGAL = [
    b"refs/heads/" + name
    for name in (b"@", b"a./b", b"a@b", b"b{c", b"-x", b"x.lockfile", b"y.lock.z", b"\xff", b"v1.0")
]


def write(refs: dr.ReftableRefsContainer, names: Iterable[bytes], oid: bytes = A) -> None:
    """Write refs of any name, each with a reflog."""
    with refs.store.shared.addition() as addition:
        index = addition.next_update_index
        records = [RefRecord(name, index, a2b_hex(oid)) for name in names]
        records.append(RefRecord(BAD_SYM, index, target=MAIN))
        update = LogUpdate(bytes(20), a2b_hex(oid), b"N", b"e", 1, 0, b"m\n")
        logs = [LogRecord(r.name, index, update) for r in records if b"\0" not in r.name]
        addition.write(
            sorted(records), sorted(logs, key=lambda log: log_key(log.name, log.update_index))
        )
        addition.commit()


@pytest.fixture(params=["alone", "among many", "linked worktree"])
def refs(request: pytest.FixtureRequest, repo: dr.Repo, tmp_path: Path) -> dr.ReftableRefsContainer:
    """Refs of legal and illegal names, in one block or in several."""
    many = [b"refs/changes/%02d/%d" % (i, i) for i in range(500)]
    names = [MAIN, *LEGAL, *ILLEGAL, *(many if request.param == "among many" else ())]
    write(repo.refs, names)
    if request.param != "linked worktree":
        return repo.refs
    worktree = tmp_path / "worktree"
    worktree.mkdir()
    return dr.ReftableRefsContainer(repo.commondir(), worktree_path=str(worktree))


@pytest.mark.directory
def test_nothing_lists_them(refs: dr.ReftableRefsContainer) -> None:
    for illegal in ILLEGAL:
        assert refs.read_ref(Ref(illegal)) is None or b"//" in illegal
    for use in (refs, refs.snapshot()):
        pairs = [pair for pair in use.iter_refs() if not pair[0].startswith(b"refs/changes/")]
        names = {name for name, _ in pairs if name != b"HEAD"}
        assert names == {MAIN, *LEGAL}
        everything = {name for name, _ in use.iter_refs()}
        assert use.allkeys() == everything
        assert use.keys() == everything
        assert use.subkeys(Ref(b"refs/heads")) == {name[len(b"refs/heads/") :] for name in names}
        assert use.as_dict().keys() == everything
        assert use.as_dict(Ref(b"refs/heads/")).keys() == use.subkeys(Ref(b"refs/heads"))
        assert use.get_packed_refs().keys() == everything - {b"HEAD"}
        assert use.get_symrefs().keys() <= {b"HEAD"}
        assert set(use.refs_for_object(A)) == everything - {b"HEAD"}
        scanned = {name for names, _ in use.ref_records(b"refs/") for name in names}
        assert scanned == everything - {b"HEAD"}
        assert {name for name in use.reflogs() if name in everything} == everything - {b"HEAD"}
        assert not [name for name in use.reflogs() if not is_legal(name)]


def test_symref_to_an_illegal_name_leads_nowhere(repo: dr.Repo) -> None:
    write(repo.refs, [MAIN, *ILLEGAL])
    with repo.refs.store.shared.addition() as addition:
        index = addition.next_update_index
        addition.write([RefRecord(SYM, index, target=b"refs/heads/x.lock")], [])
        addition.commit()
    assert repo.refs.follow(Ref(SYM)) == ([SYM, b"refs/heads/x.lock"], None)
    assert SYM not in repo.refs.as_dict()
    assert SYM not in repo.refs.as_dict(Ref(b"refs/heads"))


def test_an_illegal_name_is_no_tombstone(repo: dr.Repo) -> None:
    """A newer table that deletes an illegal name, or sets it anew, changes nothing of others."""
    write(repo.refs, [MAIN, *ILLEGAL])
    write(repo.refs, [*LEGAL, *ILLEGAL], B)
    assert repo.refs.as_dict() == {b"HEAD": A, MAIN: A, **dict.fromkeys(LEGAL, B)}
    assert dict(repo.refs.iter_refs(b"refs/")) == {MAIN: A, **dict.fromkeys(LEGAL, B)}


def test_verify_tells_of_them(repo: dr.Repo) -> None:
    write(repo.refs, [MAIN, b"refs/heads/a..b"])
    assert any("refs/heads/a..b" in str(finding) for finding in repo.refs.verify())


@pytest.mark.directory
def test_migration_refuses_them(repo: dr.Repo) -> None:
    """Nothing is left behind silently."""
    write(repo.refs, [MAIN, b"refs/heads/a..b"])
    with pytest.raises(dr.MigrationError, match=r"refs/heads/a\.\.b"):
        dr.migrate(repo.path, "files")


@pytest.mark.directory
@requires_git
def test_as_git_lists(repo: dr.Repo) -> None:
    """Names that could lead out of the repository let git die; it leaves out all others."""
    git = Git(Path(repo.path))
    oid = git.run("commit-tree", "4b825dc642cb6eb9a060e54bf8d69288fbee4904").strip()
    bad = [name for name in ILLEGAL if not any(c in name for c in (b"..", b"\0", b"//", b"/."))]
    bad = [name for name in bad if name[-1:] != b"/"]
    write(repo.refs, [MAIN, *LEGAL, *bad], oid)
    assert (
        git.for_each_ref().keys() - {b"HEAD"} == {MAIN, *LEGAL} == repo.refs.allkeys() - {b"HEAD"}
    )


# The pass over many names


NAMES = st.lists(
    st.text(alphabet="ab/.@{-\n ~\\kcol", max_size=12).map(
        lambda text: b"refs/" + text.replace("l", ".lock").encode()
    )
)


@given(NAMES)
def test_no_illegal_name_is_missed(names: list[bytes]) -> None:
    assert may_be_illegal(names) or all(map(is_legal, names))


@pytest.mark.parametrize("name", ILLEGAL)
def test_one_among_many_is_found(name: bytes) -> None:
    many = [b"refs/tags/v%d.%d-rc1/x_y" % (i // 10, i % 10) for i in range(100)]
    assert not may_be_illegal(many)
    for at in (0, 50, 100):
        assert may_be_illegal([*many[:at], name, *many[at:]])


def test_every_byte() -> None:
    for byte in range(256):
        name = b"refs/heads/a%cb" % byte
        assert may_be_illegal([name]) >= (not is_legal(name))
        assert not may_be_illegal([name]) or not is_legal(name) or byte == ord("{")
