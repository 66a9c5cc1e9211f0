"""The bytes of a head object, and the chain of nonces."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dulwich_reftable.bucket.head import (
    Claimed,
    Commit,
    Ends,
    Fate,
    Head,
    ListedTable,
    Retired,
    new_nonce,
    table_digest,
)
from dulwich_reftable.engine.errors import CorruptTableError
from dulwich_reftable.engine.format.layout import encode_footer, encode_header

NAME = "0x000000000001-0x000000000002-0a0b0c0d.ref"
OTHER = "0x000000000003-0x000000000003-0a0b0c0d.ref"
NONCE = "0123456789abcdef"
HEADER = encode_header(4096, 1, 2, 32)
ENDS = Ends.of(HEADER + b"r" + bytes(9), encode_footer(HEADER, 1, 2, 3, 4, 5, 6))
HEAD = Head(
    "s256",
    (Commit(NONCE, 5), Commit("f" * 16, 6)),
    serial=9,
    tables=(
        ListedTable(NAME, 1 << 33, table_digest([b"x"]), None, ENDS),
        ListedTable(OTHER, 3, None, b"abc"),
    ),
    retired=(Retired("a.ref", 7),),
    claims=(Claimed(NONCE, 8, (NAME,)),),
    epoch=4,
    grace=90.0,
)


def test_what_is_written_is_read() -> None:
    assert Head.decode(HEAD.encode(), "here") == HEAD
    empty = Head("sha1", (Commit(NONCE, 0),))
    assert Head.decode(empty.encode(), "here") == empty


def resealed(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()


def with_text(**changes: object) -> bytes:
    """Encode a head whose JSON text has other values, under a right checksum."""
    content = HEAD.encode()[:-32]
    start = content.index(b"\n") + 5
    stop = start + int.from_bytes(content[start - 4 : start], "big")
    text = {**json.loads(content[start:stop]), **changes}
    data = json.dumps(text).encode()
    return resealed(content[: start - 4] + len(data).to_bytes(4, "big") + data + content[stop:])


def test_a_text_that_is_as_it_was() -> None:
    assert Head.decode(with_text(), "here") == HEAD


def test_a_head_of_an_older_version() -> None:
    found = Head.decode(with_text(tables=[[NAME, 1 << 33, "0" * 32], [OTHER, 3, None]]), "here")
    large, small = found.tables
    assert (large.size, large.digest, large.ends) == (1 << 33, "0" * 32, None)
    assert small.data == b"abc"


@pytest.mark.parametrize(
    "changes",
    [
        {"hash": "md5"},
        {"hash": 1},
        {"serial": -1},
        {"serial": True},
        {"serial": 1.5},
        {"serial": 0},
        {"serial": 1 << 64},
        {"commits": []},
        {"commits": [["xyz", 1]]},
        {"commits": [[NONCE]]},
        {"commits": {NONCE: 1}},
        {"commits": 5},
        {"tables": [[NAME, 4, None, None]]},
        {"tables": [[NAME, 2, None, None]]},
        {"tables": [[NAME, 3, None, None], [NAME, 5, "0" * 32, None]]},
        {"tables": [["../x.ref", 3, None, None]]},
        {"tables": [["a/b.ref", 3, None, None]]},
        {"tables": [["", 3, None, None]]},
        {"tables": [[NAME, -3, None, None]]},
        {"tables": [[NAME, 3, "digest", None]]},
        {"tables": [[NAME, 3]]},
        {"tables": [[NAME, 3, None, []]]},
        {"tables": [[NAME, 3, None, ["", ""]]]},
        {"tables": [[NAME, 3, None, ["UkVGVAEAAAA=", "!"]]]},
        {"tables": [[NAME, 3, None, [b64encode(bytes(4) + b"\1" + bytes(99)).decode()] * 2]]},
        {"retired": [[NAME, "x"]]},
        {"retired": [[NAME, 1 << 50]]},
        {"claims": [[NONCE, 5, "names"]]},
        {"claims": [[NONCE, 5, [1]]]},
        {"epoch": None},
        {"grace": "x"},
        {"grace": -1},
        {"grace": float("nan")},
        {"grace": float("inf")},
    ],
    ids=str,
)
def test_values_that_cannot_be(changes: dict[str, object]) -> None:
    with pytest.raises(CorruptTableError, match="here"):
        Head.decode(with_text(**changes), "here")


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 400))
def test_damage_is_told(junk: bytes, start: int, stop: int) -> None:
    data = HEAD.encode()
    damaged = data[: min(start, stop)] + junk + data[max(start, stop) :]
    if damaged != data:
        with pytest.raises(CorruptTableError):
            Head.decode(damaged, "here")


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 400))
def test_damage_under_a_right_checksum_is_told_or_harmless(
    junk: bytes, start: int, stop: int
) -> None:
    data = HEAD.encode()[:-32]
    damaged = resealed(data[: min(start, stop)] + junk + data[max(start, stop) :])
    try:
        head = Head.decode(damaged, "here")
    except CorruptTableError:
        return
    assert Head.decode(head.encode(), "here") == head


def test_another_version_is_refused() -> None:
    data = HEAD.encode().replace(b"head 1\n", b"head 2\n")
    with pytest.raises(CorruptTableError, match="version"):
        Head.decode(resealed(data[:-32]), "here")
    with pytest.raises(CorruptTableError, match="no head"):
        Head.decode(b"<html>", "here")


def test_texts_that_are_no_objects() -> None:
    for text in (b"[]", b"null", b"{", b"\xff", b"[" * 100_000, b"{}"):
        content = b"dulwich-reftable head 1\n" + len(text).to_bytes(4, "big") + text
        with pytest.raises(CorruptTableError):
            Head.decode(resealed(content), "here")


# The chain


def grow(head: Head, count: int, now: float = 100.0) -> Head:
    for _ in range(count):
        head = head.successor(new_nonce(), now)
    return head


def test_the_fate_of_a_put() -> None:
    base = grow(Head("sha1", (Commit(NONCE, 0),)), 3)
    ours = base.successor(new_nonce(), 100.0)
    theirs = base.successor(new_nonce(), 100.0)
    assert base.fate_of(ours.nonce, base) is Fate.PENDING
    for later in (0, 1, 20):
        assert grow(ours, later).fate_of(ours.nonce, base) is Fate.APPLIED
        assert grow(theirs, later).fate_of(ours.nonce, base) is Fate.LOST
    # The nonces of that time are gone.
    assert grow(ours, 2000).fate_of(ours.nonce, base) is Fate.UNKNOWN
    # The store was set back.
    assert Head("sha1", (Commit(NONCE, 0),)).fate_of(ours.nonce, base) is Fate.UNKNOWN


def test_nonces_are_kept_for_a_while() -> None:
    head = grow(Head("sha1", (Commit(NONCE, 100),)), 50, now=100.0)
    assert len(head.commits) == 51
    assert len(head.successor(new_nonce(), 130.0).commits) == 52
    assert len(head.successor(new_nonce(), 1000.0).commits) == 16
    assert len(grow(head, 2000).commits) == 1024


def test_a_successor_keeps_what_is_not_changed() -> None:
    after = HEAD.successor(NONCE, 10.0, epoch=5)
    commits = (*HEAD.commits, Commit(NONCE, 10))
    assert after == replace(HEAD, serial=10, epoch=5, commits=commits)
