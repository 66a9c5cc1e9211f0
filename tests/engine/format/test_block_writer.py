"""Filling one block: what a record costs, where restarts stand, when the block is full."""

from __future__ import annotations

import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dulwich_reftable.engine.errors import RecordError
from dulwich_reftable.engine.format.block_writer import MAX_RESTARTS, BlockWriter
from dulwich_reftable.engine.format.coding import encode_varint
from dulwich_reftable.engine.format.layout import INDEX, LOG, REF
from dulwich_reftable.engine.format.records import encode_ref

from ..strategies import MIN_INDEX, names, ref_lists


def restarts_of(data: bytes) -> list[int]:
    """Read the restart table at the end of a block that is not deflated."""
    count = int.from_bytes(data[-2:], "big")
    table = data[-2 - 3 * count : -2]
    return [int.from_bytes(table[i : i + 3], "big") for i in range(0, 3 * count, 3)]


def filled(keys: list[bytes], interval: int, size: int = 1 << 20, header: bytes = b"") -> bytes:
    """Write a block of records that are keys and no more."""
    writer = BlockWriter(REF, size, interval, header)
    assert all(writer.add(key, 0, b"") for key in keys)
    return writer.finish()


class TestBytes:
    def test_to_the_letter(self) -> None:
        writer = BlockWriter(REF, 100, 16)
        assert writer.add(b"refs/a", 1, b"VALUE")
        assert writer.add(b"refs/ab", 3, b"X")
        assert (writer.entries, writer.last_key) == (2, b"refs/ab")
        assert writer.finish() == (
            b"r\x00\x00\x1a"  # type, length
            b"\x00\x31refs/aVALUE"  # shares nothing, 6 bytes of type 1
            b"\x06\x0bbX"  # shares 6, 1 byte of type 3
            b"\x00\x00\x04\x00\x01"  # one restart, at 4
        )

    def test_the_first_block_counts_from_the_start_of_the_file(self) -> None:
        header = b"REFT" + bytes(20)
        data = filled([b"k"], 16, header=header)
        assert data == header + b"r\x00\x00\x24" + b"\x00\x08k" + b"\x00\x00\x1c\x00\x01"

    def test_a_log_block_is_deflated_behind_its_header(self) -> None:
        plain = filled([b"a", b"aa", b"b"], 2)
        writer = BlockWriter(LOG, 1000, 2)
        for key in (b"a", b"aa", b"b"):
            assert writer.add(key, 0, b"")
        data = writer.finish()
        assert data[:4] == b"g" + plain[1:4]  # the length is that of the inflated block
        assert data[4:] == zlib.compress(plain[4:], 9)


class TestRestarts:
    def test_at_each_interval_and_where_neighbours_share_nothing(self) -> None:
        keys = [b"a1", b"a2", b"a3", b"a4", b"b1", b"b2"]
        data = filled(keys, 3)
        records = [b"\0\x10a1", b"\1\x082", b"\1\x083", b"\0\x10a4", b"\0\x10b1", b"\1\x082"]
        assert data[4:].startswith(b"".join(records))
        starts = [4 + sum(map(len, records[:i])) for i in range(len(records))]
        assert restarts_of(data) == [starts[0], starts[3], starts[4]]

    @given(st.sets(names, min_size=1, max_size=80), st.integers(1, 20))
    def test_the_rule(self, drawn: set[bytes], interval: int) -> None:
        """A restart is exactly where the record says that it shares nothing."""
        keys = sorted(drawn)
        expected = 1 + sum(
            i % interval == 0 or a[:1] != b[:1] for i, (a, b) in enumerate(pairwise(keys), 1)
        )
        data = filled(keys, interval)
        restarts = restarts_of(data)
        assert len(restarts) == expected
        assert restarts[0] == 4
        assert all(data[restart] == 0 for restart in restarts)

    def test_the_table_holds_no_more_than_its_count_can_say(self) -> None:
        """Records behind the last possible restart are compressed only by chance."""
        keys = [b"%06d" % i for i in range(MAX_RESTARTS + 100)]
        data = filled(keys, 1, size=(1 << 24) - 1)
        restarts = restarts_of(data)
        assert len(restarts) == MAX_RESTARTS
        assert restarts[-1] == 4 + 8 * (MAX_RESTARTS - 1)
        assert data[4 + 8 * MAX_RESTARTS :].startswith(b"\0\x30%06d" % MAX_RESTARTS)


class TestFull:
    def test_to_the_byte(self) -> None:
        """Header 4, record 3, restart 3, count 2: that is the least."""
        assert BlockWriter(REF, 12, 16).add(b"k", 0, b"")
        assert not BlockWriter(REF, 11, 16).add(b"k", 0, b"")
        assert BlockWriter(REF, 12 + 24, 16, bytes(24)).add(b"k", 0, b"")
        assert not BlockWriter(REF, 11 + 24, 16, bytes(24)).add(b"k", 0, b"")

    def test_the_second_record_needs_a_restart_or_not(self) -> None:
        """Compressed, it takes 3 bytes; at a restart 4, and 3 for the restart."""
        first, second = b"aa", b"ab"
        for interval, size in ((16, 13 + 3), (1, 13 + 4 + 3)):
            for room, fits in ((size, True), (size - 1, False)):
                writer = BlockWriter(INDEX, room, interval)
                assert writer.add(first, 0, b"")
                assert writer.add(second, 0, b"") is fits

    def test_a_refused_record_leaves_no_trace(self) -> None:
        writer = BlockWriter(REF, 40, 2)
        assert writer.add(b"aa", 0, b"v")
        before = (writer.entries, writer.last_key)
        assert not writer.add(b"ab" * 20, 0, b"")
        assert (writer.entries, writer.last_key) == before
        assert writer.add(b"ac", 0, b"w")
        other = BlockWriter(REF, 40, 2)
        assert other.add(b"aa", 0, b"v")
        assert other.add(b"ac", 0, b"w")
        assert writer.finish() == other.finish()

    @given(
        st.sets(names, min_size=1, max_size=40),
        st.integers(1, 8),
        st.integers(12, 600),
        st.sampled_from([0, 24, 28]),
    )
    def test_never_longer_than_the_block_size(
        self, drawn: set[bytes], interval: int, size: int, header: int
    ) -> None:
        """And never so short that the refused record would have fitted."""
        writer = BlockWriter(REF, size, interval, bytes(header))
        keys = sorted(drawn)
        added = 0
        while added < len(keys) and writer.add(keys[added], 0, b""):
            added += 1
        length = len(writer.finish())
        if not added:
            least = len(encode_varint(len(keys[0]) << 3)) + 1 + len(keys[0])
            assert header + 4 + least + 5 > size
            return
        assert length <= size
        if added < len(keys):
            assert len(filled(keys[: added + 1], interval, header=bytes(header))) > size


@pytest.mark.parametrize("extra", range(8))
def test_type_bits(extra: int) -> None:
    writer = BlockWriter(REF, 100, 16)
    assert writer.add(b"k", extra, b"")
    assert writer.finish()[4:7] == bytes((0, 8 | extra)) + b"k"


class TestMany:
    @given(
        st.data(),
        st.sampled_from([1, 2, 3, 16, 64]),
        st.sampled_from([200, 900, 901, 4096, 1 << 20]),
    )
    def test_as_one_by_one(self, data: st.DataObject, interval: int, size: int) -> None:
        """However the records are handed over, the same ones are in the block, and as they were."""
        refs = data.draw(ref_lists(20))
        records = [(ref.name, *encode_ref(ref, MIN_INDEX)) for ref in refs]
        single = BlockWriter(REF, size, interval, bytes(24))
        expected = next((record for record in records if not single.add(*record)), None)
        many = BlockWriter(REF, size, interval, bytes(24))
        cut = data.draw(st.integers(0, len(records)))
        excess = many.add_many(records[:cut])
        if excess is None:
            excess = many.add_many(iter(records[cut:]))
        assert excess == expected
        assert (many.entries, many.last_key) == (single.entries, single.last_key)
        if many.entries:
            assert many.finish() == single.finish()

    @pytest.mark.parametrize("key", [b"", b"a", b"b"])
    def test_those_before_a_bad_one_are_in(self, key: bytes) -> None:
        writer = BlockWriter(REF, 4096, 16)
        with pytest.raises(RecordError, match="does not sort behind b'b'"):
            writer.add_many([(b"a", 0, b""), (b"b", 0, b""), (key, 0, b"")])
        assert (writer.entries, writer.last_key) == (2, b"b")
