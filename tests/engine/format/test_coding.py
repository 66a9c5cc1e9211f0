"""Varints, 3-byte numbers, shared prefixes."""

from __future__ import annotations

from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dulwich_reftable.engine.format.coding import (
    MAX_UINT64,
    decode_uint24,
    decode_varint,
    encode_uint24,
    encode_varint,
    shared_prefix,
)

uint64 = st.one_of(
    st.integers(0, MAX_UINT64),
    st.integers(0, 63).flatmap(lambda bits: st.integers(max(0, (1 << bits) - 2), (1 << bits) + 2)),
)


def decode_as_documented(data: bytes) -> int:
    """The document's own decoder, line by line."""
    ptr = 0
    value = data[ptr] & 0x7F
    while data[ptr] & 0x80:
        ptr += 1
        value = ((value + 1) << 7) | (data[ptr] & 0x7F)
    assert ptr == len(data) - 1
    return value


class TestVarint:
    @pytest.mark.parametrize(
        ("value", "encoded"),
        [
            (0, "00"),
            (1, "01"),
            (127, "7f"),
            (128, "8000"),
            (255, "807f"),
            (256, "8100"),
            (16511, "ff7f"),
            (16512, "808000"),
            (2113663, "ffff7f"),
            (2113664, "80808000"),
            (MAX_UINT64, "80fefefefefefefefe7f"),
        ],
    )
    def test_known_encodings(self, value: int, encoded: str) -> None:
        """Not LEB128: each continuation stands for one more than its bits."""
        assert encode_varint(value).hex() == encoded
        assert decode_varint(bytes.fromhex(encoded), 0) == (value, len(encoded) // 2)

    @given(uint64)
    def test_round_trip(self, value: int) -> None:
        encoded = encode_varint(value)
        assert decode_as_documented(encoded) == value
        padded = b"\xff\xff" + encoded + b"\xff"
        assert decode_varint(padded, 2) == (value, 2 + len(encoded))

    @given(st.binary(min_size=1, max_size=12))
    def test_every_encoding_is_canonical(self, data: bytes) -> None:
        """Whatever decodes is the one encoding of its number."""
        try:
            value, end = decode_varint(data, 0)
        except (IndexError, ValueError):
            return
        assert encode_varint(value) == data[:end]

    @given(uint64, uint64)
    def test_larger_numbers_do_not_get_shorter(self, a: int, b: int) -> None:
        a, b = sorted((a, b))
        assert len(encode_varint(a)) <= len(encode_varint(b)) <= 10

    @given(uint64)
    def test_cut_short(self, value: int) -> None:
        encoded = encode_varint(value)
        for length in range(len(encoded)):
            with pytest.raises(IndexError):
                decode_varint(encoded[:length], 0)

    @pytest.mark.parametrize("encoded", ["80fefefefefefefeff00", "80" * 10 + "00", "ff" * 40])
    def test_more_than_64_bits(self, encoded: str) -> None:
        with pytest.raises(ValueError, match="64 bits"):
            decode_varint(bytes.fromhex(encoded), 0)

    def test_long_runs_of_continuations_end_early(self) -> None:
        """A megabyte of them must not become a number of seven million bits."""
        with pytest.raises(ValueError, match="64 bits"):
            decode_varint(b"\xff" * (1 << 20), 0)

    @pytest.mark.parametrize("value", [-1, MAX_UINT64 + 1, -(1 << 70), 1 << 70])
    def test_numbers_that_do_not_fit(self, value: int) -> None:
        with pytest.raises(ValueError, match="64 bit"):
            encode_varint(value)


class TestUint24:
    @given(st.integers(0, (1 << 24) - 1))
    def test_round_trip(self, value: int) -> None:
        encoded = encode_uint24(value)
        assert len(encoded) == 3
        assert decode_uint24(b"\xff" + encoded + b"\xff", 1) == value
        assert int.from_bytes(encoded, "big") == value

    @pytest.mark.parametrize("value", [-1, 1 << 24])
    def test_numbers_that_do_not_fit(self, value: int) -> None:
        with pytest.raises(OverflowError):
            encode_uint24(value)

    @pytest.mark.parametrize("length", [0, 1, 2])
    def test_cut_short(self, length: int) -> None:
        with pytest.raises(IndexError):
            decode_uint24(bytes(length), 0)


class TestSharedPrefix:
    @given(st.binary(max_size=6), st.binary(max_size=6), st.binary(max_size=300))
    def test_against_the_naive_way(self, a: bytes, b: bytes, common: bytes) -> None:
        for left, right in ((a, b), (common + a, common + b), (common, common + b), (a, a)):
            expected = len(list(takewhile(bool, map(int.__eq__, left, right))))
            assert shared_prefix(left, right) == expected
            assert shared_prefix(right, left) == expected

    @pytest.mark.parametrize(
        ("a", "b", "length"),
        [
            (b"", b"", 0),
            (b"", b"a", 0),
            (b"\0\0a", b"\0\0b", 2),
            (b"\0", b"\0\0", 1),
            (b"a\x80", b"a\x81", 1),
            (b"\x00", b"\x80", 0),
        ],
    )
    def test_edges(self, a: bytes, b: bytes, length: int) -> None:
        assert shared_prefix(a, b) == length
