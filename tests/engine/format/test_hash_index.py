"""Lookups by index: they agree with a scan, whatever names and fingerprints there are."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dulwich_reftable.engine.errors import CorruptTableError
from dulwich_reftable.engine.format.block import Block
from dulwich_reftable.engine.format.hash_index import BlockHashIndex
from dulwich_reftable.engine.format.records import RefRecord

from ..strategies import hash_sizes, names, ref_lists
from ..tables import layout_of, numbered, oid, ref_block


class TestLookup:
    @given(st.data(), hash_sizes, st.sampled_from([1, 2, 3, 16, 64]))
    def test_agrees_with_the_records(self, data: st.DataObject, size: int, interval: int) -> None:
        records = data.draw(ref_lists(size, min_size=1))
        index = BlockHashIndex(ref_block(records, interval, size=size))
        known = {record.name: record for record in records}
        asked = data.draw(st.lists(names))
        for name in [*known, *asked]:
            for near in (name, name + b"\0", name[:-1], name[1:], name[:-1] + b"\xff"):
                assert index.lookup(near) == known.get(near)
        assert index.first_name == min(known)
        assert index.last_name == max(known)

    @given(st.lists(st.text("ab", min_size=1, max_size=9), min_size=1, unique=True))
    def test_names_that_share_much(self, texts: list[str]) -> None:
        """Of two letters: shared prefixes go up and down, so that parents have parents."""
        known = {text.encode(): RefRecord(text.encode(), 4, oid(len(text))) for text in texts}
        index = BlockHashIndex(ref_block([known[name] for name in sorted(known)], 64, base=4))
        for length in range(1, 8):
            for number in range(1 << length):
                name = f"{number:0{length}b}".translate({48: "a", 49: "b"}).encode()
                assert index.lookup(name) == known.get(name)

    @pytest.mark.parametrize("length", [1, 15, 16, 127, 128, 300, 8_300])
    def test_lengths_that_need_more_bytes(self, length: int) -> None:
        stem = b"n" * length
        ends = (b"", b"a", b"a" * 16, b"b", b"c" * 200, b"c" * 200 + b"d")
        records = [
            RefRecord(stem + end, (127, 128, 1 << 40)[i % 3], oid(i), oid(9) if i % 2 else None)
            for i, end in enumerate(ends)
        ]
        for interval in (1, 3, 64):
            index = BlockHashIndex(ref_block(records, interval, base=0))
            for record in records:
                assert index.lookup(record.name) == record
                assert index.lookup(record.name + b"x") is None
                assert index.lookup(b"m" + record.name[1:]) is None


def alike(pattern: bytes) -> list[int]:
    """Numbers that, in this pattern, make names of one fingerprint."""
    numbers: dict[int, list[int]] = defaultdict(list)
    for number in range(300_000):
        numbers[hash(pattern % number) & 0xFFFF].append(number)
    largest = max(numbers.values(), key=len)
    assert len(largest) >= 6
    return largest


class TestFingerprints:
    """They are of two bytes, and Python chooses anew for each process what they are."""

    def test_names_that_have_one_in_common(self) -> None:
        """Several in the block, and others that are not in it."""
        group = [b"refs/%06d" % number for number in alike(b"refs/%06d")]
        records = [RefRecord(name, 1, oid(i)) for i, name in enumerate(group[::2])]
        index = BlockHashIndex(ref_block(records, base=1))
        for record in records:
            assert index.lookup(record.name) == record
        for name in group[1::2]:
            assert index.lookup(name) is None

    @pytest.mark.parametrize(
        ("stored", "asked"),
        [
            ([b"refs/%06d/0", b"refs/%06d/1"], b"refs/%06d/1"),
            ([b"refs/%06d/a/0", b"refs/%06d/b/0", b"refs/%06d/b/1"], b"refs/%06d/b/1"),
            ([b"refs/a/%06d/0", b"refs/b/%06d/0", b"refs/b/%06d/1"], b"refs/b/%06d/1"),
        ],
        ids=["parent", "grandparent", "both"],
    )
    def test_names_that_end_alike_as_well(self, stored: list[bytes], asked: bytes) -> None:
        """They differ in what is shared with the records before, and only there."""
        same = alike(asked)
        for number in same:
            records = [RefRecord(name % number, 1, oid(number)) for name in stored]
            index = BlockHashIndex(ref_block(records, base=1))
            for other in same:
                expected = records[-1] if other == number else None
                assert index.lookup(asked % other) == expected

    def test_names_that_begin_and_end_alike(self) -> None:
        records = [RefRecord(b"refs/0", 1, oid(1)), RefRecord(b"refs/1", 1, oid(2))]
        index = BlockHashIndex(ref_block(records, base=1))
        sought = hash(b"refs/1") & 0xFFFF
        longer = map(b"refs/%d1".__mod__, range(1_500_000))
        same = [name for name in longer if hash(name) & 0xFFFF == sought]
        assert same
        assert all(index.lookup(name) is None for name in same)


def noticed_at(block: Block) -> int | None:
    """Where a scan finds damage."""
    try:
        block.ref_records()
    except CorruptTableError as error:
        return error.offset
    return None


class TestDamage:
    def test_every_byte_flipped(self) -> None:
        """What a scan notices, an index notices; what it does not, both read alike."""
        records = numbered(24)
        block = ref_block(records, 4, base=1)
        noticed = 0
        for at in range(block.first, block.restart_offset):
            for flip in (0x01, 0x10, 0x80, 0xFF):
                data = bytearray(block.data)
                data[at] ^= flip
                odd = Block(layout_of(bytes(data), header_size=24, min_update_index=1), 0)
                offset = noticed_at(odd)
                if offset is not None:
                    noticed += 1
                    with pytest.raises(CorruptTableError) as caught:
                        BlockHashIndex(odd)
                    assert caught.value.offset == offset
                    continue
                found = dict(zip(*odd.ref_records(), strict=True))
                index = BlockHashIndex(odd)
                for name in {*found, *(record.name for record in records)}:
                    assert index.lookup(name) == found.get(name)
        assert noticed > 100
