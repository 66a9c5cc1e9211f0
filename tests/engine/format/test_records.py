"""How ref, log and obj records are written and read; index records have no value but a varint."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dulwich_reftable.engine.format.records import (
    REF_DELETION,
    REF_SYMREF,
    REF_VAL1,
    REF_VAL2,
    LogRecord,
    LogUpdate,
    ObjRecord,
    RefRecord,
    decode_log,
    decode_log_key,
    decode_obj,
    decode_ref,
    encode_log,
    encode_obj,
    encode_ref,
    log_key,
    skip_log,
)

from ..strategies import MIN_INDEX, hash_sizes, log_records, names, ref_records

A, B = b"\xaa" * 20, b"\xbb" * 20


class TestRefs:
    @pytest.mark.parametrize(
        ("record", "value_type", "encoded"),
        [
            (RefRecord(b"r", 7), REF_DELETION, "00"),
            (RefRecord(b"r", 8, A), REF_VAL1, "01" + "aa" * 20),
            (RefRecord(b"r", 7, A, B), REF_VAL2, "00" + "aa" * 20 + "bb" * 20),
            (RefRecord(b"r", 135, None, None, b"HEAD"), REF_SYMREF, "8000" + "04" + b"HEAD".hex()),
            (RefRecord(b"r", 7, A + bytes(12)), REF_VAL1, "00" + "aa" * 20 + "00" * 12),
        ],
    )
    def test_known_encodings(self, record: RefRecord, value_type: int, encoded: str) -> None:
        assert encode_ref(record, 7) == (value_type, bytes.fromhex(encoded))

    @given(st.data(), hash_sizes)
    def test_round_trip(self, data: st.DataObject, size: int) -> None:
        record = data.draw(ref_records(size))
        value_type, value = encode_ref(record, MIN_INDEX)
        buffer = b"\xff\xff" + value + b"\xff"
        decoded, end = decode_ref(record.name, value_type, buffer, 2, size, MIN_INDEX)
        assert decoded == record
        assert end == 2 + len(value)

    @given(st.data(), hash_sizes)
    def test_cut_short(self, data: st.DataObject, size: int) -> None:
        record = data.draw(ref_records(size))
        value_type, value = encode_ref(record, MIN_INDEX)
        for length in range(len(value)):
            with pytest.raises((IndexError, ValueError)):
                decode_ref(record.name, value_type, value[:length], 0, size, MIN_INDEX)

    @pytest.mark.parametrize("value_type", [4, 5, 6, 7])
    def test_reserved_types(self, value_type: int) -> None:
        with pytest.raises(ValueError, match=f"type {value_type}"):
            decode_ref(b"r", value_type, bytes(100), 0, 20, 0)

    def test_deletion(self) -> None:
        assert RefRecord(b"r", 1).is_deletion
        assert not RefRecord(b"r", 1, A).is_deletion
        assert not RefRecord(b"r", 1, A, B).is_deletion
        assert not RefRecord(b"r", 1, None, None, b"t").is_deletion
        assert not RefRecord(b"r", 1, None, None, b"").is_deletion


class TestLogKeys:
    def test_known_encoding(self) -> None:
        key = log_key(b"HEAD", 1)
        assert key == b"HEAD\0\xff\xff\xff\xff\xff\xff\xff\xfe"
        assert decode_log_key(key) == (b"HEAD", 1)

    @given(names, st.integers(0, (1 << 64) - 1))
    def test_round_trip(self, name: bytes, index: int) -> None:
        assert decode_log_key(log_key(name, index)) == (name, index)

    def test_the_newest_sorts_first_and_names_stay_together(self) -> None:
        keys = [
            log_key(name, index)
            for name in (b"a", b"a\x01", b"a/b", b"ab")
            for index in ((1 << 64) - 1, 256, 255, 1, 0)
        ]
        assert all(a < b for a, b in pairwise(keys))

    @pytest.mark.parametrize("key", [b"", b"HEAD", b"\0" + bytes(8), b"HEAD\1" + bytes(8)])
    def test_malformed(self, key: bytes) -> None:
        with pytest.raises(ValueError, match="log record key"):
            decode_log_key(key)


class TestLogs:
    update = LogUpdate(A, B, b"A U", b"a@b", 200, -730, b"hi\n")

    def test_known_encoding(self) -> None:
        """The time zone is the decimal number that git shows: -730 is -0730."""
        log_type, value = encode_log(LogRecord(b"r", 3, self.update))
        assert log_type == 1
        assert value == (
            A + B + b"\x03A U" + b"\x03a@b" + b"\x80\x48" + b"\xfd\x26" + b"\x03hi\n"
        )  # fmt: skip

    def test_deletion(self) -> None:
        assert encode_log(LogRecord(b"r", 3)) == (0, b"")
        assert decode_log(log_key(b"r", 3), 0, b"x", 1, 20) == (LogRecord(b"r", 3), 1)
        assert skip_log(0, b"x", 1, 20) == 1

    def test_unknown_type(self) -> None:
        with pytest.raises(ValueError, match="log type 2"):
            decode_log(log_key(b"r", 3), 2, bytes(200), 0, 20)
        with pytest.raises(ValueError, match="unknown log type 2"):
            skip_log(2, bytes(200), 0, 20)

    @given(st.data(), hash_sizes)
    def test_round_trip(self, data: st.DataObject, size: int) -> None:
        record = data.draw(log_records(size))
        log_type, value = encode_log(record)
        buffer = b"\xff\xff" + value + b"\xff"
        key = log_key(record.name, record.update_index)
        assert decode_log(key, log_type, buffer, 2, size) == (record, 2 + len(value))
        assert skip_log(log_type, buffer, 2, size) == 2 + len(value)

    @given(st.data(), hash_sizes)
    def test_cut_short(self, data: st.DataObject, size: int) -> None:
        record = data.draw(log_records(size))
        log_type, value = encode_log(record)
        key = log_key(record.name, record.update_index)
        for length in range(len(value)):
            with pytest.raises((IndexError, ValueError)):
                decode_log(key, log_type, value[:length], 0, size)

    @pytest.mark.parametrize(
        ("old", "new", "marker"),
        [(0, 0, True), (0, 1, False), (1, 0, False), (1, 1, False)],
    )
    def test_existence_marker(self, old: int, new: int, marker: bool) -> None:
        update = self.update._replace(old_id=bytes([old] * 20), new_id=bytes([new] * 20))
        assert update.is_existence_marker is marker


class TestObjects:
    @pytest.mark.parametrize(
        ("positions", "cnt_3", "encoded"),
        [
            ((0,), 1, "00"),
            ((4096,), 1, "9f00"),
            ((0, 4096), 2, "009f00"),
            ((1, 2, 3, 4, 5, 6, 7), 7, "01" * 7),
            ((1, 2, 3, 4, 5, 6, 7, 8), 0, "08" + "01" * 8),
            ((), 0, "00"),
        ],
    )
    def test_known_encodings(self, positions: tuple[int, ...], cnt_3: int, encoded: str) -> None:
        """From eight positions on the count stands apart; none at all means "scan all refs"."""
        assert encode_obj(positions) == (cnt_3, bytes.fromhex(encoded))

    @given(st.sets(st.integers(0, 1 << 40), max_size=200))
    def test_round_trip(self, drawn: set[int]) -> None:
        positions = tuple(sorted(drawn))
        cnt_3, value = encode_obj(positions)
        buffer = b"\xff\xff" + value + b"\xff"
        record = ObjRecord(b"\1\2", positions)
        assert decode_obj(b"\1\2", cnt_3, buffer, 2) == (record, 2 + len(value))

    def test_more_positions_than_bytes(self) -> None:
        """The count alone must not make the reader allocate."""
        with pytest.raises(ValueError, match="cannot fit"):
            decode_obj(b"\1\2", 0, b"\x80\xfe\xfe\xfe\xfe\xfe\xfe\xfe\xfe\x7f" + b"\1" * 9, 0)

    @pytest.mark.parametrize("value", [b"\5\0", b"\0\0", b"\5\1\0"])
    def test_positions_that_do_not_ascend(self, value: bytes) -> None:
        with pytest.raises(ValueError, match="ascend"):
            decode_obj(b"\1\2", len(value), value, 0)

    def test_cut_short(self) -> None:
        for cnt_3, value in (encode_obj((1, 300, 70_000)), encode_obj(tuple(range(200)))):
            for length in range(len(value)):
                with pytest.raises((IndexError, ValueError)):
                    decode_obj(b"\1\2", cnt_3, value[:length], 0)
