"""Damaged tables: each byte of a table of each kind is changed, in several ways.

A change either leaves all that is read as it was, or is noticed, or hits what the format does not
protect (names, object ids, update indexes), and then the table tells of as many refs as before.
Never is there another exception, and never do two ways to read the same bytes disagree.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.memory import measured

from dulwich_reftable.engine.errors import CorruptTableError
from dulwich_reftable.engine.format.records import RefRecord
from dulwich_reftable.engine.table.writer import WriteOptions

from .anatomy import (
    BLOCK_HEADER,
    DEFLATED,
    FOOTER,
    HEADER,
    LENGTH,
    OBJECT_ID,
    PADDING,
    PAYLOAD,
    anatomy,
)
from .observation import NAME, Known, Observation, lookups_that_disagree, observe
from .tables import log, numbered, oid, reseal, sorted_logs, write

MASKS = (0x01, 0x80, 0xFF)
UNIFORM = (OBJECT_ID, DEFLATED)  # of these there are many, and one is like the other
SMALL = 600  # of larger tables, each byte is changed in two of the ways

LOGS = sorted_logs(
    log(b"refs/heads/%05d" % i, index, index if index != 2 else None, b"message %d\n" % i)
    for i in (0, 1)
    for index in (1, 2, 3)
)
FEW = [
    RefRecord(b"HEAD", 1, None, None, b"refs/heads/a"),
    RefRecord(b"refs/heads/a", 2, oid(1)),
    RefRecord(b"refs/heads/b", 1),
    RefRecord(b"refs/heads/c/d", 3, oid(2), oid(1)),
    RefRecord(b"refs/tags/t", 1, oid(2)),
]
BOUNDS = (1, 4)
PLAIN = [RefRecord(b"refs/heads/%02d" % i, 1 + i % 4, oid(i % 5)) for i in range(12)]

KINDS = {
    "version 1, refs and logs": write(FEW, LOGS, bounds=BOUNDS),
    "version 2": write(
        numbered(6, size=32), [log(b"a", 1, 1, size=32)],
        WriteOptions(hash_size=32), BOUNDS,
    ),
    "one block of refs": write(FEW, [], bounds=BOUNDS),
    "one block of logs": write([], LOGS[:3], bounds=BOUNDS),
    "logs only, with an index": write([], LOGS, WriteOptions(block_size=256), BOUNDS),
    "unaligned, with index and objects": write(
        PLAIN, [], WriteOptions(100, 3, aligned=False), BOUNDS
    ),
    "aligned, with index and objects": write(PLAIN, LOGS[:1], WriteOptions(180, 2), BOUNDS),
    "two blocks without an index": write(PLAIN, LOGS[:2], WriteOptions(200, 4), BOUNDS),
    "index of two levels": write(
        PLAIN[:8], [], WriteOptions(80, 1, aligned=False, index_objects=False), BOUNDS
    ),
}  # fmt: skip


ALL_FAULTS = bool(os.environ.get("DULWICH_REFTABLE_ALL_FAULTS"))
"""Whether to change each byte in all ways that are worth it, or in one way less."""


def changed(data: bytes, at: int, mask: int) -> bytes:
    """Change one byte."""
    return data[:at] + bytes((data[at] ^ mask,)) + data[at + 1 :]


def judge(before: Observation, after: Observation, label: str) -> str | None:
    """Tell what is wrong with the way in which a change of one byte was taken."""
    for error in after.errors.values():
        if error.filename != NAME or NAME not in str(error):
            return f"the message does not name the file: {error}"
        if error.offset is None or error.offset < 0:
            return f"the message does not tell where: {error}"
    if after == before:
        return None
    if label in (HEADER, FOOTER):
        return None if ("open",) in after.errors else "opened all the same"
    if label not in PAYLOAD and label != LENGTH:
        wrong = {key for key, answer in after.answers.items() if answer != before.answers.get(key)}
        return f"silently wrong: {sorted(wrong, key=repr)[:3]}" if wrong else None
    wrong_lookups = lookups_that_disagree(after)
    if wrong_lookups:
        return f"a lookup disagrees with the scan: {wrong_lookups[:3]}"
    for scan in (("records",), ("values",), ("logs",)):
        answer = after.answers.get(scan)
        if answer is not None and len(answer) != len(before.answers[scan]):  # type: ignore[arg-type]
            return f"{scan[0]}: silently of another number"
    return None


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_every_byte(data: bytes) -> None:
    known = Known.of(data)
    before = observe(data, known)
    assert not before.errors
    assert lookups_that_disagree(before) == []
    labels = anatomy(data)
    ways = (3 if len(data) < SMALL else 2) - (not ALL_FAULTS)
    complaints = []
    noticed: dict[str, int] = {}
    for at, label in enumerate(labels):
        in_turn = MASKS[at % 3 :] + MASKS[: at % 3]
        for mask in in_turn[: 1 if label in UNIFORM else ways]:
            after = observe(changed(data, at, mask), known)
            noticed[label] = noticed.get(label, 0) + bool(after.errors)
            complaint = judge(before, after, label)
            if complaint:
                complaints.append(f"{label} {at} ^ {mask:#04x}: {complaint}")
    assert complaints == []
    # Where damage can be noticed it mostly is; padding and the flags of zlib's header say nothing.
    for label in {*labels} - PAYLOAD - {LENGTH, PADDING, DEFLATED}:
        assert noticed[label] > 0.8 * ways * labels.count(label), label


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_every_type_of_block(data: bytes) -> None:
    """A block that turns into one of another type would end its section, or hide all of it."""
    known = Known.of(data)
    before = observe(data, known)
    labels = anatomy(data)
    complaints = []
    for at, label in enumerate(labels):
        if label == BLOCK_HEADER and labels[at - 1] != BLOCK_HEADER:
            # An index block below another one holds the very keys of what it would turn into.
            others = b"goi\0" if data is KINDS["index of two levels"] else b"rgoi\0"
            for other in set(others) - {data[at]}:
                after = observe(changed(data, at, data[at] ^ other), known)
                complaint = judge(before, after, label)
                if complaint or not after.errors:
                    complaints.append(f"{at}: {data[at]:c} to {other:c}: {complaint}")
    assert complaints == []


def test_every_kind_of_byte_is_met() -> None:
    """The kinds of tables above have, together, all kinds of bytes."""
    met = {label for data in KINDS.values() for label in anatomy(data)}
    assert len(met) == 12


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_every_length(data: bytes) -> None:
    """A table that was cut short, or has bytes behind its end, is never opened."""
    known = Known.of(data)
    for length in range(len(data)):
        assert ("open",) in observe(data[:length], known).errors
    for more in (1, 20, 68):
        assert ("open",) in observe(data + bytes(more), known).errors
        assert ("open",) in observe(data + data[:more], known).errors


def damaged_tables(count: int) -> st.SearchStrategy[bytes]:
    """Tables of the kinds above with up to ``count`` changes: bytes set, cut out or doubled.

    Half of them get a footer whose checksum fits: damage that was sealed.
    """

    @st.composite
    def draw_one(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(st.sampled_from(list(KINDS.values()))))
        for _ in range(draw(st.integers(1, count))):
            at = draw(st.integers(0, len(data) - 1))
            how = draw(st.sampled_from("sssscd"))
            if how == "s":
                data[at] = draw(st.integers(0, 255))
            elif how == "c":
                del data[at : at + draw(st.integers(1, 40))]
            else:
                data[at:at] = data[at : at + draw(st.integers(1, 40))]
        damaged = bytes(data)
        if draw(st.booleans()) and len(damaged) > 100 and damaged[4] in (1, 2):
            damaged = reseal(damaged)
        return damaged

    return draw_one()


KNOWN = Known([b"HEAD", b"refs/heads/a", b"refs/heads/00003", b"z"], [oid(1), oid(2)], [])


class TestRandom:
    """No exception but ours, whatever the bytes are; two ways to read them still agree."""

    @given(damaged_tables(6))
    def test_damaged_tables(self, data: bytes) -> None:
        seen = observe(data, KNOWN)
        assert lookups_that_disagree(seen) == []

    @given(st.sampled_from(list(KINDS.values())), st.binary(max_size=300))
    def test_garbage_between_header_and_footer(self, data: bytes, garbage: bytes) -> None:
        size = 24 if data[4] == 1 else 28
        observe(reseal(data[:size] + data[size : size + 4] + garbage + data[-size - 44 :]), KNOWN)

    @given(st.sampled_from(list(KINDS.values())), st.lists(st.integers(0, 2000), min_size=5))
    def test_positions_that_a_checksum_covers(self, data: bytes, positions: list[int]) -> None:
        """A footer may be wrong although its checksum is right."""
        ref_index, obj, obj_index, log_position, log_index = positions[:5]
        damaged = reseal(data, (ref_index, obj << 5 | 2, obj_index, log_position, log_index))
        observe(damaged, KNOWN)

    @given(st.binary(max_size=400))
    def test_garbage(self, garbage: bytes) -> None:
        for data in (garbage, b"REFT\1" + garbage, b"REFT\2" + garbage):
            assert ("open",) in observe(data, KNOWN).errors


def claims() -> Iterator[tuple[str, bytes]]:
    """Small tables that claim to hold much."""
    sound = KINDS["version 1, refs and logs"]
    yield "a block of 16 MiB", sound[:25] + b"\xff\xff\xff" + sound[28:]
    at = sound.index(b"refs/heads/a")
    yield "a name of 2 ** 60 bytes", sound[: at - 1] + b"\xff" * 8 + b"\x7f" + sound[at + 8 :]
    only_logs = KINDS["logs only, with an index"]
    yield "a log block of 16 MiB", only_logs[:25] + b"\xff\xff\xff" + only_logs[28:]
    swollen = write([], [log(b"a", 1, 1, b"m" * 14_000_000)], WriteOptions((1 << 24) - 1), BOUNDS)
    yield "a log block that inflates beyond what it says", swollen[:25] + b"\0\1\0" + swollen[28:]


@pytest.mark.parametrize(
    ("data"), [data for _, data in claims()], ids=[name for name, _ in claims()]
)
def test_claims_do_not_allocate(data: bytes) -> None:
    """What is allocated goes by the bytes that are there, not by the lengths they tell."""
    observe(data, KNOWN)  # tables that last are made before the measuring
    with measured() as memory:
        seen = observe(data, KNOWN)
    assert any(isinstance(error, CorruptTableError) for error in seen.errors.values())
    assert memory.peak < 4_000_000
