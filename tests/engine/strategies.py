"""What hypothesis draws for the engine's tests: names, records, and ways to write tables."""

from __future__ import annotations

from hypothesis import strategies as st

from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, RefRecord
from dulwich_reftable.engine.table.writer import WriteOptions

from .tables import sorted_logs

MIN_INDEX = 1_000
MAX_INDEX = 1_000_000
BOUNDS = (MIN_INDEX, MAX_INDEX)

_pieces = st.sampled_from(
    [b"refs/", b"heads/", b"tags/", b"a", b"b", b"ab", b"\xff", b"0", b"/", b"x" * 60, b"y" * 130]
)
names = st.lists(_pieces, min_size=1, max_size=6).map(b"".join)
"""Names that often share prefixes; some prefixes and suffixes need varints of two bytes."""

indexes = st.one_of(
    st.integers(MIN_INDEX, MIN_INDEX + 3), st.integers(MIN_INDEX, MAX_INDEX)
)  # fmt: skip


def object_ids(size: int) -> st.SearchStrategy[bytes]:
    """Object ids of which many are equal, or equal in their first bytes."""
    few = st.integers(0, 9).map(lambda i: bytes((0x40 + i,)) * size)
    alike = st.binary(min_size=2, max_size=2).map(lambda end: b"\x11" * (size - 2) + end)
    return st.one_of(few, alike, st.binary(min_size=size, max_size=size))


@st.composite
def ref_records(draw: st.DrawFn, size: int) -> RefRecord:
    """A ref record of any type."""
    name, index, ids = draw(names), draw(indexes), object_ids(size)
    kind = draw(st.sampled_from("vvvvpsd"))
    if kind == "v":
        return RefRecord(name, index, draw(ids))
    if kind == "p":
        return RefRecord(name, index, draw(ids), draw(ids))
    if kind == "s":
        return RefRecord(name, index, None, None, draw(names))
    return RefRecord(name, index)


def ref_lists(
    size: int, *, min_size: int = 0, max_size: int = 60
) -> st.SearchStrategy[list[RefRecord]]:
    """Ref records in order, each name once."""
    records = st.lists(
        ref_records(size), min_size=min_size, max_size=max_size, unique_by=lambda r: r.name
    )
    return records.map(lambda found: sorted(found, key=lambda r: r.name))


texts = st.one_of(st.just(b""), st.binary(max_size=12), st.binary(min_size=128, max_size=140))


@st.composite
def log_records(draw: st.DrawFn, size: int) -> LogRecord:
    """A log record, or the deletion of one; its update index may be older than the table's."""
    name, index = draw(names), draw(st.integers(0, MAX_INDEX))
    if draw(st.integers(0, 4)) == 0:
        return LogRecord(name, index)
    zero = st.just(bytes(size))
    ids = st.one_of(zero, object_ids(size))
    update = LogUpdate(
        draw(ids), draw(ids), draw(texts), draw(texts),
        draw(st.one_of(st.integers(0, 1 << 35), st.integers(0, (1 << 64) - 1))),
        draw(st.integers(-(1 << 15), (1 << 15) - 1)),
        draw(texts),
    )  # fmt: skip
    return LogRecord(name, index, update)


def log_lists(
    size: int, *, min_size: int = 0, max_size: int = 30
) -> st.SearchStrategy[list[LogRecord]]:
    """Log records in the order of their keys, each key once."""
    records = st.lists(
        log_records(size),
        min_size=min_size,
        max_size=max_size,
        unique_by=lambda r: (r.name, r.update_index),
    )
    return records.map(sorted_logs)


def write_options(size: int) -> st.SearchStrategy[WriteOptions]:
    """Options of any kind; the smallest block takes any record that is drawn here, and little more.

    A record's name has at most 780 bytes and a symref's target as many; a log record has three
    texts of at most 140 bytes beside the name.
    """
    return st.builds(
        WriteOptions,
        block_size=st.sampled_from([1700, 1701, 2048, 4096, 65536, 65537, (1 << 24) - 1]),
        restart_interval=st.sampled_from([1, 2, 3, 7, 16, 64, 65535]),
        index_objects=st.booleans(),
        hash_size=st.just(size),
        aligned=st.booleans(),
    )


hash_sizes = st.sampled_from([20, 32])
