"""Reading one block: scan, search, and what makes a block malformed."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dulwich_reftable.engine.errors import CorruptTableError
from dulwich_reftable.engine.format.block import Block
from dulwich_reftable.engine.format.block_writer import BlockWriter
from dulwich_reftable.engine.format.coding import encode_varint
from dulwich_reftable.engine.format.layout import INDEX, LOG, OBJ, REF
from dulwich_reftable.engine.format.records import (
    LogRecord,
    ObjRecord,
    RefRecord,
    encode_log,
    encode_obj,
    log_key,
)

from ..strategies import hash_sizes, log_lists, names, ref_lists
from ..tables import LARGEST_BLOCK, as_text, layout_of, oid, ref_block

if TYPE_CHECKING:
    from collections.abc import Sequence

restart_intervals = st.sampled_from([1, 2, 3, 16, 64])


class TestRefs:
    @given(st.data(), hash_sizes, restart_intervals)
    def test_scan(self, data: st.DataObject, size: int, interval: int) -> None:
        records = data.draw(ref_lists(size, min_size=1))
        block = ref_block(records, interval, size=size)
        ordered = [record.name for record in records]
        assert block.ref_records() == (ordered, records)
        plain = [(key, record) for key, record, _ in block._walk(block._decode_ref, block.first)]
        assert plain == list(zip(ordered, records, strict=True))
        for is_one_of_many in (False, True):
            texts = block.ref_values(is_one_of_many=is_one_of_many)
            assert texts == (ordered, [as_text(record) for record in records])
        assert block.has_symref() == any(record.target is not None for record in records)
        assert block.first_key == ordered[0]

    @given(st.data(), hash_sizes, restart_intervals)
    def test_search(self, data: st.DataObject, size: int, interval: int) -> None:
        records = data.draw(ref_lists(size, min_size=1))
        block = ref_block(records, interval, size=size)
        asked = data.draw(st.lists(names))
        for name in [*(record.name for record in records), *asked]:
            for near in (name, name + b"\0", name + b"\xff", name[:-1]):
                following = [record for record in records if record.name >= near]
                assert block.seek_ref(near) == (following[0] if following else None)

    @given(st.data(), hash_sizes, restart_intervals)
    def test_by_object(self, data: st.DataObject, size: int, interval: int) -> None:
        records = data.draw(ref_lists(size, min_size=1))
        block = ref_block(records, interval, size=size)
        ids = {value for record in records for value in (record.value, record.peeled) if value}
        for object_id in (*ids, bytes(size), b"\xff" * size):
            assert block.refs_with_object(object_id) == [
                record for record in records if object_id in (record.value, record.peeled)
            ]

    def test_an_id_that_overlaps_itself(self) -> None:
        """The bytes of an id also occur across its neighbours; only whole values count."""
        zero, nearly = bytes(20), bytes(19) + b"\1"
        records = [
            RefRecord(b"\0" * 30, 1, zero, zero),
            RefRecord(b"\0" * 31, 1, nearly),
            RefRecord(b"a", 1, None, None, zero + zero),
            RefRecord(b"b", 1, b"\1" + bytes(19)),
            RefRecord(b"b\0", 1, zero),
        ]
        for interval in (1, 16):
            block = ref_block(records, interval, base=1)
            assert block.refs_with_object(zero) == [records[0], records[4]]
            assert block.refs_with_object(nearly) == [records[1]]

    @pytest.mark.parametrize("size", [20, 32])
    @pytest.mark.parametrize("length", [1, 15, 16, 126, 127, 128, 129, 300, 16_600])
    def test_names_whose_lengths_need_more_bytes(self, length: int, size: int) -> None:
        """The fast path is for prefixes below 128 and suffixes below 16; both sides of each."""
        stem = b"n" * length
        index = [0, 127, 128, 20_000]
        records = [
            RefRecord(stem + end, index[i % 4], oid(i, size), oid(9, size) if i % 3 == 1 else None)
            for i, end in enumerate((b"", b"a", b"a" * 15, b"a" * 16, b"a" * 17, b"b", b"c" * 200))
        ]
        records += [
            RefRecord(b"o" * length, 1, None, None, b"t" * 130),
            RefRecord(b"p" * length, 2),
        ]
        for interval in (1, 3, 64):
            block = ref_block(records, interval, size=size, base=0)
            expected = [record.name for record in records]
            assert block.ref_values() == (expected, [as_text(record) for record in records])
            assert block.ref_records() == (expected, records)
            for record in records:
                assert block.seek_ref(record.name) == record
                assert block.seek_ref(record.name[:-1]) in records

    @given(st.data(), restart_intervals)
    def test_restarts_of_a_sound_block(self, data: st.DataObject, interval: int) -> None:
        block = ref_block(data.draw(ref_lists(20, min_size=1)), interval)
        block.check_restarts()

    @pytest.mark.parametrize("size", [20, 32])
    def test_a_block_larger_than_the_table_of_slices(self, size: int) -> None:
        """Beyond 64 KiB ids become hex digits one by one."""
        for count in (1_000, 4_000):
            records = [RefRecord(b"refs/%05d" % i, 1, oid(i, size)) for i in range(count)]
            block = ref_block(records, size=size, base=1)
            assert (len(block.data) > 1 << 16) is (count == 4_000)
            for is_one_of_many in (False, True):
                names_there, values = block.ref_values(is_one_of_many=is_one_of_many)
                assert names_there == [record.name for record in records]
                assert values == [as_text(record) for record in records]
            for record in records[::97]:
                assert block.seek_ref(record.name) == record
                assert block.seek_ref(record.name[:-1]) in records

    def test_keys_in_the_shape_of_other_structures(self) -> None:
        """Names made of zeros, and of what a restart or a header would look like."""
        keys = sorted({b"\0", b"\0\0", b"\0\0\x1c", b"r\0\0\x20", b"\x80\0", b"\xff" * 200})
        records = [RefRecord(key, 1, oid(i)) for i, key in enumerate(keys)]
        for interval in (1, 2, 16):
            block = ref_block(records, interval, base=1)
            assert block.ref_records() == (keys, records)
            assert [block.seek_ref(key) for key in keys] == records


class TestOthers:
    @given(st.data(), hash_sizes, restart_intervals)
    def test_logs(self, data: st.DataObject, size: int, interval: int) -> None:
        records: list[LogRecord] = data.draw(log_lists(size, min_size=1))
        writer = BlockWriter(LOG, LARGEST_BLOCK, interval)
        keys = [log_key(record.name, record.update_index) for record in records]
        for key, record in zip(keys, records, strict=True):
            assert writer.add(key, *encode_log(record))
        packed = b"\0" * 10 + writer.finish() + b"behind"
        block = Block(layout_of(packed, hash_size=size), 10)
        assert block.log_records() == (keys, records)
        assert block.first_key == keys[0]
        assert block.next_position == len(packed) - len(b"behind")

    @given(
        st.dictionaries(st.binary(min_size=2, max_size=2), st.sets(st.integers(0, 1 << 30))),
        restart_intervals,
    )
    def test_objects(self, drawn: dict[bytes, set[int]], interval: int) -> None:
        drawn[b"zz"] = set()
        records = [ObjRecord(prefix, tuple(sorted(at))) for prefix, at in sorted(drawn.items())]
        writer = BlockWriter(OBJ, LARGEST_BLOCK, interval)
        for record in records:
            assert writer.add(record.prefix, *encode_obj(record.positions))
        block = Block(layout_of(writer.finish()), 0)
        assert block.obj_records() == ([record.prefix for record in records], records)
        for record in records:
            assert block.seek_obj(record.prefix) == record
        for prefix in (b"\0\0", b"zy", b"zzz", b"\xff\xff"):
            expected = next((r for r in records if r.prefix >= prefix), None)
            assert block.seek_obj(prefix) == expected
        block.check_restarts()

    @given(st.sets(names, min_size=1, max_size=60), restart_intervals, st.lists(names))
    def test_index(self, drawn: set[bytes], interval: int, asked: list[bytes]) -> None:
        keys = sorted(drawn)
        positions = [7 * i * i for i in range(len(keys))]
        writer = BlockWriter(INDEX, LARGEST_BLOCK, interval)
        for key, position in zip(keys, positions, strict=True):
            assert writer.add(key, 0, encode_varint(position))
        block = Block(layout_of(writer.finish()), 0)
        assert block.index_records() == (keys, positions)
        block.check_restarts()
        for key in [*keys, *asked]:
            for near in (key, key + b"\0", key[:-1]):
                following = [at for k, at in zip(keys, positions, strict=True) if k >= near]
                assert block.seek_index(near) == (following[0] if following else None)


def raw_block(records: bytes, restarts: Sequence[int] = (4,), kind: int = REF) -> Block:
    """A block with records as given."""
    body = records + b"".join(at.to_bytes(3, "big") for at in restarts)
    body += len(restarts).to_bytes(2, "big")
    data = bytes((kind,)) + (4 + len(body)).to_bytes(3, "big")
    return Block(layout_of(data + (zlib.compress(body) if kind == LOG else body)), 0)


A = b"\0\x11ab\0" + b"\xaa" * 20  # the ref "ab"; it takes 25 bytes


class TestMalformed:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"r\0\0", "runs into the footer"),
            (b"x\0\0\x0c" + bytes(20), "unknown block type 0x78"),
            (b"\0\0\0\x0c" + bytes(20), "unknown block type 0x00"),
            (b"r\0\0\x05" + bytes(20), "length 5 is too small"),
            (b"r\0\x01\0" + bytes(20), "length 256 runs into the footer"),
            (b"r\0\0\x0c" + b"\0\x08k\0\0\x04" + b"\0\0", "0 restarts"),
            (b"r\0\0\x0c" + b"\0\x08k\0\0\x04" + b"\0\2", "2 restarts do not fit"),
            (b"r\0\0\x09" + b"\0\0\x04" + b"\0\1", "1 restarts do not fit"),
            (b"g\0\0\x0c" + b"no stream of zlib", "does not inflate"),
            (b"g\0\0\x0c" + zlib.compress(bytes(7)), "does not inflate to 12 bytes"),
            (b"g\0\0\x0c" + zlib.compress(bytes(9)), "does not inflate to 12 bytes"),
            (b"g\0\0\x0c" + zlib.compress(bytes(8))[:-1], "does not inflate to 12 bytes"),
        ],
    )
    def test_no_block(self, data: bytes, reason: str) -> None:
        with pytest.raises(CorruptTableError, match=reason) as caught:
            Block(layout_of(b"\0" * 50 + data), 50)
        assert caught.value.offset == 50
        assert caught.value.filename == "t.ref"

    @pytest.mark.parametrize(
        ("records", "reason"),
        [
            (b"\1\x11ab\0" + b"\xaa" * 20, "prefix is longer"),
            (A + b"\3\x11b\0" + b"\xaa" * 20, "prefix is longer"),
            (A + A, "do not ascend"),
            (A + b"\1\x09a\0" + b"\xaa" * 20, "do not ascend"),
            (A + b"\2\x01\0" + b"\xaa" * 20, "do not ascend"),
            (b"\0\x01\0" + b"\xaa" * 20, "do not ascend"),
            (A[:-1], "restarts|past the end|what is behind"),
            (b"\0\x14ab\0" + b"\xaa" * 20, "type 4"),
            (b"\0\x99\x00ab\0" + b"\xaa" * 20, "behind it|restarts|cut short|range"),
            (b"\0\x13ab\0\x30" + b"t" * 10, "behind it|past the end"),
            (b"\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" + b"\xaa" * 20, "64 bits"),
        ],
    )
    def test_records(self, records: bytes, reason: str) -> None:
        for read in (Block.ref_values, Block.ref_records):
            with pytest.raises(CorruptTableError, match=reason):
                read(raw_block(records))
        if not any(word in reason for word in ("prefix", "ascend")):  # keys are not decoded
            with pytest.raises(CorruptTableError, match=reason):
                _ = raw_block(records).has_symref() and raw_block(records).ref_values()

    @pytest.mark.parametrize("kind", [LOG, OBJ, INDEX])
    def test_a_key_twice(self, kind: int) -> None:
        key = log_key(b"a", 1)
        head, value = {LOG: (0, b""), OBJ: (1, b"\1"), INDEX: (0, b"\1")}[kind]
        again = bytes((len(key), head)) + value  # shares all of the key before
        first = b"\0" + encode_varint(len(key) << 3 | head) + key + value
        block = raw_block(first + again, kind=kind)
        read = {LOG: block.log_records, OBJ: block.obj_records, INDEX: block.index_records}[kind]
        with pytest.raises(CorruptTableError, match="keys do not ascend"):
            read()

    def test_where_and_what(self) -> None:
        """The offset is that of the record in the file; in a log block, that of the block."""
        with pytest.raises(CorruptTableError) as caught:
            raw_block(A + A).ref_values()
        assert caught.value.offset == 4 + len(A)
        assert str(caught.value) == "t.ref: corrupt at offset 29: keys do not ascend"
        key = log_key(b"a", 1)
        record = b"\0" + bytes((len(key) << 3 | 2,)) + key
        with pytest.raises(CorruptTableError, match=r"inflated offset 4") as caught:
            raw_block(record, kind=LOG).log_records()
        assert caught.value.offset == 0

    @pytest.mark.parametrize("restart", [0, 3, 5, 29, 30, (1 << 24) - 1])
    def test_restart_that_points_to_no_record(self, restart: int) -> None:
        block = raw_block(A, [restart])
        for search in (block.seek_ref, block.seek_index, block.seek_obj):
            with pytest.raises(CorruptTableError, match="do not agree with the records"):
                search(b"ab")
        with pytest.raises(CorruptTableError, match="do not agree with the records"):
            block.refs_with_object(b"\xaa" * 20)

    @pytest.mark.parametrize("restarts", [[29, 4], [4, 4], [29, 29]])
    def test_restarts_that_do_not_ascend(self, restarts: list[int]) -> None:
        block = raw_block(A + b"\0\x11b\0\0" + b"\xbb" * 20, restarts)
        with pytest.raises(CorruptTableError, match=r"restarts do not (ascend|agree)"):
            block.check_restarts()

    def test_restarts_inside_of_records(self) -> None:
        """They look like restarts; whoever trusts one does not find the ref "n", which is there."""

        def ref(name: bytes, object_id: bytes) -> bytes:
            assert len(object_id) == 20
            return b"\0" + bytes((len(name) << 3 | 1,)) + name + b"\0" + object_id

        n = ref(b"n", b"\xbb" * 20)
        before = ref(b"a", b"\xaa" * 4 + b"\0\x09z\0" + b"\xaa" * 12)
        block = raw_block(before + ref(b"k", b"\xaa" * 20) + n, [4, 12, 28])
        assert block.ref_records()[0] == [b"a", b"k", b"n"]
        with pytest.raises(CorruptTableError, match="do not agree with the restarts"):
            block.seek_ref(b"n")
        # The records that seem to follow end where the block does.
        inside = b"\xbb" * 4 + b"\0\x68" + b"z" * 13 + b"\0"
        block = raw_block(before.replace(b"z", b"m") + ref(b"n", inside), [4, 12])
        assert block.ref_records()[0] == [b"a", b"n"]
        with pytest.raises(CorruptTableError, match="do not agree with the restarts"):
            block.seek_ref(b"n")

    def test_key_without_an_end(self) -> None:
        with pytest.raises(CorruptTableError):
            raw_block(b"\0" + b"\xff" * 24).seek_ref(b"ab")
        with pytest.raises(CorruptTableError, match="no key that is not compressed"):
            raw_block(b"\0\x99\x00ab").seek_ref(b"ab")

    def test_index_record_of_another_type(self) -> None:
        with pytest.raises(CorruptTableError, match="index record of type 1"):
            raw_block(b"\0\x11ab\0", kind=INDEX).seek_index(b"ab")


class TestStride:
    """Where the next block begins: here behind one of 33 bytes."""

    @pytest.mark.parametrize(
        ("behind", "block_size", "stride"),
        [
            (b"r", 0, 33),  # unaligned
            (b"r", 64, 33),  # aligned, but this block is not padded
            (b"\0" * 31 + b"r", 64, 64),
            (b"\0r", 34, 34),
            (b"r", 33, 33),
        ],
    )
    def test_padding_tells(self, behind: bytes, block_size: int, stride: int) -> None:
        """A zero behind the block says that it is padded; no block begins with one."""
        data = b"r\0\0\x21" + b"\0\x09a\0" + oid(1) + b"\0\0\x04\0\1"
        layout = layout_of(data + behind, block_size=block_size)
        assert Block(layout, 0).next_position == stride
