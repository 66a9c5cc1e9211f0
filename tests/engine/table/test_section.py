"""A run of blocks and the index above it, sound and damaged."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dulwich_reftable.engine.errors import CorruptTableError
from dulwich_reftable.engine.format.block import Block
from dulwich_reftable.engine.format.layout import INDEX, REF
from dulwich_reftable.engine.table.ref_section import RefSection
from dulwich_reftable.engine.table.table import Table
from dulwich_reftable.engine.table.writer import WriteOptions

from ..foreign import Assembly
from ..tables import footer_positions, log, numbered, ref, section_blocks, table_of, write

SEARCHES_UNTIL_FLAT = 16
SEARCHES_UNTIL_HASH_INDEX = 9  # of a block that is read once


def refs_section(data: bytes) -> RefSection:
    """The ref section of a table that was just opened."""
    section = Table("t.ref", data).refs
    assert section is not None
    return section


def levels_of(data: bytes) -> int:
    """How many levels the ref index has, by the position of its root and what is before it."""
    layout = Table("t.ref", data).layout
    position = footer_positions(data)[0]
    levels = 0
    while position and Block(layout, position).kind == INDEX:
        levels += 1
        position = Block(layout, position).index_records()[1][0]
    return levels


@pytest.fixture(
    scope="module",
    params=[(128, 1, True, 4), (128, 1, False, 5), (256, 4, True, 2), (4096, 16, True, 1)],
    ids=str,
)
def indexed(request: pytest.FixtureRequest) -> bytes:
    """A table whose ref index has some levels."""
    block_size, interval, aligned, levels = request.param
    options = WriteOptions(block_size, interval, aligned=aligned)
    data = write(numbered(700), options=options)
    assert levels_of(data) == levels
    return data


class TestFind:
    def test_cold_and_flat_agree_with_a_scan(self, indexed: bytes) -> None:
        """The first searches walk the index, the later ones bisect it; some keys are not there."""
        blocks = [(block.ref_records()[0][-1], block.position) for block in
                  section_blocks(indexed, REF)]  # fmt: skip
        keys = [record.name for record in numbered(700)]
        asked = [b"", b"a", *keys[::7], *(key + b"!" for key in keys[::11]), b"refs/heads/99", b"z"]
        warm = refs_section(indexed)
        for key in asked * (1 + SEARCHES_UNTIL_FLAT // len(asked)):
            expected = next((position for last, position in blocks if key <= last), None)
            assert refs_section(indexed).find(key) == expected
            assert warm.find(key) == expected
        assert warm._flat is not None

    def test_the_index_is_flattened_once_it_pays(self, indexed: bytes) -> None:
        section = refs_section(indexed)
        for _ in range(SEARCHES_UNTIL_FLAT - 1):
            section.find(b"refs/heads/00300")
            assert section._flat is None
        section.find(b"refs/heads/00300")
        assert section._flat is not None

    @given(st.integers(1, 45), st.binary(max_size=20))
    def test_few_blocks_have_no_index(self, count: int, other: bytes) -> None:
        """Then their first keys serve: the last block whose first key is not beyond."""
        data = write(numbered(count), options=WriteOptions(block_size=512))
        assert footer_positions(data)[0] == 0
        blocks = [(block.first_key, block.position) for block in section_blocks(data, REF)]
        section = refs_section(data)
        for key in (b"refs/heads/00000", b"refs/heads/00020", other, b"z"):
            before = [position for first, position in blocks if first <= key]
            assert section.find(key) == (before[-1] if before else 0)
        assert section.is_one_block is (len(blocks) == 1)

    def test_one_block(self) -> None:
        options = WriteOptions(block_size=512)
        assert refs_section(write([ref(b"a", 1)], options=options)).is_one_block
        assert refs_section(write([ref(b"a", 1)], [log(b"a", 1, 1)], options)).is_one_block
        assert not refs_section(write(numbered(20), options=options)).is_one_block


class TestBlocks:
    def test_all_in_order(self, indexed: bytes) -> None:
        positions = [block.position for block in refs_section(indexed).blocks()]
        assert positions == [block.position for block in section_blocks(indexed, REF)]
        assert all(a < b for a, b in pairwise(positions))

    def test_from_a_key_on(self, indexed: bytes) -> None:
        blocks = list(refs_section(indexed).blocks())
        for i in (0, 1, len(blocks) // 2, len(blocks) - 1):
            key = blocks[i].ref_records()[0][-1]
            found = [block.position for block in refs_section(indexed).blocks(key)]
            assert found == [block.position for block in blocks[i:]]
        assert list(refs_section(indexed).blocks(b"z")) == []

    def test_warm_blocks_are_kept(self, indexed: bytes) -> None:
        section = refs_section(indexed)
        assert section.block_for(b"refs/heads/00300") is section.block_for(b"refs/heads/00300")
        assert section.block_for(b"z") is None


class TestScans:
    def test_some_refs_are_read_without_the_whole_index(self, indexed: bytes) -> None:
        """Neither a name in the gap between two blocks nor the end of the section needs it."""
        blocks = section_blocks(indexed, REF)
        used_whole = []
        for i in range(1, len(blocks), 17):
            for start in (blocks[i - 1].last_key + b"!", blocks[i].first_key):
                section = refs_section(indexed)
                found = [name for _, names, _ in section.values_from(start) for name in names]
                assert found == [name for block in blocks[i:] for name in block.ref_values()[0]]
                used_whole.append(section._flat is not None)
        assert not any(used_whole[1::2])
        # What is before the first block that an index block names, only the whole index tells.
        assert sum(used_whole) < len(used_whole) / 2

    def test_what_is_decoded_is_kept(self, indexed: bytes) -> None:
        section = refs_section(indexed)
        first = list(section.values_from(b"refs/heads/00680"))
        again = list(section.values_from(b"refs/heads/00680"))
        assert [names for _, names, _ in first] == [names for _, names, _ in again]
        assert all(a[1] is b[1] and a[2] is b[2] for a, b in zip(first, again, strict=True))

    def test_a_large_table_is_not_kept_whole(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dulwich_reftable.engine.table.ref_section._BYTES_DECODED", 1024)
        section = refs_section(write(numbered(700), options=WriteOptions(block_size=128)))
        for start in (b"", b"refs/"):
            first, again = (list(section.values_from(start)) for _ in range(2))
            assert first == again
            assert not any(a[1] is b[1] for a, b in zip(first, again, strict=True))
        assert section._values_at.cache_info().currsize == 0  # type: ignore[attr-defined]
        first, again = (list(section.values_from(b"refs/heads/00600")) for _ in range(2))
        assert first == again
        assert [name for _, names, _ in first for name in names][-100:] == [
            b"refs/heads/%05d" % i for i in range(600, 700)
        ]
        is_kept = [a[1] is b[1] for a, b in zip(first, again, strict=True)]
        assert is_kept == [True] * 8 + [False] * (len(first) - 8)
        assert section._values_at.cache_info().currsize == 8  # type: ignore[attr-defined]


class Ring(Assembly):
    """Four ref blocks of one ref each, to be indexed wrongly."""

    def __init__(self) -> None:
        super().__init__()
        self.at = [self.refs([ref(b"refs/%d" % i, i)]) for i in range(4)]
        self.keys = [b"refs/%d" % i for i in range(4)]

    @property
    def entries(self) -> list[tuple[bytes, int]]:
        """What the index should hold."""
        return list(zip(self.keys, self.at, strict=True))


def ask(data: bytes, names: list[bytes]) -> None:
    """Look names up, cold and flat."""
    table = Table("t.ref", data)
    for _ in range(1 + SEARCHES_UNTIL_FLAT // len(names)):
        for name in names:
            table.lookup_ref(name)


def assert_found_out(data: bytes, names: list[bytes], reason: str) -> None:
    """Both ways to search an index must notice, wherever the search comes by."""
    with pytest.raises(CorruptTableError, match=reason):
        ask(data, names)
    section = refs_section(data)
    section._searches = SEARCHES_UNTIL_FLAT
    with pytest.raises(CorruptTableError, match=reason):
        section.find(names[0])


class TestDamaged:
    def test_this_is_how_a_sound_one_goes(self) -> None:
        ring = Ring()
        data = ring.finish(ref_index=ring.index(ring.entries))
        ask(data, ring.keys)
        assert [Table("t.ref", data).lookup_ref(key) for key in ring.keys] == [
            ref(key, i) for i, key in enumerate(ring.keys)
        ]

    @pytest.mark.parametrize("ahead", [0, 1, 1000, 1 << 40])
    def test_index_that_names_itself_or_what_is_behind_it(self, ahead: int) -> None:
        """A circle of index blocks must not be walked for ever."""
        ring = Ring()
        root = len(ring.data)
        ring.index([(ring.keys[0], root + ahead), *ring.entries[1:]])
        assert_found_out(ring.finish(ref_index=root), ring.keys, "index names position")

    def test_index_that_names_no_block(self) -> None:
        ring = Ring()
        root = ring.index([(ring.keys[0], 5), *ring.entries[1:]])
        assert_found_out(ring.finish(ref_index=root), ring.keys, "unknown block type")

    def test_index_that_names_a_block_of_another_kind(self) -> None:
        ring = Ring()
        obj = ring.objects([(b"ab", (0,))])
        root = ring.index([(ring.keys[0], obj)])
        data = ring.finish(ref_index=root)
        assert_found_out(data, ring.keys[:1], "of other type")

    def test_positions_that_do_not_ascend(self) -> None:
        ring = Ring()
        keys, at = ring.keys, ring.at
        root = ring.index([(keys[0], at[1]), (keys[1], at[0])])
        section = refs_section(ring.finish(ref_index=root))
        section._searches = SEARCHES_UNTIL_FLAT
        with pytest.raises(CorruptTableError, match="index names position"):
            section.find(keys[0])

    def test_keys_of_neighbouring_index_blocks_that_do_not_ascend(self) -> None:
        ring = Ring()
        root = ring.index(ring.entries[2:])
        ring.index(ring.entries[:2])
        section = refs_section(ring.finish(ref_index=root))
        section._searches = SEARCHES_UNTIL_FLAT
        with pytest.raises(CorruptTableError, match="index keys do not ascend"):
            section.find(ring.keys[0])

    def test_lower_index_block_that_ends_too_early(self) -> None:
        """The level above promises a key that the block below does not reach."""
        ring = Ring()
        low = ring.index(ring.entries[:2])
        root = ring.index([(ring.keys[2], low)])
        with pytest.raises(CorruptTableError, match="disagrees with the one above"):
            refs_section(ring.finish(ref_index=root)).find(ring.keys[2])

    def test_level_that_mixes_indexes_and_blocks(self) -> None:
        ring = Ring()
        low = ring.index(ring.entries[:2])
        root = ring.index([(ring.keys[1], low), (ring.keys[2], low + 1)])
        section = refs_section(ring.finish(ref_index=root))
        section._searches = SEARCHES_UNTIL_FLAT
        with pytest.raises(CorruptTableError):
            section.find(ring.keys[2])

    def test_footer_that_names_no_index(self) -> None:
        ring = Ring()
        ring.index(ring.entries)
        assert_found_out(ring.finish(ref_index=ring.at[2]), ring.keys, "not an index block")

    def test_index_key_that_is_not_the_last_of_its_block(self) -> None:
        """Who asks often makes a directory, which notices it, whatever is asked for."""
        ring = Ring()
        keys, at = ring.keys, ring.at
        root = ring.index([(keys[0], at[0]), (keys[1] + b"!", at[1]), *ring.entries[2:]])
        section = refs_section(ring.finish(ref_index=root))
        section._searches = SEARCHES_UNTIL_FLAT
        for _ in range(SEARCHES_UNTIL_HASH_INDEX - 1):
            assert section.lookup_ref(keys[1]) == ref(keys[1], 1)
        with pytest.raises(CorruptTableError, match="index disagrees with the block"):
            section.lookup_ref(keys[1])

    def test_index_key_that_its_block_does_not_reach(self) -> None:
        """Who asks for many names at once decodes the block, and sees what is missing."""
        ring = Ring()
        keys, at = ring.keys, ring.at
        root = ring.index([(keys[0], at[0]), (keys[1] + b"~", at[1]), *ring.entries[2:]])
        table = Table("t.ref", ring.finish(ref_index=root))
        with pytest.raises(CorruptTableError, match="index disagrees with the block"):
            table.values_among([keys[1] + b"%02d" % number for number in range(20)])

    def test_section_that_begins_with_another_block(self) -> None:
        ring = Ring()
        data = ring.finish(log=ring.at[1])
        with pytest.raises(CorruptTableError, match="does not begin with 'g'"):
            list(Table("t.ref", data).log_records())


def test_a_table_may_be_asked_for_a_section_that_it_does_not_have() -> None:
    table = table_of([ref(b"a", 1)])
    assert (table.objs, table.logs) == (None, None)
    assert list(table.log_records()) == []
