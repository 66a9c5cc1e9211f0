"""A whole table, written and read again: every way to read it agrees with the records."""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dulwich_reftable.engine.errors import CorruptTableError
from dulwich_reftable.engine.format.layout import Buffer
from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, RefRecord, log_key
from dulwich_reftable.engine.table.table import Table
from dulwich_reftable.engine.table.writer import WriteOptions

from ..strategies import BOUNDS, hash_sizes, log_lists, names, ref_lists, write_options
from ..tables import (
    FOOTER,
    HEADER,
    as_text,
    flat,
    footer_positions,
    log,
    numbered,
    oid,
    pairs,
    ref,
    reseal,
    sorted_logs,
    table_of,
    write,
)

MORE_THAN_IT_TAKES_TO_FLATTEN = 20


@st.composite
def written(draw: st.DrawFn) -> tuple[bytes, list[RefRecord], list[LogRecord]]:
    """A table of any kind, with what is in it; half of those with refs have a ref index."""
    size = draw(hash_sizes)
    refs = draw(ref_lists(size)) if draw(st.booleans()) else numbered(draw(counts), size=size)
    if refs and refs[0].name.startswith(b"refs/heads/0"):
        refs = [record._replace(update_index=BOUNDS[0] + record.update_index) for record in refs]
    logs = draw(log_lists(size)) if draw(st.booleans()) else []
    return write(refs, logs, draw(write_options(size)), BOUNDS), refs, logs


counts = st.integers(150, 400)


class TestRoundTrip:
    @given(written())
    def test_scan(self, drawn: tuple[bytes, list[RefRecord], list[LogRecord]]) -> None:
        data, refs, logs = drawn
        table = Table("t.ref", data)
        assert pairs(table.ref_records()) == [(record.name, record) for record in refs]
        assert pairs(table.ref_values()) == [(record.name, as_text(record)) for record in refs]
        assert pairs(table.log_records()) == [(log_key(r.name, r.update_index), r) for r in logs]

    @given(written(), st.lists(names, max_size=4), st.data())
    def test_part_of_a_scan(
        self,
        drawn: tuple[bytes, list[RefRecord], list[LogRecord]],
        others: list[bytes],
        data: st.DataObject,
    ) -> None:
        table = Table("t.ref", drawn[0])
        refs, logs = drawn[1:]
        borders = [b"", *others, *(record.name for record in refs[:: 1 + len(refs) // 4])]
        for start in borders:
            for stop in (None, *borders, start + b"\0"):
                part = [r for r in refs if r.name >= start and (stop is None or r.name < stop)]
                assert flat(table.ref_records(start, stop)) == part
                assert pairs(table.ref_values(start, stop)) == [(r.name, as_text(r)) for r in part]
        for record in logs[:: 1 + len(logs) // 4]:
            start, stop = record.name + b"\0", record.name + b"\1"
            assert flat(table.log_records(start, stop)) == [
                r for r in logs if r.name == record.name
            ]
            key = log_key(record.name, record.update_index)
            assert flat(table.log_records(key))[0] == record

    @given(written(), st.lists(names, max_size=20))
    def test_lookup(
        self, drawn: tuple[bytes, list[RefRecord], list[LogRecord]], others: list[bytes]
    ) -> None:
        """Cold; warm; and after enough questions for indexes to be flattened."""
        data, refs, _ = drawn
        known = {record.name: record for record in refs}
        sorted_names = list(known)
        table = Table("t.ref", data)
        asked = [*others, *list(known)[:: 1 + len(refs) // 30], b"", b"\0", b"\xff" * 9]
        for _ in range(1 + MORE_THAN_IT_TAKES_TO_FLATTEN // len(asked)):
            for name in asked:
                for near in (name, name + b"\0", name[:-1]):
                    assert table.lookup_ref(near) == known.get(near)
                    following = bisect_left(sorted_names, near)
                    assert table.first_ref_from(near) == (*refs, None)[following]
        for name in asked[:5]:
            assert Table("t.ref", data).lookup_ref(name) == known.get(name)

    @given(written(), st.sets(names, max_size=20))
    def test_many_at_once(
        self, drawn: tuple[bytes, list[RefRecord], list[LogRecord]], others: set[bytes]
    ) -> None:
        """In blocks that are decoded for many, or one by one for few."""
        data, refs, _ = drawn
        known = {record.name: as_text(record) for record in refs}
        for step in (1, 3, 1 + len(refs) // 4):
            asked = sorted({*others, *list(known)[::step]})
            table = Table("t.ref", data)
            expected = {name: known[name] for name in asked if name in known}
            assert table.values_among(asked) == expected

    @given(written())
    def test_refs_with_object(self, drawn: tuple[bytes, list[RefRecord], list[LogRecord]]) -> None:
        data, refs, _ = drawn
        table = Table("t.ref", data)
        ids = {value for record in refs for value in (record.value, record.peeled) if value}
        absent = {bytes(table.hash_size), *(value[:-1] + b"\x99" for value in list(ids)[:5])}
        for object_id in list(ids)[:20] + list(absent - ids):
            expected = [r for r in refs if object_id in (r.value, r.peeled)]
            assert table.refs_with_object(object_id) == expected


class TestWarmSearches:
    @pytest.mark.parametrize("size", [20, 32])
    @pytest.mark.parametrize("block_size", [256, 4096, 1 << 16, 1 << 20])
    @pytest.mark.parametrize("count", [20, 60, 4_000])
    def test_a_table_that_is_asked_again_and_again(
        self, count: int, block_size: int, size: int
    ) -> None:
        """It remembers more and more, and its answers stay the same."""
        refs = numbered(count, size=size)
        table = table_of(refs, [], WriteOptions(block_size=block_size, hash_size=size))
        for step in (1, 7):
            for record in refs[::step]:
                assert table.lookup_ref(record.name) == record
                assert table.lookup_ref(record.name + b"-") is None
                assert table.lookup_ref(record.name[:-1]) is None

    def test_damage_elsewhere(self) -> None:
        """Where names cannot all be read, what can be is still looked up."""
        refs = numbered(900)
        data = bytearray(write(refs, [], WriteOptions(block_size=1024)))
        data[5 * 1024 + 5] ^= 0x80
        table = Table("t.ref", bytes(data))
        for i in range(200):
            assert table.lookup_ref(b"refs/heads/00000-%d" % i) is None
        assert table.lookup_ref(refs[0].name) == refs[0]
        assert table.lookup_ref(refs[-1].name) == refs[-1]
        with pytest.raises(CorruptTableError):
            table.values_among([record.name for record in refs])


class TestKinds:
    """What the properties may or may not meet, met for certain."""

    def test_multi_level_indexes_of_all_sections(self) -> None:
        refs = numbered(900)
        logs = sorted_logs(log(b"refs/heads/%05d" % i, 2 + i % 3, i) for i in range(400))
        data = write(refs, logs, WriteOptions(block_size=256))
        assert all(footer_positions(data))
        table = Table("t.ref", data)
        assert flat(table.ref_records()) == refs
        assert flat(table.log_records()) == logs
        for record in refs:
            assert table.lookup_ref(record.name) == record
            assert table.lookup_ref(record.name + b"0") is None
        for record in refs[::9]:
            if record.value:
                assert record in table.refs_with_object(record.value)
        for entry in logs[::7]:
            start, stop = entry.name + b"\0", entry.name + b"\1"
            assert flat(table.log_records(start, stop)) == [entry]

    @pytest.mark.parametrize("size", [20, 32])
    def test_one_object_in_more_blocks_than_fit(self, size: int) -> None:
        """The record that would overflow its block holds no positions; one with 8 and more does."""
        many = [RefRecord(b"refs/many/%05d" % i, 1, oid(1, size)) for i in range(6000)]
        some = [RefRecord(b"refs/some/%05d" % i, 1, oid(2 + i % 2, size)) for i in range(120)]
        refs = [*many, *some]
        table = table_of(refs, options=WriteOptions(block_size=512, hash_size=size))
        assert table.objs is not None
        counts_of = {
            record.prefix: len(record.positions)
            for block in table.objs.blocks()
            for record in block.obj_records()[1]
        }
        assert counts_of[oid(1, size)[:2]] == 0
        assert counts_of[oid(2, size)[:2]] > 7
        assert table.refs_with_object(oid(1, size)) == many
        assert table.refs_with_object(oid(2, size)) == some[::2]
        assert table.refs_with_object(oid(99, size)) == []

    def test_ids_that_begin_alike(self) -> None:
        """Two ids that differ in their last byte only are told apart, by 31 bytes at most."""
        for size in (20, 32):
            ids = [b"\x11" * (size - 1) + bytes((i,)) for i in range(4)]
            refs = [RefRecord(b"refs/%04d" % i, 1, ids[i // 70]) for i in range(200)]
            table = table_of(refs, options=WriteOptions(block_size=512, hash_size=size))
            assert table.obj_id_length == min(size, 31)
            for i in range(4):
                assert table.refs_with_object(ids[i]) == [r for r in refs if r.value == ids[i]]

    def test_the_next_ref_is_in_the_next_block(self) -> None:
        """Of few blocks there is no index that would tell what each reaches to."""
        refs = numbered(24)
        table = table_of(refs, options=WriteOptions(block_size=512))
        assert table.refs is not None
        assert (table.refs.is_one_block, table.refs.index_position) == (False, 0)
        for record, following in pairwise([*refs, None]):
            assert record is not None
            assert table.first_ref_from(record.name) == record
            assert table.first_ref_from(record.name + b"\0") == following
        expected = {record.name: as_text(record) for record in refs}
        assert table.values_among(list(expected)) == expected

    def test_log_only(self) -> None:
        logs = sorted_logs(log(b"refs/heads/%d" % (i % 9), i, i, b"m\n") for i in range(1, 300))
        for block_size in (256, 4096):
            table = table_of([], logs, WriteOptions(block_size=block_size))
            assert table.refs is None
            assert flat(table.log_records()) == logs
            assert table.lookup_ref(b"refs/heads/1") is None
            assert list(table.ref_values()) == []
            assert table.refs_with_object(oid(1)) == []
            assert table.first_ref_from(b"") is None

    @pytest.mark.parametrize("size", [20, 32])
    def test_empty(self, size: int) -> None:
        data = write(options=WriteOptions(hash_size=size), bounds=(3, 5))
        table = Table("t.ref", data)
        assert table.version == {20: 1, 32: 2}[size]
        assert len(data) == HEADER[table.version] + FOOTER[table.version]
        assert (table.refs, table.objs, table.logs) == (None, None, None)
        assert (table.min_update_index, table.max_update_index) == (3, 5)
        assert list(table.ref_records()) == list(table.log_records()) == []
        assert table.lookup_ref(b"a") is None

    def test_a_block_of_almost_16_mib(self) -> None:
        size = (1 << 24) - 1
        refs = [RefRecord(b"n" * 5_000_000 + b"%d" % i, 1, oid(i)) for i in range(3)]
        refs.append(RefRecord(b"o", 1, None, None, b"t" * 10_000_000))
        table = table_of(refs, options=WriteOptions(block_size=size, restart_interval=1))
        assert flat(table.ref_records()) == refs
        assert pairs(table.ref_values())[-1] == (b"o", b"ref: " + b"t" * 10_000_000)
        assert table.lookup_ref(refs[1].name) == refs[1]

    def test_a_map_of_a_file(self, tmp_path: Path) -> None:
        data = write(numbered(300), [log(b"a", 1, 1)], WriteOptions(block_size=512))
        (tmp_path / "t.ref").write_bytes(data)
        with (
            (tmp_path / "t.ref").open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            table = Table("t.ref", mapped)
            assert flat(table.ref_records()) == numbered(300)
            assert flat(table.log_records()) == [log(b"a", 1, 1)]
            assert table.refs_with_object(oid(0)) == [numbered(1)[0]]

    def test_an_opened_table_reads_nothing_else(self) -> None:
        """Header, the first type and the footer: whatever is between is left alone."""
        reads: list[slice] = []

        class Watched(bytes):
            def __getitem__(self, key: slice) -> bytes:  # type: ignore[override]
                reads.append(key)
                return super().__getitem__(key)

        data: Buffer = Watched(write(numbered(3000)))
        Table("t.ref", data)
        assert sum(len(range(*key.indices(len(data)))) for key in reads) < 250


class TestSmallTables:
    def test_asked_again_they_are_known_by_heart(self) -> None:
        table = table_of(numbered(20))
        for _ in range(3):
            assert table.lookup_ref(b"refs/heads/00003") == numbered(20)[3]
            assert table.lookup_ref(b"refs/heads/00099") is None
        assert table.refs is not None
        assert table.refs._by_name == {record.name: record for record in numbered(20)}

    def test_large_ones_are_not(self) -> None:
        table = table_of(numbered(900))
        for record in numbered(900):
            assert table.lookup_ref(record.name) == record
        assert table.refs is not None
        assert table.refs._by_name is None


def vary(position: int, value: int) -> Callable[[bytes], bytes]:
    """Set one of the positions in the footer, and seal the table again."""

    def change(data: bytes) -> bytes:
        positions = list(footer_positions(data))
        positions[position] = value
        return reseal(data, positions=tuple(positions))

    return change


def header(at: int, value: bytes) -> Callable[[bytes], bytes]:
    """Set bytes in header and footer, and seal the table again."""
    return lambda data: reseal(data, header=data[:at] + value + data[at + len(value) : 24])


class TestMalformed:
    """Header and footer; with a checksum that fits, as damage has none."""

    sound = write(numbered(100), [log(b"a", 1, 1)], WriteOptions(block_size=512), (1, 9))

    @pytest.mark.parametrize(
        ("change", "offset", "reason"),
        [
            (lambda data: b"", 0, "too few"),
            (lambda data: data[:23], 0, "too few"),
            (lambda data: data[:91], 0, "too few"),
            (lambda data: data[:-1], None, "does not repeat the header"),
            (lambda data: data + b"\0", None, "does not repeat the header"),
            (header(0, b"REFX"), 0, "magic"),
            (header(4, b"\0"), 4, "unknown version 0"),
            (header(4, b"\3"), 4, "unknown version 3"),
            (header(8, b"\0\0\0\0\0\0\0\x0a"), 8, "out of order"),
            (lambda data: data[:-1] + bytes((data[-1] ^ 1,)), -4, "checksum"),
            (lambda data: data[:-9] + b"\1" + data[-8:], -4, "checksum"),
            (vary(0, 1 << 40), -44, "behind the blocks"),
            (vary(1, (1 << 40) << 5 | 2), -36, "behind the blocks"),
            (vary(2, 1 << 40), -28, "behind the blocks"),
            (vary(3, (1 << 64) - 1), -20, "behind the blocks"),
            (vary(4, 1 << 40), -12, "behind the blocks"),
            (vary(1, 512 << 5), -36, "cut to 0 bytes"),
            (vary(1, 512 << 5 | 1), -36, "cut to 1 bytes"),
            (vary(1, 512 << 5 | 21), -36, "cut to 21 bytes"),
            (lambda data: data[:24] + b"x" + data[25:], 24, "block type 0x78"),
            (lambda data: data[:24] + b"o" + data[25:], 24, "block type 0x6f"),
        ],
    )
    def test_reasons(
        self, change: Callable[[bytes], bytes], offset: int | None, reason: str
    ) -> None:
        data = change(self.sound)
        with pytest.raises(CorruptTableError, match=reason) as caught:
            Table("dir/t.ref", data)
        assert str(caught.value).startswith("dir/t.ref: corrupt at offset ")
        if offset is not None:
            assert caught.value.offset == (offset if offset >= 0 else len(data) + offset)

    def test_first_block_of_no_type(self) -> None:
        with pytest.raises(CorruptTableError, match="block type 0x00"):
            flat(Table("t.ref", self.sound[:24] + b"\0" + self.sound[25:]).ref_records())

    def test_unknown_hash(self) -> None:
        data = write(options=WriteOptions(hash_size=32))
        with pytest.raises(CorruptTableError, match="unknown hash id b's999'"):
            Table("t.ref", data.replace(b"s256", b"s999"))

    def test_blocks_that_do_not_ascend(self) -> None:
        """The second block again in the place of the first."""
        records = [ref(b"refs/%04d" % i, i) for i in range(120)]
        data = write(records, options=WriteOptions(block_size=1024, aligned=True))
        swapped = data[:1024] + data[2048:3072] + data[1024:2048] + data[3072:]
        with pytest.raises(CorruptTableError, match="blocks do not ascend") as caught:
            flat(Table("t.ref", swapped).ref_records())
        assert caught.value.offset == 2048

    def test_obj_record_that_names_no_ref_block(self) -> None:
        refs = [ref(b"refs/%04d" % i, 1) for i in range(100)]
        data = write(refs, options=WriteOptions(block_size=512))
        table = Table("t.ref", data)
        assert table.objs is not None
        at = table.objs.position
        block = data[at : at + 512]
        for wrong in (b"\x99", b"\x7f"):  # an odd place, and one beyond the footer
            damaged = data[:at] + block.replace(b"\x83\x00", wrong + b"\x01") + data[at + 512 :]
            assert damaged != data
            with pytest.raises(CorruptTableError):
                Table("t.ref", damaged).refs_with_object(oid(1))


def test_repr_names_the_file() -> None:
    assert repr(table_of()) == "<Table t.ref>"


def test_log_update_survives_at_the_limits() -> None:
    update = LogUpdate(
        b"\xff" * 20, bytes(20), b"\xff\0", b"", (1 << 64) - 1, -(1 << 15), b"\n\n\0"
    )  # fmt: skip
    record = LogRecord(b"HEAD", (1 << 64) - 1, update)
    table = table_of([], [record], bounds=(0, (1 << 64) - 1))
    assert flat(table.log_records()) == [record]
