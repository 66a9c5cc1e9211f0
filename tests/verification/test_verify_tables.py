"""Verification of single tables: silent on sound ones, whoever made them; faults are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine.anatomy import DEFLATED, LENGTH, PAYLOAD, anatomy
from engine.foreign import Assembly
from engine.tables import log, numbered, oid, ref, reseal, sorted_logs, write
from engine.test_corruption import KINDS, changed
from hypothesis import given
from hypothesis import strategies as st

from dulwich_reftable.engine.format.layout import INDEX, OBJ, REF
from dulwich_reftable.engine.format.records import LogRecord, RefRecord
from dulwich_reftable.engine.table.writer import WriteOptions
from dulwich_reftable.inspection import Inspection
from dulwich_reftable.verification import Finding
from dulwich_reftable.verification.table import check_table

VECTORS = sorted((Path(__file__).parents[1] / "vectors").glob("*.ref"))


def findings(data: bytes) -> list[Finding]:
    """What is wrong with a table."""
    return list(check_table(Inspection("t.ref", data)))


def kinds(found: list[Finding]) -> set[tuple[str, str]]:
    """How bad, and which check."""
    return {(finding.severity, finding.check) for finding in found}


# -- sound tables


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_tables_of_git(path: Path) -> None:
    assert findings(path.read_bytes()) == []


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_tables_of_ours(data: bytes) -> None:
    assert findings(data) == []


@pytest.mark.parametrize("hash_size", [20, 32])
@pytest.mark.parametrize("aligned", [True, False])
def test_large_tables_of_ours(hash_size: int, aligned: bool) -> None:
    """With an index of several levels, obj blocks, and logs with an index."""
    options = WriteOptions(256, 4, hash_size=hash_size, aligned=aligned)
    logs = sorted_logs(
        log(b"refs/heads/%05d" % i, 1 + i % 3, i, b"m\n", hash_size) for i in range(300)
    )
    assert findings(write(numbered(2000, size=hash_size), logs, options)) == []


def foreign_tables() -> Iterator[tuple[str, bytes]]:
    """Tables as the format allows them, although we would not write them so."""
    table = Assembly()
    table.refs([ref(b"refs/heads/%02d" % i, i) for i in range(5)])
    table.refs([ref(b"refs/heads/%02d" % i, i) for i in range(5, 9)])
    yield "two blocks without an index", table.finish()
    table = Assembly()
    table.end_header()
    at = table.logs([log(b"refs/heads/a", 2, 2)])
    yield "a log block behind the header", table.finish(log=at)
    table = Assembly()
    first = table.refs([ref(b"refs/heads/a", 1)])
    second = table.refs([ref(b"refs/heads/b", 1)])
    index = table.index([(b"refs/heads/a", first), (b"refs/heads/b", second)])
    obj = table.objects([(oid(1)[:2], ())])  # "scan them all"
    yield "an obj record without positions", table.finish(ref_index=index, obj=obj, id_length=2)
    yield "nothing", Assembly().finish()


@pytest.mark.parametrize(
    "data", [data for _, data in foreign_tables()], ids=[name for name, _ in foreign_tables()]
)
def test_tables_of_others(data: bytes) -> None:
    assert findings(data) == []


# -- damaged tables


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_every_byte_of_structure(data: bytes) -> None:
    """Where a byte is changed that is not just some name or id, that is an error."""
    for at, label in enumerate(anatomy(data)):
        if label in PAYLOAD or (label == DEFLATED and at % 7):
            continue
        for mask in (0x01, 0xFF):
            found = findings(changed(data, at, mask))
            # A length may be changed so that the table is as sound as before, but another one.
            assert found or label == LENGTH, (at, label, mask)
            assert all(finding.severity == "error" for finding in found)


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_every_length(data: bytes) -> None:
    for length in range(len(data)):
        found = findings(data[:length])
        assert ("error", "table") in kinds(found)
    assert ("error", "table") in kinds(findings(data + b"\0"))


@given(st.sampled_from(list(KINDS.values())), st.data())
def test_damage_of_any_kind(data: bytes, draw: st.DataObject) -> None:
    """Whatever the bytes are, there are findings, not exceptions, and few of them."""
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 5))):
        damaged[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    sealed = bytes(damaged)
    if draw.draw(st.booleans()) and sealed[4] in (1, 2):
        sealed = reseal(sealed)
    for finding in findings(sealed):
        assert "\n" not in str(finding)
        assert finding.subject == "t.ref"


def blocks_of_two() -> tuple[Assembly, list[tuple[bytes, int]]]:
    """Four ref blocks of two refs each, and what an index has to say of them."""
    table = Assembly()
    entries = []
    for i in range(0, 8, 2):
        records = [ref(b"refs/heads/%d" % j, j) for j in (i, i + 1)]
        entries.append((records[-1].name, table.refs(records)))
    return table, entries


def index_faults() -> Iterator[tuple[str, bytes, str]]:
    """Tables whose index disagrees with the blocks; and what is to be said."""
    table, entries = blocks_of_two()
    root = table.index(entries[:3])
    yield "leaves out a block", table.finish(ref_index=root), "leaves out this block"

    table, entries = blocks_of_two()
    root = table.index([*entries[:3], (b"refs/heads/9", entries[3][1])])
    yield "another last key", table.finish(ref_index=root), "ends with 'refs/heads/9'"

    table, entries = blocks_of_two()
    root = table.index([*entries[:3], (entries[3][0], entries[3][1] + 1)])
    yield "another position", table.finish(ref_index=root), "where no such block begins"

    table, entries = blocks_of_two()
    entries[1], entries[2] = (entries[1][0], entries[2][1]), (entries[2][0], entries[1][1])
    root = table.index(entries)
    yield "positions exchanged", table.finish(ref_index=root), "out of order"

    table, entries = blocks_of_two()
    low = [table.index(entries[:2]), table.index(entries[2:])]
    root = table.index([(entries[1][0], low[0]), (b"refs/heads/8", low[1])])
    yield "levels disagree", table.finish(ref_index=root), "ends with 'refs/heads/8'"

    table, entries = blocks_of_two()
    low = [table.index(entries[:2]), table.index(entries[2:])]
    root = table.index([(entries[1][0], low[0])])
    yield "a level leaves out one", table.finish(ref_index=root), "leaves out this block"

    table, entries = blocks_of_two()
    table.index(entries)
    root = table.index(entries)
    yield "one too many", table.finish(ref_index=root), "an index block that nothing names"

    table, entries = blocks_of_two()
    table.index(entries)
    yield "not in the footer", table.finish(), "the footer does not name the index"

    table, entries = blocks_of_two()
    table.index(entries)
    yield "elsewhere", table.finish(ref_index=entries[1][1]), "where there is none"

    table, entries = blocks_of_two()
    root = table.index(entries)
    table.refs([ref(b"refs/heads/9", 1)])
    yield "a block behind it", table.finish(ref_index=root), "behind the index"


@pytest.mark.parametrize(
    ("data", "said"),
    [(data, said) for _, data, said in index_faults()],
    ids=[name for name, _, _ in index_faults()],
)
def test_indexes(data: bytes, said: str) -> None:
    found = findings(data)
    assert any(said in finding.message for finding in found), found
    assert {finding.severity for finding in found} == {"error"}


def with_objects(change: Callable[[dict[bytes, list[int]]], object]) -> bytes:
    """A table of four blocks with obj records that were changed."""
    table, entries = blocks_of_two()
    where = {oid(j)[:4]: [entries[j // 2][1]] for j in range(8)}
    root = table.index(entries)
    change(where)
    obj = table.objects(sorted((prefix, tuple(at)) for prefix, at in where.items()))
    return table.finish(ref_index=root, obj=obj, id_length=4)


def alike(first: int, second: int) -> bytes:
    """A table of two blocks, and obj records by two bytes of ids that begin with the same three."""
    table = Assembly()
    ids = [b"abc" + bytes([number] * 17) for number in (first, second)]
    entries = []
    for name, value in zip((b"refs/heads/a", b"refs/heads/b"), ids, strict=True):
        entries.append((name, table.refs([RefRecord(name, 1, value)])))
    root = table.index(entries)
    obj = table.objects([(b"ab", tuple(at for _, at in entries))])
    return table.finish(ref_index=root, obj=obj, id_length=2)


def test_ids_that_an_abbreviation_does_not_tell_apart() -> None:
    (found,) = findings(alike(1, 2))
    assert found.severity == "warning"
    assert found.message == "obj record of id 6162, with which 2 ids begin"
    assert findings(alike(1, 1)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda where: where.pop(oid(3)[:4]), f"no obj record of id {oid(3)[:4].hex()}"),
        (lambda where: where.pop(max(where)), "no obj record of id"),
        (lambda where: where.update({b"\0\0\0\0": [0]}), "which no ref has"),
        (lambda where: where.update({b"\xff\xff\xff\xff": [0]}), "which no ref has"),
        (lambda where: where[oid(5)[:4]].append(9999), "says that the block at 9999 has id"),
        (lambda where: where.update({oid(5)[:4]: [0]}), "leaves out the block at"),
        (lambda where: where.update({oid(5)[:3]: [0]}), "object id of 3 bytes among those of 4"),
    ],
)
def test_objects(change: Callable[[dict[bytes, list[int]]], object], said: str) -> None:
    assert findings(with_objects(lambda where: None)) == []
    found = findings(with_objects(change))
    assert any(said in finding.message for finding in found), found
    assert kinds(found) == {("error", "object")}


def record_faults() -> Iterator[tuple[str, bytes, tuple[str, str], str]]:
    """Tables that are well-formed, and yet wrong; the kind of finding, and what is to be said."""
    table = Assembly()
    table.refs([ref(b"refs/heads/b", 1)])
    table.refs([ref(b"refs/heads/a", 1)])
    yield "blocks out of order", table.finish(), ("error", "order"), "do not ascend"

    table = Assembly()
    table.refs([ref(b"refs/heads/a", 1)])
    table.refs([ref(b"refs/heads/a", 2)])
    yield "a ref twice", table.finish(), ("error", "order"), "do not ascend"

    table = Assembly()
    table.refs([ref(b"refs/heads/a", 1, 101)])
    said = "update index 101 of ref 'refs/heads/a' is beyond the table's 100"
    yield "update index of a ref", table.finish(), ("error", "update-index"), said

    table = Assembly()
    table.refs([ref(b"refs/heads/a", 1)])
    at = table.logs([log(b"refs/heads/a", 200, 2)])
    said = "update index 200 of the reflog of 'refs/heads/a'"
    yield "update index of a log", table.finish(log=at), ("error", "update-index"), said

    table = Assembly()
    table.refs([RefRecord(b"refs/heads/a", 1, bytes(20))])
    yield "the zero id", table.finish(), ("error", "zero-id"), "points to the zero id"

    table = Assembly()
    table.refs([ref(b"refs/heads/a..b", 1)])
    yield "name of a ref", table.finish(), ("error", "name"), "'refs/heads/a..b' is no legal ref"

    table = Assembly()
    at = table.logs([LogRecord(b"refs/heads/x.lock", 2)])
    yield "name of a log", table.finish(log=at), ("error", "name"), "reflog of 'refs/heads/x.lock'"

    table = Assembly()
    table.refs([ref(b"refs/heads/a", 1)])
    table.logs([log(b"refs/heads/a", 2, 2)])
    yield "logs untold of", table.finish(), ("error", "footer"), "'g' blocks begin at"

    table = Assembly()
    table.refs([ref(b"refs/heads/a", 1)])
    table.objects([(oid(1)[:2], (0,))])
    yield "objects untold of", table.finish(), ("error", "footer"), "'o' blocks begin at"

    table = Assembly()
    table.refs([ref(b"refs/heads/a", 1)])
    at = table.logs([log(b"refs/heads/a", 2, 2)])
    table.refs([ref(b"refs/heads/b", 1)])
    yield "refs behind logs", table.finish(log=at), ("error", "order"), "'r' block behind 'g'"

    table = Assembly(256)
    table.refs([ref(b"refs/heads/a", 1)])
    table.data += b"\0x"
    table.pad()
    table.refs([ref(b"refs/heads/b", 1)])
    yield "padding", table.finish(), ("error", "padding"), "padding is not zero"

    table = Assembly(256)
    table.refs([ref(b"refs/heads/a", 1)])
    table.refs([ref(b"refs/heads/b", 1)])
    yield "no padding", table.finish(), ("info", "alignment"), "not aligned to 256"

    table = Assembly()
    table.refs([ref(b"refs/heads/%02d" % i, i) for i in range(40)])
    data = bytearray(table.finish())
    end = len(data) - 68
    restarts = int.from_bytes(data[end - 2 : end], "big")
    at = end - 2 - 3 * (restarts - 1)
    data[at : at + 3] = (int.from_bytes(data[at : at + 3], "big") + 1).to_bytes(3, "big")
    yield "a restart between records", bytes(data), ("error", "record"), "restart"

    table = Assembly()
    table.refs([ref(b"refs/heads/a", 1)])
    table.data += b"x" * 30
    yield "bytes that are no block", table.finish(), ("error", "block"), "unknown block type"


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [fault[1:] for fault in record_faults()],
    ids=[fault[0] for fault in record_faults()],
)
def test_records(data: bytes, kind: tuple[str, str], said: str) -> None:
    found = findings(data)
    assert any(
        (finding.severity, finding.check) == kind and said in finding.message for finding in found
    ), found


def test_damage_hides_nothing_behind_it() -> None:
    """Of an aligned table, each block is looked at."""
    data = bytearray(write(numbered(300), [], WriteOptions(512, aligned=True)))
    for block in (1, 4, 7):
        data[512 * block + 1] ^= 0x80  # its length
    data[512 * 5 + 4] ^= 0x01  # the prefix that its first key shares with none
    offsets = {finding.offset // 512 for finding in findings(bytes(data)) if finding.offset}
    assert {1, 4, 5, 7} <= offsets


def test_kinds_of_blocks_are_told_apart() -> None:
    """The tables above have all kinds of blocks."""
    met = {
        block.kind
        for data in KINDS.values()
        for block in Inspection("t.ref", data).blocks()
        if not isinstance(block, tuple)
    }
    assert met >= {REF, OBJ, INDEX}
