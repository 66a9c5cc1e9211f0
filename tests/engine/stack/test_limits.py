"""A stack at the limits of the format: no update index left, and lists of absurd size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dulwich.refs import Ref
from support.filesystems import names_in

import dulwich_reftable as dr
from dulwich_reftable.engine.format.coding import MAX_UINT64
from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.engine.stack.directory import DirectoryStorage

MAIN, OTHER, SYM = Ref(b"refs/heads/main"), Ref(b"refs/heads/other"), Ref(b"refs/heads/sym")
A, B = b"a" * 40, b"b" * 40
ABOUT: Any = {"message": b"about", "committer": b"A <a@b>", "timestamp": 1, "timezone": 0}


def use_up(refs: dr.ReftableRefsContainer, left: int) -> None:
    """Add a table that leaves so many update indexes."""
    with refs.store.shared.addition() as addition:
        record = RefRecord(MAIN, addition.next_update_index, bytes.fromhex(A.decode()))
        addition.write([record], [], MAX_UINT64 - left)
        addition.commit()


def files(repo: dr.Repo) -> dict[str, bytes]:
    directory = Path(repo.path) / ".git/reftable"
    return {name: (directory / name).read_bytes() for name in names_in(directory)}


Refs = dr.ReftableRefsContainer
WRITES: dict[str, Callable[[Refs], object]] = {
    "set": lambda refs: refs.set_if_equals(MAIN, None, B, **ABOUT),
    "add": lambda refs: refs.add_if_new(OTHER, B),
    "remove": lambda refs: refs.remove_if_equals(MAIN, None),
    "symref": lambda refs: refs.set_symbolic_ref(SYM, MAIN),
    "rename": lambda refs: refs.rename(MAIN, OTHER, message=b"renamed"),
    "copy": lambda refs: refs.copy(MAIN, OTHER),
    "append_reflog": lambda refs: refs.append_reflog(MAIN, None, A, **ABOUT),
    "create_reflog": lambda refs: refs.create_reflog(OTHER),
}


def test_no_update_index_is_left(repo: dr.Repo) -> None:
    refs = repo.refs
    refs.append_reflog(MAIN, None, A, **ABOUT)
    use_up(refs, 0)
    refs.compact()
    before = files(repo)
    for name, write in WRITES.items():
        with pytest.raises(dr.StorageError, match="no update index is left"):
            pytest.fail(f"{name} answers {write(refs)!r}")
        assert files(repo) == before, name
    # What changes nothing needs no update index.
    assert refs.set_if_equals(MAIN, A, A)
    assert not refs.set_if_equals(MAIN, B, A)
    assert not refs.add_if_new(MAIN, B)
    assert not refs.remove_if_equals(MAIN, B)
    assert refs.remove_if_equals(OTHER, None)
    refs.delete_reflog(OTHER)
    with refs.transaction() as transaction:
        transaction.verify(MAIN, A)
    refs.pack_refs()
    assert files(repo) == before
    assert refs[MAIN] == A
    assert len(list(refs.read_reflog(MAIN))) == 1


def test_renaming_takes_two(repo: dr.Repo) -> None:
    refs = repo.refs
    use_up(refs, 1)
    before = files(repo)
    with pytest.raises(dr.StorageError, match="no update index is left"):
        refs.rename(MAIN, OTHER, message=b"renamed")
    assert files(repo) == before
    refs.copy(MAIN, OTHER)  # takes the last one
    assert refs[OTHER] == A
    with pytest.raises(dr.StorageError, match="no update index is left"):
        refs.remove_if_equals(MAIN, None)


# Lists


def read(tmp_path: Path, text: bytes) -> tuple[str, ...]:
    (tmp_path / "tables.list").write_bytes(text)
    return DirectoryStorage(str(tmp_path)).refresh(None).names


def test_list_of_absurd_size(tmp_path: Path) -> None:
    """It is refused by its size alone; what is allowed is read in one pass."""
    with pytest.raises(dr.CorruptTableError, match="10000000 bytes are no list"):
        read(tmp_path, b"\n" * 10_000_000)
    assert read(tmp_path, b"\n" * (1 << 20)) == ()
    names = [f"0x{i:012x}-0x{i:012x}-{i:08x}.ref" for i in range(20_000)]
    assert read(tmp_path, "\n".join(names).encode()) == tuple(names)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        (b"a\nb\na\n", 4),
        (b"a\nb\n\n\n../c\nd\n", 6),
        (b"a\na", 2),
        (b".\n", 0),
        (b"a\n..", 2),
        (b"b\nab/\nb/\n", 2),
        (b"a\nb\0\n", 2),
    ],
)
def test_list_names_what_cannot_be_a_table(tmp_path: Path, text: bytes, offset: int) -> None:
    with pytest.raises(dr.CorruptTableError, match="cannot be a table") as error:
        read(tmp_path, text)
    assert error.value.offset == offset
