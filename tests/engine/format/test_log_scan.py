"""Reading the reflog of one ref as text: as the plain loop reads it, sound or damaged."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dulwich_reftable.engine.errors import CorruptTableError
from dulwich_reftable.engine.format.block import Block
from dulwich_reftable.engine.format.block_writer import BlockWriter
from dulwich_reftable.engine.format.layout import LOG
from dulwich_reftable.engine.format.log_scan import LogText, log_entries
from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, encode_log, log_key

from ..strategies import hash_sizes, object_ids, texts
from ..tables import LARGEST_BLOCK, layout_of, log_text, sorted_logs

NAMES = (b"a", b"ab", b"refs/heads/main", b"refs/heads/main2", b"refs/" + b"x" * 130)
PEOPLE = ((b"Ada", b"ada@example.com"), (b"Ada", b"ada@example.co"), (b"", b""), (b"B" * 130, b"b"))


@st.composite
def reflogs(draw: st.DrawFn, size: int) -> list[LogRecord]:
    """Reflogs of a few refs, by a few people."""
    found = []
    for name, index in draw(
        st.sets(st.tuples(st.sampled_from(NAMES), st.integers(0, 300)), min_size=1, max_size=30)
    ):
        if draw(st.integers(0, 5)) == 0:
            found.append(LogRecord(name, index))
            continue
        times = st.one_of(st.integers(0, 1 << 35), st.integers(0, (1 << 64) - 1))
        update = LogUpdate(
            draw(object_ids(size)),
            draw(object_ids(size)),
            *draw(st.sampled_from(PEOPLE)),
            draw(times),
            draw(st.integers(-(1 << 15), (1 << 15) - 1)),
            draw(st.one_of(texts, texts.map(lambda text: text + b"\n"))),
        )
        found.append(LogRecord(name, index, update))
    return sorted_logs(found)


def block_of(records: list[LogRecord], interval: int, size: int) -> Block:
    writer = BlockWriter(LOG, LARGEST_BLOCK, interval)
    for record in records:
        assert writer.add(log_key(record.name, record.update_index), *encode_log(record))
    return Block(layout_of(b"\0" * 10 + writer.finish() + b"behind", hash_size=size), 10)


def expected(records: list[LogRecord], name: bytes) -> list[tuple[bytes, LogText | None]]:
    return [
        (log_key(name, record.update_index)[-8:], log_text(record))
        for record in records
        if record.name == name
    ]


@given(st.data(), hash_sizes, st.sampled_from([1, 2, 16]))
def test_as_the_plain_loop_reads_it(data: st.DataObject, size: int, interval: int) -> None:
    records = data.draw(reflogs(size))
    block = block_of(records, interval, size)
    for name in (*NAMES, b"refs/heads", b"z"):
        keys, entries, is_end = block.log_entries(name)
        assert list(zip(keys, entries, strict=True)) == expected(records, name)
        assert is_end == any(record.name > name for record in records)
        assert block.log_entries(name, is_inside=True) == (keys, entries, is_end)


@given(st.data(), st.integers(0, 255))
def test_damage_that_the_plain_loop_finds(data: st.DataObject, byte: int) -> None:
    """Whatever it reads without an error is right; what is behind the ref is not looked at."""
    block = block_of(data.draw(reflogs(20)), 16, 20)
    at = data.draw(st.integers(block.first, block.restart_offset - 1))
    block.data = block.data[:at] + bytes((byte,)) + block.data[at + 1 :]
    try:
        _, records = block.log_records()
    except CorruptTableError:
        records = None
    for name in NAMES:
        start, end = block.first, block.restart_offset
        try:
            found = log_entries(block.layout, block.data, start, end, 10, name)
        except CorruptTableError:
            found = None
        if records is not None:
            assert found is not None
            assert list(zip(*found[:2], strict=True)) == expected(records, name)


def raw(records: bytes) -> Block:
    body = records + (4).to_bytes(3, "big") + b"\0\1"
    head = bytes((LOG,)) + (4 + len(body)).to_bytes(3, "big")
    return Block(layout_of(head + zlib.compress(body)), 0)


FIRST = b"\0" + bytes((11 << 3 | 1,)) + b"ab\0" + b"\xff" * 7 + b"\xfe"
IDS = b"\1" * 20 + b"\2" * 20


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (FIRST + IDS + b"\3ab", "cut short"),
        (FIRST + IDS[:7], "out of range"),
        (FIRST + IDS + b"\0\0" + b"\xff" * 30 + b"\1\0\0\0", "64 bits"),
        (FIRST + IDS + b"\0\0\1\0\0\7mess", "runs into the restarts"),
        (FIRST + IDS + b"\0\0\1\0\0" + b"\xff" * 12 + b"\1", "64 bits"),
        (FIRST.replace(b"\0\x59ab", b"\0\x5aab"), "unknown log type 2"),
        (b"\5" + FIRST[1:], "prefix is longer"),
        (FIRST.replace(b"\x59ab", b"\xff\x7fab"), "key runs into the restarts"),
        (FIRST + IDS + b"\0\0\1\0\0\0" + FIRST + IDS + b"\0\0\1\0\0\0", "do not ascend"),
    ],
)
def test_malformed(record: bytes, reason: str) -> None:
    block = raw(record)
    with pytest.raises(CorruptTableError, match=reason):
        block.log_entries(b"ab", is_inside=True)
    with pytest.raises(CorruptTableError):
        block.log_records()


def test_a_name_that_goes_on_behind_a_nul() -> None:
    """It sorts among the entries of the ref, but is another's."""
    update = LogUpdate(b"\1" * 20, b"\2" * 20, b"", b"", 1, 0, b"")
    records = [LogRecord(b"a", 1, update), LogRecord(b"a\0bc", 1, update)]
    records.sort(key=lambda record: log_key(record.name, record.update_index))
    block = block_of(records, 16, 20)
    assert len(block.log_entries(b"a")[1]) == 1
