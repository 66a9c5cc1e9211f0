"""What an addition merges without having written it: the same as if it had."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from dulwich_reftable.engine.errors import RecordError
from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, RefRecord
from dulwich_reftable.engine.stack.addition import Addition
from dulwich_reftable.engine.stack.compaction import weight
from dulwich_reftable.engine.stack.directory import DirectoryStorage
from dulwich_reftable.engine.stack.draft import NewRecords
from dulwich_reftable.engine.stack.stack import Stack
from dulwich_reftable.engine.table.table import Table
from dulwich_reftable.engine.table.writer import TableWriter, WriteOptions

Records = tuple[list[RefRecord], list[LogRecord]]

OPTIONS = [
    WriteOptions(),
    WriteOptions(block_size=300, restart_interval=2),
    WriteOptions(block_size=512, index_objects=False),
    WriteOptions(block_size=400, aligned=False, hash_size=32),
]


def some_records(random: Random, index: int, hash_size: int, counts: list[int]) -> Records:
    """Make a transaction of a few or many records of all kinds."""

    def oid() -> bytes:
        return random.randbytes(2) + bytes(hash_size - 2)

    names = {b"refs/%d/%d" % (random.randrange(9), random.randrange(200)) for _ in range(120)}
    count = 120 if index == 1 else random.choice(counts)
    refs, logs = [], []
    for name in sorted(random.sample(sorted(names), min(count, len(names)))):
        kind = random.choice("vvvvpds")
        if kind == "s":
            refs.append(RefRecord(name, index, target=b"refs/x" * random.randrange(1, 9)))
        elif kind == "d":
            refs.append(RefRecord(name, index))
        else:
            refs.append(RefRecord(name, index, oid(), oid() if kind == "p" else None))
    if random.randrange(2):
        for name in sorted(random.sample(sorted(names), random.choice((1, 2, 30)))):
            message = b"m" * random.randrange(40)
            update = LogUpdate(oid(), oid(), b"N", b"e@x", 1 << 33, -130, message)
            logs.append(LogRecord(name, index, random.choice((update, update, None))))
    return refs, logs


@pytest.mark.parametrize("options", OPTIONS)
def test_weight_is_within_bounds(options: WriteOptions) -> None:
    for seed in range(20):
        index = 1 + seed % 3
        refs, logs = some_records(Random(seed), index, options.hash_size, [0, 1, 5])
        chunks: list[bytes] = []
        writer = TableWriter(chunks.append, index, index, options)
        writer.add_refs(refs)
        writer.add_logs(logs)
        writer.finish()
        table = Table("new", b"".join(chunks))
        least, most = NewRecords(refs, logs, index, index).weights(options)
        assert least <= weight(table) <= most


@pytest.mark.parametrize("length", [5, 15, 16, 17, 200])
def test_weight_of_single_ref_is_exact(length: int) -> None:
    """So that a single update is not encoded twice."""
    ref = RefRecord(b"n" * length, 7, b"x" * 20, b"y" * 20)
    chunks: list[bytes] = []
    writer = TableWriter(chunks.append, 7, 7, WriteOptions())
    writer.add_refs([ref])
    writer.finish()
    exact = weight(Table("new", b"".join(chunks)))
    assert NewRecords([ref], [], 7, 7).weights(WriteOptions()) == (exact, exact)


def written(directory: Path, options: WriteOptions, seed: int) -> Iterator[list[bytes]]:
    """Add to a stack; give its tables each time."""
    stack = Stack(DirectoryStorage(str(directory), fsync=False), options)
    random = Random(seed)
    counts = [1, 3, 3, 20] if seed % 2 else [0, 1, 3, 120]
    for _ in range(10):
        with stack.addition() as addition:
            index = addition.next_update_index
            refs, logs = some_records(random, index, options.hash_size, counts)
            addition.write(iter(refs), iter(logs))
            addition.commit()
        yield [(directory / name).read_bytes() for name in stack.snapshot().listing.names]


def merged_from_records(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count the mergers that are made of records which were not written."""
    merge, count = Addition._merge, 0

    def counted(self: Addition, new: Table | NewRecords, weights: tuple[int, int]) -> bool | None:
        nonlocal count
        merged = merge(self, new, weights)
        count += isinstance(new, NewRecords) and merged is not None
        return merged

    monkeypatch.setattr(Addition, "_merge", counted)
    return lambda: count


@pytest.mark.parametrize("options", OPTIONS)
def test_same_tables_as_if_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: WriteOptions
) -> None:
    count = merged_from_records(monkeypatch)
    for seed in range(2):
        at_once = list(written(tmp_path / f"at once {seed}", options, seed))
        with monkeypatch.context() as patch:
            patch.setattr(NewRecords, "are_in_order", False)
            assert at_once == list(written(tmp_path / f"written {seed}", options, seed))
    assert count() >= 3


def test_size_in_doubt(tmp_path: Path) -> None:
    """By its size, the oldest table is merged, too; the merger of the others would not be."""
    stack = Stack(DirectoryStorage(str(tmp_path / "reftable"), fsync=False))
    random = Random(1)
    names = sorted(b"refs/" + random.randbytes(29).hex().encode() for _ in range(30))
    for many in ([b"refs/%03d" % at for at in range(240)], names[::2], names):
        with stack.addition() as addition:
            index = addition.next_update_index
            addition.write([RefRecord(name, index, bytes(20)) for name in many], [])
            addition.commit()
        assert len(stack.snapshot().tables) == (2 if index == 2 else 1)


@pytest.mark.parametrize("fault", ["order", "index", "too long", "id"])
def test_bad_record_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """As it is where nothing is merged; the older tables are not blamed."""
    stack = Stack(DirectoryStorage(str(tmp_path / "reftable"), fsync=False))
    with stack.addition() as addition:
        addition.write([RefRecord(b"refs/heads/a", 1, b"x" * 20)], [])
        addition.commit()
    before = stack.snapshot().listing.names
    bad = {
        "order": [RefRecord(b"refs/heads/%d" % at, 2, b"y" * 20) for at in (1, 3, 2)],
        "index": [RefRecord(b"refs/heads/b", 1, b"y" * 20)],
        "too long": [RefRecord(b"refs/heads/" + b"b" * 5000, 2, b"y" * 20)],
        "id": [RefRecord(b"refs/heads/b", 2, b"y" * 21)],
    }[fault]
    with caplog.at_level(logging.WARNING), pytest.raises(RecordError), stack.addition() as addition:
        addition.write(bad, [])
    assert not caplog.records
    assert stack.snapshot().listing.names == before
    assert sorted(path.name for path in (tmp_path / "reftable").iterdir()) == sorted(
        [*before, "tables.list"]
    )
