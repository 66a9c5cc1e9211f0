"""Tables that git wrote once, read on any machine; ``tests/vectors/make.py`` tells how."""

from __future__ import annotations

from binascii import unhexlify
from pathlib import Path

import pytest

from dulwich_reftable.engine.format.block import Block
from dulwich_reftable.engine.format.layout import INDEX, LOG, OBJ, REF
from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, RefRecord
from dulwich_reftable.engine.table.table import Table
from dulwich_reftable.engine.table.writer import WriteOptions

from .tables import flat, footer_positions, pairs, section_blocks, write

VECTORS = Path(__file__).parent.parent / "vectors"

COMMITS = [
    unhexlify(text)
    for text in (
        "82f1a3ed2b92d03affcbae35a57ec681269eadbf",
        "0627a896d52d3f39f82aa9b9bcb1f8de7de060c3",
        "9a6471f7f725fcfb5fa2895cb620b9f42b49bb67",
        "f5df6e9f8dd42760c2e6b882f14f18977286a827",
    )
]
ZERO = bytes(20)
HEAD = RefRecord(b"HEAD", 1, None, None, b"refs/heads/main")

OPTIONS = {
    "blocks": WriteOptions(512, 4),
    "levels": WriteOptions(96),
    "log-blocks": WriteOptions(512),
    "scan-all": WriteOptions(128),
    "no-objects": WriteOptions(512, index_objects=False),
    "v2": WriteOptions(hash_size=32),
}
ALL = sorted(path.stem for path in VECTORS.glob("*.ref"))


def bytes_of(name: str) -> bytes:
    """The bytes of a vector."""
    return (VECTORS / f"{name}.ref").read_bytes()


def load(name: str) -> Table:
    """Open a vector."""
    return Table(f"{name}.ref", bytes_of(name))


def update(
    old: bytes, new: bytes, time: int, tz_offset: int, message: bytes,
    who: bytes = b"A U Thor", email: bytes = b"author@example.com",
) -> LogUpdate:  # fmt: skip
    """An entry of the vectors' usual author."""
    return LogUpdate(old, new, who, email, time, tz_offset, message)


def test_all_are_there() -> None:
    assert len(ALL) == 11
    assert sum(len(bytes_of(name)) for name in ALL) < 150_000


@pytest.mark.parametrize("name", ALL)
def test_written_again_they_are_the_same(name: str) -> None:
    table = load(name)
    bounds = table.min_update_index, table.max_update_index
    options = OPTIONS.get(name, WriteOptions())
    data = write(flat(table.ref_records()), flat(table.log_records()), options, bounds)
    assert data == bytes_of(name)


@pytest.mark.parametrize("name", ALL)
def test_every_ref_is_found(name: str) -> None:
    """By name and by object, cold and warm."""
    table = load(name)
    records = flat(table.ref_records())
    for record in records:
        assert table.lookup_ref(record.name) == record
        assert table.lookup_ref(record.name + b"!") is None
        assert load(name).lookup_ref(record.name) == record
    by_object: dict[bytes, list[RefRecord]] = {}
    for record in records:
        for object_id in {record.value, record.peeled} - {None}:
            by_object.setdefault(object_id or b"", []).append(record)
    for object_id, expected in by_object.items():
        assert table.refs_with_object(object_id) == expected
    assert table.refs_with_object(b"\xff" * table.hash_size) == []


class TestVersions:
    def test_v1(self) -> None:
        table = load("v1")
        assert (table.version, table.hash_size, table.block_size) == (1, 20, 4096)
        assert (table.min_update_index, table.max_update_index) == (1, 3)
        tag = unhexlify("8f3478f0b17fb954188ec35443cc03f2d622b2e4")
        assert flat(table.ref_records()) == [
            HEAD,
            RefRecord(b"refs/heads/main", 2, COMMITS[0]),
            RefRecord(b"refs/heads/topic", 2, COMMITS[1]),
            RefRecord(
                b"refs/remotes/origin/HEAD", 3, None, None, b"refs/remotes/origin/main"
            ),
            RefRecord(b"refs/tags/annotated", 2, tag, COMMITS[0]),
            RefRecord(b"refs/tags/light", 2, COMMITS[1]),
        ]  # fmt: skip
        assert (table.objs, table.logs) == (None, None)

    def test_v2(self) -> None:
        table = load("v2")
        assert (table.version, table.hash_size, table.block_size) == (2, 32, 4096)
        one = b"3467708da8ac99632d622bebefb92f614a682d08813a7d1dc8505f963857c8a6"
        two = b"6b21e7d46de46d718012b35bdfe398c5f56c0026571b66d2b265edef5e2d5ada"
        tag = b"d27c134ae4eb55cfa7f7402a7e6eba28d8c15ddd24a5201750ad82c65cdfa716"
        assert pairs(table.ref_values()) == [
            (b"HEAD", b"ref: refs/heads/main"),
            (b"refs/heads/main", one),
            (b"refs/heads/topic", two),
            (b"refs/remotes/origin/HEAD", b"ref: refs/remotes/origin/main"),
            (b"refs/tags/annotated", tag),
            (b"refs/tags/light", two),
        ]
        records = flat(table.ref_records())
        assert [record.update_index for record in records] == [1, 2, 2, 3, 2, 2]
        assert [record.peeled for record in records] == [None] * 4 + [unhexlify(one), None]


class TestDeletions:
    def test_refs_and_their_logs(self) -> None:
        """The tombstones of a ref's log are one for each of its entries."""
        table = load("deletions")
        assert (table.min_update_index, table.max_update_index) == (4, 4)
        assert flat(table.ref_records()) == [
            RefRecord(b"refs/heads/gone", 4),
            RefRecord(b"refs/heads/here", 4, COMMITS[1]),
            RefRecord(b"refs/tags/gone", 4),
        ]
        assert flat(table.log_records()) == [
            LogRecord(b"refs/heads/gone", 3),
            LogRecord(b"refs/heads/gone", 2),
            LogRecord(
                b"refs/heads/here", 4, update(ZERO, COMMITS[1], 1_700_032_400, 0, b"changed\n")
            ),
        ]
        assert [value for _, value in pairs(table.ref_values())] == [
            None, b"0627a896d52d3f39f82aa9b9bcb1f8de7de060c3", None,
        ]  # fmt: skip


class TestLogs:
    def test_entries(self) -> None:
        """Newest first; time zones are the decimal numbers that git shows; HEAD has a copy."""
        one, two, three, four = COMMITS
        main = [
            update(four, one, 1_700_039_600, -1200, b"\n", "Zoë".encode(), b""),
            update(three, four, 1_700_036_000, -1200, b"move to 3\n"),
            update(two, three, 1_700_032_400, -330, b"move to 2\n"),
            update(one, two, 1_700_028_800, 530, b"move to 1\n"),
            update(ZERO, one, 1_700_025_200, 0, b"move to 0\n"),
        ]
        other = update(ZERO, two, 1_700_043_200, -1200, b"branch: Created\n")
        assert flat(load("reflogs").log_records()) == [
            *(LogRecord(b"HEAD", 6 - i, entry) for i, entry in enumerate(main)),
            *(LogRecord(b"refs/heads/main", 6 - i, entry) for i, entry in enumerate(main)),
            LogRecord(b"refs/heads/other", 7, other),
        ]

    def test_log_only(self) -> None:
        """One entry is deleted; git writes the ones that stay once more."""
        one, two, three, four = COMMITS
        table = load("log-only")
        assert table.refs is None
        assert flat(table.log_records()) == [
            LogRecord(b"refs/heads/main", 5, update(three, four, 1_700_036_000, 0, b"move\n")),
            LogRecord(b"refs/heads/main", 4),
            LogRecord(b"refs/heads/main", 3, update(one, two, 1_700_028_800, 0, b"move\n")),
            LogRecord(b"refs/heads/main", 2, update(ZERO, one, 1_700_025_200, 0, b"move\n")),
        ]

    def test_existence_marker(self) -> None:
        """An empty reflog that is there all the same: two zero ids, and nothing else."""
        marker, *gone = flat(load("existence-marker").log_records())
        assert marker == LogRecord(
            b"refs/heads/main", 4, LogUpdate(ZERO, ZERO, b"", b"", 0, 0, b"")
        )  # fmt: skip
        assert marker.update is not None
        assert marker.update.is_existence_marker
        assert gone == [LogRecord(b"refs/heads/main", 3), LogRecord(b"refs/heads/main", 2)]


def count_blocks(name: str) -> dict[str, int]:
    """How many blocks of each type a vector has."""
    data = bytes_of(name)
    return {chr(kind): len(section_blocks(data, kind)) for kind in (REF, INDEX, OBJ, LOG)}


def index_levels(name: str, position: int) -> int:
    """How many levels an index has, given the position of its root."""
    block = Block(load(name).layout, position)
    levels = 0
    while block.kind == INDEX:
        levels += 1
        block = Block(load(name).layout, block.index_records()[1][0])
    return levels


class TestBlocks:
    def test_one_level(self) -> None:
        data = bytes_of("blocks")
        assert count_blocks("blocks") == {"r": 6, "i": 1, "o": 1, "g": 0}
        assert footer_positions(data) == (3072, 3584 << 5 | 2, 0, 0, 0)
        records = [RefRecord(b"refs/heads/%03d" % i, 2, COMMITS[i % 4]) for i in range(100)]
        assert flat(Table("t", data).ref_records()) == [HEAD, *records]
        (index,) = section_blocks(data, INDEX)
        assert index.index_records() == (
            [b"refs/heads/%03d" % i for i in (14, 31, 48, 65, 82, 99)],
            [512 * i for i in range(6)],
        )
        (objects,) = section_blocks(data, OBJ)
        assert [len(record.positions) for record in objects.obj_records()[1]] == [6, 6, 6, 6]

    def test_several_levels(self) -> None:
        assert count_blocks("levels") == {"r": 151, "i": 17, "o": 36, "g": 0}
        ref_index, obj, obj_index, *_ = footer_positions(bytes_of("levels"))
        assert (ref_index, obj >> 5, obj & 31, obj_index) == (15_552, 15_648, 2, 19_488)
        assert index_levels("levels", ref_index) == index_levels("levels", obj_index) == 2
        names = [record.name for record in flat(load("levels").ref_records())]
        assert names == [b"HEAD", *(b"refs/b/%03d" % i for i in range(450))]
        blob = unhexlify("c227083464fb9af8955c90d2924774ee50abb547")
        assert load("levels").refs_with_object(blob) == [RefRecord(b"refs/b/000", 2, blob)]

    def test_log_blocks(self) -> None:
        assert count_blocks("log-blocks") == {"r": 4, "i": 2, "o": 1, "g": 12}
        assert footer_positions(bytes_of("log-blocks"))[3:] == (2622, 4890)
        entries = [update(ZERO, COMMITS[i % 4], 1_700_025_200, 0, b"made\n") for i in range(60)]
        table = load("log-blocks")
        assert flat(table.log_records()) == [
            LogRecord(b"refs/heads/%02d" % i, 2, entry) for i, entry in enumerate(entries)
        ]
        for i in range(60):
            name = b"refs/heads/%02d" % i
            assert flat(table.log_records(name + b"\0", name + b"\1")) == [
                LogRecord(name, 2, entries[i])
            ]

    def test_an_object_in_more_blocks_than_can_be_told(self) -> None:
        (objects,) = section_blocks(bytes_of("scan-all"), OBJ)
        assert objects.obj_records()[0] == [COMMITS[0][:2]]
        assert objects.obj_records()[1][0].positions == ()
        assert len(load("scan-all").refs_with_object(COMMITS[0])) == 400

    def test_no_objects(self) -> None:
        assert count_blocks("no-objects") == {"r": 6, "i": 1, "o": 0, "g": 0}
        assert load("no-objects").objs is None
        assert len(load("no-objects").refs_with_object(COMMITS[1])) == 25
