"""Tables as other writers make them: what the format allows must be read."""

from __future__ import annotations

import pytest

from dulwich_reftable.engine.format.records import LogRecord, RefRecord, log_key
from dulwich_reftable.engine.table.table import Table
from dulwich_reftable.engine.table.writer import WriteOptions

from .foreign import Assembly
from .tables import flat, log, numbered, oid, ref, reseal, sorted_logs, write

MANY = 20  # lookups: the first walk down the index, the later ones use it flattened


def check_refs(data: bytes, records: list[RefRecord]) -> None:
    """Read refs in every way."""
    known = {record.name: record for record in records}
    assert flat(Table("t.ref", data).ref_records()) == records
    for table in (Table("t.ref", data), None):
        for _ in range(-(-MANY // len(records))):
            for name in known:
                for near in (name, name[:-1], name + b"!", name + b"\xff"):
                    asked = table or Table("t.ref", data)
                    assert asked.lookup_ref(near) == known.get(near)
                    following = [record for record in records if record.name >= near]
                    assert flat(asked.ref_records(near)) == following
                    assert asked.first_ref_from(near) == (*following, None)[0]
    for object_id in {record.value for record in records if record.value} | {bytes(20)}:
        assert Table("t.ref", data).refs_with_object(object_id) == [
            record for record in records if object_id in (record.value, record.peeled)
        ]


def check_logs(data: bytes, records: list[LogRecord]) -> None:
    """Read all logs."""
    assert flat(Table("t.ref", data).log_records()) == records


def blocks_of(records: list[RefRecord], size: int) -> list[list[RefRecord]]:
    """Cut records into blocks of a number each."""
    return [records[i : i + size] for i in range(0, len(records), size)]


@pytest.mark.parametrize("aligned", [True, False])
def test_one_index_block_larger_than_the_block_size(aligned: bool) -> None:
    """A single-level index "is permitted to exceed the file's configured block size"."""
    records = numbered(120)
    table = Assembly(block_size=128 if aligned else 0)
    entries = []
    for block in blocks_of(records, 2):
        entries.append((block[-1].name, table.refs(block)))
        if aligned:
            table.pad()
    ref_index = table.index(entries)
    assert len(table.data) - ref_index > 3 * 128
    check_refs(table.finish(ref_index=ref_index), records)


def test_padding_behind_an_oversized_index() -> None:
    """A writer that aligns pads it to the next multiple before the obj blocks."""
    records = [ref(b"refs/heads/%03d" % i, i % 7) for i in range(100)]
    table = Assembly(block_size=128)
    entries = []
    where: dict[bytes, list[int]] = {}
    for block in blocks_of(records, 2):
        position = table.refs(block)
        entries.append((block[-1].name, position))
        for record in block:
            where.setdefault(record.value or b"", []).append(position)
        table.pad()
    ref_index = table.index(entries)
    table.pad()
    obj = table.objects(sorted((object_id[:2], tuple(at)) for object_id, at in where.items()))
    check_refs(table.finish(ref_index=ref_index, obj=obj, id_length=2), records)


def test_four_blocks_without_an_index() -> None:
    """An index "should" be written from four blocks on; some writers begin later."""
    records = numbered(80)
    table = Assembly(block_size=1024)
    for block in blocks_of(records, 16):
        table.refs(block)
        table.pad()
    check_refs(table.finish(), records)


def test_blocks_follow_each_other_without_padding_in_spite_of_a_block_size() -> None:
    """Whether a block is padded is told by the byte behind it, not by the header."""
    records = numbered(40)
    table = Assembly(block_size=4096)
    entries = [(block[-1].name, table.refs(block)) for block in blocks_of(records, 7)]
    check_refs(table.finish(ref_index=table.index(entries)), records)


def test_logs_follow_refs_without_padding() -> None:
    records = numbered(5)
    logs = [log(b"refs/heads/a", 3, 1), log(b"refs/heads/a", 2, 2)]
    table = Assembly(block_size=4096)
    table.refs(records)
    data = table.finish(log=table.logs(logs))
    check_refs(data, records)
    check_logs(data, logs)


@pytest.mark.parametrize("block_size", [0, 64, 4096])
def test_log_blocks_larger_than_the_block_size(block_size: int) -> None:
    """A log block's length "may exceed the file's block size"."""
    logs = sorted_logs(log(b"refs/heads/%02d" % (i % 9), i, i, b"%d\n" % i) for i in range(1, 99))
    table = Assembly(block_size=block_size)
    first = table.logs(logs[:50])
    second = table.logs(logs[50:])
    last_keys = [log_key(record.name, record.update_index) for record in (logs[49], logs[-1])]
    log_index = table.index(zip(last_keys, (first, second), strict=True))
    data = table.finish(log_index=log_index)
    check_logs(data, logs)
    for name in {record.name for record in logs}:
        start, stop = name + b"\0", name + b"\1"
        assert flat(Table("t.ref", data).log_records(start, stop)) == [
            record for record in logs if record.name == name
        ]


@pytest.mark.parametrize("blocks", [1, 3])
def test_log_only_file_whose_first_block_does_not_share_the_header(blocks: int) -> None:
    """The footer then says that the logs begin at 24, and offsets count from there."""
    logs = sorted_logs(log(b"refs/heads/a", i, i, b"message %d\n" % i) for i in range(1, 31))
    table = Assembly(block_size=4096)
    table.end_header()
    size = len(logs) // blocks
    positions = [table.logs(logs[i : i + size]) for i in range(0, len(logs), size)]
    assert positions[0] == 24
    data = table.finish(log=24)
    check_logs(data, logs)
    assert Table("t.ref", data).lookup_ref(b"refs/heads/a") is None


def test_sha1_in_version_2() -> None:
    """The second version names its hash, which may be the first one's."""
    header = b"REFT\2\0\x10\0" + bytes(7) + b"\1" + bytes(7) + b"\x09" + b"sha1"
    records = numbered(20)
    logs = [log(b"refs/heads/a", 3, 1)]
    table = Assembly(block_size=4096, header=header)
    table.refs(records)
    data = table.finish(log=table.logs(logs))
    opened = Table("t.ref", data)
    assert (opened.version, opened.hash_size) == (2, 20)
    check_refs(data, records)
    check_logs(data, logs)


def test_object_ids_that_are_not_abbreviated() -> None:
    records = [ref(b"refs/heads/%d" % i, i) for i in range(8)]
    table = Assembly()
    positions = [table.refs(block) for block in blocks_of(records, 2)]
    ref_index = table.index((b"refs/heads/%d" % (2 * i + 1), at) for i, at in enumerate(positions))
    obj = table.objects(sorted((oid(i), (positions[i // 2],)) for i in range(8)))
    check_refs(table.finish(ref_index=ref_index, obj=obj, id_length=20), records)


def test_objects_that_tell_no_positions() -> None:
    """No positions at all: some ref has it, look through all of them."""
    records = [ref(b"refs/heads/%d" % i, i % 3) for i in range(8)]
    table = Assembly()
    positions = [table.refs(block) for block in blocks_of(records, 2)]
    ref_index = table.index((b"refs/heads/%d" % (2 * i + 1), at) for i, at in enumerate(positions))
    obj = table.objects(sorted((oid(i)[:2], ()) for i in range(3)))
    check_refs(table.finish(ref_index=ref_index, obj=obj, id_length=2), records)


def test_padding_at_the_end_of_the_refs() -> None:
    """A file may be padded in front of its footer."""
    records = numbered(5)
    table = Assembly(block_size=4096)
    table.refs(records)
    table.pad()
    check_refs(table.finish(), records)


def test_header_of_a_table_without_any_alignment() -> None:
    """Tables written unaligned carry a block size all the same, where git's library wrote them."""
    data = write(numbered(50), options=WriteOptions(block_size=256, aligned=False))
    header = data[:5] + (256).to_bytes(3, "big") + data[8:24]
    check_refs(reseal(data, header=header), numbered(50))
