"""Writing tables: the order of things in the file, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from dulwich_reftable.engine.errors import RecordError
from dulwich_reftable.engine.format.layout import INDEX, LOG, OBJ, REF
from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, RefRecord
from dulwich_reftable.engine.table.table import Table
from dulwich_reftable.engine.table.writer import (
    MAX_BLOCK_SIZE,
    TableWriter,
    WriteOptions,
)

from ..strategies import BOUNDS, log_lists, ref_lists, write_options
from ..tables import (
    FOOTER,
    flat,
    footer_positions,
    log,
    numbered,
    oid,
    ref,
    section_blocks,
    sorted_logs,
    write,
)


def writer_of(
    options: WriteOptions | None = None, **kwargs: int
) -> tuple[TableWriter, list[bytes]]:
    """A writer with bounds 5..9, and the list that collects what it writes."""
    parts: list[bytes] = []
    bounds = kwargs.get("least", 5), kwargs.get("most", 9)
    return TableWriter(parts.append, *bounds, options or WriteOptions()), parts


class TestHeader:
    def test_version_1(self) -> None:
        assert WriteOptions().encode_header(1, 2) == (
            b"REFT\x01\x00\x10\x00" + bytes(7) + b"\x01" + bytes(7) + b"\x02"
        )

    def test_version_2(self) -> None:
        header = WriteOptions(hash_size=32, aligned=False).encode_header(1, (1 << 64) - 1)
        assert header == b"REFT\x02\0\0\0" + bytes(7) + b"\x01" + b"\xff" * 8 + b"s256"

    @pytest.mark.parametrize("bounds", [(2, 1), (-1, 1), (0, 1 << 64)])
    def test_bounds_that_do_not_fit(self, bounds: tuple[int, int]) -> None:
        with pytest.raises(RecordError, match="do not fit"):
            writer_of(least=bounds[0], most=bounds[1])

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"block_size": 0}, "block size 0 is not in 1..16777215"),
            ({"block_size": -1}, "block size"),
            ({"block_size": MAX_BLOCK_SIZE + 1}, "block size"),
            ({"restart_interval": 0}, "restart interval 0"),
            ({"restart_interval": 65536}, "restart interval"),
            ({"hash_size": 16}, "16 bytes"),
        ],
    )
    def test_options_out_of_range(self, options: dict[str, int], reason: str) -> None:
        with pytest.raises(RecordError, match=reason):
            WriteOptions(**options)  # type: ignore[arg-type]


class TestLayout:
    def test_sections_stand_in_the_documents_order(self) -> None:
        logs = sorted_logs(log(b"refs/heads/%05d" % i, 2, i) for i in range(300))
        data = write(numbered(600), logs, WriteOptions(block_size=512))
        ref_index, obj, obj_index, log_position, log_index = footer_positions(data)
        obj_position = obj >> 5
        runs = [section_blocks(data, kind) for kind in (REF, OBJ, LOG)]
        indexes = section_blocks(data, INDEX)
        first, last = ([b[i].position for b in runs] for i in (0, -1))
        assert (first[0], first[1], first[2]) == (0, obj_position, log_position)
        assert last[0] < ref_index < first[1] <= last[1] < obj_index < first[2]
        assert last[2] < log_index < len(data) - FOOTER[1]
        for root, low, high in (
            (ref_index, last[0], first[1]),
            (obj_index, last[1], first[2]),
            (log_index, last[2], len(data)),
        ):
            assert root in [b.position for b in indexes if low < b.position < high]

    def test_alignment(self) -> None:
        """All but log blocks begin at multiples of the block size; logs follow without padding."""
        logs = sorted_logs(log(b"refs/heads/%05d" % i, 2, i) for i in range(300))
        data = write(numbered(600), logs, WriteOptions(block_size=512))
        others = section_blocks(data, REF) + section_blocks(data, OBJ)
        assert all(block.position % 512 == 0 for block in others)
        before = max(block.position + len(block.data) for block in section_blocks(data, INDEX)[:-1]
                     if block.position < footer_positions(data)[3])  # fmt: skip
        assert footer_positions(data)[3] == before
        log_blocks = section_blocks(data, LOG)
        assert any(block.position % 512 for block in log_blocks)
        assert not data.endswith(b"\0" * 9, 0, -FOOTER[1])  # nothing is padded before the footer

    def test_no_padding_in_an_unaligned_table(self) -> None:
        options = WriteOptions(block_size=512, aligned=False)
        data = write(numbered(300), options=options)
        total = sum(len(b.data) for kind in (REF, INDEX, OBJ) for b in section_blocks(data, kind))
        assert len(data) == total + FOOTER[1]
        assert data[5:8] == b"\0\0\0"

    @pytest.mark.parametrize(("aligned", "most"), [(True, 3), (False, 1)])
    def test_an_index_where_it_is_worth_its_while(self, aligned: bool, most: int) -> None:
        options = WriteOptions(block_size=256, aligned=aligned)
        seen = set()
        for count in range(1, 60):
            data = write([ref(b"refs/%04d" % i, i) for i in range(count)], options=options)
            blocks = len(section_blocks(data, REF))
            seen.add(blocks)
            assert bool(footer_positions(data)[0]) is (blocks > most)
            assert bool(section_blocks(data, OBJ)) is (blocks > most)
        assert seen >= {1, 2, 3, 4, 5}

    def test_objects_may_be_left_out(self) -> None:
        options = WriteOptions(block_size=256, index_objects=False)
        data = write(numbered(100), options=options)
        assert footer_positions(data)[0]
        assert footer_positions(data)[1:3] == (0, 0)
        assert section_blocks(data, OBJ) == []
        assert Table("t.ref", data).refs_with_object(oid(3)) == [
            r for r in numbered(100) if oid(3) in (r.value, r.peeled)
        ]

    def test_an_index_but_no_object(self) -> None:
        """Only symrefs and deletions: there is an abbreviation length, but no obj block."""
        records = [RefRecord(b"refs/%04d" % i, 5, None, None, b"t") for i in range(300)]
        data = write(records, options=WriteOptions(block_size=256))
        assert footer_positions(data)[1:3] == (2, 0)
        table = Table("t.ref", data)
        assert flat(table.ref_records()) == records
        assert table.refs_with_object(oid(1)) == []

    @pytest.mark.parametrize("last", [0, 1, 2, 18, 19])
    def test_abbreviation_is_the_shortest_that_tells_apart(self, last: int) -> None:
        """Of all ids, only neighbours matter; two bytes are the least."""
        ids = [oid(i) for i in range(40)]
        ids[7] = ids[6][:last] + bytes((ids[6][last] ^ 1,)) + ids[6][last + 1 :]
        refs = [RefRecord(b"refs/%04d" % i, 5, ids[i]) for i in range(40)]
        data = write(refs, options=WriteOptions(block_size=256))
        assert footer_positions(data)[1] & 31 == max(last + 1, 2)


class TestSize:
    @pytest.mark.parametrize("count", [0, 1, 100])
    @pytest.mark.parametrize("aligned", [False, True])
    def test_finish_tells_the_size(self, count: int, aligned: bool) -> None:
        writer, parts = writer_of(WriteOptions(block_size=512, aligned=aligned))
        for record in [ref(b"refs/%04d" % i, i, 5) for i in range(count)]:
            writer.add_refs([record])
        assert writer.finish() == sum(map(len, parts))

    def test_of_a_table_with_logs(self) -> None:
        writer, parts = writer_of()
        writer.add_refs([ref(b"a", 1, 5)])
        writer.add_logs([log(b"a", 5, 1)])
        assert writer.finish() == sum(map(len, parts))

    def test_is_empty(self) -> None:
        for add in (
            lambda writer: writer.add_refs([ref(b"a", None, 5)]),
            lambda writer: writer.add_logs([log(b"a", 5)]),
        ):
            writer, _ = writer_of()
            assert writer.is_empty
            add(writer)
            assert not writer.is_empty

    def test_blocks_leave_as_soon_as_they_are_full(self) -> None:
        """The writer keeps no more of the table than the block that is open, and its padding."""
        writer, parts = writer_of(WriteOptions(block_size=512))
        written_after = []
        for i in range(200):
            writer.add_refs([ref(b"refs/%04d" % i, i, 5)])
            written_after.append(sum(map(len, parts)))
        assert written_after[-1] > 200 * 22 - 2 * 512


IDS = LogUpdate(oid(1), oid(2), b"n", b"e", 1, 0, b"")


def too_late(writer: TableWriter) -> None:
    writer.add_logs([log(b"a", 5, 1)])
    writer.add_refs([ref(b"z", 1, 5)])


class TestRefused:
    @pytest.mark.parametrize(
        ("record", "reason"),
        [
            (ref(b"m", 1, 5), "does not sort behind"),
            (ref(b"a", 1, 5), "does not sort behind"),
            (ref(b"", 1, 5), "does not sort behind"),
            (ref(b"z", 1, 4), "out of bounds"),
            (ref(b"z", 1, 10), "out of bounds"),
            (ref(b"z", None, 4), "out of bounds"),
            (RefRecord(b"z", 5, bytes(19)), "not 20 bytes"),
            (RefRecord(b"z", 5, bytes(32)), "not 20 bytes"),
            (RefRecord(b"z", 5, bytes(20), bytes(21)), "not 20 bytes"),
            (RefRecord(b"z", 5, b"a" * 40), "not 20 bytes"),
            (RefRecord(b"z", 5, bytes(20), None, b"target"), "both"),
            (ref(b"z" * 512, 1, 5), "too large for a block of 512"),
            (RefRecord(b"z", 5, None, None, b"t" * 512), "too large"),
        ],
    )
    def test_refs(self, record: RefRecord, reason: str) -> None:
        writer, parts = writer_of(WriteOptions(block_size=512))
        writer.add_refs([ref(b"m", 1, 5)])
        with pytest.raises(RecordError, match=reason):
            writer.add_refs([record])
        assert issubclass(RecordError, ValueError)
        writer.finish()
        assert flat(Table("t.ref", b"".join(parts)).ref_records()) == [ref(b"m", 1, 5)]

    @pytest.mark.parametrize(
        ("record", "reason"),
        [
            (log(b"m", 5, 1), "does not sort behind"),
            (log(b"m", 6, 1), "does not sort behind"),
            (log(b"a", 5), "does not sort behind"),
            (log(b"z", 10, 1), "out of bounds"),
            (log(b"z", 10), "out of bounds"),
            (log(b"z", -1, 1), "out of bounds"),
            (LogRecord(b"z", 5, IDS._replace(old_id=bytes(19))), "not 20 bytes"),
            (LogRecord(b"z", 5, IDS._replace(new_id=bytes(32))), "not 20 bytes"),
            (LogRecord(b"z", 5, IDS._replace(time=-1)), "64 bit"),
            (LogRecord(b"z", 5, IDS._replace(time=1 << 64)), "64 bit"),
            (LogRecord(b"z", 5, IDS._replace(tz_offset=1 << 15)), "cannot be written"),
            (LogRecord(b"z", 5, IDS._replace(message=b"m" * 512)), "too large"),
        ],
    )
    def test_logs(self, record: LogRecord, reason: str) -> None:
        writer, parts = writer_of(WriteOptions(block_size=512))
        writer.add_logs([log(b"m", 5, 1)])
        with pytest.raises(RecordError, match=reason):
            writer.add_logs([record])
        writer.finish()
        assert flat(Table("t.ref", b"".join(parts)).log_records()) == [log(b"m", 5, 1)]

    @pytest.mark.parametrize("update", [{"time": -1}, {"message": b"m" * 5000}])
    def test_a_first_log_that_is_refused_leaves_no_log_section(
        self, update: dict[str, Any]
    ) -> None:
        writer, parts = writer_of()
        writer.add_refs([ref(b"m", 1, 5)])
        with pytest.raises(RecordError):
            writer.add_logs([LogRecord(b"z", 5, IDS._replace(**update))])
        writer.finish()
        assert flat(Table("t.ref", b"".join(parts)).ref_records()) == [ref(b"m", 1, 5)]

    def test_a_log_without_a_name(self) -> None:
        with pytest.raises(RecordError):
            write([], [log(b"", 5, 1)])

    def test_logs_may_be_older_than_the_table(self) -> None:
        """An entry can be replaced or tombstoned by a newer table, under the index that it has."""
        writer, parts = writer_of()
        logs = [log(b"a", 9, 1), log(b"a", 4, 1), log(b"a", 0)]
        writer.add_logs(logs)
        writer.finish()
        assert flat(Table("t.ref", b"".join(parts)).log_records()) == logs

    def test_a_ref_after_a_log(self) -> None:
        writer, _ = writer_of()
        with pytest.raises(RecordError):
            too_late(writer)

    @pytest.mark.parametrize("block_size", [1, 24, 33, 50])
    def test_blocks_too_small_for_anything(self, block_size: int) -> None:
        with pytest.raises(RecordError, match="too large for a block"):
            write([ref(b"a", 1)], options=WriteOptions(block_size=block_size))

    def test_blocks_too_small_to_be_indexed(self) -> None:
        """If no index block holds two records, levels would pile up for ever."""
        refs = [ref(b"%03d" % i + b"n" * 60, i) for i in range(20)]
        with pytest.raises(RecordError, match="too small to be indexed"):
            write(refs, options=WriteOptions(block_size=124, restart_interval=1))

    def test_the_largest_record_that_fits(self) -> None:
        """24 of header, 4 of block header, 3 of lengths, 1 of index, 20 of id, 5 of restarts."""
        options = WriteOptions(block_size=512)
        assert len(write([ref(b"n" * (512 - 57), 1)], options=options)) == 512 + FOOTER[1]
        with pytest.raises(RecordError, match="too large"):
            write([ref(b"n" * (512 - 56), 1)], options=options)


class TestRewriting:
    """What was read can be written again, and is then the same to the byte."""

    @given(ref_lists(20), log_lists(20), write_options(20))
    def test_any_table(
        self, refs: list[RefRecord], logs: list[LogRecord], options: WriteOptions
    ) -> None:
        data = write(refs, logs, options, BOUNDS)
        table = Table("t.ref", data)
        again = write(flat(table.ref_records()), flat(table.log_records()), options, BOUNDS)
        assert again == data
